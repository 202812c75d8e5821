//! specman-wait against the lab's cluster: it succeeds on the marker after the push, said by every replica, and on
//! nothing else, whatever happens to streams, containers and pods meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use scar_kit::{Outcome, Run, Running, Signal};
use scar_lab::PodLog as _;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::kube::{Access, Cut, Login, PodState, Rule};
use scar_suites::KubeSite;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

fn ago(seconds: i64) -> Timestamp {
    Timestamp::now().checked_sub(SignedDuration::from_secs(seconds)).unwrap()
}

/// The record of a push so many seconds ago.
fn pushed(seconds: i64) -> Value {
    let digest = format!("sha256:{}", "0".repeat(64));
    let at = format!("{:.0}", ago(seconds));
    json!({"record": "scar-tools/1", "artifact": {
        "reference": "harbor.example/spectro-packs/spectro-manifests/manifest:0.0.0", "registry": "harbor.example",
        "repository": "spectro-packs/spectro-manifests/manifest", "tag": "0.0.0", "digest": digest, "layer": digest,
        "size": 7, "created": at, "pushed_at": at, "uploaded": true
    }})
}

/// specman-wait after a push a minute ago.
fn tool(site: &KubeSite) -> Run {
    site.tool("specman-wait").record(&pushed(60))
}

fn info(message: &str) -> String {
    info_at(Timestamp::now(), message)
}

fn info_at(time: Timestamp, message: &str) -> String {
    format!("time=\"{time:.0}\" level=info msg=\"{message}\"")
}

fn error(message: &str) -> String {
    format!("time=\"{:.0}\" level=error msg=\"{message}\"", Timestamp::now())
}

fn persist(site: &KubeSite, pod: &str) {
    site.cluster.line(pod, &info("Persisting 0.0.0"));
}

/// Starts it and waits until it follows a pod.
#[track_caller]
fn following(site: &KubeSite, run: Run, pod: &str) -> Running {
    let running = run.start();
    assert!(site.cluster.wait_for_streams(pod, 1, SOON), "no stream of {pod}");
    running
}

#[track_caller]
fn done(outcome: &Outcome, pods: &[&str]) {
    let record = outcome.succeeds().json();
    assert_eq!(record["specman"]["pods"], json!(pods), "{outcome}");
    assert_eq!((&record["specman"]["namespace"], &record["specman"]["tag"]), (&json!("hubble-system"), &json!("0.0.0")));
    let at: Timestamp = record["specman"]["persisted_at"].as_str().unwrap().parse().unwrap();
    assert!(at > ago(60), "{outcome}");
}

#[test]
fn waits_until_every_replica_has_said_it() {
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
    outcome.says("specman-wait: specman-0 persisted '0.0.0'\n").says("specman-wait: specman-1 persisted '0.0.0'\n");
    let record = outcome.json();
    assert!(record["artifact"].is_object(), "what the steps before wrote passes through");
    // Nothing but reading was asked for, and nothing that lists or watches.
    let requests = site.server.log().requests();
    assert!(requests.iter().all(|request| request.method == "GET" && !request.path.ends_with("/pods")), "{requests:?}");
}

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
    // W6: said in the gap, in the same second as the cut.
    persist(&site, "specman-0");
    let outcome = running.wait();
    done(&outcome, &["specman-0"]);
    assert_eq!(outcome.stderr(), "specman-wait: specman-0 persisted '0.0.0'\n", "said once");
}

/// Many lines through cuts, rotations and restarts of two replicas, with near misses among them.
#[test]
fn the_marker_is_found_once_among_many_lines_whatever_happens_to_the_streams() {
    let site = KubeSite::new(2);
    let mut running =
        following(&site, tool(&site).args(["-v", "--timeout", "50s"]).timeout(Duration::from_secs(70)), "specman-0");
    // A fixed sequence that looks like chance.
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
        assert_eq!(outcome.stderr().matches(&format!("{pod} persisted '0.0.0'")).count(), 1, "{outcome}");
    }
}

#[test]
fn w3_a_line_that_was_cut_off_is_not_taken_for_a_whole_one() {
    let site = KubeSite::new(1);
    let mut running = following(&site, tool(&site).args(["--timeout", "6s"]), "specman-0");
    let now = Timestamp::now();
    // What comes after the cut makes it another tag.
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
    assert!(site.server.log().count(&Match::get("/**/log").query("sinceTime=")) >= 2);
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
    // And where the restart comes while the log is followed, and nothing was read since the line.
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
fn w10_a_marker_from_before_the_push_does_not_count() {
    let site = KubeSite::new(1);
    let old = ago(600);
    site.cluster.line_at("specman-0", old, &info_at(old, "Persisting 0.0.0"));
    // Written after the push, and telling a time before it.
    site.cluster.line("specman-0", &info_at(old, "Persisting 0.0.0"));
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome.exits(8).writes_nothing();
    outcome.says(&format!(
        "hint: its last '0.0.0' is of {old:.0}, before the push; if nothing was pushed since, --since {old:.0} lets it count\n"
    ));
    // The same where nothing of after the push was logged at all.
    let silent = KubeSite::new(1);
    silent.cluster.line_at("specman-0", old, &info_at(old, "Persisting 0.0.0"));
    tool(&silent)
        .args(["--timeout", "1s"])
        .run()
        .exits(8)
        .says(&format!("hint: its last '0.0.0' is of {old:.0}, before the push"));
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
fn a_clock_that_differs_from_the_clusters_is_allowed_for() {
    let site = KubeSite::new(1);
    // The cluster is five minutes behind: its lines from after the push seem to be from before it.
    let behind = httpdate(300);
    site.server.faults().on(Match::any("/**"), Times::Always, Action::set_header("date", &behind));
    let said = ago(300);
    let running = following(&site, tool(&site).arg("-v"), "specman-0");
    site.cluster.line_at("specman-0", said, &info_at(said, "Persisting 0.0.0"));
    let outcome = running.wait();
    outcome.succeeds().says("s behind this host's");
}

fn httpdate(ago_seconds: i64) -> String {
    ago(ago_seconds).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[test]
fn w11_what_a_terminal_would_obey_is_shown_escaped() {
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
    // Bash gives a background process /dev/null for its standard input, unless told otherwise.
    let script = script.replace("specman-wait &", "specman-wait <&0 &");
    let outcome = scar_kit::bash(&script).env("KUBECONFIG", site.kubeconfig()).run();
    done(&outcome, &["specman-0"]);
    let peaks = std::fs::read_to_string(file).unwrap();
    let peak = peaks.lines().filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).max().unwrap();
    assert!(peak < 48 * 1024, "{peak} KiB");
}

#[test]
fn w13_a_token_that_ends_during_the_wait_is_renewed() {
    let site = KubeSite::new(1);
    site.cluster.add_token("token-the-first", "kubernetes-admin");
    let (script, token) = (site.folder().join("plugin"), site.folder().join("token"));
    std::fs::write(&token, "token-the-first").unwrap();
    let text = format!(
        "#!/bin/sh\nprintf '{{\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"%s\"}}}}' \"$(cat {})\"\n",
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
        outcome.says(&format!("error: wait for Specman to persist '0.0.0': pod 'specman-0' says: {message}\n"));
    }
    // Another tag's error, and one that passes by itself, end nothing.
    let site = KubeSite::new(1);
    let running = following(&site, tool(&site).args(["--patience", "1s"]), "specman-0");
    site.cluster.line("specman-0", &error("Error pulling 4.5.13: 401 Unauthorized"));
    site.cluster.line("specman-0", &error("dial tcp: connection refused"));
    persist(&site, "specman-0");
    done(&running.wait(), &["specman-0"]);
}

#[test]
fn tags_without_ours_are_told_at_the_deadline() {
    let site = KubeSite::new(1);
    site.cluster.line("specman-0", &info("tags[4.5.13 4.5.15]"));
    let outcome = tool(&site).args(["--timeout", "2s"]).run();
    outcome.exits(8).says("hint: the tags that Specman sees lack '0.0.0': is the flag set on the registry that was pushed to");
}

#[test]
fn ready_only_is_content_with_the_ready_ones() {
    let site = KubeSite::new(2);
    site.cluster.set_pod("specman-1", PodState::NotReady);
    persist(&site, "specman-0");
    done(&tool(&site).arg("--ready-only").run(), &["specman-0"]);
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

#[test]
fn a_dry_run_says_what_would_be_waited_for() {
    let site = KubeSite::new(1);
    let outcome = tool(&site).arg("--dry-run").run();
    outcome
        .succeeds()
        .says("would wait until every replica of StatefulSet 'specman' has logged that the tag '0.0.0' is persisted, at ");
    outcome.says("specman-wait: specman-0 is Running\n");
    assert_eq!(outcome.json()["dry_run"], true);
    assert_eq!(outcome.json().get("specman"), None);
    let bare = site.tool("specman-wait").record(&json!({"record": "scar-tools/1", "dry_run": true})).run();
    bare.succeeds().says("is persisted, after the push\n");
}

#[test]
fn a_session_that_may_end_before_the_wait_is_told() {
    let site = KubeSite::new(1);
    persist(&site, "specman-0");
    let mut record = pushed(60);
    let end = format!("{:.0}", ago(-120));
    record["session"] =
        json!({"endpoint": "https://v.example", "authorization": "session-canary", "expires_at": end, "insecure": false});
    let outcome = site.tool("specman-wait").secret("session-canary").record(&record).run();
    done(&outcome, &["specman-0"]);
    outcome.says(&format!("warning: the session in the record ends at {end}, which may be before Specman is done\n"));
}

#[test]
fn another_set_and_container_are_options() {
    let site = KubeSite::new(0);
    site.cluster.add_statefulset("manifests", 1, &["proxy", "server"]);
    let now = Timestamp::now();
    site.cluster.entry("manifests-0", Some("server"), now, info("Persisting 0.0.0").as_bytes(), true);
    let outcome = tool(&site).args(["--statefulset", "manifests", "--container", "server"]).run();
    assert_eq!(outcome.succeeds().json()["specman"]["pods"], json!(["manifests-0"]));
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
fn a_restart_is_kubectls_and_only_the_new_pods_count() {
    let site = KubeSite::new(2);
    // What the old pods said, and that they do not run, is of no account.
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
fn a_restart_is_only_said_by_a_dry_run() {
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
    tool(&site).arg("--restart").run().exits(2).says("its update strategy is OnDelete").says("kubectl delete pod");
    assert_eq!(site.server.log().count(&Match::patch("/**")), 0);
}

#[test]
fn other_words_may_be_what_is_waited_for() {
    let site = KubeSite::new(1);
    persist(&site, "specman-0");
    site.cluster.line("specman-0", &info("stored 0.0.0 on disk"));
    done(&tool(&site).args(["--marker", "stored {tag} on"]).run(), &["specman-0"]);
    tool(&site).args(["--marker", "kept {tag}", "--timeout", "2s"]).run().exits(8);
    tool(&site).args(["--marker", "Persisting"]).run().exits(2).says("must hold {tag} once");
}
