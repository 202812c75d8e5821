//! The setting: read, saved, written, read back; a second run, and dry runs.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use scar_kit::{Signal, secret, tool};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::vertex::{ContentServer, JOBS, SPECMAN};
use serde_json::{Value, json};

use crate::vertex_site::Site;
use crate::{OLD_PASSWORD, SCAR, VALIDATE, backups, home, new, old, set, shown_as, site, undo};

#[test]
fn scar_is_set_saved_validated_and_both_jobs_started() {
    let site = site();
    let home = home();
    let outcome = set(&site, home.path()).run();
    outcome.succeeds();
    let file = backups(home.path()).pop().unwrap();
    let mut record = site.persisted();
    record.as_object_mut().unwrap().remove("session");
    record["pack_registry"]["vertex"] = json!("[VERTEX]");
    record["scar"] = json!({
        "endpoint": SPECMAN, "vertex": "[VERTEX]", "changed": true, "validated": true, "spectro_version": "4.5.15",
        "previous": {
            "endpoint": "https://old.example", "username": "scar", "base_content_path": "content", "insecure_verify": false,
            "has_ca_cert": true, "has_password": true
        },
        "backup": file.display().to_string().replace(&home.path().display().to_string(), "[STATE]"),
        "jobs": [{"name": JOBS[0], "status": "started"}, {"name": JOBS[1], "status": "started"}]
    });
    assert_eq!(outcome.json(), record);
    assert_eq!(site.vertex.scar(), new());
    assert_eq!(site.vertex.jobs(), JOBS);
    assert_eq!(
        site.requests(),
        [
            "GET /v1/system/config/scar -> 200",
            "PUT /v1/system/config/scar -> 204",
            "GET /v1/system/config/scar -> 200",
            "GET /v1/system/config/scar/validate -> 200",
            "GET /v1/jobs/internal/syncCloudInstanceTypesData/run -> 204",
            "GET /v1/jobs/internal/syncCloudStorageTypesData/run -> 204",
        ]
    );
    let said = outcome.stderr();
    let lines: Vec<_> = said.lines().map(|line| line.trim_start_matches("scar-set: ")).collect();
    assert_eq!(
        lines,
        [
            &format!("SCAR endpoint: 'https://old.example' -> '{SPECMAN}'"),
            "SCAR username: 'scar' -> (none)",
            "SCAR caCert: (PEM, 57 bytes) -> (none)",
            "SCAR baseContentPath: 'content' -> (none)",
            "SCAR password: (not shown) -> (none)",
            "SCAR fields that will be lost: note",
            &format!("the old setting is saved in '{}'", record["scar"]["backup"].as_str().unwrap()),
            &format!("SCAR is set to '{SPECMAN}'"),
            "VerteX accepts it, version 4.5.15",
            "job 'syncCloudInstanceTypesData': started",
            "job 'syncCloudStorageTypesData': started",
            &format!(
                "VerteX needs about five minutes to complete the syncs; to check later: \
                 vertex-login [VERTEX] | scar-get --validate --expect {SPECMAN}"
            ),
        ]
    );
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let saved: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&saved["setting"], &saved["vertex"]), (&old(), &json!(site.url())));
}

#[test]
fn a_rerun_writes_nothing_and_starts_no_job_that_the_record_shows() {
    let site = site();
    let home = home();
    let first = set(&site, home.path()).run();
    let mut record = site.persisted();
    record["scar"] = serde_json::from_slice::<Value>(first.stdout_bytes()).unwrap()["scar"].clone();
    site.server.log().clear();
    let again = tool("scar-set").record(&record).home(home.path()).args(["--settle", "1s"]).run();
    again.succeeds();
    let mut expected = record["scar"].clone();
    expected["changed"] = json!(false);
    assert_eq!(again.json()["scar"], expected);
    assert_eq!(site.requests(), ["GET /v1/system/config/scar -> 200", "GET /v1/system/config/scar/validate -> 200"]);
    assert_eq!(backups(home.path()).len(), 1);
    // Without the first run's record the jobs are started again, because they have no status.
    let outcome = set(&site, home.path()).run();
    outcome.succeeds().says("SCAR is 'https://specman-service.hubble-system.svc.cluster.local:8443' already");
    assert_eq!(outcome.json()["scar"]["changed"], false);
    assert_eq!((site.vertex.scar_writes(), site.vertex.jobs().len()), (1, 4));
    assert_eq!(backups(home.path()).len(), 1);
}

#[test]
fn c1_a_setting_that_cannot_be_read_is_not_written() {
    for (action, status) in [
        (Action::Answer(Answer::status(500)), 6),
        (Action::Answer(Answer::json(403, &json!({"code": "Forbidden"}))), 4),
        (Action::Answer(Answer::html(200, "<html></html>")), 7),
        (Action::Answer(Answer::status(404)), 3),
        (Action::Reset, 6),
    ] {
        let site = site();
        let home = home();
        site.fault(Match::get(SCAR), Times::Always, action);
        set(&site, home.path()).args(["--timeout", "2s"]).run().exits(status).writes_nothing().says("read the SCAR setting");
        assert_eq!((site.writes(), backups(home.path())), (Vec::new(), Vec::new()));
    }
}

/// The answer is not a setting, so overwriting it would lose the real one.
#[test]
fn q7_an_answer_that_is_not_a_setting_is_saved_whole_and_nothing_is_written() {
    let error = r#"{"code":"Busy","message":"later","n":1.50}"#;
    for text in ["{}", error, "[1.50]", r#"{"endpoint":5}"#, r#"{"endpoint":"https://old.example","caCert":[1.50]}"#] {
        let site = site();
        let home = home();
        site.fault(Match::get(SCAR), Times::Always, Action::Answer(Answer::status(200).body(text)));
        let outcome = set(&site, home.path()).run();
        outcome.exits(7).writes_nothing().says("not a SCAR setting").says("what was read is saved in '[STATE]/");
        assert!(site.writes().is_empty());
        let files = backups(home.path());
        assert_eq!(std::fs::read_to_string(&files[0]).unwrap(), format!("{text}\n"));
        assert_eq!(std::fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
        set(&site, home.path()).arg("--dry-run").run().exits(7).never_says("is saved");
        let named = home.path().join("scar.json");
        set(&site, home.path()).arg("--backup").arg(&named).run().exits(7).says("[STATE]/scar.json.unexpected'");
        assert!(!named.exists(), "the backup's name is left for a backup");
    }
}

#[test]
fn c3_a_write_that_reads_back_differently_is_a_mismatch_with_the_difference() {
    let site = site();
    let home = home();
    site.fault(Match::put(SCAR), Times::Always, Action::Answer(Answer::status(204)));
    let outcome = set(&site, home.path()).run();
    outcome
        .exits(7)
        .writes_nothing()
        .says("VerteX confirmed the write, but the setting reads differently:\n  endpoint: 'https://old.example'");
    outcome
        .says("  password: (not shown) -> (none)\n")
        .says("to restore the old setting: vertex-login [VERTEX] | scar-set --undo [STATE]/");
    assert!(site.vertex.jobs().is_empty());
    assert_eq!(site.server.log().count(&Match::get(VALIDATE)), 0);
}

#[test]
fn c4_a_lost_reply_is_settled_by_reading() {
    let site = site();
    let home = home();
    let fault = site.fault(Match::put(SCAR), Times::Always, Action::LoseReply);
    set(&site, home.path()).run().succeeds().says("the answer to the write was lost; reading shows that it is done");
    assert_eq!((fault.hits(), site.vertex.scar_writes()), (1, 1));
}

#[test]
fn c4_a_write_with_an_unknown_result_is_not_reported_as_done() {
    let site = site();
    let home = home();
    site.fault(Match::put(SCAR), Times::Always, Action::LoseReply);
    site.fault(Match::get(SCAR), Times::Nth(2), Action::Answer(Answer::status(404)));
    let outcome = set(&site, home.path()).run();
    outcome.exits(6).writes_nothing().says("so it is unknown whether the change was made").says("scar-set --undo");
    set(&site, home.path()).run().succeeds();
    assert_eq!(site.vertex.scar_writes(), 1);
}

#[test]
fn c4_a_refused_write_says_that_nothing_was_changed() {
    let site = site();
    let home = home();
    let refused = Answer::json(422, &json!({"code": "ValidationFailed", "message": "no"}));
    let fault = site.fault(Match::put(SCAR), Times::Always, Action::Answer(refused));
    set(&site, home.path()).run().exits(1).writes_nothing().says("ValidationFailed: no").says("the SCAR setting was not changed");
    assert_eq!((fault.hits(), site.vertex.scar()), (1, old()));
}

#[test]
fn c5_the_old_setting_is_on_disk_before_the_write_and_a_kill_leaves_old_or_new() {
    for matcher in [Match::put(SCAR), Match::get(VALIDATE)] {
        let site = site();
        let home = home();
        site.fault(matcher.clone(), Times::Always, Action::Stall);
        let running = set(&site, home.path()).start();
        assert!(site.server.log().wait(Duration::from_secs(20), |r| r.iter().any(|r| matcher.selects(&r.method, &r.path, None))));
        running.signal(Signal::KILL);
        running.wait().exits(137).writes_nothing();
        let file = backups(home.path()).pop().unwrap();
        assert!([old(), new()].contains(&site.vertex.scar()));
        site.server.faults().clear();
        undo(&site, &file).run().succeeds();
        assert_eq!(site.vertex.scar(), old());
    }
}

#[test]
fn c5_a_signal_during_the_write_is_held_until_it_is_read_back() {
    let site = site();
    let home = home();
    site.fault(Match::put(SCAR), Times::Always, Action::Delay(Duration::from_millis(500)));
    let running = set(&site, home.path()).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |r| r.iter().any(|r| r.method == "PUT")));
    running.signal(Signal::TERM);
    let outcome = running.wait();
    outcome.exits(143).writes_nothing().says("and stays so; no sync job was started").says("to restore the old setting: ");
    assert_eq!((site.vertex.scar(), site.vertex.jobs().len()), (new(), 0));
    assert_eq!(site.requests().last().unwrap(), "GET /v1/system/config/scar -> 200");
}

#[test]
fn another_endpoint_is_set_if_it_is_asked_for() {
    let site = site();
    let home = home();
    site.vertex.behave(|b| b.content_servers.push(ContentServer { endpoint: "https://mirror.example:8443".into(), login: None }));
    let outcome = set(&site, home.path()).args(["--scar-endpoint", "https://mirror.example:8443/"]).run();
    outcome.succeeds();
    assert_eq!(outcome.json()["scar"]["endpoint"], "https://mirror.example:8443");
}

#[test]
fn a_server_that_masks_even_an_empty_password_is_understood() {
    let site = site();
    let home = home();
    let masked = Action::edit(|response| {
        let body = format!("{{\"endpoint\":\"{SPECMAN}\",\"username\":\"\",\"password\":\"***\"}}");
        *response.body_mut() = axum::body::Body::from(body);
        response.headers_mut().remove("content-length");
    });
    site.fault(Match::get(SCAR), Times::Nth(2), masked.clone());
    set(&site, home.path()).run().succeeds();
    site.fault(Match::get(SCAR), Times::Always, masked);
    set(&site, home.path()).run().succeeds().says("already");
    assert_eq!(site.vertex.scar_writes(), 1);
}

#[test]
fn a_dry_run_shows_the_difference_and_writes_nothing() {
    let site = site();
    let home = home();
    let outcome = set(&site, home.path()).arg("--dry-run").run();
    outcome.succeeds().reports(&format!(
        "scar-set: would save the present setting in the state folder\n\
         scar-set: would change SCAR endpoint: 'https://old.example' -> '{SPECMAN}'\n\
         scar-set: would change SCAR username: 'scar' -> (none)\n\
         scar-set: would change SCAR caCert: (PEM, 57 bytes) -> (none)\n\
         scar-set: would change SCAR baseContentPath: 'content' -> (none)\n\
         scar-set: would change SCAR password: (not shown) -> (none)\n\
         scar-set: SCAR fields that will be lost: note\n\
         scar-set: would have VerteX validate it, for 1 s at most\n\
         scar-set: would start the job 'syncCloudInstanceTypesData'\n\
         scar-set: would start the job 'syncCloudStorageTypesData'\n"
    ));
    assert_eq!(outcome.json()["dry_run"], true);
    assert_eq!(outcome.json().get("scar"), None);
    assert_eq!(site.requests(), ["GET /v1/system/config/scar -> 200"]);
    assert_eq!(backups(home.path()), Vec::<PathBuf>::new());
    let empty = json!({"record": "scar-tools/1", "dry_run": true});
    let outcome = tool("scar-set").record(&empty).arg("--dry-run").run();
    outcome
        .succeeds()
        .prints("{\"record\":\"scar-tools/1\",\"dry_run\":true}\n")
        .says("would log in, save the present SCAR setting");
    set(&site, home.path()).arg("--dry-run").args(["--scar-endpoint", "scar.example"]).run().fails(
        2,
        "scar-set: error: read the SCAR endpoint 'scar.example': it is not an address\n\
         scar-set: hint: write https://HOST or https://HOST:PORT\n",
    );
}

#[test]
fn a_dry_run_says_what_force_and_no_time_to_settle_do() {
    let (site, home) = (site(), home());
    let record = json!({"record": "scar-tools/1", "session": site.session()});
    let run = || tool("scar-set").record(&record).home(home.path()).args(["--dry-run", "--settle", "0s"]);
    let missing = "the record does not show that the manifests are pushed (ocipush)";
    let outcome = run().arg("--force").run();
    outcome.succeeds().says(&format!("scar-set: warning: {missing}; continuing (--force)\n")).never_says("would require");
    outcome.says("scar-set: would have VerteX validate it, once\n");
    run().run().succeeds().says("scar-set: would require that the record shows that the manifests are pushed (ocipush)\n");
}

#[test]
fn a_summary_says_of_a_flag_what_the_record_says() {
    let (site, home) = (site(), home());
    let mut record = site.persisted();
    record["pack_registry"]["contains_spectro_manifest"] = false.into();
    let outcome = set(&site, home.path()).record(&record).args(["--force", "--summary"]).run();
    outcome.succeeds().says(": does not contain Spectro manifests\n").never_says(": contains Spectro manifests");
}

#[test]
fn a_named_backup_is_kept_and_the_next_one_is_written_beside_it() {
    let site = site();
    let folder = home();
    let file = folder.path().join("scar.json");
    std::fs::write(&file, "something of mine").unwrap();
    let outcome = set(&site, folder.path()).arg("--backup").arg(&file).run();
    outcome.succeeds().says("the file that was named holds an earlier setting and is kept; saved in '[STATE]/scar.json.1'");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "something of mine");
    assert_eq!(outcome.json()["scar"]["backup"], "[STATE]/scar.json.1");
}

/// The same value in another form is not a change, when setting and when undoing.
#[test]
fn c3_a_setting_that_is_written_differently_is_the_same_setting() {
    let site = site();
    let home = home();
    let login = Some(("scar".to_owned(), OLD_PASSWORD.to_owned()));
    site.vertex.behave(|b| b.content_servers.push(ContentServer { endpoint: "https://old.example/".into(), login }));
    shown_as(&site, |setting| {
        let endpoint = setting["endpoint"].as_str().unwrap().replace("https://s", "HTTPS://S");
        setting["endpoint"] = json!(format!("{endpoint}/"));
        for (name, nothing) in [("username", json!(null)), ("caCert", json!("")), ("insecureVerify", json!(false))] {
            if setting[name].is_null() || setting[name] == "" {
                setting[name] = nothing;
            }
        }
        setting["updatedAt"] = json!(Timestamp::now().to_string());
        setting.as_object_mut().unwrap().sort_keys();
    });
    let outcome = set(&site, home.path()).run();
    let record = serde_json::from_slice(outcome.succeeds().stdout_bytes()).unwrap();
    assert_eq!((site.vertex.scar(), site.vertex.scar_writes()), (new(), 1));
    let again = set(&site, home.path()).record(&with_session(&site, record)).run();
    again.succeeds().says("already");
    assert_eq!(site.vertex.scar_writes(), 1);
    let file = backups(home.path()).pop().unwrap();
    undo(&site, &file).run().succeeds().says("warning: VerteX keeps another value than was sent: updatedAt: ");
    assert_eq!(site.vertex.scar()["endpoint"], "https://old.example/");
    undo(&site, &file).run().succeeds().says("already");
    assert_eq!(site.vertex.scar_writes(), 2);
}

#[test]
fn c3_another_setting_in_any_field_is_a_mismatch() {
    for (name, value, says) in [
        ("endpoint", json!("https://specman.example:8443"), "endpoint: 'https://specman.example:8443' -> "),
        ("username", json!("scar"), "username: 'scar' -> (none)"),
        ("password", json!(secret("kept-canary-5")), "password: (not shown) -> (none)"),
        ("caCert", json!("-----BEGIN"), "caCert: (PEM, 10 bytes) -> (none)"),
        ("insecureVerify", json!(true), "insecureVerify: true -> false"),
        ("baseContentPath", json!("content"), "baseContentPath: 'content' -> (none)"),
    ] {
        let site = site();
        let home = home();
        shown_as(&site, move |setting| {
            if *setting == new() {
                setting[name] = value.clone();
            }
        });
        let outcome = set(&site, home.path()).run();
        outcome.exits(7).writes_nothing().says("but the setting reads differently:\n").says(&format!("  {says}"));
        assert!(site.vertex.jobs().is_empty());
    }
}

fn with_session(site: &Site, mut record: Value) -> Value {
    record["session"] = site.session();
    record
}
