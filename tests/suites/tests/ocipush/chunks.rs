//! Chunks, for when one request cannot carry the whole archive.

use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::registry::RegistryOptions;

use crate::requests::{puts, uploads};
use crate::{SIZE, Site, assert_pushed, bytes};

#[test]
fn p19_a_proxy_with_a_smaller_limit_gets_chunks() {
    let site = Site::start(RegistryOptions { max_body: Some(2 << 20), ..RegistryOptions::default() });
    let outcome = site.ocipush(site.archive(3 << 20)).run();
    outcome.succeeds().says("sending chunks of 1 MiB");
    assert_pushed(&site, 3 << 20);
    assert_eq!(site.registry.log().count(&Match::patch("/**")), 3);
    let site = Site::plain();
    let page = Answer::html(413, "<html><head><title>413 Request Entity Too Large</title></head></html>");
    site.registry.faults().on(puts(), Times::Always, Action::Answer(page.early()));
    let outcome = site.ocipush(site.archive(SIZE)).run();
    outcome.exits(1).says("client_max_body_size").says("413 Request Entity Too Large").writes_nothing();
}

#[test]
fn p26_chunks_continue_whatever_the_range_header_says() {
    for edit in [
        Action::set_header("range", "0-0"),
        Action::set_header("range", "0-99999999"),
        Action::drop_header("range"),
        Action::edit(|response| *response.status_mut() = "201".parse().unwrap()),
    ] {
        let site = Site::plain();
        site.registry.faults().on(Match::patch("/**"), Times::Always, edit);
        site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
        assert_pushed(&site, SIZE);
        assert_eq!(site.registry.log().count(&Match::patch("/**")), 4);
    }
}

#[test]
fn p26_a_registry_without_chunks_gets_the_blob_in_one_request() {
    for status in [405, 400, 501] {
        let site = Site::plain();
        let fault = site.registry.faults().on(Match::patch("/**"), Times::Always, Action::Answer(Answer::status(status)));
        site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
        assert_eq!(fault.hits(), 1);
        assert_pushed(&site, SIZE);
    }
}

fn patches() -> Match {
    Match::patch("/v2/**/blobs/uploads/*")
}

fn statuses() -> Match {
    Match::get("/v2/**/blobs/uploads/*")
}

/// No chunk is sent twice in one session, unless the registry was asked in between.
pub(crate) fn assert_none_is_sent_blindly(site: &Site) {
    let mut sent = Vec::new();
    for request in site.registry.log().requests() {
        match request.method.as_str() {
            "PATCH" => {
                let chunk = (request.path.clone(), request.header("content-range").unwrap().to_owned());
                assert!(!sent.contains(&chunk), "{chunk:?}: {:#?}", site.registry.log().lines());
                sent.push(chunk);
            }
            "GET" if request.path.contains("/blobs/uploads/") => sent.clear(),
            _ => {}
        }
    }
}

#[test]
fn p27_after_a_lost_reply_the_registry_is_asked_before_a_chunk_is_resent() {
    let chunk = 256 * 1024;
    let again = SIZE as u64 + 10_000;
    let refused = |status: u16| Action::Answer(Answer::status(status));
    for (number, (fault, status, bound)) in [
        // The registry has it and says so: nothing is sent twice.
        (Action::LoseReply, None, again),
        // It has nothing of it and says so: only this chunk is sent again.
        (refused(503), None, again + chunk),
        (refused(429), None, again + chunk),
        (Action::Reset, None, again + chunk),
        // The chunk was cut, so the session is gone.
        (Action::ResetAfter(1000), None, 2 * again),
        // It does not say, or says something else.
        (Action::LoseReply, Some(refused(404)), 2 * again),
        (Action::LoseReply, Some(refused(405)), 2 * again),
        (Action::LoseReply, Some(refused(500)), 2 * again),
        (Action::LoseReply, Some(Action::Reset), 2 * again),
        (Action::LoseReply, Some(Action::drop_header("range")), 2 * again),
        (Action::LoseReply, Some(Action::set_header("range", "0-0")), 2 * again),
        (Action::LoseReply, Some(Action::set_header("range", "0-99999999999999999999")), 2 * again),
        (Action::LoseReply, Some(Action::set_header("range", "bytes 0")), 2 * again),
    ]
    .into_iter()
    .enumerate()
    {
        let site = Site::plain();
        let fault = site.registry.faults().on(patches(), Times::Nth(2), fault);
        if let Some(status) = status {
            site.registry.faults().on(statuses(), Times::Always, status);
        }
        site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
        assert_eq!(fault.hits(), 1);
        assert_pushed(&site, SIZE);
        assert_eq!(site.registry.log().count(&statuses()), 1, "{number}");
        let sent = site.registry.log().body_bytes();
        assert!(sent < bound, "{number}: {sent}");
        assert_none_is_sent_blindly(&site);
    }
}

#[test]
fn p26_p27_a_registry_that_lies_about_a_lost_chunk_is_detected_by_the_digest() {
    // It has the chunk but says that it has not.
    let site = Site::plain();
    site.registry.faults().on(patches(), Times::Nth(2), Action::LoseReply);
    site.registry.faults().on(statuses(), Times::Always, Action::set_header("range", "0-262143"));
    site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
    assert_pushed(&site, SIZE);
    assert!(site.registry.log().body_bytes() < 3 * SIZE as u64);
}

#[test]
fn p26_a_chunk_that_is_answered_before_it_was_read_does_not_count() {
    let early = |status: u16| Action::Answer(Answer::status(status).early());
    // The first, a middle and the last chunk; of a file and of a stream.
    for nth in [1, 2, 4] {
        for status in [201, 202, 503] {
            for stream in [false, true] {
                let site = Site::plain();
                let content = crate::bytes(4 << 20);
                let fault = site.registry.faults().on(patches(), Times::Nth(nth), early(status));
                let run = match stream {
                    true => site.ocipush("-").stdin(content.clone()),
                    false => site.ocipush(site.archive(4 << 20)),
                };
                run.args(["--chunk-size", "1MiB", "--stall-timeout", "5s", "--timeout", "30s"]).run().succeeds();
                assert_eq!(fault.hits(), 1);
                assert_pushed(&site, 4 << 20);
            }
        }
    }
}

#[test]
fn p26_a_registry_that_knows_no_chunk_session_gets_the_whole() {
    let site = Site::plain();
    let fault = site.registry.faults().on(patches(), Times::Always, Action::Answer(Answer::status(404)));
    site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
    assert_pushed(&site, SIZE);
    assert_eq!(fault.hits(), 2);
}

#[test]
fn p27_every_chunk_may_be_lost_once() {
    let site = Site::plain();
    // Each fault only counts what earlier ones let through: the first try of every chunk fails.
    let faults =
        [1, 2, 3, 4].map(|nth| site.registry.faults().on(patches(), Times::Nth(nth), Action::Answer(Answer::status(502))));
    site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
    assert_pushed(&site, SIZE);
    assert_none_is_sent_blindly(&site);
    assert_eq!(faults.map(|fault| fault.hits()), [1; 4]);
    // There is nothing to resume before the first chunk.
    assert_eq!((site.registry.log().count(&patches()), site.registry.log().count(&statuses())), (8, 3));
}

#[test]
fn p28_a_plausible_minimum_chunk_size_is_used() {
    for (least, chunks) in [("0", 4), ("1", 4), ("524288", 2), ("10737418240", 4), ("abc", 4)] {
        let site = Site::plain();
        site.registry.faults().on(uploads(), Times::Always, Action::set_header("oci-chunk-min-length", least));
        site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
        assert_eq!(site.registry.log().count(&Match::patch("/**")), chunks, "{least}");
    }
}

#[test]
fn a_request_of_an_upload_sends_its_length_even_if_it_is_zero() {
    let site = Site::plain();
    site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
    site.ocipush("-").stdin(bytes(SIZE + 1)).run().succeeds();
    let requests = site.registry.log().requests();
    let sends = |method: &str| matches!(method, "POST" | "PUT" | "PATCH");
    for request in requests.iter().filter(|request| sends(request.method.as_str())) {
        let length = request.header("content-length").map(str::to_owned);
        // A pipe has no length before its end.
        let is_piped = request.method == "PATCH" && request.header("transfer-encoding").is_some();
        assert!(is_piped || length == Some(request.body_bytes.to_string()), "{}: {length:?}", request.line());
    }
    let empty = |method: &str| requests.iter().any(|request| request.method == method && request.body_bytes == 0);
    assert!(empty("POST") && empty("PUT"), "{requests:?}");
}
