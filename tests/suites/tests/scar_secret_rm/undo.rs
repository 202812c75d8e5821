//! The way back: the secret from its backup, and what is never touched.

use std::collections::BTreeMap;

use scar_lab::faults::{Action, Match, Times};
use scar_suites::KubeSite;
use serde_json::Value;

use crate::{NAME, NAMESPACE, is_there, requests, site, tool, uid};

fn data(site: &KubeSite) -> Value {
    site.cluster.object("secrets", NAMESPACE, NAME).expect("the secret is there")["data"].clone()
}

/// Also where the answer to the request is lost, and as often as it is run.
#[test]
fn a_secret_comes_back_from_its_backup() {
    for lost in [false, true] {
        let site = site();
        let before = data(&site);
        let backup = site.folder().join("secret.json");
        let undo = || tool(&site).arg("--undo").arg(&backup);
        let record = tool(&site).arg("--backup").arg(&backup).run().succeeds().json();
        undo().arg("--dry-run").run().succeeds().says("would make secret ").says("anew as 'FOLDER/secret.json' holds it\n");
        assert!(!is_there(&site));
        if lost {
            site.server.faults().on(Match::post("/api/v1/namespaces/*/secrets"), Times::First(1), Action::LoseReply);
        }
        let outcome = undo().record(&record).run();
        outcome.succeeds().says("is as it was, from 'FOLDER/secret.json'\n").prints("{\"record\":\"scar-tools/1\"}\n");
        assert_eq!(data(&site), before);
        let uid = uid(&site);
        undo().run().succeeds().says("is there, as in its backup\n");
        assert_eq!(crate::uid(&site), uid);
    }
}

#[test]
fn what_the_platform_has_made_anew_stays_also_when_undone() {
    let site = site();
    let backup = site.folder().join("secret.json");
    tool(&site).arg("--backup").arg(&backup).run().succeeds();
    site.cluster.put_secret(NAMESPACE, NAME, BTreeMap::from([("endpoint".to_owned(), b"new".to_vec())]));
    let uid = uid(&site);
    tool(&site).arg("--undo").arg(&backup).run().succeeds().says(&format!("was made anew (uid {uid}, at "));
    assert_eq!(crate::uid(&site), uid);
}

#[test]
fn an_undo_of_something_else_is_refused_before_anything_is_sent() {
    let site = site();
    let backup = site.folder().join("secret.json");
    let undo = || tool(&site).arg("--undo").arg(&backup);
    undo().run().exits(2).says("read the backup 'FOLDER/secret.json': no such file");
    std::fs::write(&backup, "{}").unwrap();
    undo().run().exits(2).says("it is no backup of secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system'");
    undo().arg("--must-exist").run().exits(2).says("cannot be used with");
    assert_eq!(requests(&site), Vec::<String>::new());
}
