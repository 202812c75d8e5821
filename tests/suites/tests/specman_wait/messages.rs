//! The log lines: their meaning, their time, and what is printed about them.

use jiff::Timestamp;
use scar_lab::PodLog as _;
use scar_suites::KubeSite;
use serde_json::json;

use crate::{SOON, ago, done, error, following, info, info_at, persist, pushed, tool};

#[test]
fn waits_until_every_replica_has_logged_the_marker() {
    let site = KubeSite::new(2);
    let running = following(&site, tool(&site), "specman-1");
    for line in
        ["Syncing with OCI repo", "tags[4.5.13 4.5.15 0.0.0]", "Downloading 0.0.0", "Persisting 4.5.15", "Persisting 0.0.0"]
    {
        site.cluster.line("specman-0", &info(line));
    }
    site.cluster.line("specman-1", &info("Persisting 0.0.0"));
    let outcome = running.wait();
    done(&outcome, &["specman-0", "specman-1"]);
    assert_eq!(outcome.stderr().lines().count(), 2, "{outcome}");
    for pod in ["specman-0", "specman-1"] {
        outcome.says(&format!("specman-wait: {pod} (container specman) persisted '0.0.0'\n"));
    }
    let record = outcome.json();
    assert!(record["artifact"].is_object(), "what the steps before wrote passes through");
    // Only single objects were read; nothing was listed or watched.
    let requests = site.server.log().requests();
    assert!(requests.iter().all(|request| request.method == "GET" && !request.path.ends_with("/pods")), "{requests:?}");
}

#[test]
fn w10_a_marker_from_before_the_push_does_not_count() {
    let site = KubeSite::new(1);
    let old = ago(600);
    site.cluster.line_at("specman-0", old, &info_at(old, "Persisting 0.0.0"));
    // Written after the push, but with an earlier timestamp.
    site.cluster.line("specman-0", &info_at(old, "Persisting 0.0.0"));
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome.exits(8).writes_nothing();
    outcome.says(&format!("hint: specman-0 persisted '0.0.0' at {old:.0}, which is too early; "));
    outcome.says(&format!("if it was this archive, accept it with --since {old:.0}\n"));
    let since = format!("{old:.0}");
    let outcome = tool(&site).args(["--since", &since]).run();
    assert_eq!(outcome.succeeds().json()["specman"]["pods"], json!(["specman-0"]));
    let outcome = site.tool("specman-wait").arg("--new-record").run();
    outcome.succeeds().says("warning: neither the record nor --since says when the push was: a line of any age counts");
}

#[test]
fn a_record_without_the_push_is_refused_before_anything_is_sent() {
    let site = KubeSite::new(1);
    let mut record = pushed(60);
    record["other"] = json!(1);
    record.as_object_mut().unwrap().remove("artifact");
    site.tool("specman-wait").record(&record).run().fails(
        2,
        "specman-wait: error: read the record: it has no section 'artifact'\n\
         specman-wait: hint: run ocipush before this step, and pass its record on\n",
    );
    assert_eq!(site.server.log().connections(), 0);
}

#[test]
fn q4_without_the_time_of_the_push_a_line_of_any_age_counts() {
    let site = KubeSite::new(1);
    let old = ago(7200);
    site.cluster.line_at("specman-0", old, &info_at(old, "Persisting 0.0.0"));
    let mut record = pushed(60);
    record["artifact"].as_object_mut().unwrap().remove("pushed_at");
    let outcome = site.tool("specman-wait").record(&record).run();
    assert_eq!(outcome.succeeds().json()["specman"]["pods"], json!(["specman-0"]));
    outcome.never_says("warning");
}

#[test]
fn q5_a_registry_whose_clock_is_ahead_is_allowed_for() {
    let site = KubeSite::new(1);
    // The push's clock is three minutes ahead of the cluster's, so later lines seem to be older.
    persist(&site, "specman-0");
    done(&site.tool("specman-wait").record(&pushed(-180)).run(), &["specman-0"]);
    let narrow = site.tool("specman-wait").record(&pushed(-180)).args(["--skew", "2m", "--timeout", "2s"]).run();
    narrow.exits(8).says("which is too early");
    let none = site.tool("specman-wait").record(&pushed(-180)).args(["--skew", "0s", "--timeout", "2s"]).run();
    none.exits(8).says("which is too early");
}

#[test]
fn w11_control_characters_are_escaped() {
    let site = KubeSite::new(1);
    let now = Timestamp::now();
    site.cluster.entry("specman-0", None, now, b"a\x1b[2Jb\xc2\x9bc\rd\x00e\xff\xfe", true);
    let outcome = tool(&site).args(["--timeout", "2s"]).run();
    outcome.exits(8).says("last line ").says("a\\x1b[2Jb\\x9bc\\rd\\x00e");
    assert!(!outcome.stderr().contains('\u{1b}'), "{outcome}");
    site.cluster.entry("specman-0", None, Timestamp::now(), b"level=info msg=\"Persisting 0.0.0\" x=\"\xff\x1b\"", true);
    done(&tool(&site).run(), &["specman-0"]);
}

#[test]
fn specmans_own_error_about_the_tag_ends_the_wait() {
    for (message, status, hint) in [
        ("Error pulling 0.0.0: 401 Unauthorized", 4, "wrong credentials"),
        ("Error pulling 0.0.0: x509: certificate signed by unknown authority", 5, "give the CA in its pack registry entry"),
        ("GET https://harbor.example/v2/x/manifests/0.0.0: MANIFEST_UNKNOWN", 3, "another repository"),
        ("persist 0.0.0: no space left on device", 1, "enlarge Specman's claim"),
    ] {
        let site = KubeSite::new(1);
        let running = following(&site, tool(&site).args(["--patience", "1s"]), "specman-0");
        site.cluster.line_at("specman-0", Timestamp::now(), &error(message));
        let outcome = running.wait();
        outcome.exits(status).writes_nothing().says(hint);
        let says = format!("pod specman-0 (container specman) says: {message}\n");
        outcome.says(&format!("error: wait for Specman to persist '0.0.0': {says}"));
    }
    // Another tag's error, or one that passes by itself, does not end the wait.
    let site = KubeSite::new(1);
    let running = following(&site, tool(&site).args(["--patience", "1s"]), "specman-0");
    site.cluster.line("specman-0", &error("Error pulling 4.5.13: 401 Unauthorized"));
    site.cluster.line("specman-0", &error("dial tcp: connection refused"));
    persist(&site, "specman-0");
    done(&running.wait(), &["specman-0"]);
}

#[test]
fn tags_without_ours_are_reported_at_the_deadline() {
    let site = KubeSite::new(1);
    site.cluster.line("specman-0", &info("tags[4.5.13 4.5.15]"));
    let outcome = tool(&site).args(["--timeout", "2s"]).run();
    outcome
        .exits(8)
        .says("hint: the tags that Specman sees do not include '0.0.0': is the flag set on the registry that was pushed to");
}

#[test]
fn a_dry_run_says_what_would_be_waited_for() {
    let site = KubeSite::new(1);
    let outcome = tool(&site).arg("--dry-run").run();
    outcome
        .succeeds()
        .says("would wait until every replica of StatefulSet 'specman' has logged that the tag '0.0.0' is persisted, at ");
    outcome.says("specman-wait: specman-0 (container specman) is Running\n");
    assert_eq!(outcome.json()["dry_run"], true);
    assert_eq!(outcome.json().get("specman"), None);
    let bare = site.tool("specman-wait").record(&json!({"record": "scar-tools/1", "dry_run": true})).run();
    bare.succeeds().says("is persisted\n");
}

#[test]
fn q3_an_error_about_the_tag_revokes_the_marker_until_it_is_logged_again() {
    let site = KubeSite::new(1);
    persist(&site, "specman-0");
    site.cluster.line("specman-0", &error("failed to persist 0.0.0: input/output error"));
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome.exits(8).writes_nothing().says("says: failed to persist 0.0.0: input/output error\n");
    persist(&site, "specman-0");
    done(&tool(&site).run(), &["specman-0"]);
}

#[test]
fn another_set_and_container_are_options() {
    let site = KubeSite::new(0);
    site.cluster.add_statefulset("manifests", 1, &["proxy", "server"]);
    let now = Timestamp::now();
    site.cluster.entry("manifests-0", Some("server"), now, info("Persisting 0.0.0").as_bytes(), true);
    let outcome = tool(&site).args(["--statefulset", "manifests", "--container", "server"]).run();
    assert_eq!(outcome.succeeds().json()["specman"]["pods"], json!(["manifests-0"]));
    tool(&site).args(["--statefulset", "manifests", "--container", "servre"]).run().fails(
        2,
        "specman-wait: error: use --container 'servre': pod 'manifests-0' has no such container\n\
         specman-wait: hint: name it with --container; the pod has 'proxy', 'server'\n",
    );
    tool(&site).args(["--tag", "a b"]).run().exits(2).says("' ' at 2 in 'a b' is not allowed");
    tool(&site).args(["--timeout", "5"]).run().exits(2).says("has no unit");
}

#[test]
fn on_a_terminal_it_shows_what_it_last_saw() {
    let site = KubeSite::new(1);
    let running = following(&site, tool(&site).stderr_terminal().terminal(120), "specman-0");
    site.cluster.line("specman-0", &info("Downloading 0.0.0"));
    assert!(site.server.log().wait(SOON, |all| all.iter().filter(|r| r.path.ends_with("/pods/specman-0")).count() > 1));
    persist(&site, "specman-0");
    let outcome = running.wait();
    done(&outcome, &["specman-0"]);
    let screen = outcome.screen();
    assert!(screen.contains("waiting for Specman") && screen.contains("0 of 1 persisted '0.0.0'"), "{outcome}");
}

#[test]
fn another_marker_can_be_waited_for() {
    let site = KubeSite::new(1);
    persist(&site, "specman-0");
    site.cluster.line("specman-0", &info("stored 0.0.0 on disk"));
    done(&tool(&site).args(["--marker", "stored {tag} on disk"]).run(), &["specman-0"]);
    tool(&site).args(["--marker", "stored {tag} on", "--timeout", "2s"]).run().exits(8);
    tool(&site).args(["--marker", "kept {tag}", "--timeout", "2s"]).run().exits(8);
    tool(&site).args(["--marker", "Persisting"]).run().exits(2).says("must contain {tag} once");
}
