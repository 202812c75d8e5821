//! Kubelets that refuse the API server, lose a log file, or rotate under a stream.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use scar_lab::PodLog as _;
use scar_lab::kube::{Kubelet, PodState};
use scar_suites::KubeSite;

use crate::{SOON, done, following, info, persist, tool};

/// If the API server cannot reach a node, pods exist but their logs cannot be read.
#[test]
fn w8_a_log_that_the_cluster_cannot_reach_is_reported_with_its_words() {
    let site = KubeSite::new(1);
    site.cluster.set_pod("specman-0", PodState::NodeLost);
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome.exits(8).writes_nothing().says(", no log line; its log cannot be read: GET SERVER");
    outcome.says("500 Internal Server Error: Get \"https://192.0.2.10:10250/containerLogs/");
}

#[test]
fn q54_a_kubelet_that_refuses_the_api_server_for_a_while_is_asked_again() {
    for kubelet in [Kubelet::NoLogin, Kubelet::Forbidden, Kubelet::BadGateway] {
        let site = KubeSite::new(1);
        site.cluster.set_kubelet(kubelet);
        let running = tool(&site).start();
        let asked = |all: &[scar_lab::log::Request]| all.iter().filter(|request| request.path.ends_with("/log")).count() > 1;
        assert!(site.server.log().wait(SOON, asked), "{kubelet:?}");
        site.cluster.set_kubelet(Kubelet::Well);
        persist(&site, "specman-0");
        done(&running.wait(), &["specman-0"]);
    }
}

#[test]
fn q75_a_kubelet_without_the_log_is_not_taken_for_specman() {
    let site = KubeSite::new(1);
    site.cluster.set_kubelet(Kubelet::NoLogFile);
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome
        .exits(8)
        .says("no log line; its log cannot be read: the kubelet says: unable to retrieve container logs for containerd://");
    // Also in the last lines of a crashed pod.
    site.cluster.set_pod("specman-0", PodState::CrashLoopBackOff);
    let outcome = tool(&site).args(["--patience", "1ms"]).run();
    outcome.exits(3).never_says("unable to retrieve");
}

/// A kubelet checks every 10 s whether to rotate a log (kubernetes pkg/kubelet/logs/container_log_manager.go), and at 500
/// lines/s a file of 10 KiB is full each time. Each numbered line must be received.
#[test]
fn q71_no_line_is_lost_to_rotations_at_500_lines_a_second() {
    const BEAT: Duration = Duration::from_secs(10);
    let site = KubeSite::new(1);
    let running = following(&site, tool(&site).arg("-v").timeout(Duration::from_secs(90)), "specman-0");
    let (begun, mut rotated, mut written) = (Instant::now(), Instant::now(), 0u32);
    while begun.elapsed() < Duration::from_secs(26) {
        if rotated.elapsed() >= BEAT {
            site.cluster.rotate_log("specman-0");
            rotated = Instant::now();
        }
        site.cluster.line("specman-0", &info(&format!("tags[0.0.0 line-{written}]")));
        written += 1;
        std::thread::sleep((begun + written * Duration::from_millis(2)).saturating_duration_since(Instant::now()));
    }
    persist(&site, "specman-0");
    let outcome = running.wait();
    done(&outcome, &["specman-0"]);
    let heard = outcome.stderr();
    let numbers = heard.split("line-").skip(1).filter_map(|rest| rest.split(']').next()?.parse::<u32>().ok());
    let heard: BTreeSet<u32> = numbers.collect();
    let lost: Vec<u32> = (0..written).filter(|number| !heard.contains(number)).collect();
    assert!(written > 10_000 && lost.is_empty(), "{} of {written} lost: {:?}", lost.len(), &lost[..lost.len().min(20)]);
}
