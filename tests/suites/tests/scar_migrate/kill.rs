//! SIGKILL at every step boundary and at random moments inside of every tool: another run ends where one without a kill
//! does, and nothing was done twice.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use scar_kit::Signal;
use scar_suites::Migration;
use serde_json::Value;

use crate::{STEPS, done, migrate, state};

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

/// What a site comes to that nobody stops.
fn clean() -> &'static Value {
    static CLEAN: OnceLock<Value> = OnceLock::new();
    CLEAN.get_or_init(|| {
        let migration = Migration::new();
        migrate(&migration).run().succeeds();
        comparable(&migration)
    })
}

/// The first step that is not done: the next run comes to it for certain.
fn next_step(migration: &Migration) -> Option<usize> {
    let missing = |step: &str| step != "login" && !state(migration).join(format!("{step}.json")).exists();
    STEPS.into_iter().position(missing)
}

/// A site, and what was done to its runs.
struct Victim {
    migration: Migration,
    kills: usize,
    in_set: usize,
}

impl Victim {
    fn new() -> Self {
        Self { migration: Migration::new(), kills: 0, in_set: 0 }
    }

    /// Kills a run, with all that it started, once it has come to a step and `after` is over.
    fn kill_in(&mut self, step: usize, after: impl FnOnce()) {
        let mut running = migrate(&self.migration).start();
        running.until(&format!("step {} of 9, {}", step + 1, STEPS[step]));
        after();
        if running.is_over() {
            return;
        }
        running.signal_group(Signal::KILL);
        self.kills += 1;
        self.in_set += usize::from(running.wait().stderr().contains("step 9 of 9"));
    }

    /// One more run ends where one does that nobody stopped, and nothing was done twice.
    fn ends_well(self, what: &str) -> usize {
        let migration = &self.migration;
        let outcome = migrate(migration).run();
        assert_eq!(outcome.status(), 0, "{what}\n{outcome}");
        assert_eq!(&comparable(migration), clean(), "{what}\n{outcome}");
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
        assert!((2..=2 * (1 + self.in_set)).contains(&jobs), "{what}: {jobs} jobs, {} kills in set", self.in_set);
        self.kills
    }
}

#[test]
fn f2_a_kill_at_every_boundary_leaves_a_rerun_that_ends_the_same() {
    let mut victim = Victim::new();
    for step in 0..STEPS.len() {
        victim.kill_in(step, || ());
    }
    assert_eq!(victim.ends_well("killed at every boundary"), STEPS.len());
}

/// Kills until there are enough, and on a new site after the last step of one: twice at a random moment inside of each
/// step that is next, and once as soon as its record is there.
fn random_kills(offset: u64) {
    let seed = seed().wrapping_add(offset);
    let what = format!("SCAR_KILL_SEED={seed}");
    let (mut random, mut victim, mut kills) = (Random(seed), Victim::new(), 0);
    let (mut last, mut tries, mut inside) = (None, 0, BTreeSet::new());
    while kills + victim.kills < 25 || inside.len() < STEPS.len() - 1 && kills + victim.kills < 75 {
        let next = next_step(&victim.migration);
        tries = if next == last { tries + 1 } else { 0 };
        last = next;
        let Some(step) = next else {
            kills += std::mem::replace(&mut victim, Victim::new()).ends_well(&what);
            continue;
        };
        match tries {
            0 => victim.kill_in(step, || std::thread::sleep(Duration::from_millis(random.below(250)))),
            1 => victim.kill_in(step, || std::thread::sleep(Duration::from_millis(random.below(40)))),
            _ => {
                let record = state(&victim.migration).join(format!("{}.json", STEPS[step]));
                victim.kill_in(step, || wait_for(&record));
            }
        }
        if next_step(&victim.migration) == Some(step) {
            inside.insert(step);
        }
    }
    victim.ends_well(&what);
    assert!(inside.len() >= 6, "{what}: only in {inside:?}");
}

/// Until a file is there.
fn wait_for(path: &Path) {
    let end = Instant::now() + Duration::from_secs(30);
    while !path.exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn f2_random_kills_inside_every_tool_first_part() {
    random_kills(0);
}

#[test]
fn f2_random_kills_inside_every_tool_second_part() {
    random_kills(1 << 32);
}
