//! The pipe of the README: eight tools with few options, on the lab's registry and on Debian's; what kubectl and skopeo see
//! afterwards; and that a failing stage stops all later ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use scar_kit::{Outcome, Run, STEPS, bash, docker_registry, peer, program, web};
use scar_lab::site::SiteOptions;
use scar_suites::{Migration, sender};
use serde_json::{Value, json};

/// As in the README, except for the names of hosts and folder.
const PIPE: &str = r#"
    scar-secret-rm |
      mkmanifests "$TREE" |
      ocipush "$REGISTRY" |
      vertex-login "$CONSOLE" pack-registry-set -u "$OCI_USERNAME" --password-file "$OCI_PASSWORD_FILE" --drop-session |
      specman-wait | specman-verify |
      vertex-login "$CONSOLE" scar-set
"#;

/// The stages of the pipe, in order; vertex-login runs two of them.
fn stages() -> impl Iterator<Item = &'static str> {
    STEPS.into_iter().filter(|name| *name != "vertex-login")
}

/// The reader of a stage's record.
fn reader(stage: &'static str) -> &'static str {
    if ["pack-registry-set", "scar-set"].contains(&stage) { "vertex-login" } else { stage }
}

/// A shell with an administrator's logins, certificates and kubeconfig, but no options.
fn shell(migration: &Migration, script: &str) -> Run {
    let home = migration.folder().join("home");
    let registry = migration.setting("OCI_PACK_REGISTRY");
    let trusted = home.join(".config/docker/certs.d").join(&registry);
    std::fs::create_dir_all(&trusted).unwrap();
    std::fs::create_dir_all(home.join(".docker")).unwrap();
    std::fs::copy(migration.setting("OCI_CA_FILE"), trusted.join("ca.crt")).unwrap();
    std::fs::write(home.join(".docker/config.json"), login(migration).to_string()).unwrap();
    bash(script)
        .home(home)
        .folder(migration.folder())
        .env("TREE", migration.tree())
        .env("REGISTRY", &registry)
        .env("CONSOLE", migration.setting("VERTEX_ENDPOINT"))
        .env("VERTEX_PASSWORD_FILE", migration.setting("VERTEX_PASSWORD_FILE"))
        .env("SSL_CERT_FILE", migration.setting("VERTEX_CA_FILE"))
        .env("KUBECONFIG", migration.setting("KUBECONFIG"))
        .env("OCI_USERNAME", migration.setting("OCI_USERNAME"))
        .env("OCI_PASSWORD_FILE", migration.setting("OCI_PASSWORD_FILE"))
}

fn login(migration: &Migration) -> Value {
    use base64::Engine;
    let password = std::fs::read_to_string(migration.setting("OCI_PASSWORD_FILE")).unwrap();
    let login = format!("{}:{}", migration.setting("OCI_USERNAME"), password.trim_end());
    let auth = base64::engine::general_purpose::STANDARD.encode(login);
    json!({"auths": {(migration.setting("OCI_PACK_REGISTRY")): {"auth": auth}}})
}

#[track_caller]
fn migrated(migration: &Migration, outcome: &Outcome) -> Value {
    let record = outcome.succeeds().json();
    assert_eq!(scar_kit::complaints(&record), [""; 0], "{outcome}");
    let sections = ["record", "secret", "archive", "artifact", "pack_registry", "specman", "verified", "scar"];
    assert_eq!(record.as_object().unwrap().keys().collect::<Vec<_>>(), sections, "{outcome}");
    let state = migration.site.state();
    assert_eq!(state["scar"]["endpoint"], "https://specman-service.hubble-system.svc.cluster.local:8443");
    assert_eq!(state["pack_registry"]["contains_spectro_manifest"], true);
    assert_eq!(state["specman"][0]["digest"], record["artifact"]["digest"]);
    assert_eq!(state["jobs"], json!(["syncCloudInstanceTypesData", "syncCloudStorageTypesData"]));
    assert_ne!(state["secret"]["uid"], record["secret"]["uid"]);
    serves_the_tree(migration);
    record
}

/// Fetches every file of the tree from Specman; a link counts as its target.
#[track_caller]
fn serves_the_tree(migration: &Migration) {
    let (tree, ca) = (migration.tree(), migration.site.certs.ca_pem().to_owned());
    let mut compared = 0;
    for entry in walkdir::WalkDir::new(&tree).into_iter().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        let name = entry.path().strip_prefix(&tree).unwrap().to_str().unwrap();
        let answer = web::get(&format!("{}/{}", migration.setting("SPECMAN_URL"), name.replace(' ', "%20")), Some(&ca));
        assert_eq!((answer.status, answer.body), (200, std::fs::read(entry.path()).unwrap()), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 4);
}

#[test]
fn the_pipe_migrates_on_the_labs_registry() {
    let migration = Migration::new();
    let outcome = shell(&migration, PIPE).run();
    let record = migrated(&migration, &outcome);
    kubectl_agrees(&migration);
    skopeo_agrees(&migration, &record);
}

#[test]
fn the_pipe_migrates_on_debians_registry() {
    let Some(registry) = docker_registry() else { return };
    let migration = Migration::on_docker(&registry);
    let outcome = shell(&migration, PIPE).run();
    let record = migrated(&migration, &outcome);
    skopeo_agrees(&migration, &record);
    let tag = registry.get("/v2/spectro-packs/spectro-manifests/manifest/manifests/0.0.0");
    assert_eq!(tag.headers["docker-content-digest"].to_str().unwrap(), record["artifact"]["digest"]);
}

#[test]
fn the_pipe_waits_for_every_replica() {
    let migration = Migration::on(SiteOptions { replicas: 3, ..SiteOptions::default() });
    let outcome = shell(&migration, PIPE).run();
    let record = migrated(&migration, &outcome);
    assert_eq!(record["specman"]["pods"], json!(["specman-0", "specman-1", "specman-2"]));
}

/// VerteX masks the entry's password: without the login the pipe stops before it is overwritten.
#[test]
fn q41_a_pipe_without_the_entrys_login_stops_and_says_which_options_to_add() {
    let migration = Migration::new();
    let without = PIPE.replace(r#" -u "$OCI_USERNAME" --password-file "$OCI_PASSWORD_FILE""#, "");
    let outcome = shell(&migration, &without).run();
    outcome.exits(2).writes_nothing().says("pack-registry-set: hint: add: -u 'robot$packs' --password-file FILE\n");
    assert_eq!(migration.site.state()["pack_registry"]["contains_spectro_manifest"], false);
    shell(&migration, PIPE).run().succeeds();
    serves_the_tree(&migration);
}

/// All stages share the terminal, and only one draws at a time.
#[test]
fn one_stage_of_the_pipe_draws_at_a_time() {
    let migration = Migration::new();
    // Long enough for its bar to be drawn twice.
    std::fs::write(migration.tree().join("large.bin"), vec![7; 30_000_000]).unwrap();
    let outcome = shell(&migration, PIPE).stderr_terminal().run();
    let screen = outcome.succeeds().screen();
    let pieces = screen.split(['\n', '\r']).map(|piece| piece.trim_start_matches("\u{1b}[2K"));
    let mut drawn: Vec<_> = pieces.filter_map(|piece| BARS.into_iter().find(|bar| piece.starts_with(bar))).collect();
    drawn.dedup();
    let in_order: Vec<_> = BARS.into_iter().filter(|bar| drawn.contains(bar)).collect();
    assert!(drawn.len() >= 3, "{drawn:?}: {screen}");
    assert_eq!(drawn, in_order, "{screen}");
}

/// The beginning of each bar, in the order of the stages.
const BARS: [&str; 9] = [
    "waiting for the secret",
    "listing",
    "packing",
    "pushing",
    "waiting for the registry",
    "waiting for Specman",
    "reading the archive",
    "comparing",
    "waiting for VerteX",
];

/// A second pipe changes nothing: no byte is sent again, and no setting is written again.
#[test]
fn a_second_pipe_without_the_secret_step_changes_nothing() {
    let migration = Migration::new();
    shell(&migration, PIPE).run().succeeds();
    let before = migration.site.requests().len();
    let again = shell(&migration, &PIPE.replace("scar-secret-rm |", "")).run().succeeds().json();
    assert_eq!(
        (&again["artifact"]["uploaded"], &again["pack_registry"]["changed"], &again["scar"]["changed"]),
        (&json!(false), &json!(false), &json!(false))
    );
    let writing = |line: &String| !["GET", "HEAD"].contains(&line.split(' ').nth(1).unwrap());
    let written: Vec<_> = migration.site.requests().into_iter().skip(before).filter(writing).collect();
    assert!(!written.iter().any(|line| line.starts_with("registry ") || line.contains(" PUT ")), "{written:#?}");
}

#[track_caller]
fn kubectl_agrees(migration: &Migration) {
    let Some(kubectl) = peer("kubectl") else { return };
    let run = |arguments: &[&str]| {
        let kubectl = program(&kubectl).args(["-n", "hubble-system"]).args(arguments);
        kubectl.env("KUBECONFIG", migration.setting("KUBECONFIG")).run().succeeds().stdout()
    };
    let uid = run(&["get", "secret", "spectro-manifest-registry-secrets", "-o", "jsonpath={.metadata.uid}"]);
    assert_eq!(migration.site.state()["secret"]["uid"], uid);
    assert!(run(&["logs", "specman-0"]).contains("msg=\"Persisting 0.0.0\""));
}

#[track_caller]
fn skopeo_agrees(migration: &Migration, record: &Value) {
    let Some(skopeo) = peer("skopeo") else { return };
    let home = migration.folder().join("home");
    let certificates = home.join(".config/docker/certs.d").join(migration.setting("OCI_PACK_REGISTRY"));
    let run = |arguments: &[&str]| {
        program(&skopeo).home(&home).args(arguments).env("REGISTRY_AUTH_FILE", home.join(".docker/config.json")).run()
    };
    let (certificates, reference) = (certificates.to_str().unwrap(), format!("docker://{}", migration.reference()));
    let raw = run(&["inspect", "--raw", "--cert-dir", certificates, &reference]);
    let manifest: Value = serde_json::from_str(&raw.succeeds().stdout()).unwrap();
    assert_eq!(digest(raw.stdout_bytes()), record["artifact"]["digest"]);
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["layers"][0]["digest"], record["archive"]["digest"]);
    assert_eq!(manifest["layers"][0]["annotations"]["org.opencontainers.image.title"], "manifests.tgz");
    // The copy by skopeo, which verifies every digest, unpacks to the tree.
    let copy = migration.folder().join("copy");
    run(&["copy", "--quiet", "--src-cert-dir", certificates, &reference, &format!("dir:{}", copy.display())]).succeeds();
    let layer = record["archive"]["digest"].as_str().unwrap().trim_start_matches("sha256:");
    assert_eq!(files_of_archive(&copy.join(layer)), files_of_tree(&migration.tree()));
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}

/// The regular files, by name.
fn files_of_archive(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().trim_start_matches("./").to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if entry.header().entry_type().is_file() {
            files.insert(name, bytes);
        }
    }
    files
}

fn files_of_tree(tree: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = walkdir::WalkDir::new(tree).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    entries
        .map(|entry| {
            let name = entry.path().strip_prefix(tree).unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// For each stage: if it fails, no later stage sends a request, and all earlier ones have succeeded.
#[test]
fn a_stage_that_fails_stops_all_after_it() {
    for (position, failing) in stages().enumerate() {
        let migration = Migration::new();
        let outcome = shell(&migration, &PIPE.replacen(failing, &format!("{failing} --no-such-option"), 1)).run();
        outcome.exits(2).writes_nothing().says(&format!("{failing}: error: unknown option '--no-such-option'"));
        let requests = migration.site.requests();
        let senders: Vec<_> = requests.iter().filter_map(|line| sender(line)).collect();
        for (other, name) in stages().enumerate().filter(|(_, name)| *name != "mkmanifests") {
            let mut sent = senders.contains(&name);
            if name == "ocipush" && position > 3 {
                // Specman's requests to the registry come after the flag, so they are not ocipush's.
                sent = true;
            }
            assert_eq!(sent, other < position, "{failing} fails, {name}:\n{}\n{outcome}", requests.join("\n"));
        }
        assert_eq!(migration.folder().join("manifests.tgz").exists(), position > 1, "{failing}");
        let empty = stages().skip(position + 1);
        for name in empty {
            outcome.says(&format!("{}: error: not run: the stage before it wrote no record\n", reader(name)));
        }
    }
}

/// The same if a stage fails after its first request, as is usual.
#[test]
fn a_peer_that_refuses_stops_all_after_it() {
    use scar_lab::faults::{Action, Answer, Match, Times};
    for (failing, server, path) in [
        ("scar-secret-rm", "kube", "/api/**"),
        ("ocipush", "registry", "/v2/**"),
        ("vertex-login", "vertex", "/v1/auth/**"),
        ("pack-registry-set", "vertex", "/v1/registries/**"),
        ("specman-wait", "kube", "/apis/apps/**"),
    ] {
        let migration = Migration::new();
        let servers = migration.site.servers();
        let (_, server) = servers.iter().find(|(name, _)| name == server).unwrap();
        server.faults().on(Match::any(path), Times::Always, Action::Answer(Answer::status(403)));
        let position = stages().position(|name| name == failing || reader(name) == failing).unwrap();
        // PIPESTATUS shows the failed stage; pipefail only gives the last failure.
        let outcome = shell(&migration, &format!("{PIPE}\nstatuses=(${{PIPESTATUS[@]}}); exit ${{statuses[{position}]}}")).run();
        outcome.exits(4).writes_nothing().says(&format!("{failing}: error: "));
        let requests = migration.site.requests();
        let after: Vec<_> = requests
            .iter()
            .filter(|line| sender(line).is_some_and(|by| stages().skip(position + 1).any(|name| name == by)))
            .collect();
        let after: Vec<_> =
            after.into_iter().filter(|line| failing != "specman-wait" || !line.starts_with("registry ")).collect();
        assert_eq!(after, Vec::<&String>::new(), "{failing}\n{outcome}");
    }
}
