//! The entry as on real sites: a CA without key, several on one host, endpoints with a path; and reading the right one.

use scar_kit::{secret, tool};
use scar_lab::certs::Certs;
use scar_lab::faults::Match;
use scar_lab::vertex::{RegistryKind, basic_registry};
use serde_json::{Value, json};

use crate::vertex_site::{Private, REGISTRY_PASSWORD, Site, push_to};
use crate::{ENTRY, set, shown_as, without_login};

/// A case in `tests/suites/reference/vertex`, from public documentation and clients of the platform.
fn case(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// VerteX with this entry, whose masked secrets are given here.
fn with_entry(kind: RegistryKind, mut entry: Value, secrets: &[(&str, &str)]) -> Site {
    let site = Site::start();
    for (pointer, value) in secrets {
        *entry.pointer_mut(pointer).unwrap() = json!(value);
    }
    site.vertex.add_registry(kind, entry);
    site
}

#[test]
fn q40_an_entry_as_an_ova_install_leaves_it_keeps_its_ca_and_needs_no_key() {
    let case = case(include_str!("../../reference/vertex/entry-after-ova-install.json"));
    let mut entry = case["GET /v1/registries/oci/a1/basic"].clone();
    entry["spec"]["auth"]["tls"]["certificate"] = json!(Certs::new(&["vertex.example"]).ca_pem());
    let site = with_entry(RegistryKind::Basic, entry.clone(), &[("/spec/auth/password", REGISTRY_PASSWORD)]);
    let mut record = site.pushed();
    push_to(&mut record, "vertex.example");
    record["artifact"]["reference"] = json!("vertex.example/spectro-packs/spectro-manifests/manifest:0.0.0");
    let without = without_login(&site).record(&record).run();
    without.exits(2).writes_nothing().says("hint: add: -u admin --password-file FILE\n").never_says("key");
    let run = without_login(&site).record(&record).args(["-u", "admin", "--password-file"]);
    run.arg(site.registry_password.path()).run().succeeds();
    let now = site.vertex.registry("a1").unwrap();
    assert_eq!(now["spec"]["auth"]["tls"], entry["spec"]["auth"]["tls"]);
    assert_eq!(now["spec"]["containsSpectroManifest"], true);
    assert!(site.vertex.registry_login_works("a1"));
}

#[test]
fn q40_an_ecr_entry_with_a_ca_and_static_keys_needs_the_keys_alone() {
    let case = case(include_str!("../../reference/vertex/entry-ecr-static-keys.json"));
    let mut entry = case["GET /v1/registries/oci/e1/ecr"].clone();
    entry["spec"]["tls"]["certificate"] = json!(Certs::new(&["ecr.example"]).ca_pem());
    let key = secret("abc+ecr-secret-canary/def");
    let site = with_entry(RegistryKind::Ecr, entry.clone(), &[("/spec/credentials/secretKey", &key)]);
    let mut record = site.pushed();
    push_to(&mut record, "123456789012.dkr.ecr.us-east-1.amazonaws.com");
    let run = || tool("pack-registry-set").record(&record);
    run().run().exits(2).writes_nothing().says("hint: add: --access-key-file FILE --secret-key-file FILE\n");
    let (id, key) = (Private::new("AKIAEXAMPLEEXAMPLE00"), Private::new(&key));
    run().arg("--access-key-file").arg(id.path()).arg("--secret-key-file").arg(key.path()).run().succeeds();
    let now = site.vertex.registry("e1").unwrap();
    assert_eq!((&now["spec"]["tls"], &now["spec"]["containsSpectroManifest"]), (&entry["spec"]["tls"], &json!(true)));
    assert!(site.vertex.registry_login_works("e1"));
}

/// A key is only required if VerteX masks one.
#[test]
fn q40_a_masked_key_is_given_by_its_option() {
    let site = Site::with_registry();
    let key = secret("-----BEGIN PRIVATE KEY-----\nY2FuYXJ5LWtleQ==\n-----END PRIVATE KEY-----\n");
    site.vertex.edit_registry("r1", |entry| entry["spec"]["auth"]["tls"]["key"] = json!(key));
    set(&site).run().exits(2).writes_nothing().says("'spec.auth.tls.key'").says("hint: add: --tls-key-file FILE\n");
    let file = Private::new(&key);
    set(&site).arg("--tls-key-file").arg(file.path()).run().succeeds();
    assert_eq!(site.vertex.registry("r1").unwrap()["spec"]["auth"]["tls"]["key"], key);
}

#[test]
fn q42_of_two_entries_on_one_host_the_one_for_the_artifact_is_chosen() {
    let case = case(include_str!("../../reference/vertex/two-entries-one-host.json"));
    let site = Site::start();
    for entry in case["entries"].as_array().unwrap() {
        let mut entry = entry.clone();
        entry["spec"]["auth"]["password"] = json!(REGISTRY_PASSWORD);
        entry["spec"]["auth"]["username"] = json!("robot$packs");
        site.vertex.add_registry(RegistryKind::Basic, entry);
    }
    assert_eq!(set(&site).run().succeeds().json()["pack_registry"]["uid"], "a1");
    assert_eq!((site.vertex.registry_writes("a1").0, site.vertex.registry_writes("a2").0), (1, 0));
    let mut record = site.pushed();
    record["artifact"]["repository"] = json!("our-packs/spectro-manifests/manifest");
    record["artifact"]["reference"] = json!("harbor.example/our-packs/spectro-manifests/manifest:0.0.0");
    assert_eq!(set(&site).record(&record).run().succeeds().json()["pack_registry"]["uid"], "a2");
    // Without an artifact nothing selects one of the two.
    let session = json!({"record": "scar-tools/1", "session": site.session()});
    let run = set(&site).record(&session).args(["--registry", "harbor.example"]);
    run.run().exits(2).writes_nothing().says("2 entries match:\n  --uid a1").says("--uid a2");
    record["artifact"]["repository"] = json!("other/spectro-manifests/manifest");
    record["artifact"]["reference"] = json!("harbor.example/other/spectro-manifests/manifest:0.0.0");
    set(&site).record(&record).run().fails(
        7,
        "pack-registry-set: error: find the pack registry at 'harbor.example': no entry has the artifact's repository \
         'other/spectro-manifests/manifest':\n  \
         --uid a1 (name 'spectro-packs', endpoint 'https://harbor.example', provider 'pack'): looks in \
         'spectro-packs/spectro-manifests/manifest'\n  \
         --uid a2 (name 'our-packs', endpoint 'https://harbor.example', provider 'pack'): looks in \
         'our-packs/spectro-manifests/manifest'\n\
         pack-registry-set: hint: push the archive to one of these repositories, or correct an entry's base content path in the console\n",
    );
}

/// `public.ecr.aws/ALIAS`, or a Harbor project in the address: the endpoint's path is a part of the repository.
#[test]
fn q42_an_endpoint_may_have_a_path_and_no_scheme() {
    for (endpoint, base) in [
        ("harbor.example", "spectro-packs"),
        ("https://harbor.example/spectro-packs", ""),
        ("harbor.example/spectro-packs/", "/"),
        ("Harbor.example:443", "/spectro-packs/"),
    ] {
        let site = Site::start();
        for (uid, base) in [("r1", base), ("r2", "our-packs")] {
            let mut entry = basic_registry(uid, uid, endpoint, "robot$packs", REGISTRY_PASSWORD);
            entry["spec"]["baseContentPath"] = json!(base);
            site.vertex.add_registry(RegistryKind::Basic, entry);
        }
        assert_eq!(set(&site).run().succeeds().json()["pack_registry"]["uid"], "r1", "{endpoint} {base}");
    }
}

#[test]
fn q10_an_answer_of_another_entry_than_the_listed_one_is_a_mismatch() {
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 4] = [
        (|entry| entry["metadata"]["uid"] = json!("r9"), "the answer has the uid 'r9', not 'r1'"),
        (|entry| drop(entry["metadata"].as_object_mut().unwrap().remove("uid")), "the answer has the uid '', not 'r1'"),
        (
            |entry| entry["spec"]["endpoint"] = json!("https://other.example"),
            "the answer has the endpoint 'https://other.example', not 'https://harbor.example'",
        ),
        (|entry| *entry = json!({"code": "Busy", "message": "later"}), "the answer is not a pack registry"),
    ];
    for (change, says) in changes {
        let site = Site::with_registry();
        shown_as(&site, change);
        set(&site).run().exits(7).writes_nothing().says(&format!("read the pack registry 'harbor': {says}"));
        assert_eq!(site.server.log().count(&Match::put(ENTRY)), 0);
        assert_eq!(site.writes(), [""; 0]);
    }
}

/// A changed record must not write the login into another registry's entry.
#[test]
fn q20_a_record_of_another_registry_than_the_named_one_is_refused() {
    let site = Site::with_registry();
    let mut record = site.pushed();
    push_to(&mut record, "other.example");
    for name in ["OCI_PACK_REGISTRY", "ECR_PACK_REGISTRY"] {
        let run = set(&site).record(&record).env(name, "harbor.example/packs");
        run.run()
            .exits(5)
            .writes_nothing()
            .says("the record names this registry, but the environment names 'harbor.example/packs'\n");
    }
    assert_eq!(site.server.log().connections(), 0);
    set(&site).env("OCI_PACK_REGISTRY", "harbor.example:443").run().succeeds();
}
