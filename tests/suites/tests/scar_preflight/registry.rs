//! The registry: login, repository, tag and push. F1: each prerequisite missing, one at a time.

use scar_kit::{docker_registry, tool};
use scar_lab::certs::Certs;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::registry::{LabRegistry, RegistryOptions};
use scar_lab::server::Listener;
use scar_suites::Migration;
use serde_json::json;

use crate::rig::{self, Rig, but, is_blocked, lines, says, skipped};

const AFTER_REGISTRY: [&str; 4] = ["registry.repository", "registry.tag", "registry.push", "registry.limit"];

/// The reference is another then, so the entry of VerteX is not looked for.
#[test]
fn f1_the_registry_is_not_reached() {
    let rig = Rig::new();
    rig.migration.site.registry.as_ref().unwrap().faults().on(Match::any("/**"), Times::Always, Action::Reset);
    is_blocked(&rig, &rig.run(), "registry.reached", &skipped(&[&["registry.login"], &AFTER_REGISTRY[..]].concat()), "hint: ");
}

#[test]
fn f1_the_registry_is_not_trusted() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--registry-ca-file", None)]);
    is_blocked(
        &rig,
        &outcome,
        "registry.reached",
        &skipped(&[&["registry.login"], &AFTER_REGISTRY[..]].concat()),
        "--registry-ca-file",
    );
}

#[test]
fn f1_the_registry_refuses_the_login() {
    let rig = Rig::new();
    let file = rig.migration.folder().join("wrong");
    std::fs::write(&file, "another-password").unwrap();
    let (user, right) = (rig.migration.setting("OCI_USERNAME"), rig.migration.setting("OCI_PASSWORD_FILE"));
    // The entry's login is its own, so that its flag is no second line.
    let outcome = rig.run_with(&[
        ("--registry-password-file", file.to_str()),
        ("--pack-registry-username", Some(&user)),
        ("--pack-registry-password-file", Some(&right)),
    ]);
    is_blocked(&rig, &outcome, "registry.login", &skipped(&AFTER_REGISTRY), "401");
}

#[test]
fn f1_there_is_no_login_for_the_registry() {
    let rig = Rig::new();
    let (user, file) = (rig.migration.setting("OCI_USERNAME"), rig.migration.setting("OCI_PASSWORD_FILE"));
    // The entry's login is its own, so that its flag is no second line.
    let outcome = rig.run_with(&[
        ("--registry-username", None),
        ("--registry-password-file", None),
        ("--pack-registry-username", Some(&user)),
        ("--pack-registry-password-file", Some(&file)),
    ]);
    is_blocked(&rig, &outcome, "registry.login", &skipped(&AFTER_REGISTRY), "this host has none for it");
}

fn refuse(rig: &Rig, matches: Match) {
    let answer = Answer::json(403, &json!({"errors": [{"code": "DENIED", "message": "requested access is denied"}]}));
    rig.migration.site.registry.as_ref().unwrap().faults().on(matches, Times::Always, Action::Answer(answer));
}

#[test]
fn f1_there_is_no_project() {
    let rig = Rig::new();
    refuse(&rig, Match::get("/v2/**/tags/list"));
    refuse(&rig, Match::post("/v2/**/blobs/uploads/"));
    is_blocked(&rig, &rig.run(), "registry.repository", &skipped(&["registry.tag", "registry.push"]), "there is no project");
}

/// ocipush never lists tags, so that a user who may not do that can push.
#[test]
fn tags_that_may_not_be_listed_block_nothing() {
    let rig = Rig::new();
    refuse(&rig, Match::get("/v2/**/tags/list"));
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("registry.repository", "warning")]), "{outcome}");
    says(&outcome, "its tags may not be listed");
}

#[test]
fn f1_the_tag_cannot_be_read() {
    let rig = Rig::new();
    rig.migration.site.registry.as_ref().unwrap().faults().on(
        Match::get("/v2/**/manifests/0.0.0"),
        Times::Always,
        Action::Answer(Answer::status(403)),
    );
    is_blocked(&rig, &rig.run(), "registry.tag", &[], "403");
}

#[test]
fn f1_a_push_is_not_allowed() {
    for (status, code, part) in
        [(403, "DENIED", "may not push"), (404, "NAME_UNKNOWN", "create the project"), (401, "UNAUTHORIZED", "may not push")]
    {
        let rig = Rig::new();
        let answer = Answer::json(status, &json!({"errors": [{"code": code, "message": "not here"}]}));
        let answer = if status == 401 { answer.header("www-authenticate", "Basic realm=\"x\"") } else { answer };
        rig.migration.site.registry.as_ref().unwrap().faults().on(
            Match::post("/v2/**/blobs/uploads/"),
            Times::Always,
            Action::Answer(answer),
        );
        is_blocked(&rig, &rig.run(), "registry.push", &[], part);
    }
}

/// A token of a robot that pushes may not hold the right to delete; then the registry ends the upload by itself.
#[test]
fn an_upload_that_cannot_be_cancelled_is_reported_and_blocks_nothing() {
    let rig = Rig::new();
    rig.migration.site.registry.as_ref().unwrap().faults().on(
        Match::delete("/v2/**/blobs/uploads/*"),
        Times::Always,
        Action::Answer(Answer::status(403)),
    );
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
    says(&outcome, "the registry itself will");
}

#[test]
fn a_certificate_that_ends_soon_is_reported() {
    let certs = Certs::new(&[]);
    let listener = Listener::tls(certs.ending_soon().server_config());
    let registry = LabRegistry::start(RegistryOptions { listener, ..RegistryOptions::default() });
    let folder = tempfile::TempDir::new().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certs.ca_pem()).unwrap();
    let run = tool("scar-preflight").args(["--only", "registry", "--reference", &registry.authority()]);
    let outcome = run.arg("--registry-ca-file").arg(&ca).run();
    assert_eq!(lines(&outcome.succeeds().stderr())["network.certificates"], "warning", "{outcome}");
    says(&outcome, &format!("{} ends at ", registry.authority()));
    says(&outcome, "none is asked for");
}

/// Debian's registry with Basic, and two Specmans.
#[test]
fn debians_registry_is_found_ready_and_keeps_no_upload() {
    let Some(registry) = docker_registry() else { return };
    let rig = Rig { migration: Migration::on_docker(&registry) };
    rig::age(&rig.migration.tree());
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
    says(&outcome, "allowed: an upload was opened, and cancelled");
    let log = registry.log();
    assert!(log.iter().any(|line| line.contains("DELETE") && line.contains("/blobs/uploads/")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("\"PUT ") || line.contains("\"PATCH ")), "{log:#?}");
}

/// A host's own login files serve, and the line names the one that won.
#[test]
fn the_registrys_login_is_named_with_its_source() {
    let rig = Rig::new();
    let password = std::fs::read_to_string(rig.migration.setting("OCI_PASSWORD_FILE")).unwrap();
    let pair = base64(&format!("robot$packs:{}", password.trim_end()));
    scar_kit::secret(&pair);
    let file = rig.migration.folder().join("config.json");
    let auths = json!({"auths": {rig.migration.setting("OCI_PACK_REGISTRY"): {"auth": pair}}});
    std::fs::write(&file, auths.to_string()).unwrap();
    let (user, password_file) = (rig.migration.setting("OCI_USERNAME"), rig.migration.setting("OCI_PASSWORD_FILE"));
    let without = [
        ("--registry-username", None),
        ("--registry-password-file", None),
        ("--registry-config", file.to_str()),
        ("--pack-registry-username", Some(&*user)),
        ("--pack-registry-password-file", Some(&*password_file)),
    ];
    let outcome = rig.run_with(&without);
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
    says(&outcome, "user 'robot$packs' from '");
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
