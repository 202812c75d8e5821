//! The tag's old content is saved before it moves, and restored.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use scar_kit::{Run, tool};
use scar_lab::faults::{Action, Answer, Match, Times};

use crate::{REPOSITORY, Site, bytes, record};

fn file(site: &Site) -> PathBuf {
    site.folder.path().join("tag.json")
}

fn push(site: &Site, size: usize) -> Run {
    site.ocipush(site.archive(size)).arg("--backup").arg(file(site))
}

fn undo(site: &Site) -> Run {
    let run = tool("ocipush").args(["--plain-http", "--new-record", "--retry-max-wait", "20ms", "--undo"]).arg(file(site));
    run.called(site.registry.port(), "PORT").called(site.folder.path().display(), "[DIR]")
}

/// However often it was pushed since, even by a run that was cut off before its manifest.
#[test]
fn the_tag_holds_again_what_it_held_byte_for_byte() {
    let site = Site::plain();
    let old = site.registry.seed(REPOSITORY, "0.0.0", &bytes(10));
    let (_, before) = site.registry.store().manifest(REPOSITORY, "0.0.0").unwrap();
    push(&site, 20).run().succeeds();
    let mode = std::fs::metadata(file(&site)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let fault =
        site.registry.faults().on(Match::put("/v2/**/manifests/0.0.0"), Times::Always, Action::Answer(Answer::status(403)));
    push(&site, 30).run().exits(4);
    drop(fault);
    site.registry.faults().clear();
    push(&site, 40).run().succeeds();
    let tag = format!("127.0.0.1:PORT/{REPOSITORY}:0.0.0");
    undo(&site).arg("--dry-run").run().succeeds().reports(&format!("ocipush: would move the tag '{tag}' back to '{old}'\n"));
    assert_ne!(site.tag().unwrap(), old);
    let outcome = undo(&site).run();
    outcome.succeeds().reports(&format!("ocipush: '{tag}' holds '{old}' again\n")).prints("{\"record\":\"scar-tools/1\"}\n");
    let (_, after) = site.registry.store().manifest(REPOSITORY, "0.0.0").unwrap();
    assert_eq!((after.bytes, after.media_type), (before.bytes, before.media_type));
    undo(&site).run().succeeds().reports(&format!("ocipush: '{tag}' holds '{old}' already, as before\n"));
}

#[test]
fn a_tag_that_was_not_there_stays_and_is_named() {
    let site = Site::plain();
    for size in [20, 30] {
        push(&site, size).run().succeeds();
    }
    let pushed = site.tag().unwrap();
    undo(&site).run().succeeds().reports(&format!(
        "ocipush: warning: '127.0.0.1:PORT/{REPOSITORY}:0.0.0' did not exist before; it stays: delete it in the registry if you want it gone\n"
    ));
    assert_eq!(site.tag().unwrap(), pushed);
}

#[test]
fn a_later_push_of_someone_else_is_not_undone() {
    let site = Site::plain();
    site.registry.seed(REPOSITORY, "0.0.0", &bytes(10));
    push(&site, 20).run().succeeds();
    let foreign = site.registry.seed(REPOSITORY, "0.0.0", &bytes(30));
    undo(&site).run().fails(
        7,
        &format!(
            "ocipush: error: restore '127.0.0.1:PORT/{REPOSITORY}:0.0.0': the tag holds '{foreign}', which is not what was \
             pushed; it was left alone\n\
             ocipush: hint: something else was pushed since: check the repository, and move the tag by hand if you want that\n"
        ),
    );
    assert_eq!(site.tag().unwrap(), foreign);
}

/// A backup that cannot be written stops the push before anything is sent.
#[test]
fn a_backup_of_something_else_is_refused() {
    let site = Site::plain();
    for (text, says) in [
        ("{}", "it has no field \"backup\": \"scar-tools/1 tag\""),
        (
            r#"{"backup":"scar-tools/1 tag","reference":"r.example/a:1","replaced_by":[]}"#,
            "it is a backup of 'r.example/a:1', not of",
        ),
    ] {
        std::fs::write(file(&site), text).unwrap();
        push(&site, 20).run().exits(2).writes_nothing().says(says);
    }
    undo(&site).arg(site.registry.authority()).run().exits(2).says("cannot be used with");
    std::fs::remove_file(file(&site)).unwrap();
    undo(&site).run().exits(2).says("read the backup '[DIR]/tag.json': ");
    site.ocipush(site.archive(20)).args(["--backup", "/no/folder/tag.json"]).run().exits(2).says("its folder is not there");
    assert_eq!(site.registry.log().connections(), 0);
}

/// What a later run checks first: whether the tag still holds what the record says.
#[test]
fn q20_adopt_compares_with_the_records_artifact_of_the_same_reference() {
    let site = Site::plain();
    let pushed = site.bare().record(&record(&site.archive(20))).run();
    let pushed: serde_json::Value = serde_json::from_slice(pushed.succeeds().stdout_bytes()).unwrap();
    let adopt = |pushed: &serde_json::Value| site.bare().arg("--adopt").record(pushed);
    let again = adopt(&pushed).run().succeeds().stdout();
    assert!(again.contains("\"uploaded\":false"), "{again}");
    let foreign = site.registry.seed(REPOSITORY, "0.0.0", &bytes(30));
    assert_ne!(pushed["artifact"]["digest"], foreign);
    adopt(&pushed).run().exits(7).says("its layer is");
    let mut bare = pushed.clone();
    bare.as_object_mut().unwrap().remove("archive");
    adopt(&bare).run().exits(7).says("its layer is");
    bare.as_object_mut().unwrap().remove("artifact");
    adopt(&bare).run().succeeds();
    site.registry.log().clear();
    // The record never names the host, because the login would follow.
    for options in [&["--adopt"][..], &["--adopt", "-u", "robot"]] {
        tool("ocipush").args(options).record(&pushed).run().exits(2).writes_nothing().says("no REFERENCE is given");
    }
    assert_eq!(site.registry.log().connections(), 0);
}
