//! Restoring the secret from its backup, and what is never touched.

use std::collections::BTreeMap;
use std::time::Duration;

use scar_lab::faults::{Action, Match, Times};
use scar_suites::KubeSite;
use serde_json::{Value, json};

use crate::{NAME, NAMESPACE, is_there, requests, site, tool, uid};

fn data(site: &KubeSite) -> Value {
    site.cluster.object("secrets", NAMESPACE, NAME).expect("the secret is there")["data"].clone()
}

/// Also if the answer is lost, and if it is run several times.
#[test]
fn a_secret_comes_back_from_its_backup() {
    for lost in [false, true] {
        let site = site();
        let before = data(&site);
        let backup = site.folder().join("secret.json");
        let undo = || tool(&site).arg("--undo").arg(&backup);
        let record = scar_suites::written(tool(&site).arg("--backup").arg(&backup).run().succeeds());
        undo().arg("--dry-run").run().succeeds().says("would restore secret ").says(" from 'FOLDER/secret.json'\n");
        assert!(!is_there(&site));
        if lost {
            site.server.faults().on(Match::post("/api/v1/namespaces/*/secrets"), Times::First(1), Action::LoseReply);
        }
        let outcome = undo().record(&record).run();
        outcome
            .succeeds()
            .says("restored secret ")
            .says(" from 'FOLDER/secret.json'\n")
            .prints("{\"record\":\"scar-tools/1\"}\n");
        assert_eq!(data(&site), before);
        let uid = uid(&site);
        undo().run().succeeds().says("has the content of its backup already\n");
        assert_eq!(crate::uid(&site), uid);
    }
}

#[test]
fn a_secret_that_the_platform_has_made_stays_also_when_undone() {
    let site = site();
    let backup = site.folder().join("secret.json");
    tool(&site).arg("--backup").arg(&backup).run().succeeds();
    site.cluster.put_secret(NAMESPACE, NAME, BTreeMap::from([("endpoint".to_owned(), b"new".to_vec())]));
    let uid = uid(&site);
    tool(&site).arg("--undo").arg(&backup).run().succeeds().says(&format!("stays: the platform has made it since (uid {uid}, "));
    assert_eq!(crate::uid(&site), uid);
}

#[test]
fn an_undo_of_something_else_is_refused_before_anything_is_sent() {
    let site = site();
    let backup = site.folder().join("secret.json");
    let undo = || tool(&site).arg("--undo").arg(&backup);
    undo().run().exits(2).says("read the backup 'FOLDER/secret.json': no such file");
    std::fs::write(&backup, "{}").unwrap();
    undo().run().exits(2).says("it is not a backup of secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system'");
    undo().arg("--must-exist").run().exits(2).says("cannot be used with");
    assert_eq!(requests(&site), Vec::<String>::new());
}

/// As the platform's operator creates it: with an owner, which the garbage collector checks at once.
#[test]
fn q73_a_secret_is_restored_without_owners_that_do_not_exist() {
    for (place, kept) in [("gone", false), ("made again", false), ("there", true)] {
        let site = site();
        let owner = |uid: &Value| json!({"apiVersion": "v1", "kind": "Service", "name": "operator", "uid": uid});
        let service = || site.cluster.put("services", NAMESPACE, "operator", json!({"spec": {}}))["metadata"]["uid"].clone();
        let uid = service();
        site.cluster.edit("secrets", NAMESPACE, NAME, |secret| secret["metadata"]["ownerReferences"] = json!([owner(&uid)]));
        tool(&site).args(["--backup", "b.json"]).run().succeeds();
        if place != "there" {
            site.cluster.remove("services", NAMESPACE, "operator");
        }
        if place == "made again" {
            service();
        }
        let outcome = tool(&site).args(["--undo", "b.json"]).run();
        outcome.succeeds();
        let words = "scar-secret-rm: warning: the owner of secret ";
        if kept {
            outcome.never_says(words)
        } else {
            outcome.says(words).says("Service 'operator', no longer exists or cannot be read")
        };
        let secret = site.cluster.object("secrets", NAMESPACE, NAME).unwrap();
        assert_eq!(secret["metadata"].get("ownerReferences").is_some(), kept, "{place}");
        // The pipe may be run again, because this secret is not the platform's.
        tool(&site).args(["--backup", "b.json"]).run().succeeds();
        assert!(!is_there(&site), "{place}");
    }
}

/// If something deletes it again, the tool does not claim success.
#[test]
fn q73_a_secret_that_does_not_stay_is_a_failure() {
    let site = site();
    tool(&site).args(["--backup", "b.json"]).run().succeeds();
    let running = tool(&site).args(["--undo", "b.json"]).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.last().is_some_and(|r| r.method == "GET")
        && all.iter().any(|r| r.method == "POST")));
    site.cluster.remove("secrets", NAMESPACE, NAME);
    running.wait().exits(7).writes_nothing().says("it was written, and now it is gone again\n");
}

#[test]
fn q75_an_undo_in_a_namespace_that_is_being_deleted_says_so() {
    let site = site();
    let backup = site.folder().join("secret.json");
    tool(&site).arg("--backup").arg(&backup).run().succeeds();
    let deleted = |namespace: &mut Value| namespace["metadata"]["deletionTimestamp"] = "2024-12-06T12:00:00Z".into();
    assert!(site.cluster.edit("namespaces", "", NAMESPACE, |namespace| {
        deleted(namespace);
        namespace["metadata"]["finalizers"] = serde_json::json!(["lab.example/hold"]);
    }));
    let outcome = tool(&site).arg("--undo").arg(&backup).run();
    outcome.exits(1).writes_nothing().says("look for namespace 'hubble-system': it is being deleted\n");
    outcome.says("kubectl get namespace hubble-system -o yaml");
    outcome.never_says("policy").never_says("Role");
}
