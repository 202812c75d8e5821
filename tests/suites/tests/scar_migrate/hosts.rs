//! Two hosts: one reaches the file server and the registry, the other the cluster and the console. The record travels
//! between them.

use std::path::{Path, PathBuf};

use scar_kit::{Run, bash, workspace};
use scar_lab::site::REPOSITORY;
use scar_suites::Migration;
use serde_json::json;
use tempfile::TempDir;

use crate::script;

/// A host with its own HOME, and only the site's settings with these prefixes.
fn host(migration: &Migration, home: &Path, kinds: &[&str]) -> Run {
    configure(migration, home, kinds);
    script().args(["-c", "site.conf"]).home(home).env("SCAR_SETTLE", "5s").called(home.display(), "[HOST]")
}

fn configure(migration: &Migration, home: &Path, kinds: &[&str]) {
    let settings = migration.site.environment();
    let settings = settings.iter().filter(|(key, _)| kinds.iter().any(|kind| key.starts_with(kind)));
    let lines: Vec<_> = settings.map(|(key, value)| format!("{key}={value}\n")).collect();
    std::fs::write(home.join("site.conf"), lines.concat()).unwrap();
}

const CONSOLE: [&str; 5] = ["VERTEX_", "KUBECONFIG", "SPECMAN_", "PACK_", "OCI_"];

fn push(migration: &Migration, home: &Path) -> Run {
    host(migration, home, &["OCI_"]).arg("push").env("SCAR_CONTENT", migration.tree())
}

fn cutover(migration: &Migration, home: &Path) -> Run {
    host(migration, home, &CONSOLE).args(["--yes", "cutover"])
}

fn state(home: &Path) -> PathBuf {
    home.join(".local/state/scar-tools")
}

#[test]
fn a_record_file_is_all_that_goes_from_one_host_to_the_other() {
    let (migration, one, other) = (Migration::new(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let outcome = push(&migration, one.path()).run();
    let pushed = outcome.succeeds().says("with [HOST]/.local/state/scar-tools/push.json\n").json();
    outcome.never_says("vertex-login").never_says("scar-secret-rm");
    std::fs::copy(state(one.path()).join("push.json"), other.path().join("push.json")).unwrap();
    // Tree and archive no longer exist.
    std::fs::remove_dir_all(migration.tree()).unwrap();
    std::fs::remove_dir_all(one.path().join(".local")).unwrap();
    let outcome = cutover(&migration, other.path()).arg("push.json").run();
    let record = outcome.succeeds().never_says("ocipush: pushed").json();
    for section in ["preflight", "secret", "archive", "artifact", "pack_registry", "specman", "verified", "scar"] {
        assert!(record.get(section).is_some(), "{section}\n{outcome}");
    }
    assert_eq!(record["artifact"]["digest"], pushed["artifact"]["digest"]);
    assert!(record["verified"]["source"].as_str().unwrap().contains(REPOSITORY), "{outcome}");
    assert!(!state(other.path()).join("manifests.tgz").exists());
    assert!(migration.site.state()["scar"]["endpoint"].as_str().unwrap().contains("specman-service"));
    // Running it again changes nothing.
    cutover(&migration, other.path()).arg("push.json").run().succeeds();
}

/// The other host compares with the layer in the registry, whose certificate is not checked there either.
#[test]
fn a_registry_that_is_not_checked_is_not_checked_on_the_other_host() {
    let (migration, one, other) = (Migration::new(), TempDir::new().unwrap(), TempDir::new().unwrap());
    push(&migration, one.path()).run().succeeds();
    let run = cutover(&migration, other.path()).arg(state(one.path()).join("push.json"));
    let config = other.path().join("site.conf");
    let settings = std::fs::read_to_string(&config).unwrap();
    let settings = settings.lines().filter(|line| !line.starts_with("OCI_CA_FILE")).map(|line| format!("{line}\n"));
    std::fs::write(&config, settings.collect::<String>() + "OCI_INSECURE=true\n").unwrap();
    assert_eq!(run.run().succeeds().json()["verified"]["different"], 0);
}

/// As over ssh, which passes on standard input: `push | ssh other scar-migrate cutover --yes`.
#[test]
fn the_record_goes_through_a_pipe_as_well() {
    let (migration, one, other) = (Migration::new(), TempDir::new().unwrap(), TempDir::new().unwrap());
    configure(&migration, one.path(), &["OCI_"]);
    configure(&migration, other.path(), &CONSOLE);
    let script = format!(
        "cd {one} && HOME={one} SCAR_CONTENT={tree} {migrate} -c site.conf push |
           (cd {other} && HOME={other} SCAR_SETTLE=5s {migrate} -c site.conf cutover --yes)",
        one = one.path().display(),
        other = other.path().display(),
        tree = migration.tree().display(),
        migrate = workspace().join("shell/scar-migrate").display(),
    );
    let outcome = bash(&script).run();
    assert!(outcome.succeeds().json().get("scar").is_some());
    assert!(state(other.path()).join("record.json").exists() && state(one.path()).join("push.json").exists());
    // After a failure on the first host, the second does nothing.
    let outcome = bash(&script.replace("SCAR_CONTENT=", "SCAR_CONTENT=/nonexistent")).run();
    outcome.exits(2).says("scar-migrate: error: not run: the stage before it wrote no record\n");
}

#[test]
fn phases_on_one_host_are_the_whole() {
    let (migration, home) = (Migration::new(), TempDir::new().unwrap());
    let whole = || host(&migration, home.path(), &[""]).arg("--yes").env("SCAR_CONTENT", migration.tree());
    whole().arg("preflight").run().succeeds().says("scar-preflight: ").never_says("ocipush: pushed");
    whole().arg("push").run().succeeds();
    let record = whole().run().succeeds().says("holds this archive already").json();
    for section in ["secret", "archive", "artifact", "pack_registry", "specman", "verified", "scar"] {
        assert!(record.get(section).is_some(), "{section}\n{record}");
    }
}

#[test]
fn an_unusable_record_is_refused_before_anything_is_changed() {
    let (migration, home) = (Migration::new(), TempDir::new().unwrap());
    let before = migration.site.state();
    let given = home.path().join("given.json");
    std::fs::write(&given, json!({"record": "scar-tools/1"}).to_string()).unwrap();
    cutover(&migration, home.path()).arg("given.json").run().exits(3).writes_nothing().says("the registry has no such tag");
    cutover(&migration, home.path()).arg("none.json").run().exits(2).says("read the record 'none.json'\n");
    let words = "scar-migrate: error: not run: the stage before it wrote no record\n";
    cutover(&migration, home.path()).run().fails(2, words);
    assert_eq!(migration.site.state(), before);
}

#[test]
fn f4_does_not_cut_over_to_what_the_tag_no_longer_holds() {
    let (migration, one, other) = (Migration::new(), TempDir::new().unwrap(), TempDir::new().unwrap());
    push(&migration, one.path()).run().succeeds();
    let before = migration.site.state()["secret"].clone();
    migration.site.registry.as_ref().unwrap().seed(REPOSITORY, "0.0.0", b"something else");
    let outcome = cutover(&migration, other.path()).arg(state(one.path()).join("push.json")).run();
    outcome.exits(7).says("scar-migrate: error: ocipush --adopt ended with status 7; nothing was changed\n");
    assert_eq!(migration.site.state()["secret"], before);
}
