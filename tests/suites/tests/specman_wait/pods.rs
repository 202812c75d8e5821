//! The pods: absent, late, replaced, or unable to run.

use std::time::Duration;

use scar_lab::PodLog as _;
use scar_lab::kube::PodState;
use scar_suites::KubeSite;

use crate::{SOON, done, following, info, persist, tool};

#[test]
fn w1_a_replica_without_the_line_is_named_at_the_deadline() {
    let site = KubeSite::new(2);
    persist(&site, "specman-0");
    site.cluster.line("specman-1", &info("Downloading 0.0.0"));
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome.exits(8).writes_nothing();
    outcome.says("error: wait for Specman to persist '0.0.0': not said by specman-1 within 3 s\n");
    outcome.says("  specman-0: persisted at ").says("  specman-1: Running, last line ").says("msg=\"Downloading 0.0.0\"\n");
    outcome.says("hint: see its log: kubectl logs --namespace hubble-system specman-1; wait on with a longer --timeout\n");
}

#[test]
fn w1_no_pod_at_all_is_told_at_the_deadline_and_one_that_comes_is_followed() {
    let site = KubeSite::new(0);
    site.cluster.pause_controller(true);
    site.cluster.add_specman(1);
    let outcome = tool(&site).args(["--timeout", "2s"]).run();
    outcome.exits(3).writes_nothing();
    outcome.says("error: wait for Specman to persist '0.0.0': no pod of StatefulSet 'specman' appeared within 2 s\n");
    let running = tool(&site).start();
    assert!(site.server.log().wait(SOON, |all| all.iter().filter(|r| r.path.ends_with("/pods/specman-0")).count() > 2));
    site.cluster.pause_controller(false);
    persist(&site, "specman-0");
    done(&running.wait(), &["specman-0"]);
}

#[test]
fn w1_no_statefulset_ends_the_wait_after_a_while() {
    let site = KubeSite::new(0);
    let outcome = tool(&site).args(["--patience", "1s"]).run();
    outcome
        .exits(3)
        .says("there is no StatefulSet 'specman' in namespace 'hubble-system'\n")
        .says("hint: Specman comes with VerteX 4.5.15");
    tool(&site).args(["-n", "hubble"]).run().exits(2).says("look for namespace 'hubble'").says("'hubble-system'");
    site.cluster.add_statefulset("specman", 0, &["specman"]);
    tool(&site).args(["--patience", "1s"]).run().exits(3).says("StatefulSet 'specman' is scaled to no replicas");
}

#[test]
fn w8_a_pod_that_is_replaced_is_followed_by_its_successor() {
    let site = KubeSite::new(1);
    let running = following(&site, tool(&site), "specman-0");
    let old = site.cluster.pod_uid("specman-0");
    site.cluster.replace_pod("specman-0");
    assert_ne!(site.cluster.pod_uid("specman-0"), old);
    persist(&site, "specman-0");
    done(&running.wait(), &["specman-0"]);
    let site = KubeSite::new(1);
    site.cluster.set_pod("specman-0", PodState::Evicted);
    let outcome = tool(&site).args(["--timeout", "2s"]).run();
    outcome.exits(8).says("  specman-0: Evicted");
}

#[test]
fn w9_a_pod_that_will_not_run_ends_the_wait_with_its_reason() {
    for (state, says) in [
        (PodState::CrashLoopBackOff, "pod 'specman-0' does not run: CrashLoopBackOff: it ended with 1 (Error); back-off 10s"),
        (PodState::ImagePullBackOff, "pod 'specman-0' does not run: ImagePullBackOff: Back-off pulling image"),
        (
            PodState::OomKilled,
            "pod 'specman-0' does not run: OOMKilled: container 'specman' was killed for its memory (exit 137)",
        ),
    ] {
        let site = KubeSite::new(1);
        site.cluster.line("specman-0", "panic: the last words");
        site.cluster.set_pod("specman-0", state);
        let outcome = tool(&site).run();
        outcome.exits(3).writes_nothing().says(says).says("--keep-waiting waits on nevertheless");
        assert!(outcome.took() < Duration::from_secs(10), "{outcome}");
        if state != PodState::ImagePullBackOff {
            outcome.says("  panic: the last words\n");
        }
    }
    let site = KubeSite::new(1);
    site.cluster.set_pod("specman-0", PodState::CrashLoopBackOff);
    let running = tool(&site).arg("--keep-waiting").start();
    assert!(site.server.log().wait(SOON, |all| all.iter().filter(|r| r.path.ends_with("/pods/specman-0")).count() > 1));
    site.cluster.set_pod("specman-0", PodState::Running);
    persist(&site, "specman-0");
    done(&running.wait(), &["specman-0"]);
}

#[test]
fn w9_a_claim_that_stays_unbound_ends_the_wait() {
    let site = KubeSite::new(1);
    site.cluster.set_pod("specman-0", PodState::Pending);
    let outcome = tool(&site).args(["--patience", "1s"]).run();
    outcome
        .exits(3)
        .writes_nothing()
        .says("pod 'specman-0' does not run: Unschedulable: 0/1 nodes are available: pod has unbound");
    outcome.says(
        "hint: Specman needs a claim of 10 GB that a CSI driver binds: kubectl get pvc,storageclass --namespace hubble-system\n",
    );
}

#[test]
fn ready_only_is_content_with_the_ready_ones() {
    let site = KubeSite::new(2);
    site.cluster.set_pod("specman-1", PodState::NotReady);
    persist(&site, "specman-0");
    done(&tool(&site).arg("--ready-only").run(), &["specman-0"]);
}

/// Where the API server does not reach a node, pods are there and their logs are not.
#[test]
fn w8_a_log_that_the_cluster_cannot_reach_is_told_with_its_words() {
    let site = KubeSite::new(1);
    site.cluster.set_pod("specman-0", PodState::NodeLost);
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome.exits(8).writes_nothing().says(", no log line; its log cannot be read: GET SERVER");
    outcome.says("500 Internal Server Error: Get \"https://192.0.2.10:10250/containerLogs/");
}

#[test]
fn w8_a_replica_that_is_gone_and_does_not_come_back_has_no_log_to_look_at() {
    let site = KubeSite::new(1);
    site.cluster.pause_controller(true);
    let running = following(&site, tool(&site).args(["--timeout", "4s"]), "specman-0");
    site.cluster.replace_pod("specman-0");
    let outcome = running.wait();
    outcome.exits(8).writes_nothing().says("  specman-0: there is no such pod");
    outcome.says("hint: see what keeps it: kubectl describe statefulset specman --namespace hubble-system\n");
}
