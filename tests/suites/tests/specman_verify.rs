//! specman-verify on a migrated site: it compares every replica with archive, folder or registry, whatever breaks meanwhile,
//! and changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use scar_kit::{Outcome, Run, tool};
use scar_lab::certs::Certs;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::kube::{Access, Cut, Kubelet, Rule, Webhook};
use scar_lab::server::{Listener, Server};
use scar_lab::site::{SPECMAN_PORT, SiteOptions};
use scar_suites::{Migration, new_record};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
/// What [`Migration`] packs: `charts/deep/a file.yaml`, `charts/empty`, `image.bin`, and a link to that.
const FILES: u64 = 4;
const BYTES: u64 = 16 + 2 * 76_800;

/// A site after the earlier steps, and their record.
struct Migrated {
    migration: Migration,
    record: Value,
}

impl Migrated {
    fn new(replicas: u32) -> Self {
        let migration = Migration::on(SiteOptions { replicas, ..SiteOptions::default() });
        let mut record = migration.steps_before("specman-verify", &new_record());
        record.as_object_mut().unwrap().remove("session");
        for (_, server) in migration.site.servers() {
            server.log().clear();
        }
        Self { migration, record }
    }

    /// Through port-forwards.
    fn run(&self) -> Run {
        let source = self.migration.archive().display().to_string();
        let run = self.migration.tool("specman-verify");
        run.called(source, "ARCHIVE").called(self.migration.tree().display(), "TREE").record(&self.record)
    }

    /// Without trusting Specman's certificate.
    fn trusting_nobody(&self) -> Run {
        let run = tool("specman-verify").env("KUBECONFIG", self.migration.setting("KUBECONFIG"));
        run.folder(self.migration.folder()).record(&self.record)
    }

    /// With `--url`.
    fn at_address(&self) -> Run {
        let url = self.migration.setting("SPECMAN_URL");
        self.run().args(["--url", &url]).called(url, "URL")
    }

    /// Specman's files were only requested with GET and without a login.
    #[track_caller]
    fn only_looked(&self) {
        for (name, server) in self.migration.site.servers() {
            for request in server.log().requests() {
                assert_eq!(request.method, "GET", "{name} {}", request.line());
                let login = request.header("authorization").is_some() && name.starts_with("specman");
                assert!(!login, "{name} {}", request.line());
            }
        }
    }

    fn fault(&self, replica: usize, path: &str, times: Times, action: Action) -> scar_lab::faults::Fault {
        self.migration.site.specman.server(replica).faults().on(Match::get(path), times, action)
    }
}

fn verified(outcome: &Outcome) -> Value {
    let mut section = outcome.json()["verified"].clone();
    section.as_object_mut().unwrap().remove("layer");
    section
}

fn counts(missing: u64, different: u64, unreadable: u64) -> Value {
    json!({
        "compared": FILES, "missing": missing, "different": different, "unreadable": unreadable, "bytes": BYTES,
        "source": "ARCHIVE"
    })
}

#[test]
fn every_file_of_every_replica_is_compared_through_port_forwards() {
    let site = Migrated::new(2);
    let outcome = site.run().run();
    outcome.succeeds().tells("specman-verify: 4 files of 'ARCHIVE' are served as pushed by specman-0, specman-1\n");
    assert_eq!(verified(&outcome), counts(0, 0, 0));
    assert_eq!(outcome.json()["verified"]["layer"], site.record["artifact"]["layer"]);
    let mut passed = outcome.json();
    passed.as_object_mut().unwrap().remove("verified");
    passed["archive"] = site.record["archive"].clone();
    assert_eq!(passed, site.record, "the record passes through");
    for replica in 0..2 {
        let log = site.migration.site.specman.server(replica).log();
        let mut lines = log.lines();
        lines.sort();
        let expected = ["charts/deep/a%20file.yaml", "charts/empty", "image.bin", "latest.bin"];
        assert_eq!(lines, expected.map(|name| format!("GET /{name} -> 200")));
        assert!(site.migration.site.cluster.wait_for_forwards(&format!("specman-{replica}"), 0, SOON));
    }
    site.only_looked();
    let kube = site.migration.site.kube_server.log().lines();
    assert!(kube.iter().all(|line| line.contains("/statefulsets/specman ") || line.ends_with("ports=8443 -> 101")), "{kube:?}");
}

#[test]
fn q70_a_port_forward_takes_an_answer_of_any_type() {
    let site = Migrated::new(1);
    site.run().run().succeeds();
    let upgrades = site.migration.site.kube_server.log().matching(&Match::get("/**/portforward"));
    assert!(
        !upgrades.is_empty() && upgrades.iter().all(|request| request.header("accept").is_none_or(|accept| accept == "*/*")),
        "{upgrades:?}"
    );
}

#[test]
fn an_address_does_without_the_cluster() {
    let site = Migrated::new(1);
    let outcome = site.at_address().arg(site.migration.tree()).run();
    outcome.succeeds().tells("specman-verify: 4 files of 'TREE' are served as pushed by URL\n");
    assert_eq!(verified(&outcome)["compared"], FILES);
    assert_eq!(outcome.json()["verified"].get("layer"), None, "a folder shows nothing about a layer");
    assert_eq!(site.migration.site.kube_server.log().lines(), Vec::<String>::new());
    site.only_looked();
}

#[test]
fn the_folder_is_compared_as_it_is_now() {
    let site = Migrated::new(1);
    let tree = site.migration.tree();
    std::fs::write(tree.join("charts/empty"), "no more").unwrap();
    std::fs::write(tree.join("new"), "").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", tree.join("out")).unwrap();
    std::os::unix::fs::symlink("charts", tree.join("folder")).unwrap();
    site.run().args(["--timeout", "10s"]).arg(&tree).run().fails(
        7,
        "specman-verify: links that lead to nothing in 'TREE' are not compared: 1\n\
         specman-verify: 'out' -> '/etc/passwd' (out of the tree)\n\
         specman-verify: 4 of 7 files of 'TREE' are not served as pushed: 3 missing, 1 different, 0 unreadable; waiting for specman-0\n\
         specman-verify: error: 4 of 7 files of 'TREE' are not served as pushed: 3 missing, 1 different, 0 unreadable\n  \
         different: 'charts/empty' at specman-0: 0 bytes, not 7\n  \
         missing: 'folder/deep/a file.yaml' at specman-0\n  \
         missing: 'folder/empty' at specman-0\n  \
         missing: 'new' at specman-0\n\
         specman-verify: hint: does Specman serve the tag that was pushed? see specman-wait; --path-prefix names a folder at \
         Specman, and a longer --timeout waits on\n",
    );
}

#[test]
fn v1_missing_different_and_unreadable_are_distinguished_and_a_report_succeeds() {
    let site = Migrated::new(1);
    let gone = site.fault(0, "/charts/empty", Times::Always, Action::Answer(Answer::status(404)));
    let other = Answer::status(200).body("kind: ConfigMop\n");
    let other = site.fault(0, "/charts/deep/*", Times::Always, Action::Answer(other));
    let ill = site.fault(0, "/image.bin", Times::Always, Action::Answer(Answer::html(500, "<title>out of order</title>")));
    let list = [
        "different: 'charts/deep/a file.yaml' at specman-0: other bytes in its 16\n",
        "missing: 'charts/empty' at specman-0\n",
        "unreadable: 'image.bin' at specman-0: 500 Internal Server Error: an HTML page titled 'out of order'\n",
    ];
    let hint = "hint: does Specman serve the tag that was pushed? see specman-wait; --path-prefix names a folder at Specman, and a \
                longer --timeout waits on\n";
    let sum = "3 of 4 files of 'ARCHIVE' are not served as pushed: 1 missing, 1 different, 1 unreadable";
    let waiting = format!("specman-verify: {sum}; waiting for specman-0\n");
    let lines = list.map(|line| format!("  {line}")).concat();
    let run = || site.run().args(["--timeout", "8s"]);
    run().run().fails(7, &format!("{waiting}specman-verify: error: {sum}\n{lines}specman-verify: {hint}"));
    assert!(gone.hits() > 1 && other.hits() > 1 && ill.hits() > 3, "all of it is asked for again");
    let report = run().arg("--report").run();
    let lines = list.map(|line| format!("specman-verify: {line}")).concat();
    report.succeeds().tells(&format!("{waiting}specman-verify: warning: {sum}\n{lines}specman-verify: {hint}"));
    assert_eq!(verified(&report), counts(1, 1, 1));
    site.only_looked();
}

/// Specman has logged the tag, but still serves the old content.
#[test]
fn q4_it_waits_until_every_replica_serves_the_layer_and_then_compares_all_again() {
    let site = Migrated::new(2);
    let old = Answer::status(200).body("what was here before");
    let old = site.fault(1, "/image.bin", Times::First(2), Action::Answer(old));
    let gone = site.fault(0, "/charts/empty", Times::First(3), Action::Answer(Answer::status(404)));
    let outcome = site.run().run();
    outcome.succeeds().tells(
        "specman-verify: 2 of 4 files of 'ARCHIVE' are not served as pushed: 1 missing, 1 different, 0 unreadable; waiting for \
         specman-0, specman-1\n\
         specman-verify: 4 files of 'ARCHIVE' are served as pushed by specman-0, specman-1\n",
    );
    assert_eq!(verified(&outcome), counts(0, 0, 0));
    assert_eq!((old.hits(), gone.hits()), (2, 3));
    for replica in 0..2 {
        let log = site.migration.site.specman.server(replica).log();
        assert_eq!(log.count(&Match::get("/latest.bin")), 2, "each pass asks for every file");
    }
}

/// A file that was right in the first pass may be wrong now.
#[test]
fn q4_a_second_pass_that_is_not_done_in_time_is_a_failure() {
    let site = Migrated::new(1);
    site.fault(0, "/image.bin", Times::First(1), Action::Answer(Answer::status(404)));
    let stalled = site.fault(0, "/charts/empty", Times::Nth(2), Action::Stall);
    let outcome = site.run().args(["--timeout", "6s"]).run();
    outcome.exits(8).writes_nothing().says(
        "error: compare with what Specman serves at each replica, through port-forwards: time is over after 3 of 4 files\n",
    );
    assert_eq!(stalled.hits(), 1);
}

#[test]
fn q9_an_archive_that_is_not_what_was_pushed_is_refused() {
    let site = Migrated::new(1);
    std::fs::write(site.migration.folder().join("other.tgz"), archive(&[(tar::EntryType::Regular, "other", "")])).unwrap();
    let outcome = site.run().arg("other.tgz").run();
    outcome.exits(7).writes_nothing().says("it is not what the record says was pushed: 'sha256:");
    assert_eq!(site.migration.site.requests(), Vec::<String>::new());
}

/// A registry on this host without TLS, with only the layer.
#[test]
fn q64_the_layer_is_read_from_a_registry_without_tls() {
    let site = Migrated::new(1);
    let bytes = std::fs::read(site.migration.archive()).unwrap();
    std::fs::remove_file(site.migration.archive()).unwrap();
    let router = Router::new().route("/v2/", get(async || "{}")).route("/v2/{*path}", get(async move || bytes));
    let registry = Server::start(router, Listener::plain());
    let mut record = site.record.clone();
    let host = registry.addr().to_string();
    let artifact = &mut record["artifact"];
    artifact["reference"] = json!(format!("{host}/{}:0.0.0", artifact["repository"].as_str().unwrap()));
    artifact["registry"] = json!(host);
    site.run().record(&record).args(["--registry", &host, "--registry-plain-http"]).run().succeeds();
    assert!(registry.log().lines().iter().any(|line| line.contains("/blobs/sha256:")));
}

/// A tree of small files, and a Specman behind a port-forward that serves it over plain HTTP.
fn many_files(site: &Migrated, count: usize, closes: bool) -> Server {
    let tree = site.migration.folder().join("many");
    std::fs::create_dir(&tree).unwrap();
    (0..count).for_each(|number| std::fs::write(tree.join(number.to_string()), format!("file {number}")).unwrap());
    let serve = async move |uri: axum::http::Uri| {
        let connection = if closes { "close" } else { "keep-alive" };
        ([("connection", connection)], format!("file {}", uri.path().trim_start_matches('/')))
    };
    let server = Server::start(Router::new().route("/{*path}", get(serve)), Listener::plain());
    site.migration.site.cluster.serve_port("specman-0", SPECMAN_PORT, server.addr());
    server
}

#[test]
fn q76_many_files_take_few_tunnels_whether_the_server_keeps_or_closes_its_connections() {
    for (closes, most) in [(false, 4), (true, 60)] {
        let site = Migrated::new(1);
        let server = many_files(&site, 400, closes);
        let outcome = site.run().record(&new_record()).args(["--plain-http", "many"]).run();
        outcome.succeeds().says("400 files of '").says("' are served as pushed by specman-0\n");
        assert_eq!(server.log().count(&Match::get("/**")), 400);
        let tunnels = site.migration.site.kube_server.log().count(&Match::get("/**/portforward"));
        assert!((1..=most).contains(&tunnels), "{tunnels} tunnels");
        assert!(site.migration.site.cluster.wait_for_forwards("specman-0", 0, SOON));
    }
}

#[test]
fn q54_a_kubelet_that_refuses_the_api_server_for_a_while_is_asked_again() {
    for kubelet in [Kubelet::NoLogin, Kubelet::Forbidden, Kubelet::BadGateway] {
        let site = Migrated::new(1);
        let cluster = &site.migration.site.cluster;
        cluster.set_kubelet(kubelet);
        let running = site.run().start();
        let asked = |all: &[scar_lab::log::Request]| all.iter().filter(|r| r.path.ends_with("/portforward")).count() > 4;
        assert!(site.migration.site.kube_server.log().wait(SOON, asked), "{kubelet:?}");
        cluster.set_kubelet(Kubelet::Well);
        running.wait().succeeds();
    }
}

#[test]
fn q54_a_kubelet_that_refuses_the_api_server_to_the_end_is_named_with_the_role_that_is_missing() {
    let site = Migrated::new(1);
    for (kubelet, says) in [
        (Kubelet::NoLogin, "401 Unauthorized: from the node's kubelet"),
        (Kubelet::Forbidden, "hint: your own login is good: the API server lacks a cluster role at its kubelets"),
        (Kubelet::Down, "hint: is the node Ready"),
    ] {
        site.migration.site.cluster.set_kubelet(kubelet);
        site.run().args(["--timeout", "3s", "--jobs", "1"]).run().exits(6).writes_nothing().says(says).never_says("Role in");
    }
}

#[test]
fn q54_a_webhook_that_denies_the_port_forward_is_named_and_no_role_is_asked_for() {
    let site = Migrated::new(1);
    site.migration.site.cluster.set_webhook(Some(("keep.example", Webhook::Denies(403))));
    let outcome = site.run().run();
    outcome.exits(4).writes_nothing().says("the admission webhook 'keep.example' denies it").never_says("Role in");
}

#[test]
fn v2_a_reset_a_cut_and_a_503_are_tried_again() {
    let site = Migrated::new(1);
    let reset = site.fault(0, "/charts/empty", Times::First(1), Action::Reset);
    let cut = site.fault(0, "/image.bin", Times::First(1), Action::CutReply(1000));
    let busy = site.fault(0, "/latest.bin", Times::First(1), Action::Answer(Answer::status(503).header("retry-after", "1")));
    let outcome = site.run().run();
    outcome.succeeds();
    assert_eq!(verified(&outcome), counts(0, 0, 0));
    assert_eq!((reset.hits(), cut.hits(), busy.hits()), (1, 1, 1));
    site.migration.site.specman.server(0).log().clear();
    let cut = site.fault(0, "/image.bin", Times::First(1), Action::CutReply(1000));
    site.at_address().run().succeeds();
    assert_eq!(cut.hits(), 1);
}

#[test]
fn v2_a_replica_that_lags_is_named() {
    let site = Migrated::new(2);
    site.fault(1, "/**", Times::Always, Action::Answer(Answer::status(404)));
    let outcome = site.run().args(["--timeout", "4s"]).run();
    outcome.exits(7).writes_nothing().says("  missing: 'image.bin' at specman-1\n");
    outcome.says("hint: the other replicas serve all of it, specman-1 lags behind: run specman-wait, then this again\n");
    outcome.never_says("at specman-0");
}

#[test]
fn v3_an_archive_that_is_gone_or_changed_is_read_from_the_registry() {
    let site = Migrated::new(1);
    let login = |run: Run| {
        let setting = |name| site.migration.setting(name);
        let run = run.args(["-u", &setting("OCI_USERNAME"), "--password-file", &setting("OCI_PASSWORD_FILE")]);
        let run = run.args(["--registry", &setting("OCI_PACK_REGISTRY"), "--registry-ca-file", &setting("OCI_CA_FILE")]);
        run.called(site.migration.reference(), "REFERENCE")
    };
    let whole = std::fs::read(site.migration.archive()).unwrap();
    std::fs::write(site.migration.archive(), &whole[..whole.len() / 2]).unwrap();
    let outcome = login(site.run()).run();
    outcome.succeeds().tells(
        "specman-verify: the record's archive 'ARCHIVE' is not what was packed any more; the layer in the registry is taken instead\n\
         specman-verify: 4 files of 'REFERENCE' are served as pushed by specman-0\n",
    );
    assert_eq!(verified(&outcome)["source"], "REFERENCE");
    std::fs::remove_file(site.migration.archive()).unwrap();
    let registry = site.migration.site.registry.as_ref().unwrap();
    let cut = registry.faults().on(Match::get("/v2/**/blobs/*"), Times::First(1), Action::CutReply(100));
    login(site.run())
        .run()
        .succeeds()
        .says("cannot be read: no such file or directory; the layer in the registry is taken instead\n");
    assert_eq!(cut.hits(), 1);
    let tokens = registry.log().matching(&Match::get("/**")).into_iter().filter_map(|request| request.query);
    let scopes: Vec<_> = tokens.filter(|query| query.contains("scope=")).collect();
    assert!(!scopes.is_empty() && scopes.iter().all(|query| !query.contains("push")), "{scopes:?}");
    // Without the artifact there is nothing to compare with.
    let mut record = site.record.clone();
    record.as_object_mut().unwrap().remove("artifact");
    site.run().record(&record).run().fails(
        2,
        "specman-verify: error: compare with the record's archive: 'ARCHIVE' cannot be read: no such file or directory\n\
         specman-verify: hint: name the archive or the folder: specman-verify FILE|DIR\n",
    );
    site.run().record(&new_record()).run().exits(2).says("the record has neither section 'archive' nor section 'artifact'");
}

#[test]
fn v3_a_layer_that_is_not_what_was_pushed_is_refused() {
    let site = Migrated::new(1);
    std::fs::remove_file(site.migration.archive()).unwrap();
    let other = Answer::status(200).body(archive(&[(tar::EntryType::Regular, "other", "")]));
    let registry = site.migration.site.registry.as_ref().unwrap();
    let other = registry.faults().on(Match::get("/v2/**/blobs/*"), Times::Always, Action::Answer(other));
    let setting = |name| site.migration.setting(name);
    let run = site.run().args(["-u", &setting("OCI_USERNAME"), "--password-file", &setting("OCI_PASSWORD_FILE")]);
    let host = setting("OCI_PACK_REGISTRY");
    let outcome = run.args(["--registry", &host, "--registry-ca-file", &setting("OCI_CA_FILE")]).run();
    outcome.exits(7).writes_nothing().says("what the registry sent is 'sha256:");
    assert_eq!((other.hits(), site.migration.site.specman.server(0).log().lines().len()), (1, 0));
    site.run().args(["--registry", &host]).run().exits(5).says("the certificate of '127.0.0.1' is not trusted");
}

/// A record from another host may name any registry, which gets neither a login nor a request.
#[test]
fn q20_a_registry_that_only_the_record_names_is_not_asked() {
    let site = Migrated::new(1);
    std::fs::remove_file(site.migration.archive()).unwrap();
    let registry = site.migration.site.registry.as_ref().unwrap();
    let setting = |name| site.migration.setting(name);
    let host = setting("OCI_PACK_REGISTRY");
    let login = ["-u", &setting("OCI_USERNAME"), "--password-file", &setting("OCI_PASSWORD_FILE")];
    let run = || site.run().args(["--registry-ca-file", &setting("OCI_CA_FILE")]).called(&host, "HOST");
    run().args(login).run().exits(2).writes_nothing().says(
        "error: read from 'HOST': only the record names this registry, and a login was given without a registry\n\
         specman-verify: hint: if it is the right one: --registry HOST\n",
    );
    run().run().exits(2).writes_nothing().says("only the record names this registry, and this host has no login for it\n");
    let elsewhere = run().args(login).args(["--registry", "harbor.example"]).run();
    elsewhere.exits(5).writes_nothing().says("the record names this registry, but 'harbor.example' was given\n");
    run().args(login).env("OCI_PACK_REGISTRY", "harbor.example").run().exits(5).writes_nothing();
    assert_eq!(registry.log().connections(), 0);
    run().args(login).env("OCI_PACK_REGISTRY", &host).run().succeeds();
}

#[test]
fn v4_a_pod_that_dies_in_the_middle_is_reached_again() {
    let site = Migrated::new(1);
    let (cluster, specman) = (&site.migration.site.cluster, site.migration.site.specman.server(0));
    let stalled = site.fault(0, "/image.bin", Times::First(1), Action::Stall);
    let running = site.run().args(["--jobs", "1"]).start();
    assert!(specman.log().wait(SOON, |all| all.iter().any(|request| request.path == "/image.bin")));
    cluster.replace_pod("specman-0");
    let outcome = running.wait();
    outcome.succeeds();
    assert_eq!((verified(&outcome), stalled.hits()), (counts(0, 0, 0), 1));
}

#[test]
fn v4_a_pod_that_does_not_come_back_is_unreachable() {
    let site = Migrated::new(1);
    let (cluster, specman) = (&site.migration.site.cluster, site.migration.site.specman.server(0));
    site.fault(0, "/image.bin", Times::First(1), Action::Stall);
    let running = site.run().args(["--jobs", "1", "--retries", "1"]).start();
    assert!(specman.log().wait(SOON, |all| all.iter().any(|request| request.path == "/image.bin")));
    cluster.pause_controller(true);
    cluster.remove("pods", "hubble-system", "specman-0");
    let outcome = running.wait();
    outcome.exits(6).writes_nothing().says("error: compare 'image.bin' at specman-0: ").says("pods \"specman-0\" not found");
}

#[test]
fn v4_without_the_permission_the_verb_and_the_alternative_are_named() {
    let site = Migrated::new(1);
    for verb in ["get", "create"] {
        site.migration.site.cluster.set_access(Access::AllBut(vec![Rule::new(verb, "pods/portforward")]));
        let outcome = site.run().run();
        outcome.exits(4).writes_nothing().says("error: forward port 8443 of pod 'specman-0': ");
        outcome.says(&format!("cannot {verb} resource \"pods/portforward\""));
        outcome.says("verbs: [\"get\", \"create\"]}, or use --url");
    }
    site.migration.site.cluster.set_access(Access::AllBut(vec![Rule::new("get", "statefulsets")]));
    site.run().run().exits(4).says("no permission to get statefulsets 'specman'");
    site.at_address().run().succeeds();
}

#[test]
fn a_certificate_is_refused_shown_and_with_insecure_pinned() {
    let site = Migrated::new(1);
    let refused = site.trusting_nobody().run();
    refused.exits(5).writes_nothing();
    refused.says(
        "error: connect to pod 'specman-0': the certificate of 'specman-service.hubble-system.svc.cluster.local' is not trusted",
    );
    refused.says("  SHA-256: ");
    let fingerprint = refused.stderr().lines().find_map(|line| line.strip_prefix("  SHA-256: ").map(str::to_owned)).unwrap();
    let outcome = site.trusting_nobody().arg("--insecure").run();
    let pinned = "the certificate of specman-0 is not checked (--insecure), but pinned for this run: SHA-256";
    outcome.succeeds().says(&format!("warning: {pinned} {fingerprint}\n"));
    site.run().args(["--server-name", "other.example"]).run().exits(5).says("hint: name one of its names: --server-name NAME\n");
}

#[test]
fn a_pinned_replica_that_shows_another_certificate_is_left() {
    let site = Migrated::new(1);
    let (cluster, specman) = (&site.migration.site.cluster, site.migration.site.specman.server(0));
    let router = Router::new().fallback(async || "anything");
    let other = Server::start(router, Listener::tls(Certs::new(&[]).server_config()));
    site.fault(0, "/image.bin", Times::First(1), Action::Stall);
    let running = site.trusting_nobody().args(["--insecure", "--jobs", "1"]).start();
    assert!(specman.log().wait(SOON, |all| all.iter().any(|request| request.path == "/image.bin")));
    cluster.serve_port("specman-0", SPECMAN_PORT, other.addr());
    cluster.cut_forwards("specman-0", Cut::Break);
    let outcome = running.wait();
    outcome.exits(5).writes_nothing().says("is not trusted: it is not the one that it showed before in this run\n");
    assert_eq!(other.log().lines(), Vec::<String>::new());
}

#[test]
fn a_sample_says_its_seed_and_repeats_with_it() {
    let site = Migrated::new(1);
    let first = site.run().args(["--sample", "2"]).run();
    first.succeeds();
    assert_eq!(verified(&first)["compared"], 2);
    let seed = first.stderr().split("--seed ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let mut asked = site.migration.site.specman.server(0).log().lines();
    site.migration.site.specman.server(0).log().clear();
    site.run().args(["--sample", "2", "--seed", &seed]).run().succeeds();
    let mut again = site.migration.site.specman.server(0).log().lines();
    asked.sort();
    again.sort();
    assert_eq!((asked.len(), again), (2, asked));
    site.run().args(["--sample", "0"]).run().exits(2).says("'0' is no number of files, which is 1 or more");
}

#[test]
fn a_prefix_is_where_the_files_are() {
    let site = Migrated::new(1);
    let parts = site.migration.tree().join("charts");
    site.run().args(["--path-prefix", "/charts"]).arg(&parts).run().succeeds();
    let mut lines = site.migration.site.specman.server(0).log().lines();
    lines.sort();
    assert_eq!(lines, ["GET /charts/deep/a%20file.yaml -> 200", "GET /charts/empty -> 200"]);
    site.run().args(["--path-prefix", "a/../b"]).run().exits(2).says("'..' is no folder's name");
}

/// A gzipped tar archive with these entries, unchecked.
fn archive(entries: &[(tar::EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (kind, name, target) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[test]
fn bad_input_35_no_archive_and_no_folder_is_refused_before_anything_is_sent() {
    use tar::EntryType::{Regular, Symlink};
    let site = Migrated::new(1);
    let good = std::fs::read(site.migration.archive()).unwrap();
    let folder = site.migration.folder();
    for (bytes, says) in [
        (b"PK\x03\x04".to_vec(), "it is not a gzip archive\n"),
        (good[..good.len() - 9].to_vec(), "it is truncated\n"),
        (archive(&[(Regular, "../led-out", "")]), "entry '../led-out' is refused: its path leaves the archive\n"),
        (
            archive(&[(Symlink, "l", "/tmp"), (Regular, "l/led-out", "")]),
            "entry 'l/led-out' is refused: its path goes through a link in the archive\n",
        ),
    ] {
        let path = folder.join("bad.tgz");
        std::fs::write(&path, bytes).unwrap();
        let outcome = site.run().record(&new_record()).arg("bad.tgz").run();
        outcome.exits(7).writes_nothing().says("error: read the archive '").says(says);
    }
    assert!(!folder.join("led-out").exists() && !folder.parent().unwrap().join("led-out").exists());
    std::fs::create_dir(folder.join("nothing")).unwrap();
    site.run().arg("nothing").run().exits(2).says("there is no file in it\n");
    site.run().arg("absent").run().fails(2, "specman-verify: error: open 'absent': no such file or directory\n");
    site.run()
        .arg("/dev/null")
        .run()
        .fails(2, "specman-verify: error: open '/dev/null': it is neither an archive nor a folder\n");
    assert_eq!(site.migration.site.requests(), Vec::<String>::new());
}

#[test]
fn a_dry_run_asks_nobody() {
    let site = Migrated::new(1);
    let outcome = site.run().arg("--dry-run").run();
    outcome
        .succeeds()
        .tells("specman-verify: would compare 'ARCHIVE' with what Specman serves at each replica, through port-forwards\n");
    assert_eq!(outcome.json()["dry_run"], true);
    assert_eq!(outcome.json().get("verified"), None);
    assert_eq!(site.migration.site.requests(), Vec::<String>::new());
}

#[test]
fn its_time_is_bounded_and_so_are_its_tries() {
    let site = Migrated::new(1);
    site.fault(0, "/image.bin", Times::Always, Action::Stall);
    let outcome = site.run().args(["--timeout", "6s"]).run();
    outcome.exits(8).writes_nothing().says("time is over after 3 of 4 files\n");
    assert!(outcome.took() < Duration::from_secs(8), "{outcome}");
    let outcome = site.run().args(["--port", "81", "--retries", "0"]).run();
    outcome.exits(6).writes_nothing().says("connect: connection refused");
}

#[test]
fn the_record_and_standard_output_are_as_with_every_tool() {
    let site = Migrated::new(1);
    site.run().stdin("").run().exits(2).writes_nothing().says("not run: the stage before it wrote no record");
    assert_eq!(site.migration.site.requests(), Vec::<String>::new());
    site.run().stdout_full().run().exits(1).says("no space left on device");
    site.run().arg("-q").run().succeeds().quiet();
    tool("specman-verify")
        .arg("--sampel=3")
        .run()
        .fails(2, "specman-verify: error: unknown option '--sampel'\nspecman-verify: hint: did you mean '--sample'?\n");
}
