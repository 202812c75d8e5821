//! The rollout restart.

use jiff::Timestamp;
use scar_lab::faults::{Action, Match, Times};
use scar_lab::kube::{Access, PodState, Rule};
use scar_suites::KubeSite;
use serde_json::json;

use crate::{SOON, ago, done, following, persist, tool};

#[test]
fn a_restart_is_kubectls_and_only_the_new_pods_count() {
    let site = KubeSite::new(2);
    // The old pods' logs and health do not count.
    persist(&site, "specman-0");
    site.cluster.set_pod("specman-1", PodState::ImagePullBackOff);
    let old: Vec<_> = ["specman-0", "specman-1"].map(|pod| site.cluster.pod_uid(pod).unwrap()).into();
    site.cluster.pause_controller(true);
    let running = tool(&site).arg("--restart").start();
    let looked = |all: &[scar_lab::log::Request]| {
        let patched = all.iter().position(|request| request.method == "PATCH");
        patched.is_some_and(|at| all[at..].iter().filter(|request| request.path.ends_with("/pods/specman-1")).count() > 1)
    };
    assert!(site.server.log().wait(SOON, looked), "the old pods end the wait");
    assert_eq!(site.cluster.streams("specman-0"), 0, "an old pod is followed");
    site.cluster.pause_controller(false);
    for (pod, old) in ["specman-0", "specman-1"].iter().zip(old) {
        assert!(site.cluster.wait_for_streams(pod, 1, SOON), "no stream of {pod}");
        assert_ne!(site.cluster.pod_uid(pod).unwrap(), old);
        persist(&site, pod);
    }
    let outcome = running.wait();
    done(&outcome, &["specman-0", "specman-1"]);
    outcome.says("specman-wait: restarted StatefulSet 'specman' in namespace 'hubble-system'\n");
    let patches = site.server.log().matching(&Match::patch("/**"));
    assert_eq!(patches.len(), 1);
    let annotations = &patches[0].json()["spec"]["template"]["metadata"]["annotations"];
    let at: Timestamp = annotations["kubectl.kubernetes.io/restartedAt"].as_str().unwrap().parse().unwrap();
    assert!(at > ago(60));
}

#[test]
fn a_restart_that_is_not_allowed_names_the_rule_and_one_that_is_lost_is_sent_again() {
    let site = KubeSite::new(1);
    let rules = ["statefulsets", "pods", "pods/log"].map(|resource| Rule::new("get", resource).within("hubble-system"));
    site.cluster.set_access(Access::Only(rules.to_vec()));
    let outcome = tool(&site).arg("--restart").run();
    outcome.exits(4).writes_nothing();
    outcome.says("restart StatefulSet 'specman': no permission to patch statefulsets 'specman' in namespace 'hubble-system'");
    outcome.says("resources: [\"statefulsets\"], resourceNames: [\"specman\"], verbs: [\"patch\"]}");
    site.cluster.set_access(Access::Everything);
    let lost = site.server.faults().on(Match::patch("/**"), Times::First(1), Action::LoseReply);
    let running = following(&site, tool(&site).arg("--restart"), "specman-0");
    persist(&site, "specman-0");
    done(&running.wait(), &["specman-0"]);
    assert_eq!(lost.hits(), 1);
    let patches = site.server.log().matching(&Match::patch("/**"));
    assert_eq!(patches[1].body, patches[2].body, "another time would restart it twice");
}

#[test]
fn a_dry_run_only_prints_the_restart() {
    let site = KubeSite::new(1);
    let outcome = tool(&site).args(["--restart", "--dry-run"]).run();
    outcome.succeeds().says("would restart StatefulSet 'specman', as kubectl rollout restart does\n");
    assert_eq!(site.server.log().count(&Match::patch("/**")), 0);
}

#[test]
fn a_restart_that_would_replace_no_pod_is_refused() {
    let site = KubeSite::new(1);
    let change = Action::edit(|response| {
        *response.body_mut() = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "specman", "namespace": "hubble-system"},
            "spec": {"replicas": 1, "selector": {}, "serviceName": "s", "template": {}, "updateStrategy": {"type": "OnDelete"}}
        })
        .to_string()
        .into();
        response.headers_mut().remove("content-length");
    });
    site.server.faults().on(Match::get("/**/statefulsets/specman"), Times::Always, change);
    let outcome = tool(&site).arg("--restart").run();
    outcome.exits(2).says("its update strategy is OnDelete, so that these would not be replaced: specman-0\n");
    outcome.says("kubectl delete pod --namespace hubble-system specman-0\n");
    assert_eq!(site.server.log().count(&Match::patch("/**")), 0);
}

#[test]
fn q75_a_restart_that_a_partition_would_keep_from_some_pods_is_refused() {
    let site = KubeSite::new(3);
    site.cluster.edit("statefulsets", "hubble-system", "specman", |set| {
        set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    });
    for arguments in [&["--restart"][..], &["--restart", "--dry-run"]] {
        let outcome = tool(&site).args(arguments).run();
        outcome.exits(2);
        outcome.says("its update strategy has the partition 2, so that these would not be replaced: specman-0 specman-1\n");
        // The third is not replaced either, if nothing is restarted.
        outcome.says("kubectl delete pod --namespace hubble-system specman-0 specman-1 specman-2\n");
    }
    assert_eq!(site.server.log().count(&Match::patch("/**")), 0);
}
