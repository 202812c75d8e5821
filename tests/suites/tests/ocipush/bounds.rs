//! Large data that is never completely in memory.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use scar_kit::{Outcome, Run, tool};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::registry::{RegistryOptions, Storage};

use crate::requests::{patches, puts};
use crate::{REPOSITORY, SIZE, Site, bytes};

const MEBIBYTE: usize = 1 << 20;
const GIBIBYTE: u64 = 1 << 30;
/// The most memory that any push may take, in KiB.
const BOUND: u64 = 40 * 1024;

/// Runs it, and asserts that its memory stays within the bound.
fn bounded(run: Run) -> Outcome {
    let mut running = run.start();
    let peak = crate::peak(&mut running);
    assert!(peak > 0 && peak < BOUND, "{peak} KiB");
    running.wait()
}

/// Pushes an archive of this size, made of holes, to a registry that stores nothing.
fn of_holes(size: u64, seeded: bool) -> (Site, Outcome) {
    let site = Site::start(RegistryOptions { storage: Storage::Discard, ..RegistryOptions::default() });
    if seeded {
        site.registry.seed(REPOSITORY, "0.0.0", &bytes(10));
    }
    let path = site.folder.path().join("large.tgz");
    let mut file = File::create(&path).unwrap();
    file.write_all(&[0x1f, 0x8b]).unwrap();
    file.set_len(size).unwrap();
    let outcome = bounded(site.ocipush(&path).timeout(Duration::from_secs(540)));
    assert_eq!(outcome.succeeds().json()["artifact"]["size"], size);
    assert!(site.registry.log().body_bytes() >= size);
    (site, outcome)
}

#[test]
fn p41_an_archive_of_8_gib_is_not_held_in_memory() {
    of_holes(8 * GIBIBYTE, false);
}

#[test]
fn p41_a_file_that_is_hashed_first_is_not_held_in_memory() {
    let (site, outcome) = of_holes(GIBIBYTE / 2, true);
    outcome.says("the tag held");
    assert_eq!(site.registry.log().count(&patches()), 0, "it was sent before its digest was known");
}

/// A server that answers with a header of 1 GiB of these bytes, as far as it is read, and counts them.
fn head_of(piece: Vec<u8>) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (port, taken) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
    let count = taken.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-long: ");
            let mut left = GIBIBYTE;
            while left > 0 && stream.write_all(&piece).is_ok() {
                count.fetch_add(piece.len() as u64, Ordering::SeqCst);
                left -= piece.len() as u64;
            }
        }
    });
    (port, taken)
}

#[test]
fn p41_a_response_head_of_1_gib_is_not_read_to_its_end() {
    // One long header, and many short ones.
    for piece in [vec![b'x'; MEBIBYTE], b"x\r\nx-more: ".repeat(MEBIBYTE / 16)] {
        let (port, taken) = head_of(piece);
        let site = Site::plain();
        let run = tool("ocipush").arg(format!("127.0.0.1:{port}")).arg(site.archive(10)).args(["--new-record", "--plain-http"]);
        let outcome = bounded(run.args(["--retries", "1", "--retry-max-wait", "20ms"]).called(port, "PORT"));
        outcome.exits(7).writes_nothing().says("the answer's header is too long").never_says("TLS");
        assert!(outcome.stderr().len() < 4096, "{}", outcome.stderr().len());
        // This includes what the kernel buffers for a reader.
        let taken = taken.load(Ordering::SeqCst);
        assert!(taken < 32 * MEBIBYTE as u64, "{taken} bytes were taken");
    }
}

#[test]
fn p41_an_answer_of_600_mib_is_not_held_in_memory() {
    for (matcher, status, exit, says) in
        [(puts(), 400, 1, "(cut at 64 KiB)"), (Match::get("/v2/**/manifests/*"), 200, 7, "the answer is longer than")]
    {
        let site = Site::plain();
        let answer = Answer::status(status).body(vec![b'x'; MEBIBYTE]).repeated(600);
        let fault = site.registry.faults().on(matcher, Times::Always, Action::Answer(answer));
        let outcome = bounded(site.ocipush(site.archive(SIZE)));
        outcome.exits(exit).writes_nothing().says(says);
        assert!(outcome.stderr().len() < 70_000, "{}", outcome.stderr().len());
        assert_eq!(fault.hits(), 1);
    }
}
