//! The wait on long logs: the exact verdict, soon, in little memory. The test suite runs a hundred thousand lines;
//! `shell/bench follow` runs a million with the release build, and prints the results.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use scar_kit::Running;
use scar_lab::PodLog as _;
use scar_lab::kube::Cut;
use scar_suites::{KubeSite, Random};

use crate::{SOON, error, following, info, say, tool};

/// The memory limit in KiB.
const MEMORY: u64 = 48 * 1024;
/// The time limit of the verdict after the line.
const LATENCY: Duration = Duration::from_secs(2);
/// How long there must be no verdict: longer than the interval between looks, and the settling of a marker.
const NO_VERDICT: Duration = Duration::from_secs(3);
const PODS: [&str; 2] = ["specman-0", "specman-1"];

/// Other lines of Specman, none about the tag.
fn noise(random: &mut Random, tag: &str) -> String {
    let number = random.below(1_000_000);
    match random.below(9) {
        0 => info(&format!("Persisting {tag}-rc{number}")),
        1 => info(&format!("not Persisting {tag}")),
        2 => info(&format!("Persisting {number}.5.15")),
        3 => info(&format!("tags[4.5.13 4.5.15 {tag}]")),
        4 => format!("plain words number {number} about Persisting {tag}"),
        _ => info(&format!("Syncing with OCI repo, round {number}, {}", "x".repeat(usize::try_from(random.below(200)).unwrap()))),
    }
}

/// The peak memory of a process in KiB; `None` after it has ended.
fn peak(running: &Running) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

/// An event of a pod. Earlier markers may become void; the last pod logs none of this.
fn happen(site: &KubeSite, random: &mut Random, tag: &str, pod: &str) -> usize {
    let (cluster, marker) = (&site.cluster, info(&format!("Persisting {tag}")));
    let event = random.below(7);
    match event {
        0 => cluster.cut_streams(pod, Cut::Break),
        1 => cluster.cut_streams(pod, Cut::End),
        2 => cluster.rotate_log(pod),
        3 => cluster.restart_container(pod),
        4 => {
            // A sidecar logs the marker, and crashes.
            say(site, pod, "mesh", &marker);
            cluster.crash_container(pod, "mesh", true);
            cluster.crash_container(pod, "mesh", false);
        }
        5 => {
            // The first replica logs the marker, and is replaced.
            cluster.line(PODS[0], &marker);
            cluster.replace_pod(PODS[0]);
        }
        _ => {
            // It logs the marker, and then an error about the tag.
            cluster.line(PODS[0], &marker);
            cluster.line(PODS[0], &error(&format!("failed to persist {tag}: input/output error")));
        }
    }
    usize::try_from(event).unwrap()
}

/// One wait for two replicas with sidecars, through `lines` lines and about eight events per second: no verdict before each
/// has logged a valid marker, and one soon after.
fn round(site: &KubeSite, number: u32, lines: u64, random: &mut Random) -> (Duration, u64) {
    let tag = format!("0.0.{number}");
    let run = tool(site).args(["--tag", &tag, "--timeout", "10m"]).timeout(Duration::from_secs(700));
    let mut running = following(site, run, PODS[0]);
    let (begun, mut bytes, mut events, mut memory) = (Instant::now(), 0, [0u32; 7], 0);
    let mut next = Duration::ZERO;
    for written in 0..lines {
        let pod = PODS[usize::try_from(random.below(2)).unwrap()];
        let line = noise(random, &tag);
        bytes += line.len();
        site.cluster.line(pod, &line);
        if written % 500 != 0 || begun.elapsed() < next {
            continue;
        }
        events[happen(site, random, &tag, pod)] += 1;
        next = begun.elapsed() + Duration::from_millis(20 + random.below(120));
        memory = memory.max(peak(&running).unwrap_or_default());
        assert!(!running.is_over(), "a verdict before the line: {}", running.wait());
    }
    let took = begun.elapsed();
    // The first replica's last marker was revoked.
    site.cluster.line(PODS[0], &info(&format!("Persisting {tag}")));
    site.cluster.replace_pod(PODS[0]);
    PODS.iter().for_each(|pod| site.cluster.cut_streams(pod, Cut::End));
    for pod in PODS {
        assert!(site.cluster.wait_for_streams(pod, 1, SOON), "no stream of {pod}");
    }
    let marker = |pod: &str| site.cluster.line(pod, &info(&format!("Persisting {tag}")));
    marker(PODS[1]);
    std::thread::sleep(NO_VERDICT);
    assert!(!running.is_over(), "a verdict before the last replica's line");
    let said = Instant::now();
    marker(PODS[0]);
    while !running.is_over() {
        memory = memory.max(peak(&running).unwrap_or_default());
        site.cluster.line(PODS[0], &noise(random, &tag));
        std::thread::sleep(Duration::from_millis(1));
    }
    let latency = said.elapsed();
    let outcome = running.wait();
    assert_eq!(outcome.succeeds().json()["specman"]["pods"], serde_json::json!(PODS));
    println!(
        "{lines} lines ({:.0} MB) at {:.0} lines/s, {} cuts, {} rotations, {} restarts, {} sidecars, {} replacements, {} errors: \
         verdict {:.2} s after the line, RSS {:.1} MiB",
        bytes as f64 / 1e6,
        lines as f64 / took.as_secs_f64(),
        events[0] + events[1],
        events[2],
        events[3],
        events[4],
        events[5],
        events[6],
        latency.as_secs_f64(),
        memory as f64 / 1024.0
    );
    (latency, memory)
}

fn site() -> (KubeSite, Random) {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    println!("seed {seed}");
    let site = KubeSite::new(0);
    site.cluster.add_statefulset("specman", 2, &["mesh", "specman"]);
    (site, Random::new(seed.into()))
}

#[test]
fn a_hundred_thousand_lines_with_sidecars_restarts_and_replacements_to_the_exact_verdict() {
    let (site, mut random) = site();
    let (_, memory) = round(&site, 0, 100_000, &mut random);
    assert!((1..=MEMORY).contains(&memory), "{memory} KiB");
}

#[test]
#[ignore = "a measurement: shell/bench follow"]
#[allow(clippy::disallowed_methods)]
fn a_million_lines_to_the_exact_verdict_soon_and_in_little_memory() {
    let lines = std::env::var("BENCH_LINES").map_or(1_000_000, |lines| lines.parse().unwrap());
    let (site, mut random) = site();
    let rounds: Vec<_> = (0..3).map(|number| round(&site, number, lines / 3 + 1, &mut random)).collect();
    for (latency, memory) in rounds {
        assert!(latency <= LATENCY, "the verdict came after {latency:?}");
        assert!((1..=MEMORY).contains(&memory), "{memory} KiB");
    }
}
