//! scar-preflight: what it finds on a site that is ready, and that it changes nothing there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod f1;
mod profiles;
mod rig;
mod token_server;

use std::time::Duration;

use rig::{Rig, but, is_allowed, lines, says};
use scar_kit::{docker_registry, find_secrets, tool};
use scar_lab::certs::Certs;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::kube::{Access, Rule};
use scar_lab::proxy::{Manner, Proxy};
use scar_lab::registry::{LabRegistry, RegistryOptions};
use scar_lab::server::Listener;
use scar_lab::site::{PACK_REGISTRY, SiteOptions};
use scar_lab::vertex::{RegistryKind, ecr_registry};
use scar_suites::{Migration, new_record};
use serde_json::{Value, json};

#[test]
fn a_site_that_is_ready_is_found_ready_and_left_as_it_is() {
    let rig = Rig::new();
    let before = rig.migration.site.state();
    let outcome = rig.run();
    let record = outcome.succeeds().json();
    assert_eq!(lines(&outcome.stderr()), but(&[]), "{outcome}");
    let checks = record["preflight"]["checks"].as_array().unwrap();
    let names: Vec<_> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, [&rig::ALL[..], &["network.certificates"]].concat());
    let found = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap()["found"].as_str().unwrap();
    assert_eq!(found("platform.version"), "4.5.15; 4.5.15 or later is needed");
    assert!(
        found("platform.login").starts_with("as 'admin', administrator type 'root', with the password; the session ends at "),
        "{outcome}"
    );
    assert_eq!(found("cluster.identity"), "'kubernetes-admin'");
    assert!(found("content.tree").contains("3 files in 3 folders, 1 link, 75.0 KiB; about "), "{outcome}");
    assert_eq!(found("registry.login"), "user 'robot$packs' from the options");
    assert_eq!(found("registry.push"), "allowed: an upload was opened, and cancelled");
    assert!(outcome.stderr().ends_with("scar-preflight: nothing blocks: 35 ok, 0 to be looked at, 1 skipped\n"), "{outcome}");
    // Nothing was changed, and no upload was left open.
    assert_eq!(rig.migration.site.state(), before);
    let writing = rig.writing();
    assert!(writing.iter().all(|line| is_allowed(line)), "{writing:#?}");
    let count = |method: &str| writing.iter().filter(|line| line.starts_with(&format!("registry {method} "))).count();
    assert_eq!((count("POST"), count("DELETE")), (1, 1), "{writing:#?}");
    assert!(writing.iter().any(|line| line.starts_with("registry DELETE ") && line.ends_with(" -> 204")), "{writing:#?}");
    assert!(outcome.took() < Duration::from_secs(10), "{outcome}");
}

/// Each side waits for its own answers alone: four slow servers take as long as one.
#[test]
fn the_sides_are_checked_side_by_side() {
    let rig = Rig::new();
    for (name, server) in rig.migration.site.servers() {
        if ["vertex", "kube", "registry"].contains(&name.as_str()) {
            server.faults().on(Match::any("/**"), Times::First(2), Action::Delay(Duration::from_millis(1500)));
        }
    }
    let outcome = rig.run();
    outcome.succeeds();
    assert!(outcome.took() < Duration::from_secs(8), "{outcome}");
}

#[test]
fn a_server_that_never_answers_costs_its_side_the_time_of_a_check() {
    for (silent, side) in [("vertex", "platform"), ("kube", "cluster"), ("registry", "registry")] {
        let rig = Rig::new();
        let servers = rig.migration.site.servers();
        let (_, server) = servers.iter().find(|(name, _)| name == silent).unwrap();
        server.faults().on(Match::any("/**"), Times::Always, Action::Stall);
        let outcome = rig.run_with(&[("--timeout", Some("2s"))]);
        outcome.exits(3).writes_nothing();
        says(&outcome, "route and firewall");
        let found = lines(&outcome.stderr());
        let of_side = |name: &str| name.starts_with(&format!("{side}.")) || side == "cluster" && name == "content.claim";
        let (own, others): (rig::Lines, rig::Lines) = found.into_iter().partition(|(name, _)| of_side(name));
        assert_eq!(own[&format!("{side}.reached")], "blocked", "{outcome}");
        assert!(own.iter().all(|(name, result)| name.ends_with(".reached") || result == "skipped"), "{outcome}");
        let expected: rig::Lines = but(&[]).into_iter().filter(|(name, _)| !of_side(name)).collect();
        assert_eq!(others, expected, "{outcome}");
        assert!(outcome.took() < Duration::from_secs(8), "{outcome}");
    }
}

#[test]
fn q14_each_check_of_a_side_without_settings_is_a_skipped_line_and_the_summary_names_the_side() {
    let rig = Rig::new();
    let outcome = tool("scar-preflight").args(["--content", rig.migration.tree().to_str().unwrap()]).run();
    assert_eq!(
        lines(&outcome.succeeds().stderr())
            .into_iter()
            .filter(|(_, result)| result != "ok")
            .map(|(name, _)| name)
            .collect::<Vec<_>>(),
        but(&[]).into_keys().filter(|name| !name.starts_with("content.") || name == "content.claim").collect::<Vec<_>>(),
        "{outcome}"
    );
    assert!(outcome.stderr().ends_with(" skipped; not looked at: platform, cluster, registry\n"), "{outcome}");
    let record = outcome.succeeds().json();
    let found = |name: &str| {
        record["preflight"]["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).cloned().unwrap()
    };
    for (side, why) in [
        ("platform.flag", "no endpoint: --endpoint URL or VERTEX_ENDPOINT"),
        ("cluster.secret", "no kubeconfig: --kubeconfig FILE or KUBECONFIG"),
        ("registry.push", "no registry: --reference HOST or OCI_PACK_REGISTRY"),
        ("content.claim", "the claim's room is not known here"),
        ("network.route", "no server was reached"),
    ] {
        assert_eq!(found(side), json!({"name": side, "result": "skipped", "found": why}), "{outcome}");
    }
}

#[test]
fn only_makes_the_settings_of_its_side_needed_and_leaves_the_others_out() {
    for (side, message) in [
        ("platform", "no endpoint: --endpoint URL or VERTEX_ENDPOINT"),
        ("cluster", "no kubeconfig: --kubeconfig FILE or KUBECONFIG"),
        ("content", "no folder: --content DIR"),
        ("registry", "no registry: --reference HOST or OCI_PACK_REGISTRY"),
    ] {
        tool("scar-preflight")
            .args(["--only", side])
            .run()
            .fails(2, &format!("scar-preflight: error: missing: {message}\nscar-preflight: hint: --only asks for this side\n"));
    }
    let rig = Rig::new();
    for side in ["platform", "cluster", "content", "registry"] {
        let outcome = rig.run_with(&[("--only", Some(side))]);
        outcome.succeeds();
        let expected: rig::Lines = but(&[])
            .into_iter()
            .filter(|(name, _)| name.starts_with(&format!("{side}.")) || name.starts_with("network.") && side != "content")
            .map(|(name, result)| if name == "content.claim" { (name, "skipped".to_owned()) } else { (name, result) })
            .collect();
        assert_eq!(lines(&outcome.stderr()), expected, "{outcome}");
    }
}

#[test]
fn nothing_to_check_is_no_success() {
    tool("scar-preflight").run().fails(
        2,
        "scar-preflight: error: there is nothing to check: no side of the site has its settings\n\
         scar-preflight: hint: name them: --content DIR --reference HOST --endpoint URL --kubeconfig FILE\n",
    );
}

#[test]
fn the_environment_names_the_site() {
    let rig = Rig::new();
    let site = &rig.migration;
    let names =
        ["VERTEX_ENDPOINT", "VERTEX_USERNAME", "VERTEX_PASSWORD_FILE", "OCI_PACK_REGISTRY", "OCI_PACK_BASE", "KUBECONFIG"];
    let ca = site.setting("VERTEX_CA_FILE");
    let run = tool("scar-preflight").env("SSL_CERT_FILE", ca).args(["--only", "platform", "--only", "cluster"]);
    let run = run.args(["--pack-registry-username".to_owned(), site.setting("OCI_USERNAME")]);
    let run = run.args(["--pack-registry-password-file".to_owned(), site.setting("OCI_PASSWORD_FILE")]);
    let outcome = names.iter().fold(run, |run, name| run.env(name, site.setting(name))).run();
    outcome.succeeds();
    assert!(lines(&outcome.stderr()).values().all(|result| result == "ok"), "{outcome}");
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

/// The admin's role is what the guide assumes; a site may give less, and that alone is no obstacle.
#[test]
fn what_the_tools_can_do_without_is_a_warning() {
    let rig = Rig::new();
    rig.migration.site.cluster.set_access(Access::Only(vec![
        Rule::new("*", "secrets").within("hubble-system").named("spectro-manifest-registry-secrets"),
        Rule::new("create", "secrets").within("hubble-system"),
        Rule::new("get", "statefulsets").within("hubble-system").named("specman"),
        Rule::new("get", "pods").within("hubble-system").named("specman-0"),
        Rule::new("get", "pods/log").within("hubble-system").named("specman-0"),
    ]));
    let outcome = rig.run_with(&[("--specman-url", Some("https://specman.example:8443"))]);
    let expected = but(&[
        ("cluster.namespace", "skipped"),
        ("cluster.verify-access", "skipped"),
        ("cluster.restart-access", "warning"),
        ("cluster.service", "warning"),
        ("cluster.claim", "warning"),
        ("cluster.storage", "warning"),
        ("content.claim", "skipped"),
    ]);
    assert_eq!(lines(&outcome.succeeds().stderr()), expected, "{outcome}");
    says(&outcome, "specman-verify goes to 'https://specman.example:8443' instead");
}

/// A create has no name when RBAC decides (Kubernetes documentation, "Using RBAC Authorization", "Referring to resources"), so
/// that a role for this one secret does not let `--undo` restore it.
#[test]
fn q55_a_create_that_is_allowed_by_name_alone_is_not_allowed() {
    let rig = Rig::new();
    let named = Access::AllBut(vec![Rule::new("create", "secrets").named("")]);
    rig.migration.site.cluster.set_access(named);
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.undo-access", "warning")]), "{outcome}");
    says(&outcome, "scar-secret-rm --undo may not create secrets");
}

/// A gateway's page says nothing about permissions.
#[test]
fn q54_a_403_of_something_before_the_api_server_is_no_missing_permission() {
    for (path, name) in [
        ("/version", "cluster.reached"),
        ("/api/v1/namespaces/hubble-system", "cluster.namespace"),
        ("/apis/apps/v1/namespaces/hubble-system/statefulsets/specman", "cluster.specman"),
        ("/api/v1/namespaces/hubble-system/pods/specman-0", "cluster.pods"),
        ("/api/v1/namespaces/hubble-system/services/specman-service", "cluster.service"),
        ("/api/v1/namespaces/hubble-system/secrets/spectro-manifest-registry-secrets", "cluster.secret"),
    ] {
        let rig = Rig::new();
        let page = Answer::status(403).body("<html><title>Blocked by the gateway</title></html>");
        rig.migration.site.kube_server.faults().on(Match::get(path), Times::Always, Action::Answer(page));
        let outcome = rig.run();
        assert_eq!(lines(&outcome.stderr())[name], "blocked", "{path}: {outcome}");
        says(&outcome, "403 Forbidden: an HTML page titled 'Blocked by the gateway'");
    }
}

#[test]
fn a_cluster_that_answers_no_review_is_a_warning() {
    for status in [403, 404, 405] {
        let rig = Rig::new();
        let faults = rig.migration.site.kube_server.faults();
        let answer = Answer::json(
            status,
            &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no reviews here", "code": status}),
        );
        faults.on(Match::any("/apis/authorization.k8s.io/**"), Times::Always, Action::Answer(answer));
        let outcome = rig.run();
        let access = ["secret", "wait", "verify", "restart", "undo"].map(|what| format!("cluster.{what}-access"));
        let expected: Vec<_> = access.iter().map(|name| (name.as_str(), "warning")).collect();
        assert_eq!(lines(&outcome.succeeds().stderr()), but(&expected), "{outcome}");
        says(&outcome, "kubectl auth can-i");
    }
}

#[test]
fn an_old_cluster_does_not_say_who_asks() {
    let rig = Rig::new();
    let answer = Answer::json(
        404,
        &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "the server could not find the requested resource", "reason": "NotFound", "code": 404}),
    );
    rig.migration.site.kube_server.faults().on(
        Match::any("/apis/authentication.k8s.io/**"),
        Times::Always,
        Action::Answer(answer),
    );
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.identity", "skipped")]), "{outcome}");
}

#[test]
fn after_the_flag_the_secret_of_the_platform_must_stay() {
    let rig = Rig::new();
    let mut record: Value = rig.migration.steps_before("specman-wait", &new_record());
    record.as_object_mut().unwrap().remove("session");
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.secret", "warning")]), "{outcome}");
    says(&outcome, "it must stay: scar-secret-rm leaves it, given this record");
    says(&outcome, "set already: Specman fetches");
    says(&outcome, "0.0.0");
}

#[test]
fn q56_links_are_judged_as_mkmanifests_judges_them_and_fresh_files_are_named() {
    let rig = Rig::new();
    let tree = rig.migration.tree();
    std::os::unix::fs::symlink("gone", tree.join("dangling")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", tree.join("absolute")).unwrap();
    // Out of the folder and back in by its name: on Specman's side that name does not exist.
    let back = format!("../../{}/index.yaml", tree.file_name().unwrap().to_str().unwrap());
    std::os::unix::fs::symlink(&back, tree.join("charts/back")).unwrap();
    std::fs::write(tree.join("charts/fresh.yaml"), "new").unwrap();
    std::fs::write(rig.migration.archive(), "old archive").unwrap();
    let outcome = rig.run();
    let record = outcome.succeeds().json();
    assert_eq!(lines(&outcome.stderr()), but(&[("content.links", "warning"), ("content.quiet", "warning")]), "{outcome}");
    let found = |name: &str| {
        record["preflight"]["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()["found"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let packed =
        scar_kit::tool("mkmanifests").arg(&tree).args(["-o", "other.tgz", "--new-record"]).folder(rig.migration.folder()).run();
    for (name, target, why) in [
        ("dangling", "gone", "does not exist"),
        ("absolute", "/etc/passwd", "is an absolute path"),
        ("charts/back", &back, "lies outside of the tree"),
    ] {
        assert!(packed.succeeds().stderr().contains(&format!("'./{name}' -> '{target}': its target {why}")), "{packed}");
        assert!(found("content.links").contains(&format!("'./{name}' -> '{target}': its target {why}")), "{outcome}");
    }
    assert_eq!(found("content.quiet"), "changed in the last 10 minutes: './charts/fresh.yaml'");
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

#[test]
fn the_route_names_the_proxy() {
    let rig = Rig::new();
    let proxy = Proxy::start(Manner::Open);
    let vertex = rig.migration.setting("VERTEX_ENDPOINT").replace("https://", "");
    let run = rig.call(&[]).env("HTTPS_PROXY", proxy.url());
    let outcome = run.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
    says(&outcome, &format!("{vertex} through '{}'", proxy.url()));
    let outcome = rig.call(&[]).env("HTTPS_PROXY", proxy.url()).env("NO_PROXY", "127.0.0.0/8").run();
    outcome.succeeds();
    says(&outcome, &format!("{vertex} directly"));

    let refusing = Proxy::start(Manner::Refuse);
    let session = rig.migration.tool("vertex-login").record(&new_record()).run().succeeds().json();
    scar_kit::secret(session["session"]["authorization"].as_str().unwrap());
    let run = rig.call(&[]).env("HTTPS_PROXY", refusing.url()).record(&session);
    assert_eq!(lines(&run.arg("--no-proxy").run().succeeds().stderr()), but(&[]));

    let outcome = rig.call(&[]).env("HTTPS_PROXY", refusing.url()).run();
    outcome.exits(3);
    let found = lines(&outcome.stderr());
    let blocked: Vec<_> = found.iter().filter(|(_, result)| *result == "blocked").map(|(name, _)| name.as_str()).collect();
    assert_eq!(blocked, ["cluster.reached", "platform.reached", "registry.reached"], "{outcome}");
    says(&outcome, "from the proxy");
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

#[test]
fn a_hint_spells_the_options_of_its_server() {
    let rig = Rig::new();
    for option in ["--registry-ca-file", "--vertex-ca-file"] {
        let outcome = rig.run_with(&[(option, None)]);
        outcome.exits(3);
        says(&outcome, &format!("and {option} server.pem"));
    }
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

#[test]
fn q5_a_clock_that_is_off_is_a_warning_and_above_five_minutes_it_blocks() {
    for (seconds, result, exit) in [(120, "warning", 0), (1200, "blocked", 3)] {
        let rig = Rig::new();
        let late = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
        let date = late.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        rig.migration.site.vertex_server.faults().on(Match::any("/**"), Times::Always, Action::set_header("date", &date));
        let outcome = rig.run();
        outcome.exits(exit);
        assert_eq!(lines(&outcome.stderr()), but(&[("network.clock", result)]), "{outcome}");
        says(&outcome, "behind this host (there ");
    }
}

#[test]
fn every_line_fits_eighty_columns_and_colour_is_for_a_terminal_alone() {
    let rig = Rig::new();
    rig.migration.site.vertex.behave(|behaviour| behaviour.version = "4.5.9".into());
    let piped = rig.run();
    assert!(!piped.stderr().contains('\u{1b}'), "{piped}");
    let table =
        |text: &str| text.lines().take_while(|line| !line.starts_with("scar-preflight: ")).map(str::to_owned).collect::<Vec<_>>();
    let rows = table(&piped.stderr());
    assert!(rows.len() > 40 && rows.iter().all(|row| row.chars().count() <= 80), "{piped}");
    assert!(rows.iter().any(|row| row.starts_with("                                hint: upgrade VerteX or Palette")), "{piped}");

    let shown = rig.call(&[]).stderr_terminal().terminal(80).run();
    let screen = shown.screen();
    for piece in
        ["\u{1b}[32mok\u{1b}[0m", "\u{1b}[1;31mblocked\u{1b}[0m", "\u{1b}[2mskipped\u{1b}[0m", "\u{1b}[1;36mhint: \u{1b}[0m"]
    {
        assert!(screen.contains(piece), "no {piece:?}\n{shown}");
    }
    let plain = rig.call(&[]).stderr_terminal().terminal(80).env("NO_COLOR", "1").run();
    assert!(!plain.screen().contains("\u{1b}[32m") && !plain.screen().contains("\u{1b}[1;31m"), "{plain}");
}

#[test]
fn quiet_names_what_blocks_and_nothing_else() {
    let rig = Rig::new();
    rig.migration.site.vertex.behave(|behaviour| behaviour.version = "4.5.9".into());
    let outcome = rig.call(&[]).arg("-q").run();
    outcome.exits(3).writes_nothing();
    assert_eq!(
        outcome.stderr(),
        "scar-preflight: error: check the site: blocked: platform.version (1 of 36 checks)\n\
         scar-preflight: hint: each blocked line names its way out; then run this again\n"
    );
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
