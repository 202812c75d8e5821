//! What is deleted, what stays, and how a failing cluster is handled.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use scar_kit::Signal;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_suites::KubeSite;
use serde_json::json;

use crate::{BACKUP, NAME, NAMESPACE, PATH, is_there, requests, seed, site, tool, uid};

#[test]
fn deletes_what_it_read_and_looks_again() {
    let site = site();
    let uid = uid(&site);
    let outcome = tool(&site).run();
    let what = "secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system'";
    outcome.succeeds().reports(&format!("scar-secret-rm: deleted {what}; its backup is '{BACKUP}'\n"));
    let expected = json!({"namespace": NAMESPACE, "name": NAME, "found": true, "deleted": true, "uid": uid, "backup": BACKUP});
    assert_eq!(outcome.json(), json!({"record": "scar-tools/1", "secret": expected}));
    assert!(!is_there(&site));
    assert_eq!(requests(&site), ["GET SECRET -> 200", "DELETE SECRET? -> 200", "GET SECRET -> 404"]);
    let delete = &site.server.log().matching(&Match::delete(PATH))[0];
    assert_eq!(delete.json()["preconditions"]["uid"], uid);
    assert!(delete.json()["preconditions"]["resourceVersion"].is_string());
}

#[test]
fn s2_an_absent_secret_is_a_success_each_time_and_a_failure_with_must_exist() {
    let site = KubeSite::new(0);
    for _ in 0..2 {
        let outcome = tool(&site).run();
        outcome.succeeds();
        outcome.says("secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system' is absent: nothing to delete\n");
        assert_eq!(outcome.json()["secret"], json!({"namespace": NAMESPACE, "name": NAME, "found": false, "deleted": false}));
    }
    tool(&site).arg("--must-exist").run().fails(
        3,
        "scar-secret-rm: error: delete secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system': it does not exist\n",
    );
}

#[test]
fn a_namespace_that_does_not_exist_is_a_failure() {
    let site = KubeSite::new(0);
    tool(&site).args(["-n", "hubble"]).run().fails(
        2,
        "scar-secret-rm: error: look for namespace 'hubble': context 'lab' of 'FOLDER/kubeconfig' has no such namespace\n\
         scar-secret-rm: hint: is this the right cluster? there is 'default', 'hubble-system', 'kube-system'\n",
    );
}

#[test]
fn a_404_of_something_on_the_way_is_a_failure() {
    let site = site();
    for answer in [Answer::html(404, "<html><title>Not here</title>"), Answer::status(404).body("404 page not found")] {
        site.server.faults().on(Match::get(PATH), Times::First(1), Action::Answer(answer));
        tool(&site)
            .run()
            .exits(3)
            .writes_nothing()
            .says("hint: is the server of context 'lab' of 'FOLDER/kubeconfig' a Kubernetes API server?");
    }
    assert!(is_there(&site));
}

#[test]
fn s4_a_secret_that_was_replaced_after_it_was_read_stays() {
    let site = site();
    let before = uid(&site);
    // The answer to the read is delayed until the secret was replaced.
    let hold = site.server.faults().on(Match::delete(PATH), Times::First(1), Action::Delay(Duration::from_millis(1500)));
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.iter().any(|r| r.method == "DELETE")));
    let after = seed(&site);
    let outcome = running.wait();
    assert_eq!(hold.hits(), 1);
    outcome.fails(
        7,
        &format!(
            "scar-secret-rm: error: delete secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system': it was replaced \
             after it was read (uid {before} is now {after}); the new one was not touched\n\
             scar-secret-rm: hint: find out who created it; run this step again only if the new one may be deleted as well\n"
        ),
    );
    assert_eq!(uid(&site), after);
}

#[test]
fn s4_a_secret_that_was_changed_after_it_was_read_stays() {
    let site = site();
    site.server.faults().on(Match::delete(PATH), Times::First(1), Action::Delay(Duration::from_millis(1500)));
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.iter().any(|r| r.method == "DELETE")));
    assert!(site.cluster.edit("secrets", NAMESPACE, NAME, |secret| secret["metadata"]["labels"] = json!({"changed": "1"})));
    running.wait().exits(7).writes_nothing().says("it was changed after it was read (resource version ");
    assert!(is_there(&site));
}

#[test]
fn s5_after_a_lost_reply_the_secret_is_read_again() {
    let site = site();
    let lost = site.server.faults().on(Match::delete(PATH), Times::First(1), Action::LoseReply);
    let outcome = tool(&site).run();
    assert_eq!(outcome.succeeds().json()["secret"]["deleted"], true);
    assert_eq!(lost.hits(), 1);
    assert_eq!(site.server.log().count(&Match::delete(PATH)), 1);
}

#[test]
fn s5_a_lost_reply_after_which_the_platform_recreated_it_is_a_success() {
    let site = site();
    site.server.faults().on(Match::delete(PATH), Times::First(1), Action::LoseReply);
    let hold = site.server.faults().on(Match::get(PATH), Times::Nth(2), Action::Delay(Duration::from_millis(1500)));
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.iter().filter(|r| r.method == "GET").count() == 2));
    let after = seed(&site);
    assert_eq!(running.wait().succeeds().json()["secret"]["deleted"], true);
    assert_eq!((hold.hits(), uid(&site)), (1, after));
}

#[test]
fn s6_finalizers_are_waited_for() {
    let site = site();
    site.cluster.edit("secrets", NAMESPACE, NAME, |secret| {
        secret["metadata"]["finalizers"] = json!(["keep.example/a", "keep.example/b"])
    });
    let outcome = tool(&site).args(["--timeout", "1s"]).run();
    // The delete itself was accepted, and the message says both.
    outcome.exits(8).writes_nothing().says("\n  the API server accepted the delete of uid ");
    outcome.says(
        "scar-secret-rm: error: delete secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system': its deletion waits \
         for the finalizers keep.example/a, keep.example/b\n",
    );
    outcome.says(
        "scar-secret-rm: hint: the controller that set them must remove them; then run this step again, or use a longer --timeout\n",
    );
    // A second run finds the deletion pending, and waits.
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.iter().filter(|r| r.method == "GET").count() > 6));
    assert!(site.cluster.edit("secrets", NAMESPACE, NAME, |secret| secret["metadata"]["finalizers"] = json!([])));
    let outcome = running.wait();
    assert_eq!(outcome.succeeds().json()["secret"]["found"], true);
    assert_eq!(site.server.log().count(&Match::delete(PATH)), 1);
    assert!(!is_there(&site));
}

#[test]
fn s7_transient_errors_are_retried_until_our_deadline() {
    for action in [
        Action::Answer(Answer::status(503)),
        Action::Answer(Answer::status(504)),
        Action::Answer(Answer::status(429).header("retry-after", "1")),
        Action::Reset,
        Action::CutReply(10),
    ] {
        let site = site();
        let read = site.server.faults().on(Match::get(PATH), Times::First(2), action.clone());
        let delete = site.server.faults().on(Match::delete(PATH), Times::First(2), action);
        let outcome = tool(&site).run();
        outcome.succeeds();
        assert_eq!(read.hits(), 2);
        assert!(delete.hits() >= 1, "{outcome}");
        assert!(!is_there(&site));
        assert!(outcome.took() < Duration::from_secs(15), "{outcome}");
    }
}

#[test]
fn s7_after_the_delete_a_cluster_that_restarts_is_waited_for() {
    let site = site();
    // One more than the tries of a single read.
    for number in 2..8 {
        site.server.faults().on(Match::get(PATH), Times::Nth(number), Action::Answer(Answer::status(503)));
    }
    tool(&site).run().succeeds();
    assert!(!is_there(&site));
    assert_eq!(site.server.log().count(&Match::delete(PATH)), 1);
}

#[test]
fn s7_retry_after_does_not_outlast_the_deadline() {
    let site = site();
    let answer = Answer::status(503).header("retry-after", "99999");
    site.server.faults().on(Match::any("/**"), Times::Always, Action::Answer(answer));
    let begun = Instant::now();
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome.exits(6).writes_nothing().says("503 Service Unavailable").says("it is safe to run this step again");
    assert!(begun.elapsed() < Duration::from_secs(8), "{outcome}");
    assert!(is_there(&site));
}

#[test]
fn a_server_that_never_answers_ends_with_the_deadline() {
    let site = site();
    site.server.faults().on(Match::any("/**"), Times::Always, Action::Stall);
    let outcome = tool(&site).args(["--timeout", "2s"]).run();
    outcome.exits(8).writes_nothing();
    assert!(outcome.took() < Duration::from_secs(7), "{outcome}");
}

#[test]
fn s8_another_name_needs_yes() {
    let site = site();
    tool(&site).arg("other").run().fails(
        2,
        "scar-secret-rm: error: delete secret 'other': the migration deletes only 'spectro-manifest-registry-secrets'\n\
         scar-secret-rm: hint: to delete this one anyway, add --yes\n",
    );
    assert_eq!(site.server.log().connections(), 0);
    site.cluster.put_secret(NAMESPACE, "other", BTreeMap::new());
    tool(&site).args(["other", "--yes"]).run().succeeds();
    assert!(site.cluster.object("secrets", NAMESPACE, "other").is_none() && is_there(&site));
}

#[test]
fn a_name_that_no_secret_can_have_is_refused() {
    let site = site();
    let outcome = tool(&site).args(["My_Secret", "--yes"]).run();
    outcome
        .exits(2)
        .writes_nothing()
        .says("'M' at 1 in 'My_Secret' is not allowed; a name has lower-case letters, digits, '-' and '.'");
    assert_eq!(site.server.log().connections(), 0);
}

#[test]
fn a_dry_run_reads_and_prints_the_plan() {
    let site = site();
    let uid = uid(&site);
    let outcome = tool(&site).args(["--dry-run", "--backup", "b.json"]).run();
    assert_eq!(outcome.succeeds().json(), json!({"record": "scar-tools/1", "dry_run": true}));
    outcome.says("would save secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system' in 'FOLDER/b.json'\n");
    outcome
        .says(&format!("would delete secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system' (uid {uid}, made "));
    assert!(is_there(&site) && !site.folder().join("b.json").exists());
    assert!(site.server.log().requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn an_interrupt_ends_it_with_130() {
    let site = site();
    site.server.faults().on(Match::get(PATH), Times::Always, Action::Stall);
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| !all.is_empty()));
    running.signal(Signal::INT);
    running.wait().fails(130, "scar-secret-rm: error: interrupted\n");
    assert!(is_there(&site));
}

/// A request that the API server postponed did not happen: the new secret is not ours.
#[test]
fn s7_a_delete_that_was_put_off_is_not_taken_for_one_that_was_done() {
    let site = site();
    let answer = Answer::status(429).header("retry-after", "2").body("Too many requests, please try again later.\n");
    let put_off = site.server.faults().on(Match::delete(PATH), Times::First(1), Action::Answer(answer));
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.iter().any(|r| r.method == "DELETE")));
    let after = seed(&site);
    running.wait().exits(7).writes_nothing().says("it was replaced after it was read");
    assert_eq!((put_off.hits(), uid(&site)), (1, after));
}

/// A webhook that denies the delete or times out keeps the secret: the message names it, not the check that had no time
/// left.
#[test]
fn q54_the_last_message_says_what_blocked_the_delete() {
    let site = site();
    let words = "Internal error occurred: failed calling webhook \"keep.policy.example\": context deadline exceeded";
    let status = json!({"kind": "Status", "status": "Failure", "reason": "InternalError", "message": words, "code": 500});
    site.server.faults().on(Match::delete(PATH), Times::Always, Action::Answer(Answer::json(500, &status)));
    site.server.faults().on(Match::get(PATH), Times::Nth(2), Action::Delay(Duration::from_secs(5)));
    let outcome = tool(&site).args(["--timeout", "2s"]).run();
    outcome.exits(6).writes_nothing().says("failed calling webhook \"keep.policy.example\"").never_says("no answer within");
    assert!(is_there(&site));
}
