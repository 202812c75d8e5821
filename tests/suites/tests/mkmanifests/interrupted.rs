//! Runs that are killed, stopped, or in parallel: never an incomplete file.

use std::fs;
use std::time::{Duration, Instant};

use scar_kit::{Signal, peer, tool};
use tempfile::TempDir;

use crate::{OLD, Site, in_folder, is_temporary, is_whole};

#[test]
fn m8_a_kill_at_any_step_leaves_one_whole_archive_and_the_next_run_cleans_up() {
    let Some(strace) = peer("strace") else { return };
    let site = Site::new(1 << 20);
    let new = tool("mkmanifests").arg(site.tree.path()).args(["-o", "-"]).run().succeeds().stdout_bytes().to_vec();
    let (mut kills, mut drafts, mut renewed) = (0, 0, 0);
    for (call, times) in [
        ("openat", 6),
        ("flock", 3),
        ("getdents64", 2),
        ("write", 7),
        ("fsync", 3),
        ("rename,renameat,renameat2", 2),
        ("close", 5),
    ] {
        for time in 1..=times {
            fs::write(site.archive(), OLD).unwrap();
            let inject = format!("inject={call}:signal=KILL:when={time}");
            let outcome = site.traced(&strace, &["-e", &inject]).run();
            kills += usize::from(outcome.status() == 137);
            let archive = fs::read(site.archive()).unwrap();
            assert!(archive == OLD || archive == new, "half an archive after {call} {time}\n{outcome}");
            renewed += usize::from(outcome.status() == 137 && archive == new);
            let left = in_folder(site.out.path()).into_iter().filter(|name| is_temporary(name));
            let length = |name: &str| fs::metadata(site.out.path().join(name)).unwrap().len();
            let left: Vec<_> = left.map(|name| (length(&name), name)).collect();
            drafts += left.len();
            let outcome = tool("mkmanifests").arg(site.tree.path()).folder(site.out.path()).run();
            outcome.succeeds();
            let says: String = left
                .iter()
                .filter(|(length, _)| *length > 0)
                .map(|(_, name)| {
                    let path = site.out.path().canonicalize().unwrap().join(name);
                    format!("mkmanifests: removed '{}', left by a run that was killed\n", path.display())
                })
                .collect();
            assert_eq!(outcome.stderr(), says);
            assert_eq!(in_folder(site.out.path()), ["manifests.tgz"]);
            assert_eq!(fs::read(site.archive()).unwrap(), new);
        }
    }
    // The faults really happened, before and after the rename.
    assert!(kills >= 15 && drafts >= 5 && renewed >= 1, "{kills} kills, {drafts} drafts, {renewed} renewed");
}

#[test]
fn m12_of_two_runs_at_once_one_wins_whole() {
    let site = Site::new(6 << 20);
    // Into the tree itself, so that each run also meets the other's temporary file.
    let to = site.tree.path().join("m.tgz");
    let run = || tool("mkmanifests").arg(site.tree.path()).arg("-o").arg(&to).start();
    for _ in 0..3 {
        let (one, other) = (run(), run());
        let outcomes = [one.wait(), other.wait()];
        for outcome in &outcomes {
            outcome.succeeds().quiet();
        }
        assert_eq!(outcomes[0].json(), outcomes[1].json());
        assert!(is_whole(&fs::read(&to).unwrap()));
        assert_eq!(in_folder(site.tree.path()), ["large", "m.tgz", "small"]);
    }
}

/// Starts a long run, and waits until its archive grows.
fn long_run(site: &Site) -> scar_kit::Running {
    let large = fs::File::create(site.tree.path().join("large")).unwrap();
    large.set_len(100 << 30).unwrap();
    let run = tool("mkmanifests").arg(site.tree.path()).folder(site.out.path()).start();
    let patience = Instant::now() + Duration::from_secs(30);
    let grows = || {
        let draft = in_folder(site.out.path()).into_iter().find(|name| is_temporary(name));
        draft.is_some_and(|name| fs::metadata(site.out.path().join(name)).is_ok_and(|meta| meta.len() > 1000))
    };
    while !grows() {
        assert!(Instant::now() < patience, "no archive grows");
        std::thread::yield_now();
    }
    run
}

#[test]
fn a_signal_removes_the_draft_and_keeps_the_old_archive() {
    for (signal, status, says) in
        [(Signal::INT, 130, "mkmanifests: error: interrupted\n"), (Signal::TERM, 143, "mkmanifests: error: terminated\n")]
    {
        let site = Site::new(10);
        let run = long_run(&site);
        run.signal(signal);
        let outcome = run.wait();
        outcome.fails(status, says);
        site.is_as_before(&outcome);
    }
}

#[test]
fn a_draft_under_way_is_not_taken_for_a_stale_one() {
    let site = Site::new(10);
    let run = long_run(&site);
    let other = TempDir::new().unwrap();
    fs::write(other.path().join("f"), "x").unwrap();
    tool("mkmanifests").arg(other.path()).arg("-o").arg(site.out.path().join("other.tgz")).run().succeeds().quiet();
    let left = in_folder(site.out.path());
    assert!(left.len() == 3 && is_temporary(&left[0]), "{left:?}");
    run.signal(Signal::KILL);
    run.wait().exits(137);
    let outcome = tool("mkmanifests").arg(other.path()).arg("-o").arg(site.out.path().join("other.tgz")).run();
    outcome.succeeds().says("left by a run that was killed");
    assert_eq!(in_folder(site.out.path()), ["manifests.tgz", "other.tgz"]);
}

#[test]
fn a_reader_that_goes_away_ends_a_stream() {
    let site = Site::new(10 << 20);
    let script = format!("mkmanifests -o - --new-record '{}' | head -c 1000 >/dev/null", site.tree.path().display());
    let outcome = scar_kit::bash(&script).run();
    outcome.fails(1, "mkmanifests: error: write 'standard output': broken pipe\n");
}
