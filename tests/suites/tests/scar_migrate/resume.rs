//! Another run goes on where one was stopped, after a look whether what was done still holds.

use std::time::Duration;

use scar_kit::Signal;
use scar_lab::faults::{Action, Match, Times};
use scar_lab::site::{PACK_REGISTRY, REPOSITORY};
use scar_suites::Migration;
use serde_json::json;

use crate::{done, log, migrate, saved, server, state};

/// The platform has made the secret anew: it is not deleted again. Nothing at all is written a second time.
#[test]
fn a_second_run_finds_all_in_place_and_changes_nothing() {
    let migration = Migration::new();
    let first = migrate(&migration).run().succeeds().json();
    let before = migration.site.state();
    let outcome = migrate(&migration).run();
    assert_eq!(outcome.succeeds().never_says(" of 9, ").json(), first);
    assert_eq!(migration.site.state(), before);
    let writes = |line: &&String| [" PUT ", " PATCH ", " DELETE "].iter().any(|method| line.contains(method));
    let all = migration.site.requests();
    assert!(all.iter().filter(writes).count() < 8, "{all:#?}");
    // Not on demand either: it is the platform's now.
    migrate(&migration).arg("--redo").run().succeeds().says("the secret is left as it is\n").never_says("step 2 of 9");
    assert_eq!(migration.site.state()["secret"], before["secret"]);
    assert_eq!(done(&migration, "kube DELETE ", " 200"), 1);
}

/// Whoever set the flag, and wherever: with a state folder that knows nothing of it, too.
#[test]
fn the_secret_stays_where_the_flag_is_set_already() {
    let migration = Migration::new();
    migrate(&migration).run().succeeds();
    let secret = migration.site.state()["secret"].clone();
    std::fs::remove_dir_all(state(&migration)).unwrap();
    migrate(&migration).run().succeeds().says("the secret is left as it is\n");
    assert_eq!(migration.site.state()["secret"], secret);
}

#[test]
fn f4_an_archive_that_changed_is_made_again_and_pushed() {
    let migration = Migration::new();
    migrate(&migration).arg("push").run().succeeds();
    let good = saved(&migration, "archive").unwrap();
    std::fs::write(state(&migration).join("manifests.tgz"), "torn").unwrap();
    let outcome = migrate(&migration).arg("push").run();
    outcome
        .succeeds()
        .says("archive was done at ")
        .says("and that holds no more: the archive is another, or gone; it is done again\n");
    outcome.says("step 4 of 9, push").says("holds this archive already");
    assert_eq!(saved(&migration, "archive").unwrap()["archive"], good["archive"]);
    // Gone counts as changed; a tree that changed comes in on demand.
    std::fs::remove_file(state(&migration).join("manifests.tgz")).unwrap();
    std::fs::write(migration.tree().join("new"), "new").unwrap();
    let record = migrate(&migration).arg("push").run().succeeds().json();
    assert_eq!(record["artifact"]["uploaded"], true);
    assert_ne!(record["archive"]["digest"], good["archive"]["digest"]);
}

#[test]
fn f4_a_tag_that_moved_is_pushed_again() {
    let migration = Migration::new();
    let first = migrate(&migration).arg("push").run().succeeds().json();
    let registry = migration.site.registry.as_ref().unwrap();
    registry.seed(REPOSITORY, "0.0.0", b"something else");
    let outcome = migrate(&migration).run();
    outcome.succeeds().says("push was done at ").says("the tag holds something else, or is gone; it is done again\n");
    outcome.never_says("step 3 of 9");
    let record = outcome.json();
    assert_eq!(record["artifact"]["layer"], first["artifact"]["layer"]);
    assert_eq!(record["verified"]["different"], 0);
}

#[test]
fn f4_a_flag_that_was_taken_off_is_set_again_with_all_after_it() {
    let migration = Migration::new();
    migrate(&migration).run().succeeds();
    let mut entry = migration.site.vertex.registry(PACK_REGISTRY).unwrap();
    entry["spec"]["containsSpectroManifest"] = json!(false);
    migration.site.vertex.add_registry(scar_lab::vertex::RegistryKind::Basic, entry);
    let outcome = migrate(&migration).run();
    outcome.succeeds().says("flag was done at ").says("the flag is not set; it is done again\n");
    for step in ["step 7 of 9, wait", "step 8 of 9, verify", "step 9 of 9, set"] {
        outcome.says(step);
    }
    outcome.never_says("step 2 of 9").never_says("step 4 of 9");
    assert_eq!(migration.site.state()["pack_registry"]["contains_spectro_manifest"], true);
}

#[test]
fn f4_a_setting_that_was_changed_since_is_set_again() {
    let migration = Migration::new();
    migrate(&migration).run().succeeds();
    migration.site.vertex.set_scar(json!({"endpoint": "https://third.example"}));
    migrate(&migration).run().succeeds().says("SCAR is not Specman; it is done again\n").says("step 9 of 9, set");
    assert!(migration.site.state()["scar"]["endpoint"].as_str().unwrap().contains("specman-service"));
}

#[test]
fn one_step_alone_or_from_one_on() {
    let migration = Migration::new();
    migrate(&migration).run().succeeds();
    migrate(&migration).args(["--only", "verify"]).run().succeeds().says("step 8 of 9").never_says("step 9 of 9");
    assert!(saved(&migration, "set").is_some());
    let outcome = migrate(&migration).args(["--from", "wait"]).run();
    outcome.succeeds().says("step 7 of 9").says("step 9 of 9").never_says("step 6 of 9");
    migrate(&migration).args(["--only", "login"]).run().succeeds().says("step 5 of 9");
    migrate(&migration).args(["--only", "push"]).run().succeeds().says("step 4 of 9").never_says("step 5 of 9");
    assert!(saved(&migration, "set").is_none() && saved(&migration, "flag").is_none());
    migrate(&migration).run().succeeds().says("step 6 of 9").never_says("step 2 of 9");
}

#[test]
fn f3_one_run_at_a_time_and_sigterm_ends_all_of_it() {
    let migration = Migration::new();
    let registry = server(&migration, "registry");
    registry.faults().on(Match::put("/v2/**"), Times::Always, Action::Stall);
    let mut running = migrate(&migration).start();
    running.until("step 4 of 9");
    assert!(registry.log().wait(Duration::from_secs(20), |requests| requests.iter().any(|r| r.method == "POST")));
    let stderr = format!(
        "scar-migrate: error: another scar-migrate runs on '[STATE]' (process {})\n\
         scar-migrate: hint: wait for its end, or use another --state\n",
        running.pid()
    );
    migrate(&migration).run().fails(1, &stderr);
    migrate(&migration).arg("undo").run().fails(1, &stderr);
    running.signal(Signal::TERM);
    running.wait().exits(143).says("step 4 of 9, push, ended with status 143\n");
    assert!(log(&migration).ends_with(" push: ended with status 143\n"));
    registry.faults().clear();
    migrate(&migration).run().succeeds();
}

/// As Ctrl-C does it: to the script and to its tool.
#[test]
fn ctrl_c_ends_the_step_at_hand_with_the_ways_on() {
    let migration = Migration::new();
    let registry = server(&migration, "registry");
    registry.faults().on(Match::put("/v2/**"), Times::Always, Action::Stall);
    let mut running = migrate(&migration).start();
    running.until("step 4 of 9");
    assert!(registry.log().wait(Duration::from_secs(20), |requests| requests.iter().any(|r| r.method == "POST")));
    running.signal_group(Signal::INT);
    running.wait().exits(130).says("hint: nothing is lost; ").says("hint: or take back what was done: ");
    registry.faults().clear();
    migrate(&migration).run().succeeds().never_says("step 3 of 9");
}

/// What is done, when, and what of it holds now, without a trace.
#[test]
fn status_tells_by_reading_only() {
    let migration = Migration::new();
    let status = || migrate(&migration).arg("status").run();
    status().succeeds().quiet().prints("nothing was done in [STATE]\n");
    assert!(!state(&migration).exists());
    migrate(&migration).arg("push").run().succeeds();
    let line = |text: &str, step: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{step} "))).unwrap_or_else(|| panic!("{step}: {text}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let outcome = status();
    let text = outcome.succeeds().stdout();
    assert_eq!(line(&text, "set"), "set - -");
    assert!(line(&text, "push").ends_with("Z as it was recorded"), "{outcome}");
    migrate(&migration).run().succeeds();
    let (before, log) = (migration.site.state(), log(&migration));
    let text = status().succeeds().quiet().stdout();
    for step in ["archive", "push", "flag", "set"] {
        assert!(line(&text, step).ends_with("Z as it was recorded"), "{text}");
    }
    assert!(line(&text, "secret").ends_with("stays as the platform made it"), "{text}");
    migration.site.vertex.set_scar(json!({"endpoint": "https://third.example"}));
    std::fs::write(state(&migration).join("manifests.tgz"), "torn").unwrap();
    let text = status().exits(7).stdout();
    assert!(
        line(&text, "set").ends_with("SCAR is not Specman") && line(&text, "archive").ends_with("another, or gone"),
        "{text}"
    );
    assert_eq!(migration.site.state()["jobs"], before["jobs"]);
    assert_eq!(crate::log(&migration), log);
}
