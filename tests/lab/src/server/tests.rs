//! The server, its log and its faults, seen from a client.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use reqwest::Method;
use serde_json::json;

use super::{Listener, PeerCertificates, Server};
use crate::certs::{Certs, Pair};
use crate::faults::{Action, Answer, Match, Times};
use crate::probe::{self, client, send};

fn echo() -> Server {
    let router = Router::new().route("/echo", post(async |body: Bytes| body)).route("/big", get(async || vec![7_u8; 1 << 20]));
    Server::start(router, Listener::plain())
}

fn post_echo(server: &Server, body: &[u8]) -> Result<probe::Got, reqwest::Error> {
    let url = server.url() + "/echo?a=b";
    let body = body.to_vec();
    send(&client(None), Method::POST, &url, |r| r.body(body))
}

#[test]
fn a_request_is_logged_with_its_body_and_its_answer() {
    let server = echo();
    let body = vec![b'x'; 100_000];
    assert_eq!(post_echo(&server, &body).unwrap().body, body);
    let log = server.log();
    let [request] = &log.requests()[..] else { panic!("one request") };
    assert_eq!(request.line(), "POST /echo?a=b -> 200");
    assert_eq!(request.body_bytes, 100_000);
    assert_eq!(request.body.len(), crate::log::KEPT_BODY);
    assert_eq!(request.header("content-length"), Some("100000"));
    assert_eq!((log.connections(), log.body_bytes()), (1, 100_000));
}

#[test]
fn a_request_without_a_route_fails_the_test_that_made_it() {
    let server = echo();
    assert_eq!(probe::get(&(server.url() + "/nowhere")).unwrap().status, 501);
    assert_eq!(probe::get(&(server.url() + "/echo")).unwrap().status, 501);
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(server)));
    let message = *dropped.unwrap_err().downcast::<String>().unwrap();
    assert!(message.ends_with("GET /nowhere -> 501\nGET /echo -> 501"));
}

#[test]
fn a_tolerant_server_holds_nothing_against_anybody() {
    let server = echo();
    server.tolerate_unexpected();
    assert_eq!(probe::get(&(server.url() + "/nowhere")).unwrap().status, 501);
    assert_eq!(server.log().unexpected().len(), 1);
}

#[test]
fn an_answer_takes_the_place_of_the_handler_as_often_as_asked() {
    let server = echo();
    let answer = Answer::json(503, &json!({"why": "busy"})).header("retry-after", "1");
    let fault = server.faults().on(Match::post("/echo"), Times::First(2), Action::Answer(answer));
    let got = post_echo(&server, b"hello").unwrap();
    assert_eq!((got.status, got.header("retry-after")), (503, "1"));
    assert_eq!(got.json(), json!({"why": "busy"}));
    assert_eq!(post_echo(&server, b"hello").unwrap().status, 503);
    assert_eq!(post_echo(&server, b"hello").unwrap().status, 200);
    assert_eq!(fault.hits(), 2);
    assert_eq!(server.log().body_bytes(), 15);
}

#[test]
fn a_reset_before_the_body_reads_none_of_it() {
    let server = echo();
    server.faults().on(Match::any("/**"), Times::Nth(1), Action::Reset);
    assert!(post_echo(&server, b"hello").is_err());
    assert_eq!(server.log().lines(), ["POST /echo?a=b -> -"]);
    assert_eq!(server.log().body_bytes(), 0);
    assert_eq!(post_echo(&server, b"hello").unwrap().status, 200);
}

#[test]
fn a_reset_in_the_body_comes_after_exactly_that_many_bytes() {
    for (size, at) in [(10_u64, 0_u64), (10, 1), (10, 10), (5 << 20, 3 << 20)] {
        let server = echo();
        server.faults().on(Match::any("/**"), Times::Always, Action::ResetAfter(at));
        let body = vec![1; usize::try_from(size).unwrap()];
        assert!(post_echo(&server, &body).is_err(), "{at} of {size}");
        assert_eq!(server.log().body_bytes(), at, "{at} of {size}");
    }
}

#[test]
fn a_lost_reply_comes_after_the_handler_did_its_work() {
    let server = echo();
    server.faults().on(Match::any("/**"), Times::First(1), Action::LoseReply);
    assert!(post_echo(&server, b"hello").is_err());
    assert_eq!(server.log().body_bytes(), 5);
    assert_eq!(server.log().requests()[0].status, None);
}

#[test]
fn a_stalled_request_never_ends_and_the_server_still_does() {
    let server = echo();
    server.faults().on(Match::any("/**"), Times::Always, Action::Stall);
    let url = server.url() + "/echo";
    let wait = Duration::from_millis(200);
    let failed = send(&client(None), Method::POST, &url, |r| r.body("hello").timeout(wait));
    assert!(failed.unwrap_err().is_timeout());
    assert_eq!(server.log().body_bytes(), 5);
    let before = Instant::now();
    drop(server);
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_delayed_request_is_answered_later() {
    let server = echo();
    let time = Duration::from_millis(100);
    server.faults().on(Match::any("/**"), Times::Always, Action::Delay(time));
    let before = Instant::now();
    assert_eq!(post_echo(&server, b"hello").unwrap().body, b"hello");
    assert!(before.elapsed() >= time);
}

#[test]
fn a_cut_reply_gives_exactly_that_many_bytes() {
    for at in [0_u64, 1, 70_000, 1 << 20] {
        for certs in [None, Some(Certs::new(&[]))] {
            let router = Router::new().route("/big", get(async || vec![7_u8; (1 << 20) + 1]));
            let tls = certs.as_ref().map(Certs::server_config);
            let server = Server::start(router, Listener { tls, ..Listener::plain() });
            server.faults().on(Match::any("/**"), Times::Always, Action::CutReply(at));
            let client = client(certs.as_ref().map(Certs::ca_pem));
            let received = probe::run(async {
                let mut response = client.get(server.url() + "/big").send().await.unwrap();
                let mut received = 0;
                loop {
                    match response.chunk().await {
                        Ok(Some(chunk)) => received += chunk.len() as u64,
                        Ok(None) => panic!("the body ended well"),
                        Err(_) => return received,
                    }
                }
            });
            assert_eq!(received, at);
        }
    }
}

#[test]
fn a_trickle_and_a_slow_read_take_their_time() {
    let server = echo();
    let (bytes, every) = (2, Duration::from_millis(20));
    let faults = server.faults();
    faults.on(Match::any("/**"), Times::Nth(1), Action::TrickleReply { bytes, every });
    faults.on(Match::any("/**"), Times::Nth(1), Action::SlowRead { bytes, every });
    for _ in 0..2 {
        let before = Instant::now();
        assert_eq!(post_echo(&server, b"0123456789").unwrap().body, b"0123456789");
        assert!(before.elapsed() >= every * 4);
    }
}

#[test]
fn an_edit_changes_the_answer_of_the_handler() {
    let server = echo();
    let faults = server.faults();
    faults.on(Match::any("/**"), Times::Nth(1), Action::set_header("x-lab", "1"));
    faults.on(Match::any("/**"), Times::Nth(1), Action::drop_header("content-type"));
    faults.on(Match::any("/**"), Times::Nth(1), Action::edit(|response| *response.body_mut() = Body::from("other")));
    assert_eq!(post_echo(&server, b"").unwrap().header("x-lab"), "1");
    assert_eq!(post_echo(&server, b"").unwrap().header("content-type"), "");
    server.faults().clear();
    assert_eq!(post_echo(&server, b"same").unwrap().body, b"same");
}

#[test]
fn the_next_connections_can_be_refused() {
    let server = echo();
    server.faults().reset_connections(2);
    assert!(post_echo(&server, b"").unwrap_err().is_request());
    assert!(post_echo(&server, b"").is_err());
    assert_eq!(post_echo(&server, b"").unwrap().status, 200);
    assert_eq!(server.log().connections(), 3);
    assert_eq!(server.log().requests().len(), 1);
}

#[test]
fn a_test_can_meet_a_request_in_its_middle() {
    let server = echo();
    let every = Duration::from_millis(50);
    server.faults().on(Match::any("/**"), Times::Always, Action::SlowRead { bytes: 1, every });
    let url = server.url() + "/echo";
    let asking = std::thread::spawn(move || send(&client(None), Method::POST, &url, |r| r.body("0123456789")));
    let limit = Duration::from_secs(5);
    assert!(server.log().wait(limit, |all| { all.first().is_some_and(|r| r.body_bytes >= 2) }));
    assert_eq!(server.log().requests()[0].status, None);
    drop(server);
    assert!(asking.join().unwrap().is_err());
}

fn tls(pair: &Pair, ca_pem: &str) -> Result<u16, Vec<String>> {
    let router = Router::new().route("/", get(async || "hello"));
    let server = Server::start(router, Listener::tls(pair.server_config()));
    match send(&client(Some(ca_pem)), Method::GET, &server.url(), |r| r) {
        Ok(got) => Ok(got.status),
        Err(_) => {
            assert!(server.log().wait_tls_failure(Duration::from_secs(5)));
            assert_eq!(server.log().requests().len(), 0);
            Err(server.log().tls_failures())
        }
    }
}

#[test]
fn the_good_certificate_is_trusted_and_each_bad_one_is_refused() {
    let certs = Certs::new(&["vertex.example"]);
    assert_eq!(tls(certs.server(), certs.ca_pem()), Ok(200));
    for (bad, alert) in [
        (certs.expired(), "CertificateExpired"),
        (certs.wrong_name(), "BadCertificate"),
        (certs.unknown_ca(), "UnknownCA"),
        (certs.self_signed(), "UnknownCA"),
        (certs.self_signed_ca(), "CertificateUnknown"),
    ] {
        let failures = tls(&bad, certs.ca_pem()).unwrap_err();
        assert!(failures.concat().contains(alert), "{failures:?} is no {alert}");
    }
}

#[test]
fn a_handler_sees_the_client_certificate() {
    let certs = Certs::new(&[]);
    let seen = async |request: axum::extract::Request| {
        let peer = request.extensions().get::<PeerCertificates>();
        peer.map_or(0, |peer| peer.0.len()).to_string()
    };
    let router = Router::new().route("/", get(seen));
    let config = certs.server().server_config_with_clients(certs.ca_pem(), false);
    let server = Server::start(router, Listener::tls(config));
    let ask = |pair: Option<Pair>| {
        let root = reqwest::Certificate::from_pem(certs.ca_pem().as_bytes()).unwrap();
        let mut builder = reqwest::Client::builder().tls_certs_only([root]).no_proxy();
        if let Some(pair) = pair {
            let pem = pair.cert_pem + &pair.key_pem;
            builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
        }
        let client = builder.build().unwrap();
        send(&client, Method::GET, &server.url(), |r| r).map(|got| got.body)
    };
    assert_eq!(ask(None).unwrap(), b"0");
    assert_eq!(ask(Some(certs.client("admin"))).unwrap(), b"1");
    assert!(ask(Some(certs.expired_client("admin"))).is_err());
}
