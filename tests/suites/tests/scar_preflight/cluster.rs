//! Specman's cluster: permissions, Specman, its storage and the secret. F1: each prerequisite missing, one at a time.

use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::kube::{Access, PodState, Rule};
use scar_suites::new_record;
use serde_json::{Value, json};

use crate::rig::{ALL, NAMESPACE, Rig, but, is_blocked, lines, nobody, says, skipped};

/// What hangs on the cluster's being reached.
fn after_cluster() -> Vec<(&'static str, &'static str)> {
    let hangs = |name: &&str| name.starts_with("cluster.") && *name != "cluster.reached" || *name == "content.claim";
    skipped(&ALL.into_iter().filter(|name| hangs(name)).collect::<Vec<_>>())
}

#[test]
fn f1_the_kubeconfig_is_broken() {
    let rig = Rig::new();
    let file = rig.migration.folder().join("broken");
    std::fs::write(&file, "clusters: [").unwrap();
    let outcome = rig.run_with(&[("--kubeconfig", file.to_str())]);
    outcome.exits(3).writes_nothing();
    says(&outcome, "this is not the YAML");
    let expected = [after_cluster(), vec![("cluster.reached", "blocked")]].concat();
    assert_eq!(lines(&outcome.stderr()), but(&expected), "{outcome}");
}

#[test]
fn f1_the_cluster_is_not_reached() {
    let rig = Rig::new();
    let file = rig.migration.folder().join("config");
    let mut config = rig.migration.site.kubeconfig();
    config.server = format!("https://{}", nobody());
    config.write(&file).unwrap();
    is_blocked(&rig, &rig.run_with(&[("--kubeconfig", file.to_str())]), "cluster.reached", &after_cluster(), "connection");
}

#[test]
fn f1_the_cluster_does_not_know_the_user() {
    let rig = Rig::new();
    let token = rig.migration.site.cluster.token();
    rig.migration.site.cluster.revoke_token(&token);
    is_blocked(&rig, &rig.run(), "cluster.reached", &after_cluster(), "does not accept the credentials");
}

#[test]
fn f1_the_secret_may_not_be_deleted() {
    let rig = Rig::new();
    rig.migration.site.cluster.set_access(Access::AllBut(vec![Rule::new("delete", "secrets")]));
    is_blocked(&rig, &rig.run(), "cluster.secret-access", &[], "scar-secret-rm may not delete secrets");
}

/// Only the way back would make one; and what is not there need not be deleted.
#[test]
fn f1_a_right_that_the_run_does_not_use_blocks_nothing() {
    let rig = Rig::new();
    let cluster = &rig.migration.site.cluster;
    cluster.set_access(Access::AllBut(vec![Rule::new("create", "secrets"), Rule::new("delete", "secrets")]));
    cluster.remove("secrets", NAMESPACE, "spectro-manifest-registry-secrets");
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.undo-access", "warning")]), "{outcome}");
    says(&outcome, "only the way back needs it");
}

/// specman-verify needs a port-forward, unless it goes another way or nowhere.
#[test]
fn f1_no_port_may_be_forwarded() {
    for verb in ["get", "create"] {
        let rig = Rig::new();
        rig.migration.site.cluster.set_access(Access::AllBut(vec![Rule::new(verb, "pods/portforward")]));
        is_blocked(&rig, &rig.run(), "cluster.verify-access", &[], "--specman-url URL");
        let outcome = rig.run_with(&[("--specman-url", Some("https://specman.example:8443"))]);
        assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.verify-access", "skipped")]), "{outcome}");
        let outcome = rig.call(&[]).arg("--unverified").run();
        assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.verify-access", "skipped")]), "{outcome}");
    }
}

#[test]
fn f1_the_secret_may_not_be_read() {
    let rig = Rig::new();
    rig.migration.site.cluster.set_access(Access::AllBut(vec![Rule::new("get", "secrets")]));
    is_blocked(&rig, &rig.run(), "cluster.secret-access", &skipped(&["cluster.secret"]), "may not get secrets");
}

#[test]
fn f1_specmans_log_may_not_be_read() {
    let rig = Rig::new();
    rig.migration.site.cluster.set_access(Access::AllBut(vec![Rule::new("get", "pods/log")]));
    is_blocked(&rig, &rig.run(), "cluster.wait-access", &[], "specman-wait may not get pods/log");
}

#[test]
fn f1_specmans_set_may_not_be_read() {
    let rig = Rig::new();
    rig.migration.site.cluster.set_access(Access::AllBut(vec![Rule::new("get", "statefulsets")]));
    let others = skipped(&["cluster.specman", "cluster.pods", "cluster.claim", "cluster.storage", "content.claim"]);
    let others = [others, skipped(&["cluster.verify-access"])].concat();
    let outcome = rig.run_with(&[("--specman-url", Some("https://specman.example:8443"))]);
    is_blocked(&rig, &outcome, "cluster.wait-access", &others, "may not get statefulsets");
}

#[test]
fn f1_there_is_no_namespace() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--namespace", Some("elsewhere"))]);
    outcome.exits(3).writes_nothing();
    says(&outcome, "'hubble-system'");
    let expected = [
        skipped(&["cluster.pods", "cluster.claim", "cluster.storage", "content.claim"]),
        ["cluster.namespace", "cluster.specman", "cluster.service"].map(|name| (name, "blocked")).to_vec(),
    ];
    assert_eq!(lines(&outcome.stderr()), but(&expected.concat()), "{outcome}");
}

#[test]
fn f1_there_is_no_specman() {
    let rig = Rig::new();
    rig.migration.site.cluster.remove("statefulsets", NAMESPACE, "specman");
    let others = skipped(&["cluster.pods", "cluster.claim", "cluster.storage", "content.claim"]);
    is_blocked(&rig, &rig.run(), "cluster.specman", &others, "is Specman deployed?");
}

#[test]
fn q74_specman_is_scaled_to_nothing_and_its_claim_is_looked_at() {
    let rig = Rig::new();
    rig.migration.site.cluster.edit("statefulsets", NAMESPACE, "specman", |set| set["spec"]["replicas"] = json!(0));
    let outcome = rig.run();
    is_blocked(&rig, &outcome, "cluster.specman", &skipped(&["cluster.pods"]), "scaled to no replica");
    says(&outcome, "data-specman-0 is bound");
}

#[test]
fn f1_specmans_pod_does_not_run() {
    for state in [PodState::CrashLoopBackOff, PodState::ImagePullBackOff, PodState::Evicted] {
        let rig = Rig::new();
        rig.migration.site.cluster.set_pod("specman-0", state);
        is_blocked(&rig, &rig.run(), "cluster.pods", &[], "specman-0 does not run");
    }
    let rig = Rig::new();
    rig.migration.site.cluster.set_pod("specman-0", PodState::NotReady);
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.pods", "warning")]), "{outcome}");
}

#[test]
fn f1_there_is_no_service() {
    let rig = Rig::new();
    rig.migration.site.cluster.remove("services", NAMESPACE, "specman-service");
    is_blocked(&rig, &rig.run(), "cluster.service", &[], "SCAR would lead nowhere");
}

#[test]
fn f1_the_service_has_another_port() {
    let rig = Rig::new();
    let other = |service: &mut Value| service["spec"]["ports"][0]["port"] = json!(443);
    rig.migration.site.cluster.edit("services", NAMESPACE, "specman-service", other);
    is_blocked(&rig, &rig.run(), "cluster.service", &[], "has the ports 443, not 8443: SCAR would lead nowhere");
}

/// Specman's own container is not known: specman-wait would not know either.
#[test]
fn f1_nothing_says_which_container_is_specmans() {
    let rig = Rig::new();
    rig.migration.site.cluster.add_statefulset("specman", 1, &["proxy", "serve"]);
    is_blocked(&rig, &rig.run(), "cluster.pods", &[], "--container NAME says which is Specman");
    let outcome = rig.run_with(&[("--container", Some("serve"))]);
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
}

#[test]
fn f1_the_claim_is_not_bound() {
    let rig = Rig::new();
    let loose = |claim: &mut Value| claim["status"] = json!({"phase": "Pending"});
    rig.migration.site.cluster.edit("persistentvolumeclaims", NAMESPACE, "data-specman-0", loose);
    is_blocked(&rig, &rig.run(), "cluster.claim", &skipped(&["content.claim"]), "is Pending");
}

/// Before Specman has started for the first time.
#[test]
fn f1_nothing_makes_a_claim() {
    for (plural, name, part) in
        [("storageclasses", "standard", "no default storage class"), ("csidrivers", "csi.lab.example", "no CSI driver")]
    {
        let rig = Rig::new();
        let cluster = &rig.migration.site.cluster;
        cluster.remove("persistentvolumeclaims", NAMESPACE, "data-specman-0");
        let unmade = [vec![("cluster.claim", "warning")], skipped(&["content.claim"])].concat();
        let outcome = rig.run();
        assert_eq!(lines(&outcome.succeeds().stderr()), but(&unmade), "{outcome}");
        says(&outcome, "is not known");
        cluster.remove(plural, "", name);
        is_blocked(&rig, &rig.run(), "cluster.storage", &unmade, part);
    }
    // A claim that is bound needs neither.
    let rig = Rig::new();
    rig.migration.site.cluster.remove("storageclasses", "", "standard");
    assert_eq!(lines(&rig.run().succeeds().stderr()), but(&[]));
}

/// Some CSI driver is not the driver of this class.
#[test]
fn q74_the_provisioner_of_the_class_is_compared_with_the_drivers() {
    for (provisioner, result) in [("kubernetes.io/no-provisioner", "blocked"), ("rancher.io/local-path", "warning")] {
        let rig = Rig::new();
        let cluster = &rig.migration.site.cluster;
        cluster.remove("persistentvolumeclaims", NAMESPACE, "data-specman-0");
        cluster.edit("storageclasses", "", "standard", |class| class["provisioner"] = json!(provisioner));
        let expected = [vec![("cluster.claim", "warning"), ("cluster.storage", result)], skipped(&["content.claim"])].concat();
        let outcome = rig.run();
        assert_eq!(lines(&outcome.stderr()), but(&expected), "{outcome}");
        says(&outcome, provisioner);
    }
}

#[test]
fn f1_the_secret_is_held() {
    let rig = Rig::new();
    let held = |secret: &mut Value| secret["metadata"]["finalizers"] = json!(["held.example/x"]);
    rig.migration.site.cluster.edit("secrets", NAMESPACE, "spectro-manifest-registry-secrets", held);
    is_blocked(&rig, &rig.run(), "cluster.secret", &[], "held.example/x");
}

/// The admin's role is what the guide assumes; a site may give less, and that alone is no obstacle.
#[test]
fn what_the_tools_can_do_without_is_a_warning() {
    let rig = Rig::new();
    rig.migration.site.cluster.set_access(Access::Only(vec![
        Rule::new("*", "secrets").within("hubble-system").named("spectro-manifest-registry-secrets"),
        Rule::new("create", "secrets").within("hubble-system"),
        Rule::new("get", "statefulsets").within("hubble-system").named("specman"),
        Rule::new("get", "pods").within("hubble-system").named("specman-0"),
        Rule::new("get", "pods/log").within("hubble-system").named("specman-0"),
    ]));
    let outcome = rig.run_with(&[("--specman-url", Some("https://specman.example:8443"))]);
    let expected = but(&[
        ("cluster.namespace", "skipped"),
        ("cluster.verify-access", "skipped"),
        ("cluster.restart-access", "warning"),
        ("cluster.service", "warning"),
        ("cluster.claim", "warning"),
        ("cluster.storage", "warning"),
        ("content.claim", "skipped"),
    ]);
    assert_eq!(lines(&outcome.succeeds().stderr()), expected, "{outcome}");
    says(&outcome, "specman-verify goes to 'https://specman.example:8443' instead");
}

/// A create has no name when RBAC decides (Kubernetes documentation, "Using RBAC Authorization", "Referring to resources"), so
/// that a role for this one secret does not let `--undo` restore it.
#[test]
fn q55_a_create_that_is_allowed_by_name_alone_is_not_allowed() {
    let rig = Rig::new();
    let named = Access::AllBut(vec![Rule::new("create", "secrets").named("")]);
    rig.migration.site.cluster.set_access(named);
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.undo-access", "warning")]), "{outcome}");
    says(&outcome, "scar-secret-rm --undo may not create secrets");
}

/// A gateway's page says nothing about permissions.
#[test]
fn q54_a_403_of_something_before_the_api_server_is_no_missing_permission() {
    for (path, name) in [
        ("/version", "cluster.reached"),
        ("/api/v1/namespaces/hubble-system", "cluster.namespace"),
        ("/apis/apps/v1/namespaces/hubble-system/statefulsets/specman", "cluster.specman"),
        ("/api/v1/namespaces/hubble-system/pods/specman-0", "cluster.pods"),
        ("/api/v1/namespaces/hubble-system/services/specman-service", "cluster.service"),
        ("/api/v1/namespaces/hubble-system/secrets/spectro-manifest-registry-secrets", "cluster.secret"),
    ] {
        let rig = Rig::new();
        let page = Answer::status(403).body("<html><title>Blocked by the gateway</title></html>");
        rig.migration.site.kube_server.faults().on(Match::get(path), Times::Always, Action::Answer(page));
        let outcome = rig.run();
        assert_eq!(lines(&outcome.stderr())[name], "blocked", "{path}: {outcome}");
        says(&outcome, "403 Forbidden: an HTML page titled 'Blocked by the gateway'");
    }
}

#[test]
fn a_cluster_that_answers_no_review_is_a_warning() {
    for status in [403, 404, 405] {
        let rig = Rig::new();
        let faults = rig.migration.site.kube_server.faults();
        let answer = Answer::json(
            status,
            &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no reviews here", "code": status}),
        );
        faults.on(Match::any("/apis/authorization.k8s.io/**"), Times::Always, Action::Answer(answer));
        let outcome = rig.run();
        let access = ["secret", "wait", "verify", "restart", "undo"].map(|what| format!("cluster.{what}-access"));
        let expected: Vec<_> = access.iter().map(|name| (name.as_str(), "warning")).collect();
        assert_eq!(lines(&outcome.succeeds().stderr()), but(&expected), "{outcome}");
        says(&outcome, "kubectl auth can-i");
    }
}

#[test]
fn an_old_cluster_does_not_say_who_asks() {
    let rig = Rig::new();
    let answer = Answer::json(
        404,
        &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "the server could not find the requested resource", "reason": "NotFound", "code": 404}),
    );
    rig.migration.site.kube_server.faults().on(
        Match::any("/apis/authentication.k8s.io/**"),
        Times::Always,
        Action::Answer(answer),
    );
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.identity", "skipped")]), "{outcome}");
}

#[test]
fn after_the_flag_the_secret_of_the_platform_must_stay() {
    let rig = Rig::new();
    let mut record: Value = rig.migration.steps_before("specman-wait", &new_record());
    record.as_object_mut().unwrap().remove("session");
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.secret", "warning")]), "{outcome}");
    says(&outcome, "it must stay: scar-secret-rm leaves it, given this record");
    says(&outcome, "set already: Specman fetches");
    says(&outcome, "0.0.0");
}
