//! A slow link, and one on which nothing moves.

use std::time::Duration;

use scar_lab::faults::{Action, Match, Times};
use scar_lab::registry::RegistryOptions;
use scar_lab::server::Listener;

use crate::requests::puts;
use crate::{SIZE, Site, assert_pushed};

#[test]
fn p22_silence_after_the_body_ends_the_try() {
    let site = Site::plain();
    let fault = site.registry.faults().on(puts(), Times::Always, Action::Stall);
    let outcome = site.ocipush(site.archive(SIZE)).args(["--stall-timeout", "500ms", "--retries", "1"]).run();
    outcome.exits(8).says("no data moved for 0.5 s").writes_nothing();
    assert_eq!(fault.hits(), 2);
    assert_eq!(site.tag(), None);
}

#[test]
fn p23_a_slow_link_is_not_a_stall() {
    let site = Site::plain();
    let slow = Action::SlowRead { bytes: 64 * 1024, every: Duration::from_millis(20) };
    site.registry.faults().on(puts(), Times::Always, slow);
    let outcome = site.ocipush(site.archive(16 << 20)).args(["--stall-timeout", "3s"]).run();
    outcome.succeeds();
    assert!(outcome.took() > Duration::from_secs(4), "the link was not slow: {:?}", outcome.took());
    assert_eq!(site.registry.log().count(&puts()), 2);
    assert_pushed(&site, 16 << 20);
}

/// The smallest steps in which TCP moves, because a closed window opens by no less: 576 bytes here.
#[test]
fn p23_the_slowest_link_that_moves_is_not_a_stall() {
    let listener = Listener { window: Some(1), ..Listener::plain() };
    let site = Site::start(RegistryOptions { listener, ..RegistryOptions::default() });
    let slow = Action::SlowRead { bytes: 50, every: Duration::from_millis(60) };
    let fault = site.registry.faults().on(puts(), Times::First(1), slow);
    let outcome = site.ocipush(site.archive(16_000)).args(["--stall-timeout", "5s"]).run();
    outcome.succeeds();
    assert!(outcome.took() > Duration::from_secs(15), "the link was not slow: {:?}", outcome.took());
    assert_eq!((fault.hits(), site.registry.log().count(&puts())), (1, 2));
    assert_pushed(&site, 16_000);
}

/// The kernel's buffers for the registry are full: nothing moves until the registry reads on.
#[test]
fn p23_a_registry_that_takes_nothing_or_a_byte_a_second_for_a_while_is_waited_for() {
    // Longer than a connection with a closed window lives by reqwest's default.
    let byte = Action::SlowStart { bytes: 40, every: Duration::from_secs(1) };
    let runs = [Action::Delay(Duration::from_secs(40)), byte].map(|action| {
        let site = Site::plain();
        let fault = site.registry.faults().on(puts(), Times::First(1), action);
        let running = site.ocipush(site.archive(16 << 20)).start();
        (site, fault, running)
    });
    for (site, fault, running) in runs {
        let outcome = running.wait();
        outcome.succeeds();
        assert!(outcome.took() > Duration::from_secs(40), "the window was not closed: {:?}", outcome.took());
        assert_eq!((fault.hits(), site.registry.log().count(&puts())), (1, 2), "{outcome}");
        assert_pushed(&site, 16 << 20);
    }
}

#[test]
fn p23_a_window_that_stays_closed_is_a_stall() {
    let site = Site::plain();
    let fault = site.registry.faults().on(puts(), Times::Always, Action::Delay(Duration::from_secs(600)));
    let outcome = site.ocipush(site.archive(16 << 20)).args(["--stall-timeout", "1s", "--retries", "1"]).run();
    outcome.exits(8).says("no data moved for 1 s").writes_nothing();
    assert!(outcome.took() < Duration::from_secs(15), "{:?}", outcome.took());
    assert_eq!((fault.hits(), site.tag()), (2, None));
    assert_eq!(site.registry.log().body_bytes(), 0);
}

#[test]
fn a_step_ends_at_its_deadline() {
    let site = Site::plain();
    site.registry.faults().on(puts(), Times::Always, Action::Stall);
    let outcome = site.ocipush(site.archive(SIZE)).args(["--timeout", "1s"]).run();
    outcome.exits(8).says("not done within 1 s").writes_nothing();
    assert!(outcome.took() < Duration::from_secs(6));
}

#[test]
fn p22_every_request_ends_after_the_stall_timeout() {
    for (question, status) in [
        (Match::get("/v2/"), 8),
        (Match::get("/v2/**/manifests/*"), 8),
        (Match::post("/v2/**/blobs/uploads/"), 8),
        (Match::put("/v2/**/manifests/*"), 8),
    ] {
        let site = Site::plain();
        let fault = site.registry.faults().on(question, Times::Always, Action::Stall);
        let outcome = site.ocipush(site.archive(1000)).args(["--stall-timeout", "1s", "--retries", "0"]).run();
        outcome.exits(status).writes_nothing();
        assert_eq!(fault.hits(), 1);
        assert!(outcome.took() < Duration::from_secs(10), "{:?}", outcome.took());
    }
}
