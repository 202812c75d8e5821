//! Tests of the verdict: by tables, and with lines in random order.

use super::*;
use crate::message::{Marker, Wording, read};

const PUSH: &str = "2024-12-06T12:43:00Z";

fn time(text: &str) -> Timestamp {
    format!("2024-12-06T{text}Z").parse().unwrap()
}

fn watch() -> Watch {
    Watch::new(Rules {
        since: Some(PUSH.parse().unwrap()),
        began: time("12:43:10"),
        ready_only: false,
        keep_waiting: false,
        patience: Duration::from_secs(30),
    })
}

fn pod(health: Health) -> SpecmanPod {
    SpecmanPod {
        uid: "u".into(),
        container: Some("specman".into()),
        containers: vec!["specman".into()],
        is_ready: true,
        is_running: true,
        has_pod_identity: false,
        claims: Vec::new(),
        is_leaving: false,
        restarts: 0,
        health,
    }
}

fn well() -> SpecmanPod {
    pod(Health::Well("Running".into()))
}

fn stuck(reason: &str) -> SpecmanPod {
    pod(Health::Stuck { reason: reason.into(), message: "m".into() })
}

fn look(pods: &[(&str, SpecmanPod)], replicas: u32) -> Look {
    let set = serde_json::json!({
        "metadata": {"name": "specman"}, "spec": {"replicas": replicas, "selector": {}, "serviceName": "s", "template": {}}
    });
    Look {
        set: Some(serde_json::from_value(set).unwrap()),
        pods: pods.iter().map(|(name, pod)| ((*name).to_owned(), pod.clone())).collect(),
    }
}

/// A watch of one healthy replica.
fn one() -> Watch {
    let mut watch = watch();
    watch.update(look(&[("specman-0", well())], 1), s(0));
    watch
}

fn said(says: Statement, at: &str) -> LogLine {
    LogLine { uid: "u".into(), at: time(at), written: Some(time(at)), says, text: format!("{says:?}") }
}

fn error(cause: Option<Cause>, at: &str) -> LogLine {
    said(Statement::Failed { cause, names_tag: true }, at)
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Whether it is done after another look at an unchanged cluster.
fn done(watch: &mut Watch, now: u64) -> bool {
    if let Some(look) = watch.look.clone() {
        watch.update(look, s(now));
    }
    matches!(watch.verdict(s(now)), Verdict::Done { .. })
}

#[test]
fn every_replica_must_log_the_marker_and_the_last_time_counts() {
    let mut watch = watch();
    assert_eq!(watch.verdict(s(0)), Verdict::Wait);
    watch.update(look(&[("specman-0", well()), ("specman-1", well())], 2), s(0));
    watch.take_line("specman-1", &said(Statement::Persisted, "12:44:01"), s(1));
    assert_eq!(watch.verdict(s(9)), Verdict::Wait);
    watch.take_line("specman-0", &said(Statement::Persisted, "12:44:09"), s(9));
    watch.update(look(&[("specman-0", well()), ("specman-1", well())], 2), s(9));
    assert_eq!(watch.verdict(s(9)), Verdict::Wait);
    // What happened to the pods in the time to settle is seen by a look after it (Q6).
    assert_eq!(watch.verdict(s(10)), Verdict::Recheck);
    watch.update(look(&[("specman-0", well()), ("specman-1", well())], 2), s(10));
    let pods = vec!["specman-0".to_owned(), "specman-1".to_owned()];
    assert_eq!(watch.verdict(s(10)), Verdict::Done { persisted_at: time("12:44:09"), pods });
}

#[test]
fn w10_a_marker_from_before_the_push_is_remembered_and_does_not_count() {
    for (at, written, counts) in [
        ("12:42:59", "12:42:59", false),
        ("12:43:00", "12:43:00", true),
        // A log collector may repeat an old line, or a clock may be wrong: both times must be after the push.
        ("12:44:00", "12:42:59", false),
        ("12:42:59", "12:44:00", false),
    ] {
        let mut watch = one();
        let line = LogLine { written: Some(time(written)), ..said(Statement::Persisted, at) };
        watch.take_line("specman-0", &line, s(1));
        assert_eq!(done(&mut watch, 5), counts, "{at} {written}");
        let too_early = |watch: &Watch| watch.replicas()["specman-0"].too_early().is_some();
        assert_eq!(too_early(&watch), !counts);
        // A marker that a later error has revoked must not be offered.
        watch.take_line("specman-0", &said(Statement::Failed { cause: None, names_tag: true }, "12:45:00"), s(6));
        assert!(!too_early(&watch));
    }
}

#[test]
fn without_a_bound_every_marker_counts() {
    let mut watch = Watch::new(Rules { since: None, ..watch().rules });
    watch.update(look(&[("specman-0", well())], 1), s(0));
    watch.take_line("specman-0", &said(Statement::Persisted, "01:00:00"), s(0));
    assert!(done(&mut watch, 1));
}

#[test]
fn q6_a_deleted_or_replaced_replica_must_log_the_marker_again() {
    let successor = SpecmanPod { uid: "v".into(), ..well() };
    let leaving = SpecmanPod { is_leaving: true, ..well() };
    for next in [Some(successor.clone()), Some(leaving), None] {
        let mut watch = one();
        watch.take_line("specman-0", &said(Statement::Persisted, "12:44:00"), s(1));
        assert!(done(&mut watch, 3));
        let pods: Vec<_> = next.iter().map(|pod| ("specman-0", pod.clone())).collect();
        watch.update(look(&pods, 1), s(3));
        assert!(!done(&mut watch, 9), "{next:?}");
        watch.update(look(&[("specman-0", successor.clone())], 1), s(9));
        // Lines of the old pod do not count.
        watch.take_line("specman-0", &said(Statement::Persisted, "12:45:00"), s(9));
        assert!(!done(&mut watch, 20), "{next:?}");
        watch.take_line("specman-0", &LogLine { uid: "v".into(), ..said(Statement::Persisted, "12:45:00") }, s(20));
        assert!(done(&mut watch, 21), "{next:?}");
    }
}

#[test]
fn ready_only_needs_all_ready_replicas_and_at_least_one() {
    let mut watch = Watch::new(Rules { ready_only: true, ..watch().rules });
    let unready = SpecmanPod { is_ready: false, ..stuck("CrashLoopBackOff") };
    watch.update(look(&[("specman-0", unready.clone()), ("specman-1", unready.clone())], 2), s(0));
    assert!(!done(&mut watch, 5));
    watch.update(look(&[("specman-0", unready), ("specman-1", well())], 2), s(5));
    assert_eq!(watch.verdict(s(90)), Verdict::Wait, "one that is ready is still to say it");
    watch.take_line("specman-1", &said(Statement::Persisted, "12:44:00"), s(90));
    assert!(done(&mut watch, 92));
}

#[test]
fn q72_a_pod_that_does_not_run_is_waited_out_for_a_while() {
    for reason in ["CrashLoopBackOff", "Unschedulable"] {
        let mut watch = watch();
        watch.update(look(&[("specman-0", well()), ("specman-1", stuck(reason))], 2), s(1));
        assert_eq!(watch.verdict(s(30)), Verdict::Wait);
        assert!(matches!(watch.verdict(s(31)), Verdict::GiveUp(Reason::Pod { pod, .. }) if pod == "specman-1"));
        watch.update(look(&[("specman-0", well()), ("specman-1", well())], 2), s(32));
        watch.update(look(&[("specman-0", well()), ("specman-1", stuck(reason))], 2), s(33));
        assert_eq!(watch.verdict(s(62)), Verdict::Wait);
        let mut watch = Watch::new(Rules { keep_waiting: true, ..watch.rules });
        watch.update(look(&[("specman-0", stuck(reason))], 1), s(0));
        assert_eq!(watch.verdict(s(600)), Verdict::Wait);
    }
}

#[test]
fn q48_success_is_checked_before_failure() {
    let mut watch = one();
    watch.take_line("specman-0", &said(Statement::Persisted, "12:44:00"), s(1));
    watch.update(look(&[("specman-0", stuck("CrashLoopBackOff"))], 1), s(2));
    assert!(done(&mut watch, 600));
}

#[test]
fn w1_no_set_and_no_replicas_are_waited_out_for_a_while() {
    let mut watch = watch();
    watch.update(Look::default(), s(0));
    assert_eq!(watch.verdict(s(29)), Verdict::Wait);
    assert_eq!(watch.verdict(s(30)), Verdict::GiveUp(Reason::NoSet));
    watch.update(look(&[], 0), s(30));
    assert_eq!(watch.verdict(s(30)), Verdict::GiveUp(Reason::NoReplicas));
    // It waits for pods that do not exist yet.
    watch.update(look(&[], 1), s(31));
    assert_eq!(watch.verdict(s(600)), Verdict::Wait);
    assert!(!watch.ever_a_pod());
}

#[test]
fn specmans_own_error_ends_the_wait_when_it_stays() {
    let error = |at| error(Some(Cause::Unauthorized), at);
    let gives_up = |watch: &Watch, now: u64| matches!(watch.verdict(s(now)), Verdict::GiveUp(Reason::Specman { .. }));
    let mut watch = one();
    watch.take_line("specman-0", &error("12:43:05"), s(0));
    assert!(!gives_up(&watch, 600), "an error from before the wait may be what the migration cures");
    watch.take_line("specman-0", &error("12:43:11"), s(1));
    assert!(!gives_up(&watch, 30) && gives_up(&watch, 31));
    watch.take_line("specman-0", &said(Statement::Persisted, "12:43:40"), s(31));
    assert!(!gives_up(&watch, 31) && done(&mut watch, 32));
    let mut watch = one();
    for at in ["12:43:11", "12:43:11", "12:43:12"] {
        watch.take_line("specman-0", &error(at), s(1));
    }
    assert!(!gives_up(&watch, 2), "the same line heard twice is one");
    watch.take_line("specman-0", &error("12:43:13"), s(2));
    assert!(gives_up(&watch, 2));
}

/// Lines that Specman may write, and their meaning for the tag 0.0.0.
const LINES: &[(&str, &str)] = &[
    ("no", r#"time="2024-12-06T12:44:00Z" level=info msg="Persisting 0.0.0" error="open /data/0.0.0: read-only file system""#),
    ("no", r#"time="2024-12-06T12:44:00Z" level=info msg="Persisting 0.0.0 failed: no space left on device""#),
    ("no", r#"time="2024-12-06T12:44:00Z" level=info msg="Persisting 0.0.0 skipped: unchanged""#),
    ("no", r#"time="2024-12-06T12:44:00Z" level=err msg="Persisting 0.0.0""#),
    ("no", r#"time="2024-12-06T12:44:00Z" level=alert msg="Persisting 0.0.0""#),
    ("no", r#"time="2024-12-06T12:44:00Z" level=dpanic msg="Persisting 0.0.0""#),
    ("no", r#"{"level":50,"msg":"Persisting 0.0.0"}"#),
    ("no", r#"time="2024-12-06T12:44:00Z" level=info msg="Persisting 0.0.0-rc1""#),
    ("no", r#"time="2024-12-06T12:44:00Z" level=info msg="Persisting 10.0.0.0""#),
    ("taken back", r#"time="2024-12-06T12:44:01Z" level=error msg="failed to persist 0.0.0: input/output error""#),
    ("taken back", r#"time="2024-12-06T12:44:01Z" level=fatal msg="failed to persist 0.0.0: permission denied""#),
    ("taken back", r#"time="2024-12-06T12:44:01Z" level=info msg="cannot store 0.0.0" error="disk quota exceeded""#),
    ("stays", r#"time="2024-12-06T12:44:01Z" level=error msg="failed to persist 4.5.15: input/output error""#),
    ("stays", r#"time="2024-12-06T12:44:01Z" level=error msg="GET https://r.example/v2/: 401 Unauthorized""#),
    ("stays", r#"time="2024-12-06T12:44:01Z" level=warning msg="persisted 0.0.0 slowly""#),
    ("yes", r#"time="2024-12-06T12:44:00Z" level=info msg="Persisting 0.0.0""#),
    ("yes", r#"{"time":"2024-12-06T12:44:00Z","level":"info","msg":"Persisting 0.0.0"}"#),
];

#[test]
fn q3_each_line_counts_revokes_or_is_ignored() {
    let wording = Wording::new(&Marker::default(), "0.0.0");
    let line = |text: &str, at: &str| {
        let line = read(text);
        LogLine { written: line.time, ..said(wording.says(&line), at) }
    };
    for (verdict, text) in LINES {
        let mut alone = one();
        alone.take_line("specman-0", &line(text, "12:44:01"), s(1));
        assert_eq!(done(&mut alone, 9), *verdict == "yes", "{text}");
        // After a marker, and in reverse order, as a reopened stream may bring them.
        let marker = said(Statement::Persisted, "12:44:00");
        for swap in [false, true] {
            let mut both = one();
            let mut lines = [&marker, &line(text, "12:44:01")];
            if swap {
                lines.reverse();
            }
            for line in lines {
                both.take_line("specman-0", line, s(1));
            }
            // An error field or level makes even the marker's text an error about the tag.
            let is_error = matches!(line(text, "12:44:01").says, Statement::Failed { names_tag: true, .. });
            assert_eq!(done(&mut both, 9), !is_error, "{text}");
            assert!(is_error || *verdict != "taken back", "{text}");
            both.take_line("specman-0", &said(Statement::Persisted, "12:44:05"), s(10));
            assert!(done(&mut both, 12), "{text}");
        }
    }
}

proptest::proptest! {
    /// Streams overlap, and the previous instance's log is read in parallel: the order and number of lines must not matter.
    #[test]
    fn order_and_repetition_of_lines_change_nothing(
        lines in proptest::collection::vec((0u32..120, 0u8..4), 1..12),
        order in proptest::collection::vec(0usize..12, 0..24),
    ) {
        let line = |(second, kind): (u32, u8)| {
            let failed = Statement::Failed { cause: Some(Cause::NoSpace), names_tag: true };
            let says = [Statement::Persisted, Statement::Downloading, failed, Statement::Nothing][usize::from(kind)];
            said(says, &format!("12:{}:{:02}", 42 + second / 60, second % 60))
        };
        let rules = Rules { keep_waiting: true, ..watch().rules };
        let (mut straight, mut shuffled) = (Watch::new(rules.clone()), Watch::new(rules));
        for watch in [&mut straight, &mut shuffled] {
            watch.update(look(&[("specman-0", well())], 1), s(0));
        }
        for entry in &lines {
            straight.take_line("specman-0", &line(*entry), s(1));
        }
        for index in order.iter().copied().chain((0..lines.len()).rev()) {
            if let Some(entry) = lines.get(index) {
                shuffled.take_line("specman-0", &line(*entry), s(1));
            }
        }
        let last = |wanted: u8, from: u32| {
            let found = lines.iter().filter(|(second, kind)| *kind == wanted && *second >= from);
            found.map(|(second, _)| *second).max()
        };
        let expected = last(0, 60).is_some_and(|marker| last(2, 0).is_none_or(|failed| failed < marker));
        proptest::prop_assert_eq!(done(&mut straight, 9), expected);
        proptest::prop_assert_eq!(done(&mut shuffled, 9), expected);
        proptest::prop_assert_eq!(straight.verdict(s(9)), shuffled.verdict(s(9)));
    }
}

/// A random generator that can be rerun from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// A log of `lines` lines, a hundred per second, starting a minute before the push; with the marker, a marker from before
/// the push, and many similar lines. Without `marker`, nothing in it counts.
fn log(random: &mut Random, lines: usize, marker: Option<usize>) -> Vec<(Timestamp, String)> {
    let begin = time("12:42:00");
    let stale = random.below(5_900);
    let line = |line: usize| {
        let time = begin + jiff::SignedDuration::from_millis(i64::try_from(line).unwrap() * 10);
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

/// Feeds the stream of pod `uid` until it breaks, in chunks that ignore line endings; the last line may be cut off. Returns
/// the number of complete lines.
fn stream(random: &mut Random, log: &[(Timestamp, String)], uid: &str, watch: &mut Watch) -> usize {
    let mut bytes: Vec<u8> = log.iter().flat_map(|(_, line)| line.bytes()).collect();
    bytes.truncate(bytes.len() - random.below(log[log.len() - 1].1.len()));
    let wording = Wording::new(&Marker::default(), "0.0.0");
    let (mut splitter, mut rest, mut whole) = (crate::splitter::Splitter::default(), bytes.as_slice(), 0);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at((1 + random.below(8192)).min(rest.len()));
        splitter.push(chunk, |line| {
            whole += 1;
            let (at, text) = crate::follow::stamped(line).unwrap();
            let line = read(std::str::from_utf8(text).unwrap());
            let says = wording.says(&line);
            watch.take_line("specman-0", &LogLine { uid: uid.into(), at, written: line.time, says, text: String::new() }, s(1));
        });
        rest = after;
    }
    whole
}

/// A hundred thousand lines with random cuts, overlaps, rotations, restarts and replacements: the verdict must be right at
/// each moment.
#[test]
fn a_long_log_through_cuts_restarts_and_replacements_ends_in_the_exact_verdict() {
    const LINES: usize = 100_000;
    let first = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos().into();
    for seed in [1, first].into_iter().map(|seed: u64| seed | 1 << 40) {
        let mut random = Random(seed);
        for has_marker in [true, true, false] {
            let marker = has_marker.then(|| 6_000 + random.below(LINES - 7_000));
            let log = log(&mut random, LINES, marker);
            let mut watch = one();
            // `life` is the first line of the present pod, `from` that of its next stream.
            let (mut life, mut from, mut uid, mut events, mut streams) = (0, 0, "u".to_owned(), [0; 3], 0);
            while from < LINES - 1 {
                let to = (from + 300 + random.below(3_000)).min(LINES);
                let read = from + stream(&mut random, &log[from..to], &uid, &mut watch);
                // What has come is enough for the verdict at any moment, and nothing else is.
                let is_said = marker.is_some_and(|marker| (life..read).contains(&marker));
                assert_eq!(done(&mut watch, 9), is_said, "seed {seed}: marker at {marker:?}, read {life} to {read}");
                let last = read.saturating_sub(1).max(from);
                streams += 1;
                match streams % 20 {
                    7 => {
                        // Replaced: a pod of the same name, whose log begins here.
                        events[0] += 1;
                        (life, from, uid) = (to.min(LINES - 1), to.min(LINES - 1), format!("u{to}"));
                        watch.update(look(&[("specman-0", SpecmanPod { uid: uid.clone(), ..well() })], 1), s(1));
                        continue;
                    }
                    13 => {
                        // Restarted: the previous instance's log is read beside the new one.
                        events[1] += 1;
                        let restarted = SpecmanPod { uid: uid.clone(), restarts: events[1], ..well() };
                        watch.update(look(&[("specman-0", restarted)], 1), s(1));
                        stream(&mut random, &log[life.max(last.saturating_sub(5_000))..=last], &uid, &mut watch);
                    }
                    _ => events[2] += 1,
                }
                if to == LINES {
                    break;
                }
                // The next stream begins two seconds before the last line, whatever was cut or rotated between.
                let again = log[last].0.as_second() - 2;
                from = log.partition_point(|(at, _)| at.as_second() < again).max(life);
            }
            assert!(events.iter().all(|count| *count > 0), "seed {seed}: {events:?} replacements, restarts, cuts try too little");
            let expected = marker.filter(|marker| *marker >= life).map(|marker| log[marker].0);
            watch.update(watch.look.clone().unwrap(), s(9));
            let found = match watch.verdict(s(9)) {
                Verdict::Done { persisted_at, .. } => Some(persisted_at),
                Verdict::Wait => None,
                other => panic!("seed {seed}: {other:?}"),
            };
            assert_eq!(found, expected, "seed {seed}");
        }
    }
}
