//! specman-verify on a migrated site: it compares every replica with archive, folder or registry, whatever breaks meanwhile,
//! and changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sources;
mod tunnels;

use std::time::Duration;

use scar_kit::{Outcome, Run, tool};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::site::SiteOptions;
use scar_suites::{Migration, new_record};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
/// What [`Migration`] packs: `charts/deep/a file.yaml`, `charts/empty`, `image.bin`, and a link to that.
const FILES: u64 = 4;
const BYTES: u64 = 16 + 2 * 76_800;

/// A site after the earlier steps, and their record.
struct Migrated {
    migration: Migration,
    record: Value,
}

impl Migrated {
    fn new(replicas: u32) -> Self {
        let migration = Migration::on(SiteOptions { replicas, ..SiteOptions::default() });
        let mut record = migration.steps_before("specman-verify", &new_record());
        record.as_object_mut().unwrap().remove("session");
        for (_, server) in migration.site.servers() {
            server.log().clear();
        }
        Self { migration, record }
    }

    /// Through port-forwards.
    fn run(&self) -> Run {
        let source = self.migration.archive().display().to_string();
        let run = self.migration.tool("specman-verify");
        run.called(source, "ARCHIVE").called(self.migration.tree().display(), "TREE").record(&self.record)
    }

    /// Without trusting Specman's certificate.
    fn trusting_nobody(&self) -> Run {
        let run = tool("specman-verify").env("KUBECONFIG", self.migration.setting("KUBECONFIG"));
        run.folder(self.migration.folder()).record(&self.record)
    }

    /// With `--url`.
    fn at_address(&self) -> Run {
        let url = self.migration.setting("SPECMAN_URL");
        self.run().args(["--url", &url]).called(url, "URL")
    }

    /// Specman's files were only requested with GET and without a login.
    #[track_caller]
    fn only_looked(&self) {
        for (name, server) in self.migration.site.servers() {
            for request in server.log().requests() {
                assert_eq!(request.method, "GET", "{name} {}", request.line());
                let login = request.header("authorization").is_some() && name.starts_with("specman");
                assert!(!login, "{name} {}", request.line());
            }
        }
    }

    fn fault(&self, replica: usize, path: &str, times: Times, action: Action) -> scar_lab::faults::Fault {
        self.migration.site.specman.server(replica).faults().on(Match::get(path), times, action)
    }
}

fn verified(outcome: &Outcome) -> Value {
    let mut section = outcome.json()["verified"].clone();
    section.as_object_mut().unwrap().remove("layer");
    section
}

fn counts(missing: u64, different: u64, unreadable: u64) -> Value {
    json!({
        "compared": FILES, "missing": missing, "different": different, "unreadable": unreadable, "bytes": BYTES,
        "source": "ARCHIVE"
    })
}

#[test]
fn every_file_of_every_replica_is_compared_through_port_forwards() {
    let site = Migrated::new(2);
    let outcome = site.run().run();
    outcome.succeeds().reports("specman-verify: 4 files of 'ARCHIVE' are served as pushed by specman-0, specman-1\n");
    assert_eq!(verified(&outcome), counts(0, 0, 0));
    assert_eq!(outcome.json()["verified"]["layer"], site.record["artifact"]["layer"]);
    let mut passed = outcome.json();
    passed.as_object_mut().unwrap().remove("verified");
    passed["archive"] = site.record["archive"].clone();
    assert_eq!(passed, site.record, "the record passes through");
    for replica in 0..2 {
        let log = site.migration.site.specman.server(replica).log();
        let mut lines = log.lines();
        lines.sort();
        let expected = ["charts/deep/a%20file.yaml", "charts/empty", "image.bin", "latest.bin"];
        assert_eq!(lines, expected.map(|name| format!("GET /{name} -> 200")));
        assert!(site.migration.site.cluster.wait_for_forwards(&format!("specman-{replica}"), 0, SOON));
    }
    site.only_looked();
    let kube = site.migration.site.kube_server.log().lines();
    assert!(kube.iter().all(|line| line.contains("/statefulsets/specman ") || line.ends_with("ports=8443 -> 101")), "{kube:?}");
}

#[test]
fn an_address_does_without_the_cluster() {
    let site = Migrated::new(1);
    let outcome = site.at_address().arg(site.migration.tree()).run();
    outcome.succeeds().reports("specman-verify: 4 files of 'TREE' are served as pushed by URL\n");
    assert_eq!(verified(&outcome)["compared"], FILES);
    assert_eq!(outcome.json()["verified"].get("layer"), None, "a folder shows nothing about a layer");
    assert_eq!(site.migration.site.kube_server.log().lines(), Vec::<String>::new());
    site.only_looked();
}

#[test]
fn the_folder_is_compared_as_it_is_now() {
    let site = Migrated::new(1);
    let tree = site.migration.tree();
    std::fs::write(tree.join("charts/empty"), "no more").unwrap();
    std::fs::write(tree.join("new"), "").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", tree.join("out")).unwrap();
    std::os::unix::fs::symlink("charts", tree.join("folder")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    site.run().args(["--timeout", "10s"]).arg(&tree).run().fails(
        7,
        "specman-verify: warning: './socket' is a socket; it is not compared\n\
         specman-verify: links that lead to nothing in 'TREE' are not compared: 1\n\
         specman-verify: 'out' -> '/etc/passwd': its target is an absolute path\n\
         specman-verify: 4 of 7 files of 'TREE' are not served as pushed: 3 missing, 1 different, 0 unreadable; waiting for specman-0\n\
         specman-verify: different: 'charts/empty' at specman-0: 0 bytes, not 7\n\
         specman-verify: error: 4 of 7 files of 'TREE' are not served as pushed: 3 missing, 1 different, 0 unreadable\n  \
         different: 'charts/empty' at specman-0: 0 bytes, not 7\n  \
         missing: 'folder/deep/a file.yaml' at specman-0\n  \
         missing: 'folder/empty' at specman-0\n  \
         missing: 'new' at specman-0\n\
         specman-verify: hint: does Specman serve the tag that was pushed? see specman-wait; --path-prefix names a folder at \
         Specman, and a longer --timeout waits on\n",
    );
}

#[test]
fn v1_missing_different_and_unreadable_are_distinguished_and_a_report_succeeds() {
    let site = Migrated::new(1);
    let gone = site.fault(0, "/charts/empty", Times::Always, Action::Answer(Answer::status(404)));
    let other = Answer::status(200).body("kind: ConfigMop\n");
    let other = site.fault(0, "/charts/deep/*", Times::Always, Action::Answer(other));
    let ill = site.fault(0, "/image.bin", Times::Always, Action::Answer(Answer::html(500, "<title>out of order</title>")));
    let list = [
        "different: 'charts/deep/a file.yaml' at specman-0: other bytes in its 16\n",
        "missing: 'charts/empty' at specman-0\n",
        "unreadable: 'image.bin' at specman-0: 500 Internal Server Error: an HTML page titled 'out of order'\n",
    ];
    let hint = "hint: does Specman serve the tag that was pushed? see specman-wait; --path-prefix names a folder at Specman, and a \
                longer --timeout waits on\n";
    let sum = "3 of 4 files of 'ARCHIVE' are not served as pushed: 1 missing, 1 different, 1 unreadable";
    let waiting = format!("specman-verify: {sum}; waiting for specman-0\nspecman-verify: {}", list[0]);
    let lines = list.map(|line| format!("  {line}")).concat();
    let run = || site.run().args(["--timeout", "8s"]);
    run().run().fails(7, &format!("{waiting}specman-verify: error: {sum}\n{lines}specman-verify: {hint}"));
    assert!(gone.hits() > 1 && other.hits() > 1 && ill.hits() > 3, "all of it is asked for again");
    let report = run().arg("--report").run();
    let lines = list.map(|line| format!("specman-verify: {line}")).concat();
    report.succeeds().reports(&format!("{waiting}specman-verify: warning: {sum}\n{lines}specman-verify: {hint}"));
    assert_eq!(verified(&report), counts(1, 1, 1));
    site.only_looked();
}

/// Specman has logged the tag, but still serves the old content.
#[test]
fn q4_it_waits_until_every_replica_serves_the_layer_and_then_compares_all_again() {
    let site = Migrated::new(2);
    let old = Answer::status(200).body("what was here before");
    let old = site.fault(1, "/image.bin", Times::First(2), Action::Answer(old));
    let gone = site.fault(0, "/charts/empty", Times::First(3), Action::Answer(Answer::status(404)));
    let outcome = site.run().run();
    outcome.succeeds().reports(
        "specman-verify: 2 of 4 files of 'ARCHIVE' are not served as pushed: 1 missing, 1 different, 0 unreadable; waiting for \
         specman-0, specman-1\n\
         specman-verify: missing: 'charts/empty' at specman-0\n\
         specman-verify: 4 files of 'ARCHIVE' are served as pushed by specman-0, specman-1\n",
    );
    assert_eq!(verified(&outcome), counts(0, 0, 0));
    assert_eq!((old.hits(), gone.hits()), (2, 3));
    for replica in 0..2 {
        let log = site.migration.site.specman.server(replica).log();
        assert_eq!(log.count(&Match::get("/latest.bin")), 2, "each pass asks for every file");
    }
}

/// A file that was right in the first pass may be wrong now.
#[test]
fn q4_a_second_pass_that_is_not_done_in_time_is_a_failure() {
    let site = Migrated::new(1);
    site.fault(0, "/image.bin", Times::First(1), Action::Answer(Answer::status(404)));
    let stalled = site.fault(0, "/charts/empty", Times::Nth(2), Action::Stall);
    let outcome = site.run().args(["--timeout", "6s"]).run();
    outcome.exits(8).writes_nothing().says(
        "error: compare with what Specman serves at each replica, through port-forwards: time is over after 3 of 4 files; \
         no answer yet to GET ",
    );
    outcome.says("/charts/empty of specman-0\n");
    assert_eq!(stalled.hits(), 1);
}

#[test]
fn v2_a_reset_a_cut_and_a_503_are_tried_again() {
    let site = Migrated::new(1);
    let reset = site.fault(0, "/charts/empty", Times::First(1), Action::Reset);
    let cut = site.fault(0, "/image.bin", Times::First(1), Action::CutReply(1000));
    let busy = site.fault(0, "/latest.bin", Times::First(1), Action::Answer(Answer::status(503).header("retry-after", "1")));
    let outcome = site.run().run();
    outcome.succeeds();
    assert_eq!(verified(&outcome), counts(0, 0, 0));
    assert_eq!((reset.hits(), cut.hits(), busy.hits()), (1, 1, 1));
    site.migration.site.specman.server(0).log().clear();
    let cut = site.fault(0, "/image.bin", Times::First(1), Action::CutReply(1000));
    site.at_address().run().succeeds();
    assert_eq!(cut.hits(), 1);
}

#[test]
fn v2_a_replica_that_lags_is_named() {
    let site = Migrated::new(2);
    site.fault(1, "/**", Times::Always, Action::Answer(Answer::status(404)));
    let outcome = site.run().args(["--timeout", "4s"]).run();
    outcome.exits(7).writes_nothing().says("  missing: 'image.bin' at specman-1\n");
    outcome.says("hint: the other replicas serve all of it, specman-1 lags behind: run specman-wait, then this again\n");
    outcome.never_says("at specman-0");
}

#[test]
fn a_sample_says_its_seed_and_repeats_with_it() {
    let site = Migrated::new(1);
    let first = site.run().args(["--sample", "2"]).run();
    first.succeeds();
    assert_eq!(verified(&first)["compared"], 2);
    let seed = first.stderr().split("--seed ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let mut asked = site.migration.site.specman.server(0).log().lines();
    site.migration.site.specman.server(0).log().clear();
    site.run().args(["--sample", "2", "--seed", &seed]).run().succeeds();
    let mut again = site.migration.site.specman.server(0).log().lines();
    asked.sort();
    again.sort();
    assert_eq!((asked.len(), again), (2, asked));
    let one = "specman-verify: 1 file of 'ARCHIVE' is served as pushed by specman-0\n";
    site.run().args(["--sample", "1"]).run().succeeds().says(one);
    site.run().args(["--sample", "0"]).run().exits(2).says("'0' must be a number of files, 1 or more");
}

#[test]
fn a_prefix_is_where_the_files_are() {
    let site = Migrated::new(1);
    let parts = site.migration.tree().join("charts");
    site.run().args(["--path-prefix", "/charts"]).arg(&parts).run().succeeds();
    let mut lines = site.migration.site.specman.server(0).log().lines();
    lines.sort();
    assert_eq!(lines, ["GET /charts/deep/a%20file.yaml -> 200", "GET /charts/empty -> 200"]);
    site.run().args(["--path-prefix", "a/../b"]).run().exits(2).says("'..' is no folder's name");
}

#[test]
fn a_dry_run_asks_nobody() {
    let site = Migrated::new(1);
    let outcome = site.run().arg("--dry-run").run();
    outcome
        .succeeds()
        .reports("specman-verify: would compare 'ARCHIVE' with what Specman serves at each replica, through port-forwards\n");
    assert_eq!(outcome.json()["dry_run"], true);
    assert_eq!(outcome.json().get("verified"), None);
    // Without the record's archive it is the layer.
    let mut record = outcome.json();
    (record["archive"]["path"], record["archive"]["source"]) = ("/no/file".into(), "/no/folder".into());
    let words = format!("would compare the layer of '{}' with", record["artifact"]["reference"].as_str().unwrap());
    site.run().record(&record).run().succeeds().says(&words);
    assert_eq!(site.migration.site.requests(), Vec::<String>::new());
}

#[test]
fn its_time_is_bounded_and_so_are_its_tries() {
    let site = Migrated::new(1);
    site.run().args(["--retries", "65535"]).run().succeeds();
    site.fault(0, "/image.bin", Times::Always, Action::Stall);
    let outcome = site.run().args(["--timeout", "6s"]).run();
    outcome.exits(8).writes_nothing().says("time is over after 3 of 4 files; no answer yet to GET https://");
    outcome.says("/image.bin of specman-0\n");
    assert!(outcome.took() < Duration::from_secs(8), "{outcome}");
    let outcome = site.run().args(["--port", "81", "--retries", "0"]).run();
    outcome.exits(6).writes_nothing().says("connect: connection refused");
    let outcome = site.run().args(["--retries", "65536"]).run();
    outcome.fails(2, "specman-verify: error: bad value for '--retries <N>': 65536 is not in 0..=65535\n");
}

#[test]
fn the_record_and_standard_output_are_as_with_every_tool() {
    let site = Migrated::new(1);
    site.run().stdin("").run().exits(2).writes_nothing().says("not run: the stage before it wrote no record");
    assert_eq!(site.migration.site.requests(), Vec::<String>::new());
    site.run().stdout_full().run().exits(1).says("no space left on device");
    site.run().arg("-q").run().succeeds().quiet();
    tool("specman-verify")
        .arg("--sampel=3")
        .run()
        .fails(2, "specman-verify: error: unknown option '--sampel'\nspecman-verify: hint: did you mean '--sample'?\n");
}
