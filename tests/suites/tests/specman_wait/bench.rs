//! What the wait promises, measured: `shell/bench follow` runs this on the release build and shows what it prints.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use scar_kit::Running;
use scar_lab::PodLog as _;
use scar_lab::kube::Cut;
use scar_suites::KubeSite;

use crate::{SOON, following, info, tool};

/// The most memory that a wait may take, in KiB.
const MEMORY: u64 = 48 * 1024;
/// How long after the line the verdict may come.
const LATENCY: Duration = Duration::from_secs(2);
const PODS: [&str; 2] = ["specman-0", "specman-1"];

/// A generator whose whole state is its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What a loud Specman says, and none of it counts for the tag.
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

/// The greatest memory that a process has had, in KiB; nothing once it is gone.
fn peak(running: &Running) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

/// One wait through `lines` lines of two replicas, with a cut, a rotation or a restart a dozen times a second: no verdict
/// before the line, and one soon after it.
fn round(site: &KubeSite, number: u32, lines: u64, random: &mut Random) -> (Duration, u64) {
    let tag = format!("0.0.{number}");
    let run = tool(site).args(["--tag", &tag, "--timeout", "10m"]).timeout(Duration::from_secs(700));
    let mut running = following(site, run, PODS[0]);
    let (begun, mut bytes, mut events, mut memory) = (Instant::now(), 0, [0u32; 4], 0);
    let mut next = Duration::ZERO;
    for written in 0..lines {
        let pod = PODS[usize::try_from(random.below(2)).unwrap()];
        let line = noise(random, &tag);
        bytes += line.len();
        site.cluster.line(pod, &line);
        if written % 1000 != 0 || begun.elapsed() < next {
            continue;
        }
        let event = usize::try_from(random.below(4)).unwrap();
        match event {
            0 => site.cluster.cut_streams(pod, Cut::Break),
            1 => site.cluster.cut_streams(pod, Cut::End),
            2 => site.cluster.rotate_log(pod),
            _ => site.cluster.restart_container(pod),
        }
        events[event] += 1;
        next = begun.elapsed() + Duration::from_millis(20 + random.below(120));
        memory = memory.max(peak(&running).unwrap_or_default());
        assert!(!running.is_over(), "a verdict before the line");
    }
    let took = begun.elapsed();
    // From here on the link is healthy.
    PODS.iter().for_each(|pod| site.cluster.cut_streams(pod, Cut::End));
    for pod in PODS {
        assert!(site.cluster.wait_for_streams(pod, 0, SOON) && site.cluster.wait_for_streams(pod, 1, SOON), "no stream of {pod}");
    }
    std::thread::sleep(Duration::from_secs(3));
    assert!(!running.is_over(), "a verdict before the line");
    let said = Instant::now();
    PODS.iter().for_each(|pod| site.cluster.line(pod, &info(&format!("Persisting {tag}"))));
    while !running.is_over() {
        memory = memory.max(peak(&running).unwrap_or_default());
        site.cluster.line(PODS[0], &noise(random, &tag));
        std::thread::sleep(Duration::from_millis(1));
    }
    let latency = said.elapsed();
    let outcome = running.wait();
    assert_eq!(outcome.succeeds().json()["specman"]["pods"], serde_json::json!(PODS));
    println!(
        "{lines} lines ({:.0} MB) at {:.0} lines/s, {} cuts, {} rotations, {} restarts: verdict {:.2} s after the line, RSS {:.1} MiB",
        bytes as f64 / 1e6,
        lines as f64 / took.as_secs_f64(),
        events[0] + events[1],
        events[2],
        events[3],
        latency.as_secs_f64(),
        memory as f64 / 1024.0
    );
    (latency, memory)
}

#[test]
#[ignore = "a measurement: shell/bench follow"]
#[allow(clippy::disallowed_methods)]
fn a_million_lines_to_the_exact_verdict_soon_and_in_little_memory() {
    let lines = std::env::var("BENCH_LINES").map_or(1_000_000, |lines| lines.parse().unwrap());
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    println!("seed {seed}");
    let (site, mut random) = (KubeSite::new(2), Random(u64::from(seed) | 1 << 40));
    let rounds: Vec<_> = (0..3).map(|number| round(&site, number, lines / 3 + 1, &mut random)).collect();
    for (latency, memory) in rounds {
        assert!(latency <= LATENCY, "the verdict came after {latency:?}");
        assert!((1..=MEMORY).contains(&memory), "{memory} KiB");
    }
}
