//! Credentials, permissions, a silent cluster and an interrupt.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use scar_kit::Signal;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::kube::{Access, Cut, Login, Rule};
use scar_suites::KubeSite;

use crate::{SOON, done, following, persist, tool};

#[test]
fn w13_a_token_that_ends_during_the_wait_is_renewed() {
    let site = KubeSite::new(1);
    site.cluster.add_token("token-the-first", "kubernetes-admin");
    let (script, token) = (site.folder().join("plugin"), site.folder().join("token"));
    std::fs::write(&token, "token-the-first").unwrap();
    let text = format!(
        "#!/bin/sh\nprintf '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"%s\"}}}}' \"$(cat {})\"\n",
        token.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let logins = [Login::Exec { command: script.display().to_string(), arguments: vec![] }, Login::TokenFile(token.clone())];
    for (login, next) in logins.into_iter().zip(["token-the-second", "token-the-third"]) {
        site.configure(|config| config.login = login);
        let run = tool(&site).secret("token-the-first").secret("token-the-second").secret("token-the-third").arg("-vv");
        let running = following(&site, run, "specman-0");
        let old = std::fs::read_to_string(&token).unwrap();
        site.cluster.add_token(next, "kubernetes-admin");
        std::fs::write(&token, next).unwrap();
        site.cluster.revoke_token(&old);
        site.cluster.cut_streams("specman-0", Cut::End);
        assert!(site.cluster.wait_for_streams("specman-0", 0, SOON) && site.cluster.wait_for_streams("specman-0", 1, SOON));
        persist(&site, "specman-0");
        done(&running.wait(), &["specman-0"]);
        site.cluster.replace_pod("specman-0");
    }
}

#[test]
fn w13_credentials_that_are_no_longer_accepted_end_the_wait() {
    let site = KubeSite::new(1);
    let running = following(&site, tool(&site), "specman-0");
    site.cluster.revoke_token(&site.cluster.token());
    running.wait().exits(4).writes_nothing().says("the cluster does not accept the credentials of context 'lab'");
}

#[test]
fn w14_an_interrupt_ends_the_wait_with_130() {
    let site = KubeSite::new(1);
    for (signal, status, word) in [(Signal::INT, 130, "interrupted"), (Signal::TERM, 143, "terminated")] {
        let running = following(&site, tool(&site), "specman-0");
        running.signal(signal);
        running.wait().fails(status, &format!("specman-wait: error: {word}\n"));
        assert!(site.cluster.wait_for_streams("specman-0", 0, SOON));
    }
}

#[test]
fn w14_a_cluster_that_falls_silent_is_unreachable_at_the_deadline() {
    let site = KubeSite::new(1);
    site.server.faults().on(Match::get("/apis/**"), Times::Always, Action::Answer(Answer::status(503)));
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome.exits(6).writes_nothing().says("503 Service Unavailable");
    assert!(outcome.took() < Duration::from_secs(8));
}

#[test]
fn get_on_the_set_its_pods_and_their_logs_is_enough() {
    let site = KubeSite::new(1);
    persist(&site, "specman-0");
    let rules = ["statefulsets", "pods", "pods/log"].map(|resource| Rule::new("get", resource).within("hubble-system"));
    site.cluster.set_access(Access::Only(rules.to_vec()));
    done(&tool(&site).run(), &["specman-0"]);
    site.cluster.set_access(Access::Only(rules[..2].to_vec()));
    let outcome = tool(&site).run();
    outcome
        .exits(4)
        .writes_nothing()
        .says("read the log of pod 'specman-0': no permission to get pods/log 'specman-0' in namespace");
    outcome.says("resources: [\"pods/log\"], resourceNames: [\"specman-0\"], verbs: [\"get\"]}");
}
