//! `scar-migrate`: settings checked before anything is done, the failed step named, a state folder that keeps no secret,
//! one run at a time, and a second run that finds all in place.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use scar_kit::{Run, Signal, program, workspace};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_suites::Migration;
use serde_json::Value;

fn script() -> Run {
    program(workspace().join("shell/scar-migrate"))
}

/// The site's settings in a file, and a state folder.
fn migrate(migration: &Migration) -> Run {
    let config = migration.folder().join("site.conf");
    migration.site.write_environment(&config);
    script().arg("-c").arg(config).arg("--state").arg(state(migration)).env("SCAR_CONTENT", migration.tree())
}

fn state(migration: &Migration) -> PathBuf {
    migration.folder().join("state")
}

fn log(migration: &Migration) -> String {
    std::fs::read_to_string(state(migration).join("scar-migrate.log")).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn migrates_and_saves_the_record_without_a_session() {
    let migration = Migration::new();
    let outcome = migrate(&migration).run();
    let record = outcome.succeeds().json();
    assert_eq!(scar_kit::complaints(&record), [""; 0]);
    assert_eq!(record.get("session"), None);
    assert_eq!(record["archive"]["path"], state(&migration).join("manifests.tgz").to_str().unwrap());
    assert_eq!(migration.site.state()["scar"]["endpoint"], record["scar"]["endpoint"]);
    let saved: Value = serde_json::from_slice(&std::fs::read(state(&migration).join("record.json")).unwrap()).unwrap();
    assert_eq!(saved, record);
    assert_eq!(mode(&state(&migration)), 0o700);
    for entry in std::fs::read_dir(state(&migration)).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), if path.ends_with("manifests.tgz") { mode(&path) } else { 0o600 }, "{}", path.display());
    }
    let log = log(&migration);
    for step in ["secret: scar-secret-rm ", "archive: mkmanifests ", "push: ocipush ", "login: vertex-login ", "set: scar-set"] {
        assert!(log.contains(&format!("Z {step}")), "{step}\n{log}");
    }
    assert!(log.lines().last().unwrap().contains(" done in "), "{log}");
}

#[test]
fn a_console_that_hides_passwords_gets_the_registrys_login_back() {
    let options = scar_lab::site::SiteOptions { vertex_hides_passwords: true, replicas: 2, ..Default::default() };
    let migration = Migration::on(options);
    let record = migrate(&migration).run().succeeds().json();
    assert_eq!(record["pack_registry"]["contains_spectro_manifest"], true);
    assert_eq!(record["specman"]["pods"].as_array().unwrap().len(), 2);
}

/// The platform has made the secret anew: it is not deleted again.
#[test]
fn a_second_run_finds_all_in_place_and_leaves_the_secret() {
    let migration = Migration::new();
    migrate(&migration).run().succeeds();
    let secret = migration.site.state()["secret"]["uid"].clone();
    let outcome = migrate(&migration).run();
    let record = outcome.succeeds().says("the secret is left as it is\n").never_says("step 1 of 7").json();
    assert_eq!((&record["artifact"]["uploaded"], &record["pack_registry"]["changed"]), (&false.into(), &false.into()));
    assert_eq!(migration.site.state()["secret"]["uid"], secret);
    assert_eq!(record.get("secret"), None);
}

#[test]
fn a_failed_step_is_named_with_what_is_done_and_what_is_not() {
    let migration = Migration::new();
    let (_, registry) = migration.site.servers().into_iter().find(|(name, _)| name == "registry").unwrap();
    registry.faults().on(Match::any("/v2/**"), Times::Always, Action::Answer(Answer::status(403)));
    let outcome = migrate(&migration).run();
    outcome.exits(4).writes_nothing();
    let end = "scar-migrate: done: secret archive; not done: push login flag wait set\n\
               scar-migrate: error: step 3 of 7, push, ended with status 4\n\
               scar-migrate: hint: nothing is lost; mend the cause, then run the same command again: each step finds what is in place\n";
    assert!(outcome.stderr().ends_with(end), "{outcome}");
    // Stages that got no record end without a word: the one cause stands alone.
    assert_eq!(outcome.stderr().matches("error: ").count(), 2, "{outcome}");
    outcome.never_says("Killed").never_says("empty");
    assert!(log(&migration).ends_with(" push: ended with status 4\n"));
    assert!(!state(&migration).join("record.json").exists());
    registry.faults().clear();
    migrate(&migration).run().succeeds();
}

#[test]
fn a_dry_run_changes_nothing() {
    let migration = Migration::new();
    let before = migration.site.state();
    let outcome = migrate(&migration).arg("--dry-run").run();
    let record = outcome.succeeds().json();
    assert_eq!(record["dry_run"], true);
    assert_eq!(migration.site.state(), before);
    assert!(!state(&migration).exists());
    for name in scar_kit::STEPS {
        outcome.says(&format!("{name}: would "));
    }
}

#[test]
fn one_run_at_a_time_and_sigterm_ends_all_of_it() {
    let migration = Migration::new();
    let (_, registry) = migration.site.servers().into_iter().find(|(name, _)| name == "registry").unwrap();
    registry.faults().on(Match::any("/v2/**"), Times::Always, Action::Stall);
    let mut running = migrate(&migration).start();
    running.until("step 3 of 7");
    assert!(registry.log().wait(std::time::Duration::from_secs(20), |requests| !requests.is_empty()));
    let stderr = format!(
        "scar-migrate: error: another scar-migrate runs on '{state}' (process {pid})\n\
         scar-migrate: hint: wait for its end, or use another --state\n",
        state = state(&migration).display(),
        pid = running.pid()
    );
    migrate(&migration).run().fails(1, &stderr);
    running.signal(Signal::TERM);
    running.wait().exits(143).says("step 3 of 7, push, ended with status 143\n");
    registry.faults().clear();
    migrate(&migration).run().succeeds();
}

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
        (with("SCAR_VERIFY", "strict"), "setting 'SCAR_VERIFY': 'strict' asks for a step that this version does not have".into()),
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
        ("undo", "unexpected operand 'undo'", "scar-migrate runs all steps, and takes what it needs from settings"),
        ("-c", "'-c' needs a value", "'scar-migrate --help' lists the options"),
    ] {
        let stderr = format!("scar-migrate: error: {message}\nscar-migrate: hint: {hint}\n");
        script().arg(argument).run().fails(2, &stderr);
    }
    assert!(script().arg("--help").run().succeeds().quiet().stdout().lines().all(|line| line.len() <= 100));
}
