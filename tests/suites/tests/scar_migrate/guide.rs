//! The middle of the script follows the guide, and a run reports what it did.

use std::os::unix::fs::PermissionsExt;

use scar_kit::workspace;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::site::SiteOptions;
use scar_suites::Migration;

use crate::{at, log, migrate, saved, server, state};

/// The tools of the script's pipe, one per line, without comments.
fn middle() -> Vec<String> {
    let script = std::fs::read_to_string(workspace().join("shell/scar-migrate")).unwrap();
    let body = script.split("\nmigrate() {\n").nth(1).unwrap().split("\n}\n").next().unwrap().to_owned();
    assert!(body.lines().count() <= 20, "one screen\n{body}");
    let lines = body.lines().map(|line| line.split(" # ").next().unwrap());
    lines.filter_map(|line| line.trim().strip_prefix("stage ")).map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

/// Every line of the pipe has its step of the guide.
#[test]
fn the_pipe_of_the_script_follows_the_guide_step_by_step() {
    let lines = middle();
    let guide = [
        ("scar-preflight", "the prerequisites"),
        ("ocipush --adopt", "what another host pushed"),
        ("scar-secret-rm", "1: kubectl delete secret"),
        ("mkmanifests", "2 and 3: cd, tar"),
        ("ocipush", "4 and 5: oras login, oras push"),
        ("vertex-login .* pack-registry-set", "6 to 8: log in, Edit, Contains Spectro Manifests, Validate, Confirm"),
        ("specman-wait", "9: kubectl logs specman-0"),
        ("specman-verify", "9: what Specman serves"),
        ("vertex-login .* scar-set", "10 to 12: scar-registry-update.sh"),
    ];
    assert_eq!(lines.len(), guide.len(), "{lines:#?}");
    for (line, (tool, step)) in lines.iter().zip(guide) {
        let (first, second) = tool.split_once(" .* ").unwrap_or((tool, ""));
        assert!(line.starts_with(first) && line.contains(second), "{step}: {line}");
    }
    let script = std::fs::read_to_string(workspace().join("shell/scar-migrate")).unwrap();
    let code = script.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with("#"));
    assert!(code.count() <= 400);
}

/// The pipe in scar-tools(7) ends as the script's pipe.
#[test]
fn the_pipe_in_the_page_is_that_of_the_script() {
    let page = std::fs::read_to_string(workspace().join("man/scar-tools.7")).unwrap();
    let whole = page.split("This is the whole migration:\n").nth(1).unwrap().split(".Ed").next().unwrap();
    let tools = |text: &str| -> Vec<String> {
        let words = text.split_whitespace().map(str::to_owned);
        words.filter(|word| scar_kit::STEPS.contains(&word.as_str())).collect()
    };
    assert_eq!(tools(whole), tools(&middle()[2..].join(" ")));
}

#[test]
fn migrates_and_keeps_a_record_without_a_session() {
    let migration = Migration::new();
    let outcome = migrate(&migration).run();
    let record = outcome.succeeds().json();
    let whole: serde_json::Value = serde_json::from_slice(outcome.stdout_bytes()).unwrap();
    assert_eq!(scar_kit::complaints(&whole), [""; 0]);
    assert_eq!(record["archive"]["path"], "[STATE]/manifests.tgz");
    assert_eq!(migration.site.state()["scar"]["endpoint"], record["scar"]["endpoint"]);
    assert_eq!(record["verified"]["missing"], 0);
    assert!(record["preflight"]["checks"].as_array().unwrap().len() > 10, "{outcome}");
    assert_eq!(saved(&migration, "record").unwrap(), whole);
    assert_eq!(whole.get("session"), None);
    for entry in walkdir::WalkDir::new(state(&migration)).into_iter().map(Result::unwrap) {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let expected = if entry.file_type().is_dir() { 0o700 } else { 0o600 };
        assert!(mode == expected || entry.path().ends_with("manifests.tgz"), "{} {mode:o}", entry.path().display());
    }
    let log = log(&migration);
    assert!(
        log.contains("Z scar-migrate 0.1.0 begins: all\n") && log.lines().last().unwrap().contains("Z all done in "),
        "{log}"
    );
    // The summary for the change ticket: old and new state.
    let script = workspace().join("shell/scar-migrate");
    for line in [
        "SCAR setting  https://scar.example -> https://specman-service.hubble-system.svc.cluster.local:8443 (validated"
            .to_owned(),
        "pack registry ".to_owned(),
        "tag           ".to_owned(),
        "secret        hubble-system/spectro-manifest-registry-secrets: uid ".to_owned(),
        "archive       sha256:".to_owned(),
        "compared      4 files, ".to_owned(),
        format!(
            "record: [STATE]/record.json; backups: [STATE]/backup; undo: {} -c [CONF] --state [STATE] undo\n",
            script.display()
        ),
    ] {
        outcome.says(&line);
    }
}

#[test]
fn every_replica_is_waited_for() {
    let migration = Migration::on(SiteOptions { replicas: 2, ..Default::default() });
    let record = migrate(&migration).run().succeeds().json();
    assert_eq!(record["pack_registry"]["contains_spectro_manifest"], true);
    assert_eq!(record["specman"]["pods"].as_array().unwrap().len(), 2);
}

/// A missing prerequisite ends the run before anything is changed.
#[test]
fn what_preflight_finds_missing_stops_all_of_it() {
    let migration = Migration::new();
    let before = migration.site.state();
    migration.site.vertex.behave(|behaviour| behaviour.version = "4.5.1".to_owned());
    let outcome = migrate(&migration).run();
    outcome.exits(3).writes_nothing().says("scar-migrate: error: scar-preflight ended with status 3; nothing was changed\n");
    outcome.never_says("scar-secret-rm: ");
    assert_eq!(migration.site.state(), before);
    migrate(&migration).arg("preflight").run().exits(3).writes_nothing();
}

#[test]
fn a_failed_stage_is_named_with_what_is_done_and_how_to_continue_or_undo() {
    let migration = Migration::new();
    let registry = server(&migration, "registry");
    registry.faults().on(Match::put("/v2/**/manifests/*"), Times::Always, Action::Answer(Answer::status(403)));
    let outcome = migrate(&migration).run();
    outcome.exits(4).writes_nothing();
    let end = outcome.stderr().split("scar-migrate: done: ").nth(1).unwrap().to_owned();
    let script = workspace().join("shell/scar-migrate");
    let script = script.display();
    assert_eq!(
        end,
        format!(
            "scar-secret-rm mkmanifests; not done: ocipush pack-registry-set specman-wait specman-verify scar-set\n\
             scar-migrate: error: ocipush ended with status 4\n\
             scar-migrate: hint: nothing is lost; remove the cause, then continue with the same command: {script} -c [CONF] --state [STATE] --yes\n\
             scar-migrate: hint: or undo everything: {script} -c [CONF] --state [STATE] undo\n"
        )
    );
    // Each later stage says in one line that it did not run.
    for tool in ["vertex-login", "specman-wait", "specman-verify"] {
        outcome.says(&format!("\n{tool}: error: not run: the stage before it wrote no record\n"));
    }
    assert!(log(&migration).ends_with(" ocipush ended with status 4\n"));
    assert!(saved(&migration, "record").is_none());
    registry.faults().clear();
    migrate(&migration).run().succeeds();
}

#[test]
fn q1_a_dry_run_changes_nothing_and_its_record_is_refused() {
    let migration = Migration::new();
    let before = migration.site.state();
    let outcome = migrate(&migration).arg("--dry-run").run();
    assert_eq!(outcome.succeeds().json()["dry_run"], true);
    assert_eq!(migration.site.state(), before);
    assert!(!state(&migration).exists());
    for name in scar_kit::TOOLS {
        outcome.says(&format!("{name}: would "));
    }
    let plan = migration.folder().join("plan.json");
    std::fs::write(&plan, outcome.stdout_bytes()).unwrap();
    let refused = migrate(&migration).arg("cutover").arg(&plan).run();
    refused.exits(2).writes_nothing().says("scar-preflight: error: read the record: it is a dry run's\n");
    assert_eq!(migration.site.state(), before);
    assert!(saved(&migration, "push").is_none() && saved(&migration, "record").is_none());
}

#[test]
fn the_site_is_not_changed_without_confirmation() {
    let migration = Migration::new();
    let before = migration.site.state();
    let run = || at(&migration, &state(&migration)).env("SCAR_CONTENT", migration.tree());
    run().run().fails(
        2,
        "scar-migrate: error: no terminal to ask on before the site is changed\n\
         scar-migrate: hint: add --yes to change it without a question\n",
    );
    assert_eq!(migration.site.requests(), Vec::<String>::new());
    let refused = run().stderr_terminal().answer("Go on? [y/N] ", "n\n").run();
    refused.exits(130);
    assert!(refused.screen().contains("not confirmed; nothing was changed"), "{refused}");
    assert_eq!(migration.site.state(), before);
    let outcome = run().stderr_terminal().answer("Go on? [y/N] ", "y\n").run();
    outcome.succeeds();
    assert_eq!(outcome.screen().matches("Go on?").count(), 1, "{outcome}");
}

/// One password prompt, for the preflight and both logins; and no variable that the caller exported is used.
#[test]
fn q21_one_password_is_asked_for_and_is_in_no_environment() {
    let migration = Migration::new();
    let password = std::fs::read_to_string(migration.setting("VERTEX_PASSWORD_FILE")).unwrap();
    let config = migration.folder().join("ask.conf");
    migration.site.write_environment(&config);
    let text = std::fs::read_to_string(&config).unwrap();
    let kept = text.lines().filter(|line| !line.starts_with("VERTEX_PASSWORD_FILE")).map(|line| format!("{line}\n"));
    std::fs::write(&config, kept.collect::<String>()).unwrap();
    let names = ["password", "record", "options", "state", "run", "input", "login", "text", "value", "SHELLOPTS", "BASH_ENV"];
    let run = names.iter().fold(script_on(&config, &migration), |run, name| run.env(name, "xtrace"));
    let outcome =
        run.env("POSIXLY_CORRECT", "1").env("CDPATH", "/tmp").answer(" at https://", &format!("{}\n", password.trim_end())).run();
    outcome.succeeds();
    assert_eq!(outcome.screen().matches("Password for admin at ").count(), 1, "{outcome}");
    assert!(!outcome.screen().contains(password.trim_end()));
}

fn script_on(config: &std::path::Path, migration: &Migration) -> scar_kit::Run {
    crate::script().arg("-c").arg(config).arg("--state").arg(state(migration)).arg("--yes").env("SCAR_CONTENT", migration.tree())
}
