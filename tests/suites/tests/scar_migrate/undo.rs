//! Undo, from any point of a run, and from the middle of an undo.

use std::time::Duration;

use scar_kit::Signal;
use scar_lab::faults::{Action, Match, Times};
use scar_lab::site::{OLD_SCAR, PACK_REGISTRY, REPOSITORY, SECRET};
use scar_suites::{Migration, STAGES};
use serde_json::{Value, json};

use crate::{migrate, server, state};

/// A site whose tag holds an older artifact.
fn pushed_before() -> Migration {
    let migration = Migration::new();
    migration.site.registry.as_ref().unwrap().seed(REPOSITORY, "0.0.0", b"\x1f\x8bof an earlier release");
    migration
}

/// What undo restores: everything but the jobs and what the platform has created.
fn brought_back(migration: &Migration) -> Value {
    let state = migration.site.state();
    let tag = migration.site.registry.as_ref().unwrap().store().tag(REPOSITORY, "0.0.0");
    json!({"scar": state["scar"], "pack_registry": state["pack_registry"], "tag": tag, "secret": state["secret"]["present"]})
}

fn data(migration: &Migration) -> Value {
    let secret = migration.site.cluster.object("secrets", "hubble-system", SECRET);
    secret.map(|secret| secret["data"].clone()).unwrap_or_default()
}

/// Runs until a stage's first output, and kills everything.
fn run_until(migration: &Migration, next: &str) {
    let mut running = migrate(migration).start();
    running.until(next);
    if !running.is_over() {
        running.signal_group(Signal::KILL);
    }
    running.wait();
}

#[test]
fn f5_undo_after_every_stage_leads_back_to_the_state_before() {
    for next in STAGES.into_iter().chain(["scar-migrate: record: "]) {
        let migration = pushed_before();
        let (before, secret) = (brought_back(&migration), data(&migration));
        run_until(&migration, next);
        let flagged = state(&migration).join("backup/pack-registry.json").exists();
        let outcome = migrate(&migration).arg("undo").run();
        outcome.succeeds();
        assert_eq!(brought_back(&migration), before, "stopped at {next}\n{outcome}");
        if !flagged {
            assert_eq!(data(&migration), secret, "stopped at {next}\n{outcome}");
        }
        migrate(&migration).arg("undo").run().succeeds().says("nothing to undo: '[STATE]' holds no backup\n");
    }
}

#[test]
fn f5_an_undo_that_is_killed_anywhere_is_run_again() {
    for (moment, held) in [
        ("vertex-login: logged in", Some(("vertex", Match::put("/v1/system/config/scar")))),
        ("scar-set: ", Some(("vertex", Match::put("/v1/registries/**")))),
        ("scar-secret-rm: ", Some(("registry", Match::put("/v2/**")))),
    ] {
        let migration = pushed_before();
        let before = brought_back(&migration);
        migrate(&migration).run().succeeds();
        // The request succeeds, but its answer is lost.
        if let Some((name, request)) = &held {
            server(&migration, name).faults().on(request.clone(), Times::First(1), Action::Delay(Duration::from_millis(300)));
        }
        let mut running = migrate(&migration).arg("undo").start();
        running.until(moment);
        std::thread::sleep(Duration::from_millis(150));
        if !running.is_over() {
            running.signal_group(Signal::KILL);
        }
        running.wait();
        migrate(&migration).arg("undo").run().succeeds();
        assert_eq!(brought_back(&migration), before, "killed at {moment}");
    }
}

/// A run after it ends like the run before it.
#[test]
fn f5_a_run_an_undo_and_a_run_end_where_the_first_run_did() {
    let migration = Migration::new();
    let comparable = |migration: &Migration| {
        let mut state = migration.site.state();
        state["secret"]["uid"] = Value::Null;
        state["jobs"] = Value::Null;
        state
    };
    let start = brought_back(&migration);
    let first = migrate(&migration).run().succeeds().json();
    let after = comparable(&migration);
    let undone = migrate(&migration).arg("undo").run();
    undone.succeeds().says("undone; the backups are in '[STATE]/undone-").says("sync jobs that have run change no setting\n");
    let mut expected = start;
    // A tag that did not exist before stays, and ocipush says so.
    undone.says("did not exist before; it stays: ");
    expected["tag"] = brought_back(&migration)["tag"].clone();
    assert_eq!(brought_back(&migration), expected);
    assert_eq!(migration.site.state()["scar"]["endpoint"], OLD_SCAR);
    let second = migrate(&migration).run().succeeds().json();
    assert_eq!(comparable(&migration), after);
    for section in ["archive", "pack_registry", "scar"] {
        let without = |record: &Value| {
            let mut section = record[section].clone();
            section.as_object_mut().unwrap().remove("backup");
            section
        };
        assert_eq!(without(&second), without(&first), "{section}");
    }
}

/// A migration that is run in the middle of an undo completes, and can still be undone.
#[test]
fn f5_a_run_in_the_middle_of_an_undo_goes_forward_again() {
    let migration = pushed_before();
    let before = brought_back(&migration);
    migrate(&migration).run().succeeds();
    migration.site.cluster.remove("secrets", "hubble-system", SECRET);
    let mut running = migrate(&migration).arg("undo").start();
    running.until("scar-secret-rm: restored ");
    running.signal_group(Signal::KILL);
    running.wait();
    migrate(&migration).run().succeeds().says("scar-secret-rm: deleted ");
    migrate(&migration).arg("undo").run().succeeds();
    assert_eq!(brought_back(&migration), before);
}

#[test]
fn undo_asks_shows_and_needs_no_more_than_it_undoes() {
    let migration = pushed_before();
    migrate(&migration).arg("push").run().succeeds();
    let pushed = brought_back(&migration);
    let undo = || crate::at(&migration, &state(&migration)).arg("undo");
    undo().run().exits(2).says("no terminal to ask on before the site is changed");
    undo().arg("--dry-run").run().succeeds().says("ocipush: would move the tag ");
    assert_eq!(brought_back(&migration), pushed);
    let outcome = undo().stderr_terminal().answer("Go on? [y/N] ", "y\n").run();
    outcome.succeeds();
    assert!(outcome.screen().contains("What was done is taken back, from the backups in "), "{outcome}");
    assert_ne!(brought_back(&migration), pushed);
    assert_eq!(migration.site.vertex_server.log().requests().len(), 0);
}

/// Each stage takes only the options that its tool has for what it does, in every phase.
#[test]
fn runs_looks_and_undoes_with_every_setting_set() {
    let migration = pushed_before();
    let before = brought_back(&migration);
    let reference = format!("{}/{REPOSITORY}:0.0.0", migration.setting("OCI_PACK_REGISTRY"));
    let archive = migration.folder().join("elsewhere.tgz");
    let phase = |name: &str| {
        let settings = [
            ("SCAR_REFERENCE", reference.as_str()),
            ("SCAR_ARCHIVE", archive.to_str().unwrap()),
            ("SCAR_SETTLE", "20s"),
            ("SCAR_VERIFY", "report"),
            ("OCI_TRUST_REALM", "auth.example"),
            ("OCI_INSECURE", "no"),
            ("PACK_REGISTRY_UID", PACK_REGISTRY),
            ("PACK_REGISTRY_USERNAME", &migration.setting("OCI_USERNAME")),
            ("PACK_REGISTRY_PASSWORD_FILE", &migration.setting("OCI_PASSWORD_FILE")),
            ("KUBE_CONTEXT", "lab"),
            ("SPECMAN_TIMEOUT", "2m"),
        ];
        let run = settings.into_iter().fold(migrate(&migration), |run, (key, value)| run.env(key, value));
        if name.is_empty() { run } else { run.arg(name) }
    };
    phase("preflight").run().succeeds();
    phase("").run().succeeds();
    assert_ne!(brought_back(&migration), before);
    phase("status").run().succeeds();
    phase("undo").run().succeeds();
    assert_eq!(brought_back(&migration), before);
}
