//! Chunks, where one request cannot carry the whole.

use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::registry::RegistryOptions;

use crate::requests::{puts, uploads};
use crate::{SIZE, Site, assert_pushed};

#[test]
fn p19_a_proxy_with_a_smaller_limit_gets_chunks() {
    let site = Site::start(RegistryOptions { max_body: Some(2 << 20), ..RegistryOptions::default() });
    let outcome = site.ocipush(site.archive(3 << 20)).run();
    outcome.succeeds().says("sending it in chunks of 1 MiB");
    assert_pushed(&site, 3 << 20);
    assert_eq!(site.registry.log().count(&Match::patch("/**")), 3);
    let site = Site::plain();
    let page = Answer::html(413, "<html><head><title>413 Request Entity Too Large</title></head></html>");
    site.registry.faults().on(puts(), Times::Always, Action::Answer(page.early()));
    let outcome = site.ocipush(site.archive(SIZE)).run();
    outcome.exits(1).says("client_max_body_size").says("413 Request Entity Too Large").writes_nothing();
}

#[test]
fn p26_chunks_go_on_whatever_the_range_says() {
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
fn p26_a_registry_that_takes_no_chunks_gets_the_whole() {
    for status in [405, 400, 501] {
        let site = Site::plain();
        let fault = site.registry.faults().on(Match::patch("/**"), Times::Always, Action::Answer(Answer::status(status)));
        site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
        assert_eq!(fault.hits(), 1);
        assert_pushed(&site, SIZE);
    }
}

#[test]
fn p27_a_chunk_whose_reply_is_lost_is_never_sent_twice_in_one_session() {
    let site = Site::plain();
    site.registry.faults().on(Match::patch("/**"), Times::Nth(2), Action::LoseReply);
    site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
    assert_pushed(&site, SIZE);
    let mut seen: Vec<_> = site
        .registry
        .log()
        .matching(&Match::patch("/**"))
        .iter()
        .map(|request| (request.path.clone(), request.header("content-range").unwrap().to_owned()))
        .collect();
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all);
}

#[test]
fn p28_the_least_size_of_a_chunk_is_obeyed_where_it_is_one() {
    for (least, chunks) in [("0", 4), ("1", 4), ("524288", 2), ("10737418240", 4), ("abc", 4)] {
        let site = Site::plain();
        site.registry.faults().on(uploads(), Times::Always, Action::set_header("oci-chunk-min-length", least));
        site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
        assert_eq!(site.registry.log().count(&Match::patch("/**")), chunks, "{least}");
    }
}
