//! Restoring a saved entry: only the flag, with the login that VerteX masks, and read back.

use scar_kit::{Run, tool};
use scar_lab::faults::{Action, Answer, Match, Times};
use serde_json::json;

use crate::vertex_site::{Private, Site};
use crate::{ENTRY, set};

struct Rig {
    site: Site,
    folder: tempfile::TempDir,
}

impl Rig {
    /// The flag is set, and the old entry is saved.
    fn new() -> Self {
        let rig = Self { site: Site::with_registry(), folder: tempfile::tempdir().unwrap() };
        set(&rig.site).arg("--backup").arg(rig.file()).run().succeeds();
        rig.site.server.log().clear();
        rig
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("entry.json")
    }

    fn flag(&self) -> bool {
        self.site.vertex.registry("r1").unwrap()["spec"]["containsSpectroManifest"] == true
    }

    fn without_login(&self, site: &Site) -> Run {
        let record = json!({"record": "scar-tools/1", "session": site.session()});
        tool("pack-registry-set").record(&record).arg("--undo").arg(self.file()).called(site.url(), "[VERTEX]")
    }

    fn undo(&self) -> Run {
        let run = self.without_login(&self.site).args(["-u", "robot$packs", "--password-file"]);
        run.arg(self.site.registry_password.path())
    }
}

#[test]
fn undo_sets_the_flag_back_and_a_second_one_writes_nothing() {
    let rig = Rig::new();
    let outcome = rig.undo().run();
    outcome.succeeds().says("the flag of 'harbor' is false now");
    assert_eq!(outcome.json()["pack_registry"]["contains_spectro_manifest"], false);
    assert!(!rig.flag() && rig.site.vertex.registry_login_works("r1"));
    rig.without_login(&rig.site).run().succeeds().says("the flag of 'harbor' is false already");
    assert_eq!(rig.site.writes().len(), 1);
}

#[test]
fn undo_needs_the_masked_login_again_and_a_dry_run_says_what_it_would_do() {
    let rig = Rig::new();
    rig.without_login(&rig.site).run().exits(2).writes_nothing().says("hint: add: -u 'robot$packs' --password-file FILE");
    rig.undo().arg("--dry-run").run().succeeds().says("would change spec.containsSpectroManifest: true -> false");
    assert!(rig.flag() && rig.site.writes().is_empty());
}

#[test]
fn undo_leaves_what_else_was_changed_since() {
    let rig = Rig::new();
    rig.site.vertex.edit_registry("r1", |entry| entry["spec"]["basePath"] = json!("/new"));
    rig.undo().run().succeeds().says("changed since the backup, and left as it is: spec.basePath: (empty) -> '/new'");
    assert_eq!(rig.site.vertex.registry("r1").unwrap()["spec"]["basePath"], "/new");
    assert!(!rig.flag());
}

#[test]
fn undo_is_for_the_same_vertex_and_the_same_registry() {
    let rig = Rig::new();
    let elsewhere = Site::with_registry();
    rig.without_login(&elsewhere).run().exits(5).writes_nothing().says("the backup is of '");
    assert!(elsewhere.requests().is_empty());
    rig.site.vertex.edit_registry("r1", |entry| entry["spec"]["endpoint"] = json!("https://other.example"));
    let outcome = rig.undo().run();
    outcome.exits(7).says("its endpoint was 'https://harbor.example', and is 'https://other.example'");
    outcome.says("--uid r1 --contains-spectro-manifests=false");
    let gone = Answer::json(200, &json!({"items": []}));
    rig.site.fault(Match::get("/v1/registries/oci/summary"), Times::Always, Action::Answer(gone));
    rig.undo().run().exits(3).says("the entry is gone, and its flag with it: nothing is left to undo");
    assert!(rig.site.writes().is_empty());
}

#[test]
fn undo_fails_if_the_flag_reads_back_differently() {
    let rig = Rig::new();
    rig.site.fault(Match::put(ENTRY), Times::Always, Action::Answer(Answer::status(204)));
    rig.undo().run().exits(7).writes_nothing().says("VerteX confirmed the write, but the flag reads true");
}

#[test]
fn undo_reads_its_file_before_anything_else() {
    let rig = Rig::new();
    for text in ["", "{}", r#"{"backup":"scar-tools/1 pack-registry"}"#, r#"{"backup":"scar-tools/1 pack-registry","entry":{}}"#]
    {
        let file = Private::new(text);
        let run = tool("pack-registry-set").arg("--undo").arg(file.path());
        run.run().exits(2).writes_nothing().says("read the backup '").says("the file that pack-registry-set --backup FILE wrote");
    }
    rig.undo().args(["--name", "harbor"]).run().exits(2).says("cannot be used with");
    assert!(rig.site.requests().is_empty());
}
