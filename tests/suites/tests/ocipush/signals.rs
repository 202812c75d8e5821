//! Killed and interrupted runs.

use std::time::Duration;

use scar_kit::Signal;
use scar_lab::faults::{Action, Match, Times};

use crate::requests::{heads, manifests, puts, uploads};
use crate::{SIZE, Site, assert_pushed};

#[test]
fn p36_a_killed_push_leaves_no_tag_and_the_next_run_sends_what_is_absent() {
    let site = Site::plain();
    let stall = site.registry.faults().on(manifests(), Times::First(1), Action::Stall);
    let running = site.ocipush(site.archive(SIZE)).start();
    assert!(site.registry.log().wait(Duration::from_secs(20), |requests| {
        requests.iter().any(|request| request.method == "PUT" && request.path.contains("/manifests/") && request.body_bytes > 0)
    }));
    running.signal(Signal::KILL);
    running.wait().exits(137);
    assert_eq!((stall.hits(), site.tag()), (1, None));
    site.registry.log().clear();
    site.ocipush(site.archive(SIZE)).run().succeeds();
    assert!(site.registry.log().body_bytes() < 10_000, "the layer was sent again");
}

#[test]
fn p36_a_push_that_is_killed_anywhere_is_completed_by_the_next() {
    let at = [heads(), uploads(), puts(), Match::get("/v2/**/manifests/sha256:*"), Match::get("/v2/**/manifests/0.0.0")];
    for matcher in at {
        let site = Site::plain();
        let stall = site.registry.faults().on(matcher.clone(), Times::First(1), Action::Stall);
        let running = site.ocipush(site.archive(SIZE)).start();
        let asked = |requests: &[scar_lab::log::Request]| {
            let selected = |request: &scar_lab::log::Request| matcher.selects(&request.method, &request.path, None);
            requests.iter().any(|request| selected(request) && (request.method != "PUT" || request.body_bytes == SIZE as u64))
        };
        assert!(site.registry.log().wait(Duration::from_secs(20), asked), "{matcher:?}");
        running.signal(Signal::KILL);
        running.wait().exits(137);
        assert_eq!(stall.hits(), 1);
        if site.tag().is_some() {
            assert_pushed(&site, SIZE);
        }
        site.ocipush(site.archive(SIZE)).run().succeeds();
        assert_pushed(&site, SIZE);
    }
}

#[test]
fn p40_a_signal_cancels_the_upload() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let site = Site::plain();
        let slow = Action::SlowRead { bytes: 16 * 1024, every: Duration::from_millis(20) };
        site.registry.faults().on(puts(), Times::Always, slow);
        let running = site.ocipush(site.archive(32 << 20)).start();
        assert!(site.registry.log().wait(Duration::from_secs(20), |requests| requests.iter().any(|r| r.body_bytes > 50_000)));
        running.signal(signal);
        let outcome = running.wait();
        outcome.exits(status).writes_nothing();
        assert_eq!(site.registry.log().count(&Match::delete("/v2/**/blobs/uploads/*")), 1);
        assert_eq!(site.tag(), None);
    }
}

#[test]
fn p40_a_second_signal_does_not_wait_for_the_registry() {
    let site = Site::plain();
    site.registry.faults().on(puts(), Times::Always, Action::Stall);
    let cancel = site.registry.faults().on(Match::delete("/v2/**"), Times::Always, Action::Stall);
    let running = site.ocipush(site.archive(SIZE)).start();
    let sent = |requests: &[scar_lab::log::Request]| requests.iter().any(|request| request.body_bytes == SIZE as u64);
    assert!(site.registry.log().wait(Duration::from_secs(20), sent));
    running.signal(Signal::INT);
    let cancelled = |requests: &[scar_lab::log::Request]| requests.iter().any(|request| request.method == "DELETE");
    assert!(site.registry.log().wait(Duration::from_secs(20), cancelled));
    let begun = std::time::Instant::now();
    running.signal(Signal::INT);
    running.wait().exits(130).writes_nothing();
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert_eq!(cancel.hits(), 1);
}
