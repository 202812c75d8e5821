//! SIGKILL at every stage boundary and at random moments: the same command again ends like an undisturbed run, and only the
//! jobs may run twice.

use std::sync::OnceLock;
use std::time::Duration;

use scar_kit::Signal;
use scar_suites::{Migration, Random, STAGES, number};
use serde_json::Value;

use crate::{done, migrate};

/// The state of a site, without what differs between sites.
fn comparable(migration: &Migration) -> Value {
    let mut state = migration.site.state();
    state["secret"]["uid"] = Value::Null;
    state["jobs"] = Value::Null;
    state["specman"][0]["url"] = Value::Null;
    state["specman"][0]["digest"] = Value::Null;
    state
}

/// The state after an undisturbed run.
fn clean() -> &'static Value {
    static CLEAN: OnceLock<Value> = OnceLock::new();
    CLEAN.get_or_init(|| {
        let migration = Migration::new();
        migrate(&migration).run().succeeds();
        comparable(&migration)
    })
}

/// Kills a run and its children some time after it has reached a stage; returns how many runs reached scar-set.
fn kill_in(migration: &Migration, stage: &str, after: Duration) -> usize {
    let mut running = migrate(migration).start();
    running.until(stage);
    std::thread::sleep(after);
    if !running.is_over() {
        running.signal_group(Signal::KILL);
    }
    usize::from(running.wait().stderr().contains("scar-set: "))
}

/// Another run ends like an undisturbed one, and nothing was done twice.
fn ends_well(migration: &Migration, in_set: usize, what: &str) {
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
    assert!((2..=2 * (1 + in_set)).contains(&jobs), "{what}: {jobs} jobs, {in_set} runs in scar-set");
}

#[test]
fn f2_a_kill_at_every_boundary_leaves_a_rerun_that_ends_the_same() {
    let migration = Migration::new();
    let mut in_set = 0;
    for stage in STAGES {
        in_set += kill_in(&migration, stage, Duration::ZERO);
    }
    ends_well(&migration, in_set, "killed at every boundary");
}

/// Each moment on a new site: the first run changes most. SCAR_KILLS=100 runs longer; SCAR_KILL_SEED repeats a failure.
#[test]
fn f2_random_kills_inside_of_the_stages() {
    let seed = number("SCAR_KILL_SEED", std::process::id().into());
    let mut random = Random::new(seed);
    for kill in 0..number("SCAR_KILLS", 4) {
        let migration = Migration::new();
        let stage = random.of(&STAGES);
        let first = Duration::from_millis(random.below(250));
        let in_set = kill_in(&migration, stage, first) + kill_in(&migration, stage, Duration::from_millis(random.below(60)));
        ends_well(&migration, in_set, &format!("SCAR_KILL_SEED={seed}, kill {kill}: {first:?} after '{stage}'"));
    }
}
