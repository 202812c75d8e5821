//! Upload sessions: opened, lost, and never continued if their state is unclear.

use scar_kit::tool;
use scar_lab::certs::Certs;
use scar_lab::faults::{Action, Answer, Fault, Times};
use scar_lab::proxy::{Manner, Proxy};
use scar_lab::registry::RegistryOptions;
use scar_lab::server::Listener;

use crate::requests::{error, heads, puts, uploads};
use crate::{REPOSITORY, SIZE, Site, assert_pushed, bytes, digest};

#[test]
fn p10_a_blob_of_another_size_is_not_taken_for_the_archive() {
    let site = Site::plain();
    site.registry.store().put_blob(REPOSITORY, &bytes(SIZE));
    let fault = site.registry.faults().on(heads(), Times::Always, Action::set_header("content-length", "5"));
    site.ocipush(site.archive(SIZE)).run().exits(7).says("has 5 bytes instead of 1000000").writes_nothing();
    assert_eq!((fault.hits(), site.tag()), (1, None));
}

#[test]
fn p11_a_registry_that_does_not_answer_head_gets_the_blob() {
    for action in [
        Action::Answer(Answer::status(500)),
        Action::Answer(Answer::status(403)),
        Action::Answer(Answer::status(405)),
        Action::Reset,
    ] {
        let site = Site::plain();
        let fault = site.registry.faults().on(heads(), Times::Always, action);
        site.ocipush(site.archive(SIZE)).run().succeeds();
        assert!(fault.hits() >= 2);
        assert_pushed(&site, SIZE);
    }
}

#[test]
fn p12_an_upload_without_a_location_is_refused_and_a_long_location_accepted() {
    let site = Site::plain();
    site.registry.faults().on(uploads(), Times::Always, Action::drop_header("location"));
    site.ocipush(site.archive(SIZE)).run().exits(1).says("it opened an upload session without a Location").writes_nothing();
    site.registry.faults().clear();
    let long = Action::edit(|response| {
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let location = format!("{location}&state={}", "x".repeat(16_000));
        response.headers_mut().insert("location", location.parse().unwrap());
    });
    let fault = site.registry.faults().on(uploads(), Times::Always, long);
    site.ocipush(site.archive(SIZE)).run().succeeds();
    assert_eq!(fault.hits(), 2);
    let put = &site.registry.log().matching(&puts())[0];
    assert!(put.query.as_ref().unwrap().contains(&format!("{}&digest=sha256%3A", "x".repeat(16_000))));
    // Longer than a URL may be.
    site.registry.faults().clear();
    let endless = Action::set_header("location", &format!("/v2/x/blobs/uploads/1?state={}", "x".repeat(64 << 10)));
    site.registry.faults().on(uploads(), Times::Always, endless);
    let outcome = site.ocipush(site.archive(SIZE + 1)).run();
    outcome.exits(1).writes_nothing().says("longer than");
    assert!(outcome.stderr().len() < 4096, "{}", outcome.stderr().len());
}

/// Changes the location of each upload session.
fn locations(site: &Site, change: impl Fn(&str) -> String + Send + Sync + 'static) -> Fault {
    let edit = Action::edit(move |response| {
        let changed = change(response.headers()["location"].to_str().unwrap());
        response.headers_mut().insert("location", changed.parse().unwrap());
    });
    site.registry.faults().on(uploads(), Times::Always, edit)
}

/// The path and query of a location.
fn path(url: &str) -> &str {
    &url[url.find("/v2/").unwrap()..]
}

#[test]
fn p12_a_location_may_leave_out_scheme_host_and_port_of_the_registry() {
    let changes: [fn(&str) -> String; 3] =
        [|url| path(url).to_owned(), |url| url.replace("http://", "//"), |url| url.replace("http://", "")];
    for change in changes {
        let site = Site::plain();
        let fault = locations(&site, move |url| change(url) + "&more=a%2Fb+c");
        site.ocipush(site.archive(SIZE)).run().succeeds();
        assert_eq!(fault.hits(), 2);
        assert_pushed(&site, SIZE);
        let put = &site.registry.log().matching(&puts())[0];
        let hex = digest(&bytes(SIZE)).replace("sha256:", "");
        assert_eq!(put.query.as_deref(), Some(&*format!("_state=0&more=a%2Fb+c&digest=sha256%3A{hex}")));
    }
}

#[test]
fn p12_a_location_without_a_port_has_the_default_port() {
    let certs = Certs::new(&["registry.example"]);
    for (typed, answered) in [("registry.example:443", "registry.example"), ("registry.example", "registry.example:443")] {
        let listener = Listener::tls(certs.server_config());
        let site = Site::start(RegistryOptions { listener, ..RegistryOptions::default() });
        let proxy = Proxy::start(Manner::Open);
        proxy.lead("registry.example:443", site.registry.addr());
        let fault = locations(&site, move |url| format!("https://{answered}{}", path(url)));
        let authority = site.folder.path().join("ca.pem");
        std::fs::write(&authority, certs.ca_pem()).unwrap();
        let run = tool("ocipush").arg(typed).arg(site.archive(SIZE)).args(["--new-record", "--ca-file"]).arg(authority);
        run.env("HTTPS_PROXY", proxy.url()).run().succeeds();
        assert_eq!(fault.hits(), 2);
        assert_pushed(&site, SIZE);
    }
    // On another origin, this is a different place.
    let site = Site::plain();
    let fault = locations(&site, |url| format!("http://127.0.0.1{}", path(url)));
    site.ocipush(site.archive(SIZE)).run().fails(
        5,
        "ocipush: error: push to '127.0.0.1:PORT': it asks to send the archive to another server, 'http://127.0.0.1'\n\
         ocipush: hint: the registry may not know its external port: set its external URL, or the Host header of the proxy in front of it; if it does take uploads there: --trust-upload 127.0.0.1\n",
    );
    assert_eq!(fault.hits(), 1);
}

#[test]
fn p16_after_a_cut_anywhere_in_the_body_the_blob_is_sent_once_more() {
    for after in [0, 1, SIZE / 2, SIZE * 999 / 1000, SIZE] {
        let site = Site::plain();
        let fault = site.registry.faults().on(puts(), Times::First(1), Action::ResetAfter(after as u64));
        site.ocipush(site.archive(SIZE)).run().succeeds();
        assert_eq!(fault.hits(), 1);
        assert_pushed(&site, SIZE);
        assert!(site.registry.log().body_bytes() < 2 * SIZE as u64 + 10_000, "{after}");
        let sent = site.registry.log().matching(&puts());
        assert_ne!(sent[0].path, sent[1].path, "the same session again");
    }
}

#[test]
fn p20_a_lost_session_is_not_continued() {
    for answer in [error(404, "BLOB_UPLOAD_UNKNOWN"), Answer::status(416)] {
        let site = Site::plain();
        site.registry.faults().on(puts(), Times::First(1), Action::Answer(answer));
        site.ocipush(site.archive(SIZE)).run().succeeds();
        let sent = site.registry.log().matching(&puts());
        assert_ne!(sent[0].path, sent[1].path);
        assert_pushed(&site, SIZE);
    }
}

#[test]
fn p21_a_lost_reply_sends_nothing_twice() {
    let site = Site::plain();
    let fault = site.registry.faults().on(puts(), Times::First(1), Action::LoseReply);
    site.ocipush(site.archive(SIZE)).run().succeeds();
    assert_eq!(fault.hits(), 1);
    assert!(site.registry.log().body_bytes() < SIZE as u64 + 10_000);
    assert_pushed(&site, SIZE);
}

#[test]
fn p39_sessions_lost_every_time_point_to_the_load_balancer() {
    let site = Site::plain();
    let fault = site.registry.faults().on(puts(), Times::Always, Action::Answer(error(404, "BLOB_UPLOAD_UNKNOWN")));
    let outcome = site.ocipush(site.archive(SIZE)).args(["--retries", "2"]).run();
    outcome.exits(6).says("sticky sessions").says("http.secret").writes_nothing();
    assert_eq!(fault.hits(), 3);
}
