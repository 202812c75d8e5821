//! A run and what it tells: the record, the log, the step that failed, the plan, the question before the site is changed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use scar_kit::STEPS as TOOLS;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::site::SiteOptions;
use scar_suites::Migration;

use crate::{STEPS, at, log, migrate, saved, server, state};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn migrates_and_saves_each_record_without_a_session() {
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
    for step in STEPS.into_iter().filter(|step| *step != "login") {
        assert_eq!(saved(&migration, step).unwrap().get("session"), None, "{step}");
    }
    assert_eq!(mode(&state(&migration)), 0o700);
    for entry in std::fs::read_dir(state(&migration)).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), if path.ends_with("manifests.tgz") { mode(&path) } else { 0o600 }, "{}", path.display());
    }
    let log = log(&migration);
    for step in
        ["preflight: scar-preflight ", "secret: scar-secret-rm ", "push: ocipush ", "login: vertex-login ", "set: scar-set"]
    {
        assert!(log.contains(&format!("Z {step}")), "{step}\n{log}");
    }
    assert!(log.lines().last().unwrap().contains(" all done in "), "{log}");
    for (number, step) in STEPS.into_iter().enumerate() {
        outcome.says(&format!("scar-migrate: step {} of 9, {step}: ", number + 1));
    }
}

#[test]
fn a_console_that_hides_passwords_gets_the_registrys_login_back() {
    let options = SiteOptions { replicas: 2, ..Default::default() };
    let migration = Migration::on(options);
    let record = migrate(&migration).run().succeeds().json();
    assert_eq!(record["pack_registry"]["contains_spectro_manifest"], true);
    assert_eq!(record["specman"]["pods"].as_array().unwrap().len(), 2);
}

/// A prerequisite that is missing ends the run before anything is changed.
#[test]
fn what_preflight_finds_missing_stops_all_of_it() {
    let migration = Migration::new();
    let before = migration.site.state();
    migration.site.vertex.behave(|behaviour| behaviour.version = "4.5.1".to_owned());
    let outcome = migrate(&migration).run();
    outcome.exits(3).writes_nothing().says("step 1 of 9, preflight, ended with status 3\n").never_says("step 2 of 9");
    assert_eq!(migration.site.state(), before);
    assert!(!state(&migration).join("preflight.json").exists());
}

#[test]
fn a_failed_step_is_named_with_what_is_done_and_the_two_ways_on() {
    let migration = Migration::new();
    let registry = server(&migration, "registry");
    registry.faults().on(Match::put("/v2/**/manifests/*"), Times::Always, Action::Answer(Answer::status(403)));
    let outcome = migrate(&migration).run();
    outcome.exits(4).writes_nothing();
    let end = outcome.stderr().split("scar-migrate: done: ").nth(1).unwrap().to_owned();
    let script = scar_kit::workspace().join("shell/scar-migrate");
    let script = script.display();
    assert_eq!(
        end,
        format!(
            "preflight secret archive; not done: push flag wait verify set\n\
             scar-migrate: error: step 4 of 9, push, ended with status 4\n\
             scar-migrate: hint: nothing is lost; mend the cause, then go on: {script} -c [CONF] --state [STATE] --yes\n\
             scar-migrate: hint: or take back what was done: {script} -c [CONF] --state [STATE] undo\n"
        )
    );
    outcome.never_says("Killed");
    assert!(log(&migration).ends_with(" push: ended with status 4\n"));
    assert!(!state(&migration).join("record.json").exists());
    registry.faults().clear();
    migrate(&migration).run().succeeds().never_says("step 2 of 9").never_says("step 3 of 9");
}

#[test]
fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let migration = Migration::new();
    let before = migration.site.state();
    let outcome = migrate(&migration).arg("--dry-run").run();
    let record = outcome.succeeds().json();
    assert_eq!(record["dry_run"], true);
    assert_eq!(migration.site.state(), before);
    assert!(!state(&migration).exists());
    for name in TOOLS {
        outcome.says(&format!("scar-migrate:   runs: {name} ")).says(&format!("{name}: would "));
    }
    outcome.says("scar-migrate:   for the guide's step 1: kubectl delete secret spectro-manifest-registry-secrets ");
    outcome.says("scar-migrate:   for the guide's steps 10 to 12: ./scar-registry-update.sh ");
    outcome.says(&format!(" --output [STATE]/manifests.tgz {}\n", migration.tree().display()));
}

#[test]
fn the_site_is_not_changed_without_a_word_of_the_user() {
    let migration = Migration::new();
    let before = migration.site.state();
    let run = || at(&migration, &state(&migration)).env("SCAR_CONTENT", migration.tree());
    run().run().fails(
        2,
        "scar-migrate: error: no terminal to ask on before the site is changed\n\
         scar-migrate: hint: add --yes if it is to be changed without a question\n",
    );
    assert_eq!(migration.site.requests(), Vec::<String>::new());
    let refused = run().stderr_terminal().answer("Go on? [y/N] ", "n\n").run();
    refused.exits(130);
    assert!(refused.screen().contains("not confirmed; nothing of the site was changed"), "{refused}");
    assert_eq!(migration.site.state(), before);
    let outcome = run().stderr_terminal().answer("Go on? [y/N] ", "y\n").run();
    outcome.succeeds();
    assert_eq!(outcome.screen().matches("Go on?").count(), 1, "{outcome}");
}
