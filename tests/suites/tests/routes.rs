//! The routes to each server: a refusing proxy is named, and `--no-proxy` bypasses it; `-v` prints login, certificates and
//! route, `-vv` each request without secrets; an old TLS peer has its own message. For every tool.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use scar_kit::{Outcome, Run, TOOLS, tool};
use scar_lab::proxy::{Manner, Proxy};
use scar_suites::{KubeSite, Migration, new_record, written};
use serde_json::{Value, json};

/// Runs each step of the guide that has a peer; `check` may run a tool several times before its real run.
fn steps(mut check: impl FnMut(&Migration, &str, &dyn Fn() -> Run) -> Outcome) {
    let migration = Migration::new();
    let mut record = new_record();
    let record_is_kept = |name: &str| matches!(name, "scar-preflight" | "scar-get");
    for name in TOOLS.into_iter().chain(["scar-get"]) {
        if name == "mkmanifests" {
            record = written(&migration.tool(name).record(&record).run());
            continue;
        }
        let given = match name {
            "scar-get" => json!({"record": "scar-tools/1", "session": record["session"]}),
            _ => record.clone(),
        };
        let run = || {
            let run = migration.tool(name).record(&given);
            if name == "scar-set" { run.arg("--keep-session") } else { run }
        };
        let outcome = check(&migration, name, &run);
        if !record_is_kept(name) {
            record = written(&outcome);
        }
    }
}

#[test]
fn p42_each_tool_names_the_proxy_that_refuses_and_bypasses_it_when_asked() {
    let proxy = Proxy::start(Manner::Refuse);
    let run_by = |run: Run| run.env("HTTPS_PROXY", proxy.url());
    steps(|migration, name, run| {
        let asked = migration.site.requests().len();
        let before = proxy.asked().len();
        // specman-wait has a timeout of its own already.
        let hurry: &[&str] = if name == "specman-wait" { &[] } else { &["--timeout", "3s"] };
        let refused = run_by(run()).args(hurry).run();
        // The preflight reports it as blocked.
        let statuses: &[i32] = if name == "scar-preflight" { &[3] } else { &[6, 8] };
        assert!(statuses.contains(&refused.status()), "{refused}");
        let said = refused.writes_nothing().stderr().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&format!("from the proxy '{}'", proxy.url())), "{refused}");
        assert!(proxy.asked().len() > before, "{name} went around the proxy");
        let from_tool = |line: &String| scar_suites::sender(line).is_some_and(|sender| sender == name);
        assert!(!migration.site.requests()[asked..].iter().any(from_tool), "{name}");
        let before = proxy.asked().len();
        let outcome = run_by(run()).arg("--no-proxy").run();
        outcome.succeeds();
        assert_eq!(proxy.asked().len(), before, "{name} asked the proxy");
        outcome
    });
}

#[test]
fn bad_input_26_a_malformed_proxy_address_is_refused_by_each_tool_before_any_request() {
    scar_kit::secret("canary-proxy-port");
    steps(|migration, name, run| {
        for (address, shown, says) in [
            ("http://127.0.0.1:99999", "http://127.0.0.1:99999", "its port is not a number from 1 to 65535"),
            ("http://user:canary-proxy-port@127.0.0.1:abc", "http://127.0.0.1:abc", "its port is not a number from 1 to 65535"),
            ("http://127.0.0.400:3128", "http://127.0.0.400:3128", "it is not an address"),
        ] {
            let asked = migration.site.requests().len();
            let outcome = run().env("HTTPS_PROXY", address).args(["-v"]).run();
            // The preflight reports it as blocked.
            outcome.exits(if name == "scar-preflight" { 3 } else { 2 });
            let said = outcome.writes_nothing().stderr().split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains(&format!("read HTTPS_PROXY '{shown}': {says}")), "{outcome}");
            outcome.never_says("through the proxy");
            let from_tool = |line: &String| scar_suites::sender(line).is_some_and(|sender| sender == name);
            assert!(!migration.site.requests()[asked..].iter().any(from_tool), "{name}");
        }
        run().run()
    });
    let home = tempfile::tempdir().unwrap();
    let run = tool("ecr-password").home(home.path()).env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_ACCESS_KEY_ID", "AKIAOLD");
    let run = run.env("AWS_SECRET_ACCESS_KEY", "canary-proxy-port").args(["--region", "us-east-1"]);
    let outcome = run.env("HTTPS_PROXY", "http://127.0.0.1:99999").run();
    outcome.exits(2).writes_nothing().says("read HTTPS_PROXY 'http://127.0.0.1:99999': its port is not a number from 1 to 65535");
}

#[test]
fn q25_a_login_or_a_backslash_in_an_address_is_refused_before_any_request() {
    let proxy = Proxy::start(Manner::Open);
    let migration = Migration::new();
    let host = proxy.url().replace("http://", "");
    let asked = migration.site.requests();
    let corp =
        migration.tool("vertex-login").record(&new_record()).env("HTTPS_PROXY", format!("http://CORP\\user:canary-q25@{host}"));
    corp.run()
        .exits(2)
        .writes_nothing()
        .never_says("canary")
        .says(&format!("read HTTPS_PROXY 'http://{host}': it holds a backslash"));
    let refused = |run: Run, says: &str| {
        run.run().exits(2).writes_nothing().never_says("canary").says(says);
    };
    for (address, says) in [
        (format!("https://admin:canary-q25@{host}"), "it holds credentials, which would be logged"),
        (format!("https://CORP\\admin:canary-q25@{host}"), "it holds a backslash"),
    ] {
        refused(tool("vertex-login").arg(&address).record(&new_record()), says);
        refused(tool("specman-verify").args(["--new-record", "--url", &address, "/tmp"]), "");
        refused(tool("ocipush").args([&address, "/dev/null", "--new-record"]), "");
    }
    assert_eq!((migration.site.requests(), proxy.asked().len()), (asked, 0));
}

#[test]
fn each_tool_says_login_certificates_and_route_and_scrubs_each_request() {
    steps(|migration, name, run| {
        let outcome = run().arg("-vv").run();
        outcome.succeeds();
        let stderr = outcome.stderr();
        let authority = |url: &str| migration.setting(url).trim_start_matches("https://").to_owned();
        let (login, server) = match name {
            "scar-secret-rm" | "specman-wait" | "specman-verify" => {
                ("as user 'lab'".to_owned(), migration.site.kube_server.authority())
            }
            "ocipush" => {
                (format!("user '{}' from the options", migration.setting("OCI_USERNAME")), authority("OCI_PACK_REGISTRY"))
            }
            "scar-preflight" | "vertex-login" => {
                (format!("user '{}'", migration.setting("VERTEX_USERNAME")), authority("VERTEX_ENDPOINT"))
            }
            _ => ("the record's session".to_owned(), authority("VERTEX_ENDPOINT")),
        };
        assert!(stderr.contains(&login), "{name}: no login ({login}) in {stderr}");
        let certificate = format!("the certificate of 'https://{server}");
        assert!(stderr.contains(&certificate), "{name}: no trust ({certificate}) in {stderr}");
        assert!(stderr.contains("checked against "), "{name}: {stderr}");
        let route = [format!("'https://{server}' is reached directly"), format!("the cluster is 'https://{server}/', as")];
        assert!(route.iter().any(|route| stderr.contains(route)), "{name}: no route in {stderr}");
        let requests = stderr
            .lines()
            .filter(|line| ["GET ", "POST ", "PUT ", "DELETE ", "HEAD "].iter().any(|method| line.contains(method)));
        assert!(requests.count() > 0, "{name}: no request in {stderr}");
        outcome
    });
}

/// A server that ends each handshake with its first message.
struct Curt {
    port: u16,
    connections: Arc<AtomicUsize>,
    exit: i32,
    says: [&'static str; 2],
}

impl Curt {
    /// It answers with this TLS record; a tool must end with this status and message.
    fn start(record: Vec<u8>, exit: i32, says: [&'static str; 2]) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                let mut stream = stream.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(&record);
                let _ = stream.read(&mut [0; 4096]);
            }
        });
        Self { port, connections, exit, says }
    }

    #[track_caller]
    fn refused(&self, run: Run) {
        let before = self.connections.load(Ordering::SeqCst);
        let outcome = run.run();
        outcome.exits(self.exit).writes_nothing().says(self.says[0]).says(self.says[1]);
        assert_eq!(self.connections.load(Ordering::SeqCst) - before, 1, "tried again: {outcome}");
    }
}

#[test]
fn p3_a_server_with_old_tls_is_refused_by_each_tool_at_once() {
    // Its hello: TLS 1.1, no session, AES128-SHA, no compression (RFC 4346, 7.4.1.3).
    let body = [&[3, 2][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
    let hello = [&[2, 0, 0, body.len() as u8][..], &body].concat();
    let record = [&[22, 3, 2, 0, hello.len() as u8][..], &hello].concat();
    each_is_refused(&Curt::start(record, 5, ["it offers neither TLS 1.2 nor 1.3", "enable TLS 1.2 or 1.3"]));
}

#[test]
fn p3_a_server_that_demands_a_client_certificate_ends_each_tool_at_once() {
    // The fatal alert certificate_required (RFC 8446, 6.2).
    let alert = vec![21, 3, 3, 0, 2, 2, 116];
    each_is_refused(&Curt::start(alert, 4, ["it demands a client certificate", "client certificate"]));
}

/// Each tool, with this server as its peer.
fn each_is_refused(old: &Curt) {
    let url = format!("https://127.0.0.1:{}", old.port);
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tgz");
    std::fs::write(&archive, "not gzip: ocipush warns, and sends it").unwrap();
    let password = folder.path().join("pw");
    std::fs::write(&password, "canary-old-tls").unwrap();
    scar_kit::secret("canary-old-tls");
    old.refused(tool("ocipush").arg(format!("127.0.0.1:{}", old.port)).arg(&archive).arg("--new-record"));
    old.refused(tool("vertex-login").arg(&url).arg("--password-file").arg(&password).record(&new_record()));
    let session = json!({"endpoint": url, "authorization": "canary-old-tls", "insecure": false});
    old.refused(tool("scar-get").record(&json!({"record": "scar-tools/1", "session": session})));
    let site = KubeSite::new(0);
    site.configure(|config| {
        *config = scar_lab::kube::Kubeconfig::new(&url, scar_lab::kube::Ca::Inline(site.certs.ca_pem().into()))
    });
    let record: Value = new_record();
    old.refused(site.tool("scar-secret-rm").record(&record));
    old.refused(site.tool("specman-wait").args(["--new-record", "--timeout", "5s"]));
    let home = tempfile::tempdir().unwrap();
    let run = tool("ecr-password").home(home.path()).env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_ACCESS_KEY_ID", "AKIAOLD");
    let run = run.env("AWS_SECRET_ACCESS_KEY", "canary-old-tls").args(["--region", "us-east-1", "--endpoint-url", &url]);
    old.refused(run);
}
