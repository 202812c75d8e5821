//! SIGKILL at every step boundary and at random moments inside of every tool: another run ends where one without a kill
//! does, and nothing was done twice.

use std::time::Duration;

use scar_kit::Signal;
use scar_suites::Migration;
use serde_json::Value;

use crate::{STEPS, done, migrate};

/// Numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// A seed that SCAR_KILL_SEED may set, to see a failure again.
#[allow(clippy::disallowed_methods)]
fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    std::env::var("SCAR_KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now)
}

/// The state of a site that nobody has stopped, but for what differs from site to site.
fn comparable(migration: &Migration) -> Value {
    let mut state = migration.site.state();
    state["secret"]["uid"] = Value::Null;
    state["jobs"] = Value::Null;
    state["specman"][0]["url"] = Value::Null;
    state["specman"][0]["digest"] = Value::Null;
    state
}

/// Kills a run so long after it has come to a step; whether it had come there.
fn kill_in(migration: &Migration, step: usize, after: Duration) -> bool {
    let mut running = migrate(migration).start();
    let mark = format!("step {} of 9, {}", step + 1, STEPS[step]);
    while !running.is_over() && !running.said()[1].contains(&mark) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let came = running.said()[1].contains(&mark);
    std::thread::sleep(after);
    if !running.is_over() {
        running.signal_group(Signal::KILL);
    }
    running.wait();
    came
}

/// The run after the kills, and what holds then.
fn ends_well(migration: &Migration, in_set: usize, what: &str) {
    let outcome = migrate(migration).run();
    assert_eq!(outcome.status(), 0, "{what}\n{outcome}");
    let clean = Migration::new();
    migrate(&clean).run().succeeds();
    assert_eq!(comparable(migration), comparable(&clean), "{what}\n{outcome}");
    let record: Value = serde_json::from_slice(outcome.stdout_bytes()).unwrap();
    assert_eq!(scar_kit::complaints(&record), [""; 0]);
    for (begin, end) in [
        ("kube DELETE ", " 200"),
        ("vertex PUT /v1/registries/", " 204"),
        ("vertex PUT /v1/system/config/scar", " 204"),
        ("registry PUT /v2/spectro-packs/spectro-manifests/manifest/manifests/", " 201"),
    ] {
        assert!(done(migration, begin, end) <= 1, "{what}: twice: {begin}\n{:#?}", migration.site.requests());
    }
    let jobs = migration.site.requests().iter().filter(|line| line.contains("/v1/jobs/")).count();
    assert!(jobs <= 2 * (1 + in_set), "{what}: {jobs} jobs");
    let secret = migration.site.state()["secret"]["present"].clone();
    assert_eq!(secret, true, "{what}");
}

/// Each chain of kills goes through all tools on one site; each run goes on where the one before was cut.
fn chain(seed: u64, kills: impl Fn(&mut Random, usize) -> Duration) -> usize {
    let (mut random, migration) = (Random(seed), Migration::new());
    let (mut killed, mut in_set) = (0, 0);
    for step in 0..STEPS.len() {
        let after = kills(&mut random, step);
        let came = kill_in(&migration, step, after);
        killed += usize::from(came);
        in_set += usize::from(came && step == STEPS.len() - 1);
    }
    ends_well(&migration, in_set, &format!("SCAR_KILL_SEED={seed}"));
    killed
}

#[test]
fn f2_a_kill_at_every_boundary_leaves_a_rerun_that_ends_the_same() {
    assert_eq!(chain(0, |_, _| Duration::ZERO), STEPS.len());
}

fn seeded(offset: u64) {
    let seed = seed().wrapping_add(offset);
    let mut killed = 0;
    for number in 0..3 {
        killed += chain(seed.wrapping_add(number), |random, _| Duration::from_millis(random.below(250)));
    }
    assert!(killed >= 21, "{killed} kills, SCAR_KILL_SEED={seed}");
}

#[test]
fn f2_random_kills_inside_every_tool_first_part() {
    seeded(0);
}

#[test]
fn f2_random_kills_inside_every_tool_second_part() {
    seeded(1000);
}
