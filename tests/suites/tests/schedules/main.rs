//! Random sites and random faults. The other suites only have those that somebody thought of.
//!
//! `SCAR_SITES` and `SCAR_SCHEDULES` set how many to run, `SCAR_SEED` the first seed. A case that fails prints how to repeat it.
//! `shell/bench sites` and `shell/bench schedules` run many.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Each case prints what was chosen, so that a failure can be understood.
#![allow(clippy::print_stdout)]

mod knobs;
mod property;
mod schedule;
mod site;
mod trouble;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use scar_suites::number;

/// The number of tests among which the cases are divided.
const SHARDS: u64 = 2;

/// Runs the cases of one shard on several threads, because a case mostly waits; each has its own seed. Goes on after a failure.
fn each(count: &str, otherwise: u64, shard: u64, workers: usize, case: fn(u64)) {
    let (first, last, begun) = (number("SCAR_SEED", 20_241_206), number(count, otherwise), Instant::now());
    let (next, failed) = (AtomicU64::new(shard), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let number = next.fetch_add(SHARDS, Ordering::Relaxed);
            if number >= last {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| case(first + number))).is_err() {
                failed.lock().unwrap().push(first + number);
            }
        }
    };
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    println!("shard {shard} of {SHARDS}: {} s, {} failed", begun.elapsed().as_secs(), failed.len());
    assert!(failed.is_empty(), "to repeat one: {count}=1 SCAR_SEED=N cargo test --test schedules, with N of {failed:?}");
}

#[test]
fn preflight_agrees_with_the_run_1() {
    each("SCAR_SITES", 500, 0, 9, property::agrees);
}

#[test]
fn preflight_agrees_with_the_run_2() {
    each("SCAR_SITES", 500, 1, 9, property::agrees);
}

#[test]
fn migrations_recover_1() {
    each("SCAR_SCHEDULES", 150, 0, 7, schedule::holds);
}

#[test]
fn migrations_recover_2() {
    each("SCAR_SCHEDULES", 150, 1, 7, schedule::holds);
}
