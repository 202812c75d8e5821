//! Upload sessions: opened, lost, and never gone on with where it is unclear how far they are.

use scar_lab::faults::{Action, Answer, Times};

use crate::requests::{error, heads, puts, uploads};
use crate::{REPOSITORY, SIZE, Site, assert_pushed, bytes};

#[test]
fn p10_a_blob_of_another_size_is_not_taken_for_the_archive() {
    let site = Site::plain();
    site.registry.store().put_blob(REPOSITORY, &bytes(SIZE));
    let fault = site.registry.faults().on(heads(), Times::Always, Action::set_header("content-length", "5"));
    site.ocipush(site.archive(SIZE)).run().exits(7).says("has 5 bytes; it has 1000000").writes_nothing();
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
fn p12_an_upload_without_a_location_is_refused_and_a_long_one_taken() {
    let site = Site::plain();
    site.registry.faults().on(uploads(), Times::Always, Action::drop_header("location"));
    site.ocipush(site.archive(SIZE)).run().exits(1).says("without saying where (no Location)").writes_nothing();
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
    // Longer than an address can be.
    site.registry.faults().clear();
    let endless = Action::set_header("location", &format!("/v2/x/blobs/uploads/1?state={}", "x".repeat(64 << 10)));
    site.registry.faults().on(uploads(), Times::Always, endless);
    let outcome = site.ocipush(site.archive(SIZE + 1)).run();
    outcome.exits(1).writes_nothing().says("longer than");
    assert!(outcome.stderr().len() < 4096, "{}", outcome.stderr().len());
}

#[test]
fn p16_a_connection_cut_anywhere_in_the_body_costs_one_more_upload() {
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
fn p20_a_lost_session_is_not_gone_on_with() {
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
