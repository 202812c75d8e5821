//! The pods: absent, late, replaced, or unable to run.

use std::time::Duration;

use scar_lab::PodLog as _;
use scar_lab::kube::PodState;
use scar_suites::KubeSite;

use serde_json::json;

use crate::{SOON, done, following, info, persist, say, tool, with_containers};

#[test]
fn w1_a_replica_without_the_line_is_named_at_the_deadline() {
    let site = KubeSite::new(2);
    persist(&site, "specman-0");
    site.cluster.line("specman-1", &info("Downloading 0.0.0"));
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome.exits(8).writes_nothing();
    outcome.says("error: wait for Specman to persist '0.0.0': not logged by specman-1 within 3 s\n");
    outcome.says("  specman-0 (container specman): persisted at ");
    outcome.says("  specman-1 (container specman): Running, last line ").says("msg=\"Downloading 0.0.0\"\n");
    outcome.says(
        "hint: see the log: kubectl logs --namespace hubble-system specman-1 --container specman; or wait longer with --timeout",
    );
}

#[test]
fn w1_no_pod_at_all_is_reported_at_the_deadline_and_one_that_comes_is_followed() {
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
        .says("hint: scar-preflight says whether this platform");
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
    let outcome = tool(&site).args(["--timeout", "5s"]).run();
    outcome.exits(8).says("  specman-0 (container specman): Evicted");
}

#[test]
fn w9_a_pod_that_will_not_run_ends_the_wait_with_its_reason() {
    for (state, says) in [
        (PodState::CrashLoopBackOff, "CrashLoopBackOff: container 'specman' ended with 1 (Error); back-off 10s"),
        (PodState::ImagePullBackOff, "ImagePullBackOff: Back-off pulling image"),
        (PodState::OomKilled, "OOMKilled: container 'specman' ended with 137 (OOMKilled)"),
    ] {
        let site = KubeSite::new(1);
        site.cluster.line("specman-0", "panic: the last words");
        site.cluster.set_pod("specman-0", state);
        let outcome = tool(&site).args(["--patience", "1s"]).run();
        outcome.exits(3).writes_nothing().says(&format!("pod specman-0 (container specman) does not run: {says}"));
        outcome.says("kubectl describe pod --namespace hubble-system specman-0; --keep-waiting waits anyway");
        assert!(outcome.took() < Duration::from_secs(10), "{outcome}");
        if state != PodState::ImagePullBackOff {
            outcome.says("  panic: the last words\n");
        }
    }
    let site = KubeSite::new(1);
    site.cluster.set_pod("specman-0", PodState::CrashLoopBackOff);
    let running = tool(&site).args(["--keep-waiting", "--patience", "1ms"]).start();
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
        .says("pod specman-0 (container specman) does not run: Unschedulable: 0/1 nodes are available: pod has unbound");
    outcome.says(
        "hint: Specman needs a claim of 10 GB that a CSI driver binds: kubectl get pvc,storageclass --namespace hubble-system; \
         if it is bound, see why: kubectl describe pod --namespace hubble-system specman-0\n",
    );
}

#[test]
fn ready_only_waits_only_for_ready_replicas() {
    let site = KubeSite::new(2);
    site.cluster.set_pod("specman-1", PodState::NotReady);
    persist(&site, "specman-0");
    done(&tool(&site).arg("--ready-only").run(), &["specman-0"]);
}

#[test]
fn w8_a_replica_that_is_gone_and_does_not_come_back_has_no_log_to_look_at() {
    let site = KubeSite::new(1);
    site.cluster.pause_controller(true);
    let running = following(&site, tool(&site).args(["--timeout", "4s"]), "specman-0");
    site.cluster.replace_pod("specman-0");
    let outcome = running.wait();
    outcome.exits(8).writes_nothing().says("  specman-0: there is no such pod");
    outcome.says("hint: see why: kubectl describe statefulset --namespace hubble-system specman\n");
}

#[test]
fn q6_a_replaced_replica_must_log_the_marker_again() {
    let site = KubeSite::new(2);
    let running = following(&site, tool(&site).args(["--timeout", "5s"]), "specman-1");
    persist(&site, "specman-0");
    site.cluster.replace_pod("specman-0");
    assert!(site.cluster.wait_for_streams("specman-0", 1, SOON), "the successor is followed");
    persist(&site, "specman-1");
    let outcome = running.wait();
    outcome.exits(8).writes_nothing().says("not logged by specman-0 within 5 s\n");
    persist(&site, "specman-0");
    done(&tool(&site).run(), &["specman-0", "specman-1"]);
}

#[test]
fn q72_a_second_exit_within_minutes_passes() {
    let site = KubeSite::new(1);
    site.cluster.set_pod("specman-0", PodState::CrashLoopBackOff);
    let running = tool(&site).start();
    assert!(site.server.log().wait(SOON, |all| all.iter().filter(|r| r.path.ends_with("/pods/specman-0")).count() > 2));
    site.cluster.set_pod("specman-0", PodState::Running);
    persist(&site, "specman-0");
    done(&running.wait(), &["specman-0"]);
}

#[test]
fn q48_a_crashing_sidecar_is_ignored() {
    let site = with_containers(&["mesh", "specman"]);
    site.cluster.crash_container("specman-0", "mesh", true);
    let running = tool(&site).args(["--patience", "1ms"]).start();
    assert!(site.server.log().wait(SOON, |all| all.iter().filter(|r| r.path.ends_with("/pods/specman-0")).count() > 1));
    persist(&site, "specman-0");
    done(&running.wait(), &["specman-0"]);
}

#[test]
fn q48_specmans_container_alone_is_followed_and_named() {
    for (containers, annotation, own) in [
        (&["mesh", "specman"][..], None, "specman"),
        (&["mesh", "server"], Some("server"), "server"),
        (&["server"], None, "server"),
    ] {
        let site = with_containers(containers);
        if let Some(name) = annotation {
            site.cluster.edit("statefulsets", "hubble-system", "specman", |set| {
                set["spec"]["template"]["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/default-container": name});
            });
        }
        if containers.len() > 1 {
            say(&site, "specman-0", "mesh", &info("Persisting 0.0.0"));
        }
        let outcome = tool(&site).args(["--timeout", "2s"]).run();
        outcome.exits(8).says(&format!("  specman-0 (container {own}): Running, no log line\n"));
        say(&site, "specman-0", own, &info("Persisting 0.0.0"));
        let outcome = tool(&site).run();
        done(&outcome, &["specman-0"]);
        outcome.says(&format!("specman-wait: specman-0 (container {own}) persisted '0.0.0'\n"));
    }
    let site = with_containers(&["mesh", "server"]);
    tool(&site).run().fails(
        2,
        "specman-wait: error: find Specman's container in pod 'specman-0': it has several, and none is called 'specman'\n\
         specman-wait: hint: name it with --container; the pod has 'mesh', 'server'\n",
    );
}

#[test]
fn q75_the_hint_names_the_pods_that_it_is_about() {
    let site = KubeSite::new(3);
    persist(&site, "specman-0");
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome.exits(8).says("not logged by specman-1, specman-2 within 3 s\n");
    let logs = ["specman-1", "specman-2"].map(|pod| format!("kubectl logs --namespace hubble-system {pod} --container specman"));
    outcome.says(&format!("hint: see the log: {}; or wait longer", logs.join("; ")));
    // A volume that cannot be mounted leaves a container in ContainerCreating; only its events say why.
    site.cluster.set_pod("specman-2", PodState::ContainerCreating);
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome.exits(8).says("hint: see why: kubectl describe pod --namespace hubble-system specman-2\n");
}
