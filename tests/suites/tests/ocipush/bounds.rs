//! Large things that are never held whole.

use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::registry::{RegistryOptions, Storage};

use crate::requests::puts;
use crate::{SIZE, Site};

#[test]
fn p41_a_head_without_an_end_is_not_read_to_it() {
    let site = Site::plain();
    let long = Action::set_header("x-long", &"x".repeat(8 << 20));
    let fault = site.registry.faults().on(Match::get("/v2/"), Times::Always, long);
    let outcome = site.ocipush(site.archive(10)).args(["--retries", "1"]).run();
    outcome.exits(6).writes_nothing();
    assert!(outcome.stderr().len() < 4096);
    assert_eq!(fault.hits(), 2);
}

#[test]
fn p41_neither_a_large_archive_nor_a_large_answer_is_held_in_memory() {
    let site = Site::start(RegistryOptions { storage: Storage::Discard, ..RegistryOptions::default() });
    let path = site.folder.path().join("large.tgz");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(256 << 20).unwrap();
    let mut running = site.ocipush(&path).start();
    let peak = crate::peak(&mut running);
    running.wait().succeeds();
    assert!(peak > 0 && peak < 40 * 1024, "{peak} kB");

    let site = Site::plain();
    let page = Answer::status(400).body(vec![b'x'; 8 << 20]);
    site.registry.faults().on(puts(), Times::Always, Action::Answer(page));
    let outcome = site.ocipush(site.archive(SIZE)).run();
    outcome.exits(1).says("(cut at 64 KiB)");
    assert!(outcome.stderr().len() < 70_000);
}
