//! The secrets that VerteX hides in an entry's login, and how to give them again.

use scar_kit::{secret, tool};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::vertex::{Masking, RegistryKind, ecr_registry};
use serde_json::{Value, json};

use crate::vertex_site::{Private, Site, push_to};
use crate::{VALIDATE, set, shown_as, without_login};

#[test]
fn r7_what_the_server_hides_is_never_written_back() {
    for masking in [Masking::Masked, Masking::Blank, Masking::Absent] {
        let site = Site::with_registry();
        site.vertex.behave(|b| b.registry_masking = masking);
        let before = site.vertex.registry("r1").unwrap();
        without_login(&site).run().fails(
            2,
            "pack-registry-set: error: keep the login of the entry 'harbor': VerteX does not show 'spec.auth.password', so \
             this write would destroy the login\n\
             pack-registry-set: hint: add: -u 'robot$packs' --password-file FILE\n",
        );
        assert_eq!(site.writes(), [""; 0]);
        let with = |user: &str| without_login(&site).args(["-u", user, "--password-file"]).arg(site.registry_password.path());
        with("robot").run().exits(2).writes_nothing().says("the given user 'robot' is not the entry's 'robot$packs'");
        assert_eq!(site.writes(), [""; 0]);
        with("robot$packs").run().succeeds();
        assert!(site.vertex.registry_login_works("r1"), "{masking:?}");
        assert_eq!(site.vertex.registry("r1").unwrap()["spec"]["x"], before["spec"]["x"]);
        assert_eq!(site.vertex.registry("r1").unwrap()["spec"]["containsSpectroManifest"], true);
    }
}

#[test]
fn r7_a_hidden_password_is_asked_for_if_there_is_a_terminal_and_a_user() {
    let site = Site::with_registry();
    let prompt = "Password for robot$packs at https://harbor.example: ";
    without_login(&site).args(["-u", "robot$packs"]).answer(prompt, "harbor-canary-7\n").run().succeeds();
    assert!(site.vertex.registry_login_works("r1"));
}

#[test]
fn r7_a_wrong_password_is_found_by_validation_before_anything_is_written() {
    let site = Site::with_registry();
    let wrong = Private::new(&secret("wrong-canary-9"));
    let run = without_login(&site).args(["-u", "robot$packs", "--password-file"]).arg(wrong.path());
    run.run().exits(1).writes_nothing().says("OciRegistryInvalidCredentials").says("nothing was changed");
    assert_eq!(site.writes(), [""; 0]);
    assert!(site.vertex.registry_login_works("r1"));
}

#[test]
fn r7_an_ecr_key_pair_is_given_by_files() {
    let site = Site::start();
    let endpoint = "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com";
    let object = ecr_registry("e1", "ecr", endpoint, "AKIAIOSFODNN7EXAMPLE", &secret("ecr-secret-canary"));
    site.vertex.add_registry(RegistryKind::Ecr, object);
    let mut record = site.pushed();
    push_to(&mut record, endpoint);
    let run = || tool("pack-registry-set").record(&record);
    run()
        .run()
        .exits(2)
        .writes_nothing()
        .says("does not show 'spec.credentials.secretKey', so this write")
        .says("hint: add: --access-key-file FILE --secret-key-file FILE\n");
    let (id, other, key) = (Private::new("AKIAIOSFODNN7EXAMPLE\n"), Private::new("AKIAOTHER"), Private::new("ecr-secret-canary"));
    let with = |id: &Private| run().arg("--access-key-file").arg(id.path()).arg("--secret-key-file").arg(key.path());
    with(&other).run().exits(2).writes_nothing().says("the given access key is not the entry's");
    let outcome = with(&id).run();
    outcome.succeeds();
    assert_eq!(outcome.json()["pack_registry"]["kind"], "ecr");
    assert!(site.vertex.registry_login_works("e1"));
    let entry = site.vertex.registry("e1").unwrap();
    assert_eq!(entry["spec"]["replication"]["window"], 9_007_199_254_740_993_u64);
    assert_eq!(entry["spec"]["containsSpectroManifest"], true);
}

#[test]
fn r7_credentials_are_replaced_only_on_request() {
    let site = Site::with_registry();
    let run = || {
        let run = without_login(&site).args(["-u", "other", "--replace-credentials", "--password-file"]);
        run.arg(site.registry_password.path())
    };
    run().run().exits(1).says("OciRegistryInvalidCredentials");
    site.fault(Match::post(VALIDATE), Times::Always, Action::Answer(Answer::status(204)));
    run().run().succeeds();
    assert_eq!(site.vertex.registry("r1").unwrap()["spec"]["auth"]["username"], "other");
}

/// All ways in which a site hides a password.
#[test]
fn r7_every_kind_of_mask_is_recognized() {
    let hide = |value: Value| move |entry: &mut Value| entry["spec"]["auth"]["password"] = value.clone();
    for mask in [json!("******"), json!("••••••"), json!("<hidden>"), json!("REDACTED"), json!("__masked__"), json!(null)]
    {
        let site = Site::with_registry();
        shown_as(&site, hide(mask.clone()));
        without_login(&site).run().exits(2).writes_nothing().says("VerteX does not show 'spec.auth.password'");
        assert_eq!(site.writes(), [""; 0], "{mask}");
        set(&site).run().succeeds();
        assert!(site.vertex.registry_login_works("r1"), "{mask}");
    }
    let site = Site::with_registry();
    shown_as(&site, |entry| drop(entry["spec"].as_object_mut().unwrap().remove("auth")));
    set(&site).run().exits(2).writes_nothing().says("VerteX hides 'spec.auth'").says("no option gives this field");
    assert_eq!(site.writes(), [""; 0]);
}

/// A role has no secret; an entry with roles is written back as it is.
#[test]
fn r7_an_ecr_entry_with_a_role_needs_no_key() {
    let endpoint = "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com";
    for credentials in [
        json!({"credentialType": "sts", "sts": {"arn": "arn:aws:iam::123456789012:role/packs", "externalId": "x"}}),
        json!({"credentialType": "pod-identity", "podIdentity": {"roleArn": "arn:aws:iam::123456789012:role/packs"}}),
    ] {
        let site = Site::start();
        let mut object = ecr_registry("e1", "ecr", endpoint, "", "");
        object["spec"]["credentials"] = credentials.clone();
        site.vertex.add_registry(RegistryKind::Ecr, object);
        let mut record = site.pushed();
        push_to(&mut record, endpoint);
        tool("pack-registry-set").record(&record).run().succeeds();
        let entry = site.vertex.registry("e1").unwrap();
        assert_eq!((&entry["spec"]["credentials"], &entry["spec"]["containsSpectroManifest"]), (&credentials, &json!(true)));
    }
}
