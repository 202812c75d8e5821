//! The verdict by tables, and by lines in any order.

use super::*;

const PUSH: &str = "2024-12-06T12:43:00Z";

fn time(text: &str) -> Timestamp {
    format!("2024-12-06T{text}Z").parse().unwrap()
}

fn watch() -> Watch {
    Watch::new(Wanted {
        since: Some(PUSH.parse().unwrap()),
        began: time("12:43:10"),
        ready_only: false,
        keep_waiting: false,
        patience: Duration::from_secs(30),
    })
}

fn pod(health: Health) -> PodSeen {
    PodSeen { uid: "u".into(), container: "specman".into(), is_ready: true, restarts: 0, health }
}

fn well() -> PodSeen {
    pod(Health::Well("Running".into()))
}

fn look(pods: &[(&str, PodSeen)], replicas: u32) -> Look {
    Look {
        replicas: Some((0..replicas).map(|n| format!("specman-{n}")).collect()),
        pods: pods.iter().map(|(name, pod)| ((*name).to_owned(), pod.clone())).collect(),
    }
}

fn said(says: Says, at: &str) -> Said {
    Said { at: Some(time(at)), told: Some(time(at)), says, text: format!("{says:?}") }
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn done(watch: &Watch, now: u64) -> bool {
    matches!(watch.verdict(s(now)), Verdict::Done { .. })
}

#[test]
fn every_replica_must_have_said_it_and_the_last_one_counts() {
    let mut watch = watch();
    assert_eq!(watch.verdict(s(0)), Verdict::Wait);
    watch.looked(look(&[("specman-0", well()), ("specman-1", well())], 2), s(0));
    watch.heard("specman-1", &said(Says::Persisted, "12:44:01"), s(1));
    assert_eq!(watch.verdict(s(9)), Verdict::Wait);
    watch.heard("specman-0", &said(Says::Persisted, "12:44:09"), s(9));
    assert_eq!(watch.verdict(s(9)), Verdict::Wait);
    let pods = vec!["specman-0".to_owned(), "specman-1".to_owned()];
    assert_eq!(watch.verdict(s(10)), Verdict::Done { persisted_at: time("12:44:09"), pods });
}

#[test]
fn w10_a_marker_from_before_the_push_is_remembered_and_does_not_count() {
    for (at, told, counts) in [
        ("12:42:59", "12:42:59", false),
        ("12:43:00", "12:43:00", true),
        // A log collector wrote an old line anew, or a clock is wrong: both times must be after the push.
        ("12:44:00", "12:42:59", false),
        ("12:42:59", "12:44:00", false),
    ] {
        let mut watch = watch();
        watch.looked(look(&[("specman-0", well())], 1), s(0));
        let line = Said { at: Some(time(at)), told: Some(time(told)), says: Says::Persisted, text: String::new() };
        watch.heard("specman-0", &line, s(1));
        assert_eq!(done(&watch, 5), counts, "{at} {told}");
        assert_eq!(watch.replicas()[0].1.stale.is_some(), !counts);
    }
    let mut watch = watch();
    watch.looked(look(&[("specman-0", well())], 1), s(0));
    let line = Said { at: None, told: None, says: Says::Persisted, text: String::new() };
    watch.heard("specman-0", &line, s(1));
    assert!(!done(&watch, 5), "a line without any time proves nothing about when");
}

#[test]
fn without_a_bound_every_marker_counts() {
    let mut watch = Watch::new(Wanted { since: None, ..watch().wanted });
    watch.looked(look(&[("specman-0", well())], 1), s(0));
    watch.heard("specman-0", &said(Says::Persisted, "01:00:00"), s(0));
    assert!(done(&watch, 1));
}

#[test]
fn w8_a_replica_that_said_it_needs_not_say_it_again_after_a_replacement() {
    let mut watch = watch();
    watch.looked(look(&[("specman-0", well())], 2), s(0));
    watch.heard("specman-0", &said(Says::Persisted, "12:44:00"), s(1));
    watch.looked(look(&[("specman-0", PodSeen { uid: "v".into(), ..well() }), ("specman-1", well())], 2), s(2));
    assert!(!done(&watch, 5));
    watch.heard("specman-1", &said(Says::Persisted, "12:44:30"), s(6));
    assert!(done(&watch, 8));
}

#[test]
fn ready_only_asks_those_that_are_ready_and_at_least_one() {
    let mut watch = Watch::new(Wanted { ready_only: true, ..watch().wanted });
    let unready = PodSeen { is_ready: false, ..well() };
    watch.looked(look(&[("specman-0", unready.clone()), ("specman-1", unready.clone())], 2), s(0));
    assert!(!done(&watch, 5));
    watch.looked(look(&[("specman-0", unready), ("specman-1", well())], 2), s(5));
    watch.heard("specman-1", &said(Says::Persisted, "12:44:00"), s(6));
    assert!(done(&watch, 8));
}

#[test]
fn w9_a_pod_that_will_not_run_ends_the_wait_unless_told_otherwise() {
    let broken = pod(Health::Broken { reason: "ImagePullBackOff".into(), message: "m".into() });
    let stuck = pod(Health::Stuck { reason: "Unschedulable".into(), message: "m".into() });
    let mut watch = watch();
    watch.looked(look(&[("specman-0", well()), ("specman-1", broken.clone())], 2), s(0));
    assert!(matches!(watch.verdict(s(0)), Verdict::GiveUp(Reason::Pod { pod, .. }) if pod == "specman-1"));
    watch.looked(look(&[("specman-0", stuck.clone())], 1), s(1));
    assert_eq!(watch.verdict(s(30)), Verdict::Wait);
    assert!(matches!(watch.verdict(s(31)), Verdict::GiveUp(Reason::Pod { .. })));
    watch.looked(look(&[("specman-0", well())], 1), s(32));
    watch.looked(look(&[("specman-0", stuck)], 1), s(33));
    assert_eq!(watch.verdict(s(62)), Verdict::Wait);
    let mut watch = Watch::new(Wanted { keep_waiting: true, ..watch.wanted });
    watch.looked(look(&[("specman-0", broken)], 1), s(0));
    assert_eq!(watch.verdict(s(600)), Verdict::Wait);
}

#[test]
fn w1_no_set_and_no_replicas_are_borne_with_for_a_while() {
    let mut watch = watch();
    watch.looked(Look::default(), s(0));
    assert_eq!(watch.verdict(s(29)), Verdict::Wait);
    assert_eq!(watch.verdict(s(30)), Verdict::GiveUp(Reason::NoSet));
    watch.looked(look(&[], 0), s(30));
    assert_eq!(watch.verdict(s(30)), Verdict::GiveUp(Reason::NoReplicas));
    // Pods that are not there yet are waited for.
    watch.looked(look(&[], 1), s(31));
    assert_eq!(watch.verdict(s(600)), Verdict::Wait);
    assert!(!watch.ever_a_pod());
}

#[test]
fn specmans_own_error_ends_the_wait_when_it_stays() {
    let error = |at: &str| said(Says::Failed(Cause::Unauthorized), at);
    let gives_up = |watch: &Watch, now: u64| matches!(watch.verdict(s(now)), Verdict::GiveUp(Reason::Specman { .. }));
    let fresh = || {
        let mut watch = watch();
        watch.looked(look(&[("specman-0", well())], 1), s(0));
        watch
    };
    let mut watch = fresh();
    watch.heard("specman-0", &error("12:43:05"), s(0));
    assert!(!gives_up(&watch, 600), "an error from before the wait may be what the migration cures");
    watch.heard("specman-0", &error("12:43:11"), s(1));
    assert!(!gives_up(&watch, 30) && gives_up(&watch, 31));
    watch.heard("specman-0", &said(Says::Persisted, "12:43:40"), s(31));
    assert!(!gives_up(&watch, 31) && done(&watch, 32));
    let mut watch = fresh();
    for at in ["12:43:11", "12:43:11", "12:43:12"] {
        watch.heard("specman-0", &error(at), s(1));
    }
    assert!(!gives_up(&watch, 2), "the same line heard twice is one");
    watch.heard("specman-0", &error("12:43:13"), s(2));
    assert!(gives_up(&watch, 2));
}

#[test]
fn a_full_volume_takes_the_marker_back() {
    let mut watch = watch();
    watch.looked(look(&[("specman-0", well())], 1), s(0));
    watch.heard("specman-0", &said(Says::Persisted, "12:44:00"), s(1));
    watch.heard("specman-0", &said(Says::Failed(Cause::NoSpace), "12:44:01"), s(1));
    assert!(!done(&watch, 5));
    // The overlap of a reopened stream says both again.
    watch.heard("specman-0", &said(Says::Persisted, "12:44:00"), s(6));
    assert!(!done(&watch, 9));
    // A failed later round does not: what is persisted is persisted.
    watch.heard("specman-0", &said(Says::Persisted, "12:45:00"), s(60));
    watch.heard("specman-0", &said(Says::Failed(Cause::Unauthorized), "12:45:02"), s(62));
    assert!(done(&watch, 62));
}

proptest::proptest! {
    /// Streams overlap, and a restart's log is read beside the current one: neither the order nor the number of
    /// times that lines arrive may change the verdict.
    #[test]
    fn order_and_repetition_of_lines_change_nothing(
        lines in proptest::collection::vec((0u32..120, 0u8..4), 1..12),
        order in proptest::collection::vec(0usize..12, 0..24),
    ) {
        let line = |(second, kind): (u32, u8)| {
            let says = [Says::Persisted, Says::Downloading, Says::Tags(true), Says::Nothing][usize::from(kind)];
            said(says, &format!("12:{}:{:02}", 42 + second / 60, second % 60))
        };
        let mut straight = watch();
        let mut shuffled = watch();
        for watch in [&mut straight, &mut shuffled] {
            watch.looked(look(&[("specman-0", well())], 1), s(0));
        }
        for entry in &lines {
            straight.heard("specman-0", &line(*entry), s(1));
        }
        for index in order.iter().copied().chain((0..lines.len()).rev()) {
            if let Some(entry) = lines.get(index) {
                shuffled.heard("specman-0", &line(*entry), s(1));
            }
        }
        let expected = lines.iter().any(|(second, kind)| *kind == 0 && *second >= 60);
        proptest::prop_assert_eq!(done(&straight, 9), expected);
        proptest::prop_assert_eq!(straight.verdict(s(9)), shuffled.verdict(s(9)));
    }
}

/// A generator whose whole state is its seed, so that a failure can be run again from what it prints.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// A log of so many lines, a hundred a second from a minute before the push on; with the marker, the old one's decoy
/// and much that looks like it. Without `marker`, nothing in it counts.
fn log(random: &mut Random, lines: usize, marker: Option<usize>) -> Vec<(Timestamp, String)> {
    let begin = time("12:42:00");
    let at = |line: usize| begin + SignedDuration::from_millis(i64::try_from(line).unwrap() * 10);
    let stale = random.below(5_900);
    let line = |line: usize| {
        let time = at(line);
        let said = match random.below(9) {
            _ if Some(line) == marker || line == stale => "level=info msg=\"Persisting 0.0.0\"",
            0 => "level=info msg=\"Persisting 4.5.15\"",
            1 => "level=info msg=\"Persisting 0.0.0-rc1\"",
            2 => "level=info msg=\"not Persisting 0.0.0\"",
            3 => "level=warning msg=\"Persisting 0.0.0\"",
            4 => "level=error msg=\"dial tcp: connection refused\"",
            5 => "level=info msg=\"tags[4.5.13 4.5.15 0.0.0]\"",
            6 => "level=info msg=\"Downloading 0.0.0\"",
            _ => "level=info msg=\"Syncing with OCI repo\"",
        };
        (time, format!("{time:.9} time=\"{time:.0}\" {said}\n"))
    };
    (0..lines).map(line).collect()
}

/// What a stream that begins with this line brings before it breaks, in chunks that heed no line; the last line may
/// be cut off. Gives the place of the last whole line.
fn stream(random: &mut Random, log: &[(Timestamp, String)], from: usize, to: usize, watch: &mut Watch) -> usize {
    let mut bytes: Vec<u8> = log[from..to].iter().flat_map(|(_, line)| line.bytes()).collect();
    let cut = if to == log.len() { 0 } else { random.below(log[to - 1].1.len()) };
    bytes.truncate(bytes.len() - cut);
    let (mut splitter, mut rest, mut whole) = (crate::split::Splitter::default(), bytes.as_slice(), from);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at((1 + random.below(8192)).min(rest.len()));
        splitter.push(chunk, |line| {
            whole += 1;
            let (at, text) = crate::follow::stamped(line);
            let text = std::str::from_utf8(text).unwrap();
            let line = crate::line::read(text);
            let says = crate::line::says(&line, &crate::line::Marker::default(), "0.0.0");
            watch.heard("specman-0", &Said { at, told: line.time, says, text: String::new() }, s(1));
        });
        rest = after;
    }
    whole.saturating_sub(1)
}

/// A hundred thousand lines through random cuts, overlaps, rotations and restarts, to the exact verdict each time.
#[test]
fn a_long_log_through_cuts_rotations_and_restarts_ends_in_the_exact_verdict() {
    const LINES: usize = 100_000;
    let first = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos().into();
    for seed in [1, first].into_iter().map(|seed: u64| seed | 1 << 40) {
        let mut random = Random(seed);
        for has_marker in [true, false] {
            let marker = has_marker.then(|| 6_000 + random.below(LINES - 6_000));
            let log = log(&mut random, LINES, marker);
            let mut watch = watch();
            watch.looked(look(&[("specman-0", well())], 1), s(0));
            let (mut from, mut cuts, mut restarts) = (0, 0, 0);
            loop {
                let to = (from + 300 + random.below(3_000)).min(LINES);
                let last = stream(&mut random, &log, from, to, &mut watch);
                // What has come is enough for the verdict at any moment, and nothing else is.
                let is_said = marker.is_some_and(|marker| marker <= last);
                assert_eq!(done(&watch, 9), is_said, "seed {seed}: marker at {marker:?}, read up to {last}");
                if to == LINES {
                    break;
                }
                // The next stream begins at the second of the last line but two, whatever was cut or rotated between.
                let again = log[last].0.as_second() - 2;
                from = log.partition_point(|(at, _)| at.as_second() < again);
                cuts += 1;
                if cuts % 15 == 0 {
                    // A restart: the previous container's log is read from the push on, beside the new one.
                    restarts += 1;
                    let replaced = PodSeen { restarts, ..well() };
                    watch.looked(look(&[("specman-0", replaced)], 1), s(1));
                    let begun = last.saturating_sub(2_000);
                    stream(&mut random, &log[..=last], begun, last + 1, &mut watch);
                }
            }
            assert!(cuts > 25 && restarts > 0, "seed {seed}: {cuts} cuts, {restarts} restarts try too little");
            let expected = marker.map(|marker| log[marker].0);
            let found = match watch.verdict(s(9)) {
                Verdict::Done { persisted_at, .. } => Some(persisted_at),
                Verdict::Wait => None,
                Verdict::GiveUp(reason) => panic!("seed {seed}: {reason:?}"),
            };
            assert_eq!(found, expected, "seed {seed}");
        }
    }
}
