//! VerteX: login, version, setting and pack registry. F1: each prerequisite missing, one at a time.

use scar_kit::find_secrets;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::site::{PACK_REGISTRY, SiteOptions};
use scar_lab::vertex::{RegistryKind, ecr_registry};
use scar_suites::new_record;
use serde_json::{Value, json};

use crate::rig::{Rig, but, is_blocked, lines, nobody, says, skipped};

const AFTER_LOGIN: [&str; 4] = ["platform.version", "platform.scar", "platform.pack-registry", "platform.flag"];

#[test]
fn f1_vertex_is_not_reached() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--endpoint", Some(&format!("https://{}", nobody())))]);
    is_blocked(
        &rig,
        &outcome,
        "platform.reached",
        &skipped(&[&["platform.login"], &AFTER_LOGIN[..]].concat()),
        "connection refused",
    );
}

#[test]
fn f1_vertex_is_not_trusted() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--vertex-ca-file", None)]);
    is_blocked(
        &rig,
        &outcome,
        "platform.reached",
        &skipped(&[&["platform.login"], &AFTER_LOGIN[..]].concat()),
        "--vertex-ca-file",
    );
}

#[test]
fn f1_vertex_refuses_the_password_which_is_tried_once() {
    let rig = Rig::new();
    rig.migration.site.vertex.behave(|behaviour| behaviour.password = "another".into());
    let outcome = rig.run();
    is_blocked(&rig, &outcome, "platform.login", &skipped(&AFTER_LOGIN), "Invalid");
    assert_eq!(rig.migration.site.vertex.login_attempts(), 1);
}

#[test]
fn f1_the_password_file_is_missing() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--vertex-password-file", Some("no-such-file"))]);
    is_blocked(&rig, &outcome, "platform.login", &skipped(&AFTER_LOGIN), "no-such-file");
}

#[test]
fn f1_vertex_is_too_old() {
    let rig = Rig::new();
    rig.migration.site.vertex.behave(|behaviour| behaviour.version = "4.5.9".into());
    is_blocked(&rig, &rig.run(), "platform.version", &[], "4.5.9 is older than 4.5.15");
}

#[test]
fn f1_the_scar_setting_may_not_be_read() {
    let rig = Rig::new();
    let answer = Answer::json(403, &json!({"code": "Forbidden", "message": "not for you", "details": null, "ref": ""}));
    rig.migration.site.vertex_server.faults().on(Match::get("/v1/system/config/scar"), Times::Always, Action::Answer(answer));
    is_blocked(&rig, &rig.run(), "platform.scar", &[], "not for you");
}

#[test]
fn f1_there_is_no_entry_for_the_registry() {
    let rig = Rig::new();
    let answer = Answer::json(200, &json!({"items": []}));
    rig.migration.site.vertex_server.faults().on(Match::get("/v1/registries/oci/summary"), Times::Always, Action::Answer(answer));
    is_blocked(&rig, &rig.run(), "platform.pack-registry", &skipped(&["platform.flag"]), "add the pack registry for");
}

#[test]
fn f1_the_entrys_base_path_is_another() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--base-path", Some("other"))]);
    is_blocked(&rig, &outcome, "platform.pack-registry", &skipped(&["platform.flag"]), "other/spectro-manifests/manifest");
}

/// What pack-registry-set would be refused for: the right password is asked for by VerteX, which tries it.
#[test]
fn f1_vertex_cannot_use_the_entrys_login() {
    let rig = Rig::new();
    let (user, file) = (rig.migration.setting("OCI_USERNAME"), rig.migration.folder().join("wrong"));
    std::fs::write(&file, "another-password").unwrap();
    let outcome = rig.run_with(&[("--pack-registry-username", Some(&user)), ("--pack-registry-password-file", file.to_str())]);
    is_blocked(&rig, &outcome, "platform.flag", &[], "VerteX cannot use the registry with this login");
}

#[test]
fn f1_two_entries_are_meant() {
    let rig = Rig::new();
    let vertex = &rig.migration.site.vertex;
    let mut second = vertex.registry(PACK_REGISTRY).unwrap();
    second["metadata"]["uid"] = json!("65f1a2b3c4d5e6f708192a3f");
    vertex.add_registry(RegistryKind::Basic, second);
    is_blocked(&rig, &rig.run(), "platform.pack-registry", &skipped(&["platform.flag"]), "choose one with --pack-registry-uid");
    let outcome = rig.run_with(&[("--pack-registry-uid", Some(PACK_REGISTRY))]);
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
}

#[test]
fn the_session_of_the_record_takes_the_place_of_a_login() {
    let rig = Rig::new();
    let session = rig.migration.tool("vertex-login").record(&new_record()).run().succeeds().json();
    scar_kit::secret(session["session"]["authorization"].as_str().unwrap());
    let vertex = &rig.migration.site.vertex;
    let attempts = vertex.login_attempts();
    let without =
        [("--vertex-password-file", None), ("--vertex-username", None), ("--endpoint", None), ("--vertex-ca-file", None)];
    let outcome = rig.call(&without).record(&session).run();
    let record = outcome.succeeds().json();
    assert_eq!((lines(&outcome.stderr()), vertex.login_attempts()), (but(&[]), attempts), "{outcome}");
    assert_eq!(record["session"], session["session"]);
    says(&outcome, "the session of the record, of 'admin'");

    vertex.expire_tokens();
    let outcome = rig.call(&without).record(&session).run();
    outcome.exits(3);
    says(&outcome, "log in again: vertex-login");
    assert_eq!(lines(&outcome.stderr())["platform.login"], "blocked", "{outcome}");

    let elsewhere = rig.call(&[("--endpoint", Some("https://other.example"))]).record(&session).run();
    elsewhere.exits(5).writes_nothing().says("the session: it is for ");
}

#[test]
fn without_a_password_and_a_terminal_the_login_is_skipped() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--vertex-password-file", None)]);
    let skipped = ["platform.login", "platform.version", "platform.scar", "platform.pack-registry", "platform.flag"];
    let expected: Vec<_> = skipped.iter().map(|name| (*name, "skipped")).collect();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&expected), "{outcome}");
    assert_eq!(rig.migration.site.vertex.login_attempts(), 0);
    rig.run_with(&[("--vertex-password-file", None), ("--only", Some("platform"))]).exits(2).writes_nothing();
}

#[test]
fn on_a_terminal_the_password_is_asked_for_once() {
    let rig = Rig::new();
    let password = std::fs::read_to_string(rig.migration.setting("VERTEX_PASSWORD_FILE")).unwrap();
    let outcome = rig.call(&[("--vertex-password-file", None)]).answer("Password for admin at", &password).run();
    outcome.succeeds();
    assert_eq!((lines(&outcome.stderr()), rig.migration.site.vertex.login_attempts()), (but(&[]), 1), "{outcome}");
    assert!(find_secrets(outcome.screen().as_bytes()).is_empty());
}

#[test]
fn palette_needs_the_same_version() {
    let rig = Rig::new();
    rig.migration.site.vertex.behave(|behaviour| behaviour.version = "4.5.13".into());
    let outcome = rig.run();
    outcome.exits(3);
    says(&outcome, "4.5.13 is older than 4.5.15");
    let outcome = rig.call(&[]).arg("--palette").run();
    outcome.exits(3);
    assert_eq!(lines(&outcome.stderr()), but(&[("platform.version", "blocked")]), "{outcome}");
}

#[test]
fn q41_a_masked_login_that_is_not_at_hand_blocks() {
    let rig = Rig::on(SiteOptions { replicas: 2, ..SiteOptions::default() });
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
    says(&outcome, "its password is not shown: an undo will ask for it");
    says(&outcome, "specman-0 is ready, specman-1 is ready");
    let outcome =
        rig.run_with(&[("--only", Some("platform")), ("--registry-username", None), ("--registry-password-file", None)]);
    assert_eq!(lines(&outcome.exits(3).stderr())["platform.flag"], "blocked", "{outcome}");
    says(&outcome, "add: --pack-registry-username 'robot$packs' --pack-registry-password-file FILE");
}

/// What pack-registry-set takes must not block here.
#[test]
fn the_key_of_an_entrys_certificate_is_taken_as_pack_registry_set_takes_it() {
    let rig = Rig::new();
    let key = "-----BEGIN PRIVATE KEY-----\nkept as it is\n-----END PRIVATE KEY-----\n";
    scar_kit::secret(key);
    rig.migration.site.vertex.edit_registry(PACK_REGISTRY, |entry| entry["spec"]["auth"]["tls"]["key"] = json!(key));
    let outcome = rig.run();
    assert_eq!(lines(&outcome.exits(3).stderr())["platform.flag"], "blocked", "{outcome}");
    says(&outcome, "add: --pack-registry-tls-key-file FILE");
    let file = rig.migration.folder().join("entry.key");
    std::fs::write(&file, key).unwrap();
    let outcome = rig.run_with(&[("--pack-registry-tls-key-file", file.to_str())]);
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
}

/// Amazon EKS writes the identity into a pod when the pod is made, so that a pod from before the association has none.
#[test]
fn an_entry_with_pod_identity_needs_pods_that_have_it() {
    let rig = Rig::new();
    let host = rig.migration.setting("OCI_PACK_REGISTRY");
    let mut entry = ecr_registry("e1", "ecr", &host, "", "");
    entry["spec"]["credentials"] = json!({"credentialType": "pod-identity", "podIdentity": {"roleArn": "arn:aws:iam::1:role/x"}});
    rig.migration.site.vertex.add_registry(RegistryKind::Ecr, entry);
    let run = || rig.run_with(&[("--pack-registry-uid", Some("e1"))]);
    let outcome = run();
    says(&outcome, "not set yet; the entry uses pod identity, which specman-0 lacks");
    says(&outcome, "service account spectro-specman");
    let associated = |pod: &mut Value| {
        let uri = "http://169.254.170.23/v1/credentials";
        pod["spec"]["containers"][0]["env"] = json!([{"name": "AWS_CONTAINER_CREDENTIALS_FULL_URI", "value": uri}]);
    };
    assert!(rig.migration.site.cluster.edit("pods", "hubble-system", "specman-0", associated));
    says(&run(), "Specman's pods have the pod identity that the entry uses");
}
