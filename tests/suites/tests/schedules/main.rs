//! Sites and faults that are drawn, where the other suites have those that somebody thought of.
//!
//! `SCAR_SITES` and `SCAR_SCHEDULES` say how many of each, `SCAR_SEED` the first seed; a case that fails says how it is
//! repeated. `shell/bench sites` and `shell/bench schedules` run many.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// What is drawn is said, so that a failure shows it.
#![allow(clippy::print_stdout)]

mod knobs;
mod property;
mod schedule;
mod site;
mod trouble;

use std::panic::{AssertUnwindSafe, catch_unwind};

use scar_suites::number;

/// In how many tests the cases run side by side.
const SHARDS: u64 = 4;

/// Runs the cases of one shard, each with a seed of its own; one that fails keeps no other from being run.
fn each(count: &str, otherwise: u64, shard: u64, case: fn(u64)) {
    let (first, count_of) = (number("SCAR_SEED", 20_241_206), number(count, otherwise));
    let mut failed = Vec::new();
    let begun = std::time::Instant::now();
    for seed in (shard..count_of).step_by(usize::try_from(SHARDS).unwrap()).map(|number| first + number) {
        println!("{count}=1 SCAR_SEED={seed}");
        if catch_unwind(AssertUnwindSafe(|| case(seed))).is_err() {
            failed.push(seed);
        }
    }
    println!("shard {shard} of {SHARDS}: {} s, {} failed", begun.elapsed().as_secs(), failed.len());
    assert!(failed.is_empty(), "to repeat one: {count}=1 SCAR_SEED=N cargo test --test schedules, with N of {failed:?}");
}

macro_rules! shards {
    ($count:literal, $otherwise:literal, $case:path: $($name:ident $shard:literal),*) => {$(
        #[test]
        fn $name() {
            each($count, $otherwise, $shard, $case);
        }
    )*};
}

shards!("SCAR_SITES", 100, property::agrees:
    preflight_agrees_with_the_run_1 0, preflight_agrees_with_the_run_2 1,
    preflight_agrees_with_the_run_3 2, preflight_agrees_with_the_run_4 3);
shards!("SCAR_SCHEDULES", 60, schedule::holds:
    migrations_recover_1 0, migrations_recover_2 1, migrations_recover_3 2, migrations_recover_4 3);
