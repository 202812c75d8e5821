//! Two hosts: one sees the file server and the registry, the other the cluster and the console. A file goes between.

use std::path::{Path, PathBuf};

use scar_kit::Run;
use scar_lab::site::REPOSITORY;
use scar_suites::Migration;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::script;

/// A host with a HOME of its own, and only those settings of the site that begin so.
fn host(migration: &Migration, home: &Path, kinds: &[&str]) -> Run {
    let settings = migration.site.environment();
    let settings = settings.iter().filter(|(key, _)| kinds.iter().any(|kind| key.starts_with(kind)));
    let lines: Vec<_> = settings.map(|(key, value)| format!("{key}={value}\n")).collect();
    std::fs::write(home.join("site.conf"), lines.concat()).unwrap();
    script().args(["-c", "site.conf"]).home(home).env("SCAR_SETTLE", "5s").called(home.display(), "[HOST]")
}

fn push(migration: &Migration, home: &Path) -> Run {
    host(migration, home, &["OCI_"]).arg("push").env("SCAR_CONTENT", migration.tree())
}

fn cutover(migration: &Migration, home: &Path) -> Run {
    host(migration, home, &["VERTEX_", "KUBECONFIG", "SPECMAN_", "OCI_USERNAME", "OCI_PASSWORD", "OCI_CA"])
        .args(["--yes", "cutover"])
}

fn state(home: &Path) -> PathBuf {
    home.join(".local/state/scar-tools")
}

#[test]
fn a_record_file_is_all_that_goes_from_one_host_to_the_other() {
    let (migration, one, other) = (Migration::new(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let outcome = push(&migration, one.path()).run();
    let pushed =
        outcome.succeeds().says("scar-migrate cutover push.json, with [HOST]/.local/state/scar-tools/push.json\n").json();
    outcome.never_says("vertex-login").never_says("step 2 of 9");
    std::fs::copy(state(one.path()).join("push.json"), other.path().join("push.json")).unwrap();
    // Neither the tree nor the archive is there any more.
    std::fs::remove_dir_all(migration.tree()).unwrap();
    std::fs::remove_dir_all(one.path().join(".local")).unwrap();
    let outcome = cutover(&migration, other.path()).arg("push.json").run();
    let record = outcome.succeeds().never_says("step 3 of 9").never_says("step 4 of 9").json();
    for section in ["preflight", "secret", "archive", "artifact", "pack_registry", "specman", "verified", "scar"] {
        assert!(record.get(section).is_some(), "{section}\n{outcome}");
    }
    assert_eq!(record["artifact"], pushed["artifact"]);
    assert!(record["verified"]["source"].as_str().unwrap().contains(REPOSITORY), "{outcome}");
    assert!(!state(other.path()).join("manifests.tgz").exists());
    assert!(migration.site.state()["scar"]["endpoint"].as_str().unwrap().contains("specman-service"));
    // The record is there now: another run needs no operand, and finds all done.
    cutover(&migration, other.path()).run().succeeds().never_says(" of 9, ");
}

#[test]
fn phases_on_one_host_are_the_whole() {
    let (migration, home) = (Migration::new(), TempDir::new().unwrap());
    let whole = || host(&migration, home.path(), &[""]).arg("--yes").env("SCAR_CONTENT", migration.tree());
    whole().arg("preflight").run().succeeds().says("step 1 of 9").never_says("step 2 of 9");
    whole().arg("push").run().succeeds();
    let record = whole().run().succeeds().never_says("step 4 of 9").json();
    for section in ["secret", "archive", "artifact", "pack_registry", "specman", "verified", "scar"] {
        assert!(record.get(section).is_some(), "{section}\n{record}");
    }
}

#[test]
fn a_record_that_will_not_do_is_refused_before_anything_is_asked() {
    let (migration, home) = (Migration::new(), TempDir::new().unwrap());
    let file = home.path().join("push.json");
    for (record, message) in [
        (json!({"record": "scar-tools/1", "session": {}, "artifact": {}}), "take the record 'push.json': it holds a session"),
        (json!({"record": "scar-tools/1"}), "take the record 'push.json': it tells of no push"),
        (Value::Null, "read the record 'push.json': no readable file"),
    ] {
        let _ = std::fs::remove_file(&file);
        if record != Value::Null {
            std::fs::write(&file, record.to_string()).unwrap();
        }
        let outcome = cutover(&migration, home.path()).arg("push.json").run();
        outcome.exits(2).says(&format!("scar-migrate: error: {message}\n"));
    }
    cutover(&migration, home.path()).run().exits(2).says("no record of a push in '[HOST]/.local/state/scar-tools'");
    assert_eq!(migration.site.requests(), Vec::<String>::new());
}

#[test]
fn what_is_no_longer_on_the_tag_is_not_cut_over_to() {
    let (migration, one, other) = (Migration::new(), TempDir::new().unwrap(), TempDir::new().unwrap());
    push(&migration, one.path()).run().succeeds();
    let before = migration.site.state()["secret"].clone();
    migration.site.registry.as_ref().unwrap().seed(REPOSITORY, "0.0.0", b"something else");
    let record = state(one.path()).join("push.json");
    let outcome = cutover(&migration, other.path()).arg(&record).run();
    outcome.exits(7).says("cut over to what was pushed: the tag holds something else, or is gone\n");
    assert_eq!(migration.site.state()["secret"], before);
}
