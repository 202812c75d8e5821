//! The tools and the programs that people use today, on the same random input: both accept it or both refuse it, and both
//! send the same.
//!
//! `SCAR_PEERS` sets how many cases of each kind to run, `SCAR_SEED` the first seed. Without it every run has the same cases,
//! so that only our changes can make it fail. `shell/bench peers` runs many. Each module has a table of the differences that
//! are meant, with their reason.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// The differences that were found, with their seeds.
#![allow(clippy::print_stdout)]

mod certificates;
mod kubeconfig;
mod logins;
mod trees;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use scar_kit::Outcome;
use scar_suites::{Random, number};

/// The threads of one test: a case mostly waits for processes.
const WORKERS: usize = 3;

/// A difference that is meant: a part of the case, whether the peer accepts it, and why we do not do the same.
type Known = (&'static str, Verdict, &'static str);

/// What a program made of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Refused,
}

impl Verdict {
    fn of(outcome: &Outcome) -> Self {
        if outcome.status() == 0 { Self::Accepted } else { Self::Refused }
    }
}

/// Runs the cases of one kind, each with its own seed, and goes on after a difference.
fn each(otherwise: u64, case: impl Fn(&mut Random) + Sync) {
    let (first, count) = (number("SCAR_SEED", 20_241_206), number("SCAR_PEERS", otherwise));
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| case(&mut Random::new(seed)))).is_err() {
                failed.lock().unwrap().push(seed);
            }
        }
    };
    std::thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    println!("{count} cases from {first}: {} differ", failed.len());
    assert!(failed.is_empty(), "to repeat one: SCAR_PEERS=1 SCAR_SEED=N cargo test --test peers, with N of {failed:?}");
}

/// Asserts that both verdicts are the same, or that the case has a difference that is meant.
#[track_caller]
fn same(case: &[String], (peer, theirs): (Verdict, &Outcome), (we, ours): (Verdict, &Outcome), known: &[Known]) {
    let meant = |(part, peer_then, _): &Known| *peer_then == peer && case.iter().any(|one| one.contains(part));
    assert!(peer == we || known.iter().any(meant), "DIFFERS: peer {peer:?}, we {we:?}: {case:?}\n{theirs}\n{ours}");
}

/// Whether the case has a difference that is meant, so that what was sent may differ too.
fn is_known(case: &[String], known: &[Known]) -> bool {
    known.iter().any(|(part, ..)| case.iter().any(|one| one.contains(part)))
}

/// A small archive, as far as a push looks into it.
fn archive() -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&[0; 1024]).unwrap();
    gzip.finish().unwrap()
}
