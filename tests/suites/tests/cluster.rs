//! The cluster, across tools: kubelets that refuse the API server, and the permissions that the whole migration needs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use scar_kit::{Outcome, tool};
use scar_lab::PodLog as _;
use scar_lab::kube::{Access, Kubelet, Rule};
use scar_lab::log::Request;
use scar_lab::site::{SECRET, SiteOptions};
use scar_suites::{KubeSite, Migration, new_record};
use serde_json::Value;

const REFUSALS: [(Kubelet, u16, &str); 4] = [
    (Kubelet::NoLogin, 401, "from the node's kubelet: "),
    (Kubelet::Forbidden, 403, "from the node's kubelet: Forbidden (user=kube-apiserver-kubelet-client, verb="),
    (Kubelet::BadGateway, 502, "bad gateway"),
    (Kubelet::Down, 500, "dial tcp 192.0.2.10:10250: connect: connection refused"),
];

#[test]
fn q54_a_wait_outlasts_a_kubelet_that_refuses_the_api_server_for_a_while() {
    for (kubelet, status, _) in REFUSALS {
        let site = KubeSite::new(1);
        site.cluster.line("specman-0", "time=\"2024-12-06T12:43:14Z\" level=info msg=\"Persisting 0.0.0\"");
        site.cluster.set_kubelet(kubelet);
        let running = site.tool("specman-wait").args(["--timeout", "60s"]).record(&new_record()).start();
        let refused = |all: &[Request]| all.iter().filter(|request| request.status.is_some_and(|s| s.as_u16() == status)).count();
        assert!(site.server.log().wait(Duration::from_secs(20), |all| refused(all) > 1));
        site.cluster.set_kubelet(Kubelet::Well);
        running.wait().succeeds();
    }
}

#[test]
fn q54_at_the_deadline_the_kubelet_is_named() {
    for (kubelet, _, says) in REFUSALS {
        let site = KubeSite::new(1);
        site.cluster.set_kubelet(kubelet);
        let outcome = site.tool("specman-wait").args(["--timeout", "2s"]).record(&new_record()).run();
        outcome.writes_nothing().says(says).never_says("log in again").never_says("Role in");
        assert_ne!(outcome.status(), 0);
    }
}

/// The permission in a hint, and its namespace.
fn rules(table: &str) -> Vec<Rule> {
    let flat = table.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rules = Vec::new();
    for part in flat.split("a Role in '").skip(1) {
        let namespace = part.split('\'').next().unwrap();
        for rule in part.split("{apiGroups: ").skip(1) {
            let list = |field: &str| -> Option<Vec<String>> {
                let from = rule.split_once(&format!("{field}: "))?.1;
                Some(serde_json::from_str(&from[..=from.find(']')?]).unwrap())
            };
            let (resources, verbs) = (list("resources").unwrap(), list("verbs").unwrap());
            let names = list("resourceNames").unwrap_or_else(|| vec!["*".to_owned()]);
            for (resource, verb, name) in resources.iter().flat_map(|resource| {
                verbs.iter().flat_map(|verb| names.iter().map(|name| (resource.clone(), verb.clone(), name.clone())))
            }) {
                rules.push(Rule::new(&verb, &resource).within(namespace).named(&name));
            }
        }
    }
    rules
}

/// The whole migration and its undo run with exactly the permissions that the hints print.
#[test]
fn q55_the_rules_that_preflight_prints_are_all_that_the_migration_needs() {
    // The set cannot be read at first, so that the number of its pods is not known.
    let migration = Migration::on(SiteOptions { replicas: 3, ..SiteOptions::default() });
    let cluster = &migration.site.cluster;
    let preflight = || -> Outcome { migration.tool("scar-preflight").record(&new_record()).run() };
    cluster.set_access(Access::Only(vec![]));
    let blind = preflight();
    blind.exits(3);
    let rules = rules(&blind.stderr());
    assert!(rules.iter().all(|rule| rule.namespace == "hubble-system" && rule.verb != "*"), "{rules:?}");
    cluster.set_access(Access::Only(rules));
    let seeing = preflight();
    let seeing = seeing.succeeds().json();
    let checks = seeing["preflight"]["checks"].as_array().unwrap();
    let access: Vec<_> = checks.iter().filter(|check| check["name"].as_str().unwrap().ends_with("-access")).collect();
    assert!(access.len() == 5 && access.iter().all(|check| check["result"] == "ok"), "{access:?}");
    let backup = migration.folder().join("secret.json");
    let removed = migration.tool("scar-secret-rm").arg("--backup").arg(&backup).record(&new_record()).run();
    let record = removed.succeeds().json();
    assert_eq!(record["secret"]["deleted"], true);
    let all = ["mkmanifests", "ocipush", "vertex-login", "pack-registry-set", "specman-wait", "specman-verify", "scar-set"];
    let record: Value = all.iter().fold(record, |record, step| migration.tool(step).record(&record).run().succeeds().json());
    assert!(record["verified"].is_object());
    // The lab's Specman has nothing new to persist after a restart; only the restart counts here.
    let restart = tool("specman-wait").args(["--restart", "--timeout", "1s"]).env("KUBECONFIG", migration.setting("KUBECONFIG"));
    restart.record(&new_record()).run().exits(8);
    let restarts =
        migration.site.requests().into_iter().filter(|line| line.starts_with("kube PATCH ") && line.ends_with(" -> 200"));
    assert_eq!(restarts.count(), 1);
    cluster.remove("secrets", "hubble-system", SECRET);
    migration.tool("scar-secret-rm").arg("--undo").arg(&backup).record(&new_record()).run().succeeds();
    assert!(cluster.object("secrets", "hubble-system", SECRET).is_some());
}
