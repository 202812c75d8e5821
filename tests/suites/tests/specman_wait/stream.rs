//! The log streams: cut, rotated, restarted, loud.

use std::time::Duration;

use jiff::Timestamp;
use scar_lab::PodLog as _;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::kube::{Cut, PodState};
use scar_suites::KubeSite;

use crate::{SOON, ago, done, following, info, info_at, persist, pushed, tool};

#[test]
fn the_verdict_comes_within_two_seconds_of_the_line() {
    let site = KubeSite::new(1);
    let running = following(&site, tool(&site), "specman-0");
    let said = std::time::Instant::now();
    persist(&site, "specman-0");
    done(&running.wait(), &["specman-0"]);
    assert!(said.elapsed() < Duration::from_millis(2500), "{:?}", said.elapsed());
}

#[test]
fn w2_a_log_that_is_not_there_yet_is_asked_for_again() {
    for state in [PodState::ContainerCreating, PodState::Pending, PodState::NodeLost] {
        let site = KubeSite::new(1);
        site.cluster.set_pod("specman-0", state);
        let running = tool(&site).start();
        assert!(site.server.log().wait(SOON, |all| all.iter().any(|r| r.path.ends_with("/log"))), "{state:?}");
        site.cluster.set_pod("specman-0", PodState::Running);
        persist(&site, "specman-0");
        done(&running.wait(), &["specman-0"]);
    }
    let site = KubeSite::new(1);
    persist(&site, "specman-0");
    let answers = [503, 500, 429].map(|status| Answer::status(status).header("retry-after", "99999"));
    let faults = answers.map(|answer| site.server.faults().on(Match::get("/**/log"), Times::First(1), Action::Answer(answer)));
    done(&tool(&site).run(), &["specman-0"]);
    assert!(faults.iter().all(|fault| fault.hits() == 1));
}

#[test]
fn w3_a_stream_that_ends_or_breaks_is_reopened_without_losing_a_line() {
    let site = KubeSite::new(1);
    let mut running = following(&site, tool(&site), "specman-0");
    for (round, cut) in [Cut::End, Cut::Break, Cut::End].into_iter().enumerate() {
        site.cluster.line("specman-0", &info(&format!("round {round}")));
        site.cluster.cut_streams("specman-0", cut);
        assert!(site.cluster.wait_for_streams("specman-0", 0, SOON));
        assert!(site.cluster.wait_for_streams("specman-0", 1, SOON));
    }
    assert!(!running.is_over());
    site.cluster.cut_streams("specman-0", Cut::Break);
    persist(&site, "specman-0");
    let outcome = running.wait();
    done(&outcome, &["specman-0"]);
    assert_eq!(outcome.stderr(), "specman-wait: specman-0 (container specman) persisted '0.0.0'\n", "said once");
}

/// Many lines, with similar ones, through cuts, rotations and restarts of two replicas.
#[test]
fn the_marker_is_found_once_among_many_lines_whatever_happens_to_the_streams() {
    let site = KubeSite::new(2);
    let mut running =
        following(&site, tool(&site).args(["-v", "--timeout", "50s"]).timeout(Duration::from_secs(70)), "specman-0");
    // A fixed pseudo-random sequence.
    let mut dice = 7u32;
    let mut roll = |sides: u32| {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (dice >> 16) % sides
    };
    for number in 0..3000u32 {
        let pod = ["specman-0", "specman-1"][roll(2) as usize];
        let near = ["Persisting 0.0.01", "Persisting 0.0.0-rc1", "not Persisting 0.0.0", "Downloading 4.5.15", "tags[0.0.0]"];
        site.cluster.line(pod, &info(&format!("{} {number}", near[roll(5) as usize]).replace(" 0.0.0 ", " 0.0.0x ")));
        match roll(300) {
            0 | 1 => site.cluster.cut_streams(pod, Cut::Break),
            2 => site.cluster.cut_streams(pod, Cut::End),
            3 => site.cluster.rotate_log(pod),
            4 => site.cluster.restart_container(pod),
            _ => {}
        }
    }
    assert!(!running.is_over());
    persist(&site, "specman-0");
    site.cluster.cut_streams("specman-0", Cut::Break);
    site.cluster.restart_container("specman-0");
    site.cluster.rotate_log("specman-1");
    persist(&site, "specman-1");
    site.cluster.cut_streams("specman-1", Cut::End);
    let outcome = running.wait();
    done(&outcome, &["specman-0", "specman-1"]);
    for pod in ["specman-0", "specman-1"] {
        assert_eq!(outcome.stderr().matches(&format!("{pod} (container specman) persisted '0.0.0'")).count(), 1, "{outcome}");
    }
}

#[test]
fn w3_a_line_that_was_cut_off_is_not_taken_for_a_whole_one() {
    let site = KubeSite::new(1);
    let mut running = following(&site, tool(&site).args(["--timeout", "6s"]), "specman-0");
    let now = Timestamp::now();
    // The text after the cut makes it another tag.
    site.cluster.entry("specman-0", None, now, format!("time=\"{now:.0}\" level=info msg=Persisting 0.0.0").as_bytes(), false);
    site.cluster.cut_streams("specman-0", Cut::Break);
    assert!(site.cluster.wait_for_streams("specman-0", 0, SOON) && site.cluster.wait_for_streams("specman-0", 1, SOON));
    site.cluster.entry("specman-0", None, now, b"-rc1", true);
    assert!(!running.is_over());
    running.wait().exits(8);
}

#[test]
fn w4_a_log_that_was_rotated_under_the_stream_is_read_on() {
    let site = KubeSite::new(1);
    let running = following(&site, tool(&site), "specman-0");
    site.cluster.rotate_log("specman-0");
    persist(&site, "specman-0");
    done(&running.wait(), &["specman-0"]);
    assert!(site.server.log().count(&Match::get("/**/log")) >= 2);
}

#[test]
fn w5_the_marker_is_found_in_pieces_and_beside_a_line_of_a_mebibyte() {
    let site = KubeSite::new(1);
    site.cluster.split_lines(true);
    let running = following(&site, tool(&site), "specman-0");
    site.cluster.line("specman-0", &"x".repeat(1024 * 1024));
    let now = Timestamp::now();
    let marker = info("Persisting 0.0.0");
    let (first, second) = marker.split_at(50);
    site.cluster.entry("specman-0", None, now, first.as_bytes(), false);
    site.cluster.entry("specman-0", None, now, second.as_bytes(), true);
    done(&running.wait(), &["specman-0"]);
}

#[test]
fn w7_a_marker_in_the_previous_log_alone_is_found() {
    let site = KubeSite::new(1);
    persist(&site, "specman-0");
    site.cluster.restart_container("specman-0");
    let outcome = tool(&site).arg("-v").run();
    done(&outcome, &["specman-0"]);
    outcome.says("specman-0 was restarted (1 in all): reading its previous log, too");
    // Also if the restart comes while the log is followed, before the line was read.
    let site = KubeSite::new(2);
    let running = following(&site, tool(&site), "specman-0");
    site.server.faults().on(
        Match::get("/**/pods/specman-0/log").query("follow"),
        Times::First(1),
        Action::Answer(Answer::status(503)),
    );
    site.cluster.cut_streams("specman-0", Cut::Break);
    assert!(site.cluster.wait_for_streams("specman-0", 0, SOON));
    persist(&site, "specman-0");
    site.cluster.restart_container("specman-0");
    persist(&site, "specman-1");
    done(&running.wait(), &["specman-0", "specman-1"]);
}

#[test]
fn w12_a_loud_log_stays_within_its_memory() {
    let site = KubeSite::new(1);
    let line = "y".repeat(16 * 1024);
    // 64 MiB before the marker.
    for _ in 0..4096 {
        site.cluster.line("specman-0", &line);
    }
    persist(&site, "specman-0");
    let file = site.folder().join("rss");
    let script = format!(
        "specman-wait & pid=$!; while kill -0 $pid 2>/dev/null; do grep VmHWM /proc/$pid/status >>{} 2>/dev/null; done; wait $pid",
        file.display()
    );
    let script = format!("{{ {script}; }} <<<'{}'", pushed(60));
    // Bash gives a background process /dev/null as standard input by default.
    let script = script.replace("specman-wait &", "specman-wait <&0 &");
    let outcome = scar_kit::bash(&script).env("KUBECONFIG", site.kubeconfig()).run();
    done(&outcome, &["specman-0"]);
    let peaks = std::fs::read_to_string(file).unwrap();
    let peak = peaks.lines().filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).max().unwrap();
    assert!(peak < 48 * 1024, "{peak} KiB");
}

#[test]
fn w15_a_run_after_the_marker_came_succeeds_at_once_from_the_log() {
    let site = KubeSite::new(3);
    for pod in ["specman-0", "specman-1", "specman-2"] {
        persist(&site, pod);
    }
    for _ in 0..2 {
        let outcome = tool(&site).run();
        done(&outcome, &["specman-0", "specman-1", "specman-2"]);
        assert!(outcome.took() < Duration::from_secs(10), "{outcome}");
    }
}

/// A node whose clock is ahead and then corrected: later lines have older timestamps.
#[test]
fn w3_a_line_from_the_future_hides_none_that_follow() {
    let site = KubeSite::new(1);
    let later = ago(-3600);
    site.cluster.line_at("specman-0", later, &info_at(later, "Downloading 0.0.0"));
    let running = following(&site, tool(&site), "specman-0");
    site.cluster.cut_streams("specman-0", Cut::End);
    assert!(site.cluster.wait_for_streams("specman-0", 0, SOON));
    persist(&site, "specman-0");
    done(&running.wait(), &["specman-0"]);
}

/// Logged while no stream was open, with the same timestamp as the last line before.
#[test]
fn w6_a_marker_in_the_gap_of_a_cut_and_of_the_same_moment_is_found() {
    let site = KubeSite::new(1);
    let running = following(&site, tool(&site), "specman-0");
    let now = Timestamp::now();
    site.cluster.line_at("specman-0", now, &info_at(now, "Downloading 0.0.0"));
    let gap = Action::Answer(Answer::status(503));
    let gap = site.server.faults().on(Match::get("/**/log").query("follow"), Times::First(2), gap);
    site.cluster.cut_streams("specman-0", Cut::Break);
    assert!(site.cluster.wait_for_streams("specman-0", 0, SOON));
    site.cluster.line_at("specman-0", now, &info_at(now, "Persisting 0.0.0"));
    done(&running.wait(), &["specman-0"]);
    assert_eq!(gap.hits(), 2);
}
