//! specman-verify's port-forwards: what refuses and breaks them, how few they are, and the certificate behind them.

use axum::Router;
use axum::routing::get;
use scar_lab::certs::Certs;
use scar_lab::faults::{Action, Match, Times};
use scar_lab::kube::{Access, Cut, Kubelet, Rule, Webhook};
use scar_lab::server::{Listener, Server};
use scar_lab::site::SPECMAN_PORT;
use scar_suites::new_record;

use crate::{Migrated, SOON, counts, verified};

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
fn v5_plain_http_at_a_port_for_tls_ends_at_once() {
    let site = Migrated::new(1);
    // The words of Go's net/http/server.go.
    let refuse = async || (axum::http::StatusCode::BAD_REQUEST, "Client sent an HTTP request to an HTTPS server.\n");
    let server = Server::start(Router::new().route("/{*path}", get(refuse)), Listener::plain());
    site.migration.site.cluster.serve_port("specman-0", SPECMAN_PORT, server.addr());
    let outcome = site.run().arg("--plain-http").run();
    outcome.exits(2).writes_nothing().says("400 Bad Request: Client sent an HTTP request to an HTTPS server.\n");
    outcome.says("hint: if the server speaks TLS, leave out --plain-http\n");
    // The lab's own Specman answers with a TLS alert.
    let site = Migrated::new(1);
    let outcome = site.run().arg("--plain-http").run();
    outcome.exits(2).writes_nothing().says(": the answer is not HTTP\n");
    outcome.says("hint: if the server speaks TLS, leave out --plain-http\n");
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
        (Kubelet::Forbidden, "hint: your own login is good: give the API server a cluster role for its kubelets"),
        (Kubelet::Down, "hint: is the node Ready"),
    ] {
        site.migration.site.cluster.set_kubelet(kubelet);
        site.run().args(["--timeout", "3s", "--jobs", "1"]).run().exits(6).writes_nothing().says(says).never_says("Role in");
    }
}

#[test]
fn q54_a_webhook_that_denies_the_port_forward_is_named_and_no_role_is_asked_for() {
    let site = Migrated::new(1);
    // 400 and 404 are also the API server's own answers, for a pod that is not there yet.
    for code in [400, 403, 404, 500] {
        site.migration.site.cluster.set_webhook(Some(("keep.example", Webhook::Denies(code))));
        let outcome = site.run().run();
        outcome.exits(4).writes_nothing().says("the admission webhook 'keep.example' denies it").never_says("Role in");
    }
}

#[test]
fn q54_a_webhook_that_is_silent_on_the_port_forward_is_what_the_tool_waited_for() {
    let site = Migrated::new(1);
    site.migration.site.cluster.set_webhook(Some(("keep.example", Webhook::TimesOut(SOON))));
    let outcome = site.run().args(["--timeout", "2s"]).run();
    outcome.exits(8).writes_nothing().says("time is over after 0 of 4 files; no answer yet to GET https://");
    outcome.says("/pods/specman-0/portforward\n");
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
