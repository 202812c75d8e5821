//! Tests that migrate the site step by step.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::{Value, json};

use super::{OLD_SCAR, PACK_REGISTRY, REPOSITORY, SECRET, Site, SiteOptions};
use crate::kube::SPECMAN_NAMESPACE;
use crate::probe::{Got, client, send};
use crate::vertex::SPECMAN;

const LIMIT: Duration = Duration::from_secs(10);

fn archive(name: &str, content: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    builder.into_inner().unwrap().finish().unwrap()
}

/// A request to VerteX with a token.
fn vertex(site: &Site, method: Method, path: &str, body: Option<&Value>) -> Got {
    let client = client(Some(site.certs.ca_pem()));
    let url = site.vertex_server.url() + path;
    let cookie = format!("Authorization={}", site.vertex.issue_token());
    send(&client, method, &url, |request| {
        let request = request.header("cookie", cookie);
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    })
    .unwrap()
}

fn set_flag(site: &Site) {
    let path = format!("/v1/registries/oci/{PACK_REGISTRY}/basic");
    let mut object = site.vertex.registry(PACK_REGISTRY).unwrap();
    object["spec"]["containsSpectroManifest"] = json!(true);
    assert_eq!(vertex(site, Method::PUT, &path, Some(&object)).status, 204);
}

fn persisted(site: &Site, replicas: usize) -> bool {
    let served = |_: &crate::kube::Cluster| (0..replicas).all(|n| site.specman.served(n).is_some());
    site.cluster.wait(LIMIT, served)
}

#[test]
fn a_new_site_is_not_migrated_yet() {
    let site = Site::start(SiteOptions::default());
    let state = site.state();
    assert_eq!(state["secret"]["present"], true);
    assert_eq!(state["scar"], json!({"endpoint": OLD_SCAR, "username": "scar", "has_password": true}));
    assert_eq!(state["pack_registry"]["contains_spectro_manifest"], false);
    assert_eq!(state["specman"], json!([{"pod": "specman-0", "url": site.specman.url(0)}]));
    assert_eq!(state["tags"], json!([]));
    assert_eq!(site.requests(), Vec::<String>::new());
}

#[test]
fn the_settings_name_files_that_are_there_and_secrets_are_for_the_owner_alone() {
    let site = Site::start(SiteOptions::default());
    let settings = site.environment();
    let files = settings.iter().filter(|(key, _)| key.ends_with("_FILE") || key == "KUBECONFIG");
    for (key, path) in files.clone() {
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let secret = !key.ends_with("_CA_FILE");
        assert_eq!(mode, if secret { 0o600 } else { 0o644 }, "{key}");
    }
    assert_eq!(files.count(), 7);
    let file = site.directory().join("site.env");
    site.write_environment(&file);
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text.lines().count(), settings.len());
    assert!(text.contains("\nOCI_USERNAME='robot$packs'\n"));
    assert!(text.contains(&format!("\nVERTEX_ENDPOINT={}\n", site.vertex_server.url())));
}

#[test]
fn the_flag_recreates_the_secret_and_every_specman_serves_the_tag() {
    let site = Site::start(SiteOptions { replicas: 2, ..SiteOptions::default() });
    let registry = site.registry.as_ref().unwrap();
    registry.seed(REPOSITORY, "0.0.0", &archive("a/b", "hello"));
    let before = site.state()["secret"]["uid"].clone();
    set_flag(&site);
    assert!(persisted(&site, 2));
    let state = site.state();
    assert_eq!(state["secret"]["present"], true);
    assert_ne!(state["secret"]["uid"], before);
    for replica in [0, 1] {
        assert_eq!(state["specman"][replica]["tag"], "0.0.0");
        let url = site.specman.url(replica) + "/a/b";
        let got = send(&client(Some(site.certs.ca_pem())), Method::GET, &url, |r| r).unwrap();
        assert_eq!(got.body, b"hello");
    }
    assert_eq!(site.vertex.violations(), Vec::<String>::new());
}

#[test]
fn specman_validates_only_once_it_serves() {
    let site = Site::start(SiteOptions::default());
    let path = "/v1/system/config/scar";
    let validate = || vertex(&site, Method::GET, "/v1/system/config/scar/validate", None).status;
    assert_eq!(validate(), 200);
    let setting = json!({"endpoint": SPECMAN, "username": "", "password": ""});
    assert_eq!(vertex(&site, Method::PUT, path, Some(&setting)).status, 204);
    assert_eq!(validate(), 422);
    site.registry.as_ref().unwrap().seed(REPOSITORY, "0.0.0", &archive("a", "hello"));
    set_flag(&site);
    assert!(persisted(&site, 1));
    assert_eq!(validate(), 200);
    assert_eq!(site.state()["scar"], json!({"endpoint": SPECMAN, "username": "", "has_password": false}));
}

#[test]
fn a_polling_specman_sees_a_later_push() {
    let poll = Some(Duration::from_millis(20));
    let site = Site::start(SiteOptions { poll, ..SiteOptions::default() });
    set_flag(&site);
    site.registry.as_ref().unwrap().seed(REPOSITORY, "0.0.0", &archive("a", "one"));
    assert!(persisted(&site, 1));
}

#[test]
fn the_state_is_reported_over_http() {
    let site = std::sync::Arc::new(Site::start(SiteOptions::default()));
    let control = site.control();
    site.cluster.remove("secrets", SPECMAN_NAMESPACE, SECRET);
    let state = crate::probe::get(&(control.url() + "/state")).unwrap().json();
    assert_eq!(state["secret"], json!({"name": SECRET, "present": false}));
    assert_eq!(state, site.state());
}

#[test]
fn a_site_shows_no_password_and_the_keys_of_ecr_masked() {
    let site = Site::start(SiteOptions { ecr: true, ..SiteOptions::default() });
    let scar = vertex(&site, Method::GET, "/v1/system/config/scar", None).json();
    assert_eq!(scar, json!({"endpoint": OLD_SCAR, "username": "scar", "password": "********"}));
    let entry = vertex(&site, Method::GET, &format!("/v1/registries/oci/{PACK_REGISTRY}/ecr"), None).json();
    assert_eq!(entry["spec"]["credentials"]["secretKey"], "lab***c1a");
}
