//! Running the same command again: it skips what is done and repeats what has changed since; only one run at a time.

use std::time::Duration;

use scar_kit::Signal;
use scar_lab::faults::{Action, Match, Times};
use scar_lab::site::{PACK_REGISTRY, REPOSITORY};
use scar_suites::Migration;
use serde_json::json;

use crate::{done, log, migrate, server, state};

/// The recreated secret is not deleted, and nothing is written a second time.
#[test]
fn a_second_run_finds_all_in_place_and_changes_nothing_but_the_syncs() {
    let migration = Migration::new();
    migrate(&migration).run().succeeds();
    let mut before = migration.site.state();
    let outcome = migrate(&migration).run();
    outcome.succeeds().says("stays: it was made after the backup '[STATE]/backup/secret.json'");
    before["jobs"] = migration.site.state()["jobs"].clone();
    assert_eq!(migration.site.state(), before);
    for (begin, end) in [("kube DELETE ", " 200"), ("vertex PUT ", " 204"), ("registry PUT ", " 201")] {
        assert!(done(&migration, begin, end) <= 3, "{begin}: {:#?}", migration.site.requests());
    }
    assert_eq!(done(&migration, "kube DELETE ", " 200"), 1);
}

#[test]
fn f4_what_was_changed_since_is_done_again() {
    let migration = Migration::new();
    let first = migrate(&migration).run().succeeds().json();
    // A damaged archive, a moved tag, a cleared flag, a changed SCAR setting.
    std::fs::write(state(&migration).join("manifests.tgz"), "torn").unwrap();
    migration.site.registry.as_ref().unwrap().seed(REPOSITORY, "0.0.0", b"something else");
    let mut entry = migration.site.vertex.registry(PACK_REGISTRY).unwrap();
    entry["spec"]["containsSpectroManifest"] = json!(false);
    migration.site.vertex.add_registry(scar_lab::vertex::RegistryKind::Basic, entry);
    migration.site.vertex.set_scar(json!({"endpoint": "https://third.example"}));
    migrate(&migration).arg("status").run().exits(7);
    let record = migrate(&migration).run().succeeds().json();
    assert_eq!(record["artifact"]["layer"], first["artifact"]["layer"]);
    assert_eq!((&record["pack_registry"]["changed"], &record["scar"]["changed"]), (&json!(true), &json!(true)));
    assert_eq!((&record["verified"]["different"], &record["verified"]["missing"]), (&json!(0), &json!(0)));
    assert!(migration.site.state()["scar"]["endpoint"].as_str().unwrap().contains("specman-service"));
    migrate(&migration).arg("status").run().succeeds();
}

#[test]
fn f3_one_run_at_a_time_and_sigterm_ends_all_of_it() {
    let migration = Migration::new();
    let registry = server(&migration, "registry");
    registry.faults().on(Match::put("/v2/**"), Times::Always, Action::Stall);
    let mut running = migrate(&migration).start();
    running.until("scar-secret-rm: deleted ");
    assert!(registry.log().wait(Duration::from_secs(20), |requests| requests.iter().any(|r| r.method == "PUT")));
    let stderr = format!(
        "scar-migrate: error: another scar-migrate runs on '[STATE]' (process {})\n\
         scar-migrate: hint: wait until it ends, or use another --state\n",
        running.pid()
    );
    migrate(&migration).run().fails(1, &stderr);
    migrate(&migration).arg("undo").run().fails(1, &stderr);
    // A signal only to the script stops all stages.
    running.signal(Signal::TERM);
    running.wait().exits(143);
    registry.faults().clear();
    migrate(&migration).run().succeeds();
}

/// Like Ctrl-C: to the script and its tools.
#[test]
fn ctrl_c_ends_the_running_stage_and_prints_how_to_continue() {
    let migration = Migration::new();
    let registry = server(&migration, "registry");
    registry.faults().on(Match::put("/v2/**"), Times::Always, Action::Stall);
    let mut running = migrate(&migration).start();
    running.until("scar-secret-rm: deleted ");
    assert!(registry.log().wait(Duration::from_secs(20), |requests| requests.iter().any(|r| r.method == "PUT")));
    running.signal_group(Signal::INT);
    running.wait().exits(130).says("hint: nothing is lost; ").says("hint: or undo everything: ");
    registry.faults().clear();
    migrate(&migration).run().succeeds();
}

/// bash drops a SIGINT that comes while it waits for a command which then ends well.
#[test]
fn an_interrupt_that_no_tool_notices_ends_the_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let migration = Migration::new();
    let (before, tool) = (migration.site.state(), migration.folder().join("scar-preflight"));
    std::fs::write(&tool, "#!/bin/sh\nkill -INT $PPID\necho '{\"record\": \"scar-tools/1\"}'\n").unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", migration.folder().display(), scar_kit::binaries().display());
    migrate(&migration).env("PATH", path).run().exits(130).writes_nothing().says("scar-migrate: error: interrupted\n");
    assert_eq!(migration.site.state(), before);
}

/// One line for each part, and no trace; what is not done yet is no failure before the first run.
#[test]
fn status_looks_and_changes_nothing() {
    let migration = Migration::new();
    let status = || migrate(&migration).arg("-q").arg("status").run();
    let outcome = status();
    assert!(outcome.succeeds().stdout().contains("SCAR  "), "{outcome}");
    assert!(!state(&migration).exists());
    migrate(&migration).arg("push").run().succeeds();
    assert!(status().succeeds().stdout().starts_with("tag   in place\n"));
    migrate(&migration).run().succeeds();
    let (before, log) = (migration.site.state(), log(&migration));
    status().succeeds().quiet().prints("tag   in place\nflag  in place\nSCAR  in place\n");
    migration.site.vertex.set_scar(json!({"endpoint": "https://third.example"}));
    let outcome = status();
    assert!(outcome.exits(7).stdout().contains("https://third.example"), "{outcome}");
    assert_eq!(migration.site.state()["jobs"], before["jobs"]);
    assert_eq!(crate::log(&migration), log);
}
