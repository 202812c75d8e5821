//! The happy path: what is pushed, printed and recorded.

use scar_kit::{docker_registry, peer, program, tool};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::registry::RegistryOptions;
use serde_json::json;

use crate::{REPOSITORY, Site, bytes, digest, record};

/// An archive, and its manifest made by ORAS v1.0.0.
fn reference(name: &str) -> std::path::PathBuf {
    scar_kit::workspace().join("tests/suites/reference/oras-1.0.0").join(name)
}

#[test]
fn the_manifest_is_that_of_oras_byte_for_byte() {
    let site = Site::plain();
    let outcome = site.bare().arg(reference("manifests.tgz")).arg("--new-record").run();
    outcome.succeeds().reports(&format!("ocipush: pushed '127.0.0.1:PORT/{REPOSITORY}:0.0.0'\n"));
    let (_, manifest) = site.registry.store().manifest(REPOSITORY, "0.0.0").unwrap();
    assert_eq!(manifest.bytes, std::fs::read(reference("manifest.json")).unwrap());
    assert_eq!(manifest.media_type, "application/vnd.oci.image.manifest.v1+json");
}

#[test]
fn the_records_archive_is_pushed_and_the_section_added() {
    let site = Site::plain();
    let path = site.archive(70_000);
    let outcome = site.bare().args(["--plain-http"]).record(&record(&path)).run();
    outcome.succeeds();
    let mut expected = record(&path);
    let pushed_at = outcome.json()["artifact"]["pushed_at"].clone();
    expected["artifact"] = json!({
        "reference": format!("127.0.0.1:{}/{REPOSITORY}:0.0.0", site.registry.port()),
        "registry": site.registry.authority(), "repository": REPOSITORY, "tag": "0.0.0",
        "digest": site.tag().unwrap(), "layer": digest(&bytes(70_000)), "size": 70_000,
        "created": "2024-12-06T12:43:14Z", "pushed_at": pushed_at, "uploaded": true,
    });
    assert_eq!(
        outcome.stdout(),
        format!("{expected}\n")
            .replace(&site.registry.port().to_string(), "PORT")
            .replace(&site.folder.path().display().to_string(), "[DIR]")
    );
    assert!(pushed_at.as_str().unwrap() > "2026");
    assert_eq!(site.registry.store().blob(REPOSITORY, &digest(&bytes(70_000))).unwrap(), bytes(70_000));
}

#[test]
fn p37_a_second_push_sends_no_body_byte() {
    let site = Site::plain();
    let path = site.archive(70_000);
    let first = site.ocipush(&path).run();
    first.succeeds();
    site.registry.log().clear();
    let second = site.ocipush(&path).env("SOURCE_DATE_EPOCH", "1800000000").run();
    second
        .succeeds()
        .reports(&format!("ocipush: '127.0.0.1:PORT/{REPOSITORY}:0.0.0' holds this archive already; nothing was sent\n"));
    assert_eq!(site.registry.log().body_bytes(), 0);
    assert_eq!(site.registry.log().count(&Match::post("/**")) + site.registry.log().count(&Match::put("/**")), 0);
    let artifact = &second.json()["artifact"];
    assert_eq!(artifact["uploaded"], false);
    assert_eq!(artifact.get("pushed_at"), None);
    assert_eq!(artifact["digest"], first.json()["artifact"]["digest"]);
}

#[test]
fn p36_an_existing_blob_is_not_sent_again() {
    let site = Site::plain();
    let path = site.archive(70_000);
    site.registry.store().put_blob(REPOSITORY, &bytes(70_000));
    site.ocipush(&path).run().succeeds().says("the registry has the layer");
    assert!(site.registry.log().body_bytes() < 5000);
}

#[test]
fn what_the_tag_held_before_is_reported_as_replaced() {
    let site = Site::plain();
    site.ocipush(site.archive(10)).run().succeeds();
    let before = site.tag().unwrap();
    let outcome = site.ocipush(site.archive(20)).run();
    outcome.succeeds().says(&format!("the tag held '{before}' before"));
    assert_eq!(outcome.json()["artifact"]["replaced"], before);
    assert_ne!(site.tag().unwrap(), before);
    assert_eq!(site.registry.store().tags(REPOSITORY), ["0.0.0"], "no other tag: Specman would sync it");
}

#[test]
fn an_archive_on_standard_input_is_pushed_without_a_record() {
    let site = Site::plain();
    let outcome = site.bare().arg("-").stdin(bytes(3_000_000)).run();
    outcome.succeeds();
    assert_eq!(outcome.json()["artifact"]["layer"], digest(&bytes(3_000_000)));
    assert_eq!(outcome.json().as_object().unwrap().len(), 2);
}

#[test]
fn a_dry_run_asks_and_changes_nothing() {
    let site = Site::plain();
    let path = site.archive(10);
    let outcome = site.ocipush(&path).arg("--dry-run").run();
    let layer = digest(&bytes(10));
    outcome.succeeds().prints("{\"record\":\"scar-tools/1\",\"dry_run\":true}\n");
    assert!(outcome.stderr().starts_with(&format!(
        "ocipush: would send '[DIR]/manifests-10.tgz' as the layer '{layer}', 10 bytes, titled 'manifests.tgz'\n\
         ocipush: would push the manifest 'sha256:"
    )));
    let asked = site.registry.log().requests();
    assert!(!asked.is_empty() && asked.iter().all(|request| request.method == "GET" || request.method == "HEAD"));
    site.ocipush(&path).run().succeeds();
    site.ocipush(&path).arg("--dry-run").run().succeeds().says("would send nothing:");
}

#[test]
fn the_record_of_a_dry_run_needs_no_archive() {
    let site = Site::plain();
    let record = json!({"record": "scar-tools/1", "dry_run": true});
    let outcome = site.bare().record(&record).run();
    outcome.succeeds().prints(&format!("{record}\n"));
    outcome.reports(&format!(
        "ocipush: would push the archive that mkmanifests would write to '127.0.0.1:PORT/{REPOSITORY}:0.0.0'\n"
    ));
}

#[test]
fn adopt_takes_what_another_tool_pushed() {
    let site = Site::plain();
    site.bare().args(["--adopt", "--new-record"]).run().fails(
        3,
        &format!(
            "ocipush: error: adopt '127.0.0.1:PORT/{REPOSITORY}:0.0.0': the registry has no such tag\n\
             ocipush: hint: push it: run this again without --adopt\n"
        ),
    );
    let held = site.registry.seed(REPOSITORY, "0.0.0", &bytes(10));
    let outcome = site.bare().arg("--adopt").record(&record(&site.archive(10))).run();
    outcome.succeeds();
    let artifact = &outcome.json()["artifact"];
    assert_eq!((&artifact["digest"], &artifact["uploaded"]), (&json!(held), &json!(false)));
    assert_eq!((&artifact["created"], artifact.get("pushed_at")), (&json!("2024-12-06T12:00:00Z"), None));
    site.bare().arg("--adopt").record(&record(&site.archive(20))).run().exits(7).says("its layer is").writes_nothing();
    site.bare().args(["--adopt", "--new-record", "--title", "x.tgz"]).run().exits(7).says("its layer's title is 'manifests.tgz'");
}

#[test]
fn a_layout_is_what_skopeo_takes() {
    let site = Site::plain();
    let outcome = site.ocipush(site.archive(70_000)).args(["--oci-layout", "layout"]).folder(site.folder.path()).run();
    outcome.succeeds().says("skopeo copy oci:layout:0.0.0 docker://127.0.0.1:PORT/");
    assert_eq!(site.registry.log().connections(), 0);
    site.ocipush(site.archive(70_000))
        .args(["--oci-layout", "layout"])
        .folder(site.folder.path())
        .run()
        .exits(2)
        .says("not empty");
    let Some(skopeo) = peer("skopeo") else { return };
    let goal = format!("docker://{}/{REPOSITORY}:0.0.0", site.registry.authority());
    let copy = program(skopeo).args(["--insecure-policy", "copy", "--dest-tls-verify=false", "oci:layout:0.0.0", &goal]);
    copy.folder(site.folder.path()).run().succeeds();
    site.ocipush(site.archive(70_000)).run().succeeds().says("holds this archive already");
}

#[test]
fn debians_registry_and_skopeo_agree() {
    let (Some(registry), Some(skopeo)) = (docker_registry(), peer("skopeo")) else { return };
    let site = Site::plain();
    let path = site.archive(3_000_000);
    let goal = format!("{}/a/b:v1", registry.authority());
    let push = || {
        let run = tool("ocipush").args([&goal, path.to_str().unwrap(), "--new-record", "-u", registry.username()]);
        run.arg("--password-file").arg(registry.password_file()).arg("--ca-file").arg(registry.ca_file())
    };
    let outcome = push().run();
    outcome.succeeds();
    let artifact = outcome.json()["artifact"].clone();
    assert_eq!(artifact["reference"], goal.as_str());
    assert_eq!(registry.get(&format!("/v2/a/b/blobs/{}", artifact["layer"].as_str().unwrap())).body, bytes(3_000_000));
    let beside = |name: &str, text: &str| {
        std::fs::write(site.folder.path().join(name), text).unwrap();
        site.folder.path().join(name)
    };
    beside("ca.crt", registry.ca_pem());
    let login = beside("auth.json", &registry.login_json());
    let inspect = program(skopeo).args(["inspect", "--raw", "--cert-dir"]).arg(site.folder.path()).arg("--authfile").arg(&login);
    let inspected = inspect.arg(format!("docker://{goal}")).run();
    inspected.succeeds();
    assert_eq!(digest(inspected.stdout().as_bytes()), artifact["digest"].as_str().unwrap());
    let again = push().run();
    again.succeeds().says("nothing was sent");
    let chunked = tool("ocipush").args([format!("{}/a/c:v1", registry.authority()), path.display().to_string()]);
    let chunked = chunked.args(["--new-record", "--chunk-size", "1MiB", "-u", registry.username()]);
    chunked.arg("--password-file").arg(registry.password_file()).arg("--ca-file").arg(registry.ca_file()).run().succeeds();
}

#[test]
fn q64_a_loopback_registry_without_tls_needs_no_option() {
    let site = Site::plain();
    site.bare()
        .arg(site.archive(10))
        .args(["--new-record", "-v"])
        .run()
        .succeeds()
        .says("does not speak TLS; it is on this host");
}

#[test]
fn q64_errors_of_a_plain_http_proxy_on_loopback_are_reported() {
    for (status, exit) in [(502, 6), (503, 6), (403, 4)] {
        let site = Site::plain();
        let page = Answer::html(status, "<html><head><title>No</title></head></html>");
        site.registry.faults().on(Match::any("/**"), Times::Always, Action::Answer(page));
        let outcome = site.bare().arg(site.archive(10)).args(["--new-record", "--retries", "0"]).run();
        outcome.exits(exit).says(&format!(": {status} ")).says("an HTML page titled 'No'").writes_nothing();
    }
}

#[test]
fn p12_relative_locations_are_joined() {
    let site = Site::start(RegistryOptions { relative_location: true, ..RegistryOptions::default() });
    site.ocipush(site.archive(10)).run().succeeds();
    site.ocipush(site.archive(200_000)).args(["--chunk-size", "64KiB"]).run().succeeds();
    assert_eq!(site.registry.log().count(&Match::patch("/**")), 4);
}
