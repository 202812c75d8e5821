//! Settings: all are checked, none is executed, and the file takes precedence over the environment.

use scar_kit::{TokenServer, docker_registry_with_tokens, program, workspace};
use scar_suites::Migration;

use crate::{migrate, script, state};

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
    let userinfo = |key: &str, value: &str| (with(key, value), format!("setting '{key}' holds a login, which would be logged"));
    for (text, message) in [
        missing("SCAR_CONTENT", "the folder that the file server serves"),
        missing("OCI_PACK_REGISTRY", "the registry, HOST[:PORT]"),
        missing("VERTEX_ENDPOINT", "the address of the console, https://HOST[:PORT]"),
        (
            with("OCI_PASSWORD_FILE", "/no/file"),
            "setting 'OCI_PASSWORD_FILE': '/no/file' is not a file that can be read more than once".into(),
        ),
        (
            with("VERTEX_CA_FILE", "/dev/stdin"),
            "setting 'VERTEX_CA_FILE': '/dev/stdin' is not a file that can be read more than once".into(),
        ),
        (with("VERTEX_INSECURE", "maybe"), "setting 'VERTEX_INSECURE': 'maybe' is neither true nor false".into()),
        (with("SCAR_VERIFY", "loose"), "setting 'SCAR_VERIFY' must be strict, report or off".into()),
        // q25
        userinfo("VERTEX_ENDPOINT", "https://admin:pw@v.example"),
        userinfo("OCI_PACK_REGISTRY", "robot:pw@r.example"),
        userinfo("SPECMAN_URL", "https://admin@s.example:8443"),
        (without("VERTEX_PASSWORD_FILE"), "no password for VerteX, and no terminal to ask for it".into()),
        (good.clone() + "VERTEX_PASSWORD=x\n", format!("read '[CONF]': line {number}: no setting 'VERTEX_PASSWORD'")),
        (good.clone() + "rm -rf\n", format!("read '[CONF]': line {number} is not KEY=value")),
        (good.clone() + "SCAR_CONTENT=/\n", format!("read '[CONF]': line {number}: 'SCAR_CONTENT' is set twice")),
    ] {
        std::fs::write(&config, text).unwrap();
        // A new session has no terminal to prompt on.
        let run = program("setsid").arg("--wait").arg(workspace().join("shell/scar-migrate")).arg("--yes").arg("-c").arg(&config);
        let outcome = run.arg("--state").arg(state(&migration)).called(config.display(), "[CONF]").run();
        outcome.exits(2).writes_nothing().never_says("pw@");
        let first = outcome.stderr().lines().next().unwrap().to_owned();
        assert_eq!(first, format!("scar-migrate: error: {message}"), "{outcome}");
    }
    assert_eq!(migration.site.requests(), Vec::<String>::new());
    assert!(!state(&migration).join("backup/secret.json").exists());
}

/// The stages begin together, and an early one would change the site before a late one refuses its options.
#[test]
fn what_a_late_stage_would_refuse_is_refused_before_anything_is_done() {
    let migration = Migration::new();
    let (config, junk) = (migration.folder().join("late.conf"), migration.folder().join("junk.pem"));
    migration.site.write_environment(&config);
    std::fs::write(&junk, "junk").unwrap();
    let good = std::fs::read_to_string(&config).unwrap() + &format!("SCAR_CONTENT={}\n", migration.tree().display());
    let junk = junk.to_str().unwrap();
    for (key, value, tool) in [
        ("SPECMAN_TIMEOUT", "15", "specman-wait"),
        ("SPECMAN_TIMEOUT", "0s", "specman-wait"),
        ("SPECMAN_TIMEOUT", "8d", "specman-wait"),
        ("SPECMAN_URL", "ftp://s.example", "specman-verify"),
        ("SPECMAN_CA_FILE", junk, "specman-verify"),
        ("SCAR_SETTLE", "8d", "scar-set"),
    ] {
        let text: String = good.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect();
        std::fs::write(&config, text + &format!("{key}={value}\n")).unwrap();
        let outcome = script().arg("--yes").arg("-c").arg(&config).arg("--state").arg(state(&migration)).run();
        outcome.exits(2).writes_nothing();
        let lines: Vec<_> = outcome.stderr().lines().map(str::to_owned).collect();
        assert!(lines[0].starts_with(&format!("{tool}: error: ")), "{outcome}");
        let last = format!("scar-migrate: error: {tool} ended with status 2; nothing was changed");
        assert_eq!(lines.last(), Some(&last), "{outcome}");
    }
    assert_eq!(migration.site.requests(), Vec::<String>::new());
}

/// mkmanifests would take a dash for standard output.
#[test]
fn the_archive_is_a_file_whatever_it_is_called() {
    let migration = Migration::new();
    let outcome = migrate(&migration).arg("push").env("SCAR_ARCHIVE", "-").folder(migration.folder()).any_record().run();
    outcome.exits(0);
    assert!(migration.folder().join("-").is_file());
}

/// Nothing in the file is expanded or executed; the file takes precedence over the environment.
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
    // The empty setting in the file overrides the registry of the environment; nothing else is wrong.
    outcome.fails(
        2,
        "scar-migrate: error: setting 'OCI_PACK_REGISTRY' is missing: the registry, HOST[:PORT]\n\
         scar-migrate: hint: put OCI_PACK_REGISTRY=... into the file for -c, or into the environment\n",
    );
    assert!(!canary.exists());
}

#[test]
fn options_are_those_of_the_help() {
    script().arg("--version").run().succeeds().quiet().prints(&format!("scar-migrate {}\n", env!("CARGO_PKG_VERSION")));
    for (arguments, message) in [
        (&["--undo"][..], "unknown option '--undo'"),
        (&["back"], "unexpected operand 'back'"),
        (&["push", "cutover"], "one phase, not two: 'push' and 'cutover'"),
        (&["-c"], "'-c' needs a value"),
        (&["-c", "", "status"], "'-c' needs a value"),
        (&["--state", "", "status"], "'--state' needs a value"),
    ] {
        let outcome = script().args(arguments).run();
        outcome.exits(2).writes_nothing();
        assert_eq!(outcome.stderr().lines().next().unwrap(), format!("scar-migrate: error: {message}"), "{outcome}");
    }
    assert!(script().arg("--help").run().succeeds().quiet().stdout().lines().all(|line| line.len() <= 120));
}

/// Without a password, ecr-password says why before anything is changed.
#[test]
fn a_password_for_ecr_that_cannot_be_had_is_reported() {
    let migration = Migration::new();
    let config = migration.folder().join("ecr.conf");
    migration.site.write_environment(&config);
    let host = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    let text = std::fs::read_to_string(&config).unwrap();
    let kept = text.lines().filter(|line| !line.starts_with("OCI_")).map(|line| format!("{line}\n"));
    std::fs::write(&config, kept.collect::<String>() + &format!("OCI_PACK_REGISTRY={host}\n")).unwrap();
    let before = migration.site.state();
    let run = script().arg("-c").arg(&config).arg("--state").arg(state(&migration)).env("SCAR_CONTENT", migration.tree());
    let outcome = run.env("AWS_EC2_METADATA_DISABLED", "true").arg("--yes").run();
    outcome.writes_nothing().says("ecr-password: error: ").says("; nothing was changed\n");
    assert_ne!(outcome.status(), 0);
    assert_eq!(migration.site.state(), before);
}

/// The registry's token server on another port gets the login if the setting names it: for the preflight, the push, and
/// reading the layer.
#[test]
fn a_token_server_on_another_host_gets_the_login_if_the_setting_names_it() {
    let tokens = TokenServer::start();
    let Some(registry) = docker_registry_with_tokens(&tokens) else { return };
    let migration = Migration::on_docker(&registry);
    let outcome = migrate(&migration).run();
    outcome.exits(3).says(&format!("--trust-realm {}", tokens.authority())).says("blocked: registry.login").writes_nothing();
    assert_eq!(tokens.server().log().connections(), 0);
    let trusting = || migrate(&migration).env("OCI_TRUST_REALM", tokens.authority());
    trusting().run().succeeds().says("allowed: an upload was opened, and cancelled");
    let push = state(&migration).join("record.json");
    std::fs::remove_file(state(&migration).join("manifests.tgz")).unwrap();
    let record = trusting().arg("cutover").arg(&push).run().succeeds().json();
    assert_eq!(record["verified"]["missing"], 0);
    assert!(tokens.asked().iter().all(|asked| asked.with_password && asked.status == 200));
}
