//! A link that is slow, and one on which nothing moves.

use std::time::Duration;

use scar_lab::faults::{Action, Times};

use crate::requests::puts;
use crate::{SIZE, Site, assert_pushed};

#[test]
fn p22_silence_after_the_body_ends_the_try() {
    let site = Site::plain();
    let fault = site.registry.faults().on(puts(), Times::Always, Action::Stall);
    let outcome = site.ocipush(site.archive(SIZE)).args(["--stall-timeout", "500ms", "--retries", "1"]).run();
    outcome.exits(8).says("nothing moved for 0.5 s").writes_nothing();
    assert_eq!(fault.hits(), 2);
    assert_eq!(site.tag(), None);
}

#[test]
fn p23_a_slow_link_is_no_stall() {
    let site = Site::plain();
    let slow = Action::SlowRead { bytes: 64 * 1024, every: Duration::from_millis(20) };
    site.registry.faults().on(puts(), Times::Always, slow);
    let outcome = site.ocipush(site.archive(16 << 20)).args(["--stall-timeout", "3s"]).run();
    outcome.succeeds();
    assert!(outcome.took() > Duration::from_secs(4), "the link was not slow: {:?}", outcome.took());
    assert_eq!(site.registry.log().count(&puts()), 2);
    assert_pushed(&site, 16 << 20);
}

#[test]
fn a_step_ends_at_its_deadline() {
    let site = Site::plain();
    site.registry.faults().on(puts(), Times::Always, Action::Stall);
    let outcome = site.ocipush(site.archive(SIZE)).args(["--timeout", "1s"]).run();
    outcome.exits(8).says("not done within 1 s").writes_nothing();
    assert!(outcome.took() < Duration::from_secs(6));
}
