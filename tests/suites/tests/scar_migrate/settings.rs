//! Settings: checked whole, never run, and told where they came from.

use scar_kit::{TokenServer, docker_registry_with_tokens, program, workspace};
use scar_suites::Migration;

use crate::{migrate, saved, script, state};

#[test]
fn settings_are_checked_before_anything_is_done() {
    let migration = Migration::new();
    let config = migration.folder().join("bad.conf");
    migration.site.write_environment(&config);
    let good = std::fs::read_to_string(&config).unwrap() + &format!("SCAR_CONTENT={}\n", migration.tree().display());
    let without = |key: &str| {
        good.lines().filter(|line| !line.starts_with(&format!("{key}="))).map(|line| format!("{line}\n")).collect::<String>()
    };
    let with = |key: &str, value: &str| without(key) + &format!("{key}={value}\n");
    let number = good.lines().count() + 1;
    let missing = |key: &str, what: &str| (without(key), format!("setting '{key}' is missing: {what}"));
    for (text, message) in [
        missing("SCAR_CONTENT", "the folder that the file server serves"),
        missing("OCI_PACK_REGISTRY", "the registry that holds images and packs, HOST[:PORT]"),
        missing("VERTEX_ENDPOINT", "the address of the VerteX console, https://HOST[:PORT]"),
        (with("SCAR_CONTENT", "/no/folder"), "setting 'SCAR_CONTENT': '/no/folder' is no readable folder".into()),
        (with("OCI_PASSWORD_FILE", "/no/file"), "setting 'OCI_PASSWORD_FILE': cannot read '/no/file'".into()),
        (with("VERTEX_CA_FILE", "/no/file"), "setting 'VERTEX_CA_FILE': cannot read '/no/file'".into()),
        (with("SPECMAN_TIMEOUT", "15"), "setting 'SPECMAN_TIMEOUT': '15' is no duration such as 90s or 15m".into()),
        (with("VERTEX_INSECURE", "maybe"), "setting 'VERTEX_INSECURE': 'maybe' is neither true nor false".into()),
        (with("SCAR_VERIFY", "loose"), "setting 'SCAR_VERIFY': 'loose' is none of strict, report and off".into()),
        (with("SCAR_REFERENCE", "r.example/a:b"), "settings 'SCAR_REFERENCE' and 'OCI_PACK_REGISTRY' exclude each other".into()),
        (
            with("VERTEX_TOKEN_FILE", "/dev/null"),
            "settings 'VERTEX_TOKEN_FILE' and 'VERTEX_PASSWORD_FILE' exclude each other".into(),
        ),
        (without("VERTEX_PASSWORD_FILE"), "no password for VerteX, and no terminal to ask for it".into()),
        (good.clone() + "VERTEX_PASSWORD=x\n", format!("read '[CONF]': line {number}: no setting 'VERTEX_PASSWORD'")),
        (good.clone() + "rm -rf\n", format!("read '[CONF]': line {number} is no KEY=value")),
        (good.clone() + "SCAR_CONTENT=/\n", format!("read '[CONF]': line {number}: 'SCAR_CONTENT' stands twice")),
    ] {
        std::fs::write(&config, text).unwrap();
        // A session of its own: no terminal to ask for a password on.
        let run = program("setsid").arg("--wait").arg(workspace().join("shell/scar-migrate")).arg("-c").arg(&config);
        let outcome = run.arg("--state").arg(state(&migration)).called(config.display(), "[CONF]").run();
        outcome.exits(2).writes_nothing();
        let first = outcome.stderr().lines().next().unwrap().to_owned();
        assert_eq!(first, format!("scar-migrate: error: {message}"), "{outcome}");
    }
    assert_eq!(migration.site.requests(), Vec::<String>::new());
    assert!(!state(&migration).exists());
}

/// Nothing in the file is expanded or run; the file comes before the environment.
#[test]
fn a_settings_file_is_read_and_never_run() {
    let migration = Migration::new();
    let config = migration.folder().join("quoted.conf");
    let (tree, canary) = (migration.tree(), migration.folder().join("canary"));
    let text = format!(
        "\n# comment\r\n  SCAR_CONTENT=\"{}\"  \nOCI_USERNAME='$(touch {})'\nVERTEX_ENDPOINT=`touch {}`\r\nOCI_PACK_REGISTRY=",
        tree.display(),
        canary.display(),
        canary.display()
    );
    std::fs::write(&config, text).unwrap();
    let outcome = script().arg("-c").arg(&config).env("SCAR_CONTENT", "/no/folder").env("OCI_PACK_REGISTRY", "r.example").run();
    // The empty line of the file takes the registry of the environment away: nothing else is wrong.
    outcome.fails(
        2,
        "scar-migrate: error: setting 'OCI_PACK_REGISTRY' is missing: the registry that holds images and packs, HOST[:PORT]\n\
         scar-migrate: hint: put OCI_PACK_REGISTRY=... into the file for -c, or into the environment\n",
    );
    assert!(!canary.exists());
}

#[test]
fn options_are_those_of_the_help() {
    script().arg("--version").run().succeeds().quiet().prints(&format!("scar-migrate {}\n", env!("CARGO_PKG_VERSION")));
    for (argument, message, hint) in [
        ("--undo", "unknown option '--undo'", "'scar-migrate --help' lists the options"),
        ("back", "unexpected operand 'back'", "'scar-migrate --help' lists the phases"),
        ("-c", "'-c' needs a value", "'scar-migrate --help' lists the options"),
    ] {
        let stderr = format!("scar-migrate: error: {message}\nscar-migrate: hint: {hint}\n");
        script().arg(argument).run().fails(2, &stderr);
    }
    assert!(script().arg("--help").run().succeeds().quiet().stdout().lines().all(|line| line.len() <= 100));
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for (arguments, message) in [
        (&["--from", "push", "--only", "push"][..], "'--from' cannot be used with '--only'"),
        (&["push", "cutover"], "one phase, not two: 'push' and 'cutover'"),
        (&["undo", "--redo"], "'undo' goes without --from, --only and --redo"),
        (&["push", "--only", "flag"], "no step 'flag' in this phase"),
        (&["--from", "fly"], "no step 'fly' in this phase"),
        (&["-q", "-v"], "'--quiet' cannot be used with '--verbose'"),
    ] {
        let outcome = script().args(arguments).run();
        outcome.exits(2).writes_nothing();
        assert_eq!(outcome.stderr().lines().next().unwrap(), format!("scar-migrate: error: {message}"), "{outcome}");
    }
}

#[test]
fn the_page_into_a_pipe_is_its_source_byte_for_byte() {
    let page = std::fs::read_to_string(workspace().join("man/scar-migrate.1")).unwrap();
    script().arg("--man").run().succeeds().quiet().prints(&page);
}

/// Each setting, its value and where it came from; a file with a secret is named and not read.
#[test]
fn settings_are_told_with_where_they_came_from() {
    let migration = Migration::new();
    let (config, password) = (migration.folder().join("site.conf"), migration.setting("OCI_PASSWORD_FILE"));
    std::fs::write(&config, format!("# first\nSCAR_CONTENT='/srv'\nOCI_PASSWORD_FILE={password}\nSCAR_STATE=/from/file\n"))
        .unwrap();
    let run = script()
        .args(["--print-settings", "--state", "/from/option", "-c"])
        .arg(&config)
        .env("VERTEX_ENDPOINT", "https://v.example");
    let outcome = run.env("SCAR_CONTENT", "/from/environment").called(config.display(), "[CONF]").run();
    let text = outcome.succeeds().quiet().stdout();
    let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "SCAR_CONTENT /srv ([CONF]:2)".to_owned(),
        format!("OCI_PASSWORD_FILE {password} ([CONF]:3)"),
        "SCAR_STATE /from/option (--state)".to_owned(),
        "SCAR_ARCHIVE /from/option/manifests.tgz (default)".to_owned(),
        "VERTEX_ENDPOINT https://v.example (environment)".to_owned(),
        "SCAR_VERIFY strict (default)".to_owned(),
        "OCI_PACK_REGISTRY".to_owned(),
    ] {
        assert!(lines.contains(&line), "no line: {line}\n{outcome}");
    }
    assert_eq!(lines.len(), 27, "{outcome}");
    assert_eq!(migration.site.requests(), Vec::<String>::new());
}

/// No password file, and nobody who gives one: told by name, before anything is asked of the site.
#[test]
fn a_password_for_ecr_that_cannot_be_had_is_told() {
    let migration = Migration::new();
    let config = migration.folder().join("ecr.conf");
    migration.site.write_environment(&config);
    let host = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    let text = std::fs::read_to_string(&config).unwrap();
    let kept = text.lines().filter(|line| !line.starts_with("OCI_")).map(|line| format!("{line}\n"));
    std::fs::write(&config, kept.collect::<String>() + &format!("OCI_PACK_REGISTRY={host}\n")).unwrap();
    let run = script().arg("-c").arg(&config).arg("--state").arg(state(&migration)).env("SCAR_CONTENT", migration.tree());
    let outcome = run.env("AWS_EC2_METADATA_DISABLED", "true").arg("--yes").run();
    outcome.exits(4).writes_nothing().says("ecr-password: error: ");
    outcome.says(&format!("scar-migrate: error: ask for a password of '{host}': ecr-password ended with status 4\n"));
    assert_eq!(migration.site.requests(), Vec::<String>::new());
}

/// The registry's token server, on another port, gets the login where the setting names it: for the look before, the push,
/// and the layer that is read again.
#[test]
fn a_token_server_elsewhere_gets_the_login_where_the_setting_names_it() {
    let tokens = TokenServer::start();
    let Some(registry) = docker_registry_with_tokens(&tokens) else { return };
    let migration = Migration::on_docker(&registry);
    let outcome = migrate(&migration).run();
    outcome.exits(3).says(&format!("--trust-realm {}", tokens.authority())).says("blocked: registry.login").writes_nothing();
    assert_eq!(tokens.server().log().connections(), 0);
    let trusting = || migrate(&migration).env("OCI_TRUST_REALM", tokens.authority());
    trusting().run().succeeds().says("allowed: an upload was opened, and cancelled");
    std::fs::remove_file(state(&migration).join("manifests.tgz")).unwrap();
    let again = trusting().args(["--only", "verify"]).run();
    let record = again.succeeds().says("the layer in the registry is taken instead").json();
    assert_eq!(record["verified"], saved(&migration, "verify").unwrap()["verified"], "what was done now is told");
    // The platform's own Specman asks, too.
    let scopes = tokens.asked().into_iter().flat_map(|asked| asked.scopes).collect::<Vec<_>>();
    for actions in ["pull,push,delete", "pull,push", "pull"] {
        let scope = format!("repository:spectro-packs/spectro-manifests/manifest:{actions}");
        assert!(scopes.contains(&scope), "{scope}: {scopes:?}");
    }
    assert!(tokens.asked().iter().all(|asked| asked.with_password && asked.status == 200));
}
