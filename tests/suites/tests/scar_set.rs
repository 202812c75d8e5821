//! scar-set against the lab's VerteX: there, and back, with whatever goes wrong on the way.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod vertex_site;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use scar_kit::{Run, Signal, secret, tool};
use scar_lab::certs::Certs;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::vertex::{ContentServer, JOBS, Masking, SPECMAN};
use serde_json::{Value, json};
use vertex_site::{Private, Site};

const SCAR: &str = "/v1/system/config/scar";
const VALIDATE: &str = "/v1/system/config/scar/validate";
const OLD_PASSWORD: &str = "scar-canary-3";

/// A site whose old SCAR wants a login, and whose Specman serves.
fn site() -> Site {
    let site = Site::start();
    secret(OLD_PASSWORD);
    site.vertex.set_scar(old());
    site.vertex.set_persisted(true);
    let login = Some(("scar".to_owned(), OLD_PASSWORD.to_owned()));
    site.vertex.behave(|b| b.content_servers = vec![ContentServer { endpoint: "https://old.example".into(), login }]);
    site
}

fn old() -> Value {
    json!({
        "endpoint": "https://old.example", "username": "scar", "password": OLD_PASSWORD,
        "caCert": "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n", "baseContentPath": "content", "note": 1.50
    })
}

/// What the guide's script puts there.
fn new() -> Value {
    json!({"endpoint": SPECMAN, "username": "", "password": ""})
}

fn set(site: &Site, home: &Path) -> Run {
    tool("scar-set")
        .record(&site.persisted())
        .home(home)
        .args(["--settle", "1s"])
        .called(site.url(), "[VERTEX]")
        .called(home.display(), "[STATE]")
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// The files in the state folder below a home.
fn backups(home: &Path) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(home.join(".local/state/scar-tools"));
    let mut files: Vec<_> = folder.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn undo(site: &Site, file: &Path) -> Run {
    let record = json!({"record": "scar-tools/1", "session": site.session()});
    tool("scar-set").record(&record).args(["--settle", "1s", "--undo"]).arg(file).called(site.url(), "[VERTEX]")
}

#[test]
fn scar_is_set_saved_validated_and_both_jobs_started() {
    let site = site();
    let home = home();
    let outcome = set(&site, home.path()).run();
    outcome.succeeds();
    let file = backups(home.path()).pop().unwrap();
    let mut record = site.persisted();
    record.as_object_mut().unwrap().remove("session");
    record["scar"] = json!({
        "endpoint": SPECMAN, "changed": true, "validated": true, "spectro_version": "4.5.15",
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
            "SCAR fields that will be gone: note",
            &format!("the old setting is saved in '{}'", record["scar"]["backup"].as_str().unwrap()),
            &format!("SCAR is set to '{SPECMAN}'"),
            "VerteX finds it good, version 4.5.15",
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
    // Without the record of the first run the jobs, which have no status to read, are sent again.
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

#[test]
fn c3_a_write_that_reads_otherwise_is_a_mismatch_with_the_difference() {
    let site = site();
    let home = home();
    site.fault(Match::put(SCAR), Times::Always, Action::Answer(Answer::status(204)));
    let outcome = set(&site, home.path()).run();
    outcome
        .exits(7)
        .writes_nothing()
        .says("VerteX said that it is done, and it reads otherwise:\n  endpoint: 'https://old.example'");
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
fn c4_a_write_of_which_nothing_is_known_is_not_called_done() {
    let site = site();
    let home = home();
    site.fault(Match::put(SCAR), Times::Always, Action::LoseReply);
    site.fault(Match::get(SCAR), Times::Nth(2), Action::Answer(Answer::status(404)));
    let outcome = set(&site, home.path()).run();
    outcome.exits(6).writes_nothing().says("it is not known whether it was done").says("scar-set --undo");
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
fn c6_a_setting_that_is_never_found_good_starts_no_job_and_prints_the_way_back() {
    let site = site();
    let home = home();
    site.vertex.set_persisted(false);
    let outcome = set(&site, home.path()).run();
    outcome.exits(7).writes_nothing().says("validate the SCAR setting: not found good in 1 s");
    outcome.says("ScarValidationFailed").says(&format!("SCAR is set to '{SPECMAN}' and stays so; no sync job was started"));
    assert!(site.server.log().count(&Match::get(VALIDATE)) > 2);
    assert!(site.vertex.jobs().is_empty());
    let command = outcome.stderr().split("to restore the old setting: ").nth(1).unwrap().trim().to_owned();
    let file = command.rsplit(' ').next().unwrap().replace("[STATE]", &home.path().display().to_string());
    assert!(command.starts_with("vertex-login [VERTEX] | scar-set --undo "), "{command}");
    undo(&site, Path::new(&file)).run().succeeds();
    assert_eq!(site.vertex.scar(), old());
}

#[test]
fn c6_a_setting_that_is_found_good_in_time_is_good() {
    let site = site();
    let home = home();
    site.vertex.behave(|b| b.scar_invalid_for = 2);
    site.fault(Match::get(VALIDATE), Times::Nth(2), Action::Answer(Answer::html(502, "<html></html>")));
    tool("scar-set").record(&site.persisted()).home(home.path()).run().succeeds();
    assert_eq!(site.vertex.jobs(), JOBS);
}

#[test]
fn c6_undo_on_failure_restores_the_old_setting() {
    let site = site();
    let home = home();
    site.vertex.set_persisted(false);
    let outcome = set(&site, home.path()).arg("--undo-on-failure").run();
    outcome.exits(7).writes_nothing().says("the old setting 'https://old.example' is restored (--undo-on-failure)");
    assert_eq!(site.vertex.scar(), old());
    // What the server hides must be at hand before anything is changed.
    site.vertex.behave(|b| b.scar_masking = Masking::Masked);
    let outcome = set(&site, home.path()).arg("--undo-on-failure").run();
    outcome.exits(2).writes_nothing().says("--scar-password-file FILE");
    assert_eq!(site.vertex.scar_writes(), 2);
    let password = Private::new(OLD_PASSWORD);
    let run = set(&site, home.path()).arg("--undo-on-failure").arg("--scar-password-file").arg(password.path());
    run.run().exits(7).says("is restored");
    assert_eq!(site.vertex.scar(), old());
}

#[test]
fn c6_a_server_that_repeats_the_old_password_is_quoted_without_it() {
    let site = site();
    let home = home();
    let answer = Answer::json(422, &json!({"code": "Bad", "message": format!("scar:{OLD_PASSWORD} does not open it")}));
    site.fault(Match::get(VALIDATE), Times::Always, Action::Answer(answer));
    set(&site, home.path()).arg("-vv").run().exits(7).writes_nothing().says("does not open it");
}

#[test]
fn c7_a_job_that_runs_already_is_joined() {
    let site = site();
    let home = home();
    site.vertex.behave(|b| b.jobs_in_progress.push(JOBS[0].into()));
    let outcome = set(&site, home.path()).run();
    outcome.succeeds();
    let jobs = json!([{"name": JOBS[0], "status": "running"}, {"name": JOBS[1], "status": "started"}]);
    assert_eq!(outcome.json()["scar"]["jobs"], jobs);
}

#[test]
fn c8_a_job_that_fails_is_named_and_scar_stays_set() {
    for (action, status) in [
        (Action::Answer(Answer::status(404)), 1),
        (Action::Answer(Answer::json(422, &json!({"message": "no"}))), 1),
        (Action::Answer(Answer::html(200, "<html><title>Login</title></html>")), 1),
        (Action::Answer(Answer::status(500)), 6),
        (Action::LoseReply, 6),
    ] {
        let site = site();
        let home = home();
        let fault = site.fault(Match::get(&format!("/v1/jobs/internal/{}/run", JOBS[0])), Times::Always, action);
        let outcome = set(&site, home.path()).run();
        outcome.exits(status).writes_nothing().says(&format!("start the job '{}'", JOBS[0])).says("and stays so");
        assert_eq!((fault.hits(), site.vertex.scar()), (1, new()));
        assert!(site.vertex.jobs().contains(&JOBS[1].to_owned()));
        site.server.faults().clear();
        set(&site, home.path()).run().succeeds();
        assert_eq!(site.vertex.scar_writes(), 1);
    }
}

#[test]
fn c11_a_ca_file_is_checked_here_and_sent_without_a_key() {
    let certs = Certs::new(&["specman"]);
    let expired = certs.expired();
    for (text, says) in [
        (String::new(), "holds nothing"),
        ("no pem".to_owned(), "holds something else"),
        (certs.server().key_pem.clone(), "holds a private key"),
        (expired.cert_pem.clone(), "only"),
    ] {
        let file = Private::new(&text);
        let run = tool("scar-set").record(&json!({"record": "scar-tools/1"})).arg("--ca-cert").arg(file.path());
        run.run().exits(2).writes_nothing().says("read --ca-cert").says(says);
    }
    let site = site();
    let home = home();
    let chain = format!("{}{}", certs.server().cert_pem, certs.ca_pem());
    let file = Private::new(&format!("# chain\r\n{chain}{}", certs.server().key_pem));
    set(&site, home.path()).arg("--ca-cert").arg(file.path()).args(["--base-content-path", "/c"]).run().succeeds();
    let scar = site.vertex.scar();
    let lines = |text: &str| text.lines().map(str::trim).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(scar["caCert"].as_str().unwrap()), lines(&chain));
    assert_eq!(scar["baseContentPath"], "/c");
    assert_eq!(scar.get("insecureVerify"), None);
}

#[test]
fn c11_checking_is_left_out_only_by_option_and_that_is_said() {
    let site = site();
    let home = home();
    let outcome = set(&site, home.path()).arg("--insecure-verify").run();
    outcome.succeeds().says("warning: VerteX will not check the certificate of").says("SCAR insecureVerify: false -> true");
    assert_eq!(site.vertex.scar()["insecureVerify"], true);
}

#[test]
fn c12_a_record_that_does_not_show_the_steps_before_is_refused() {
    for (missing, says, tool_named) in [
        ("artifact", "the manifests are pushed", "ocipush"),
        ("pack_registry", "the pack registry's flag is set", "pack-registry-set"),
        ("specman", "Specman has persisted the manifests", "specman-wait"),
    ] {
        let site = site();
        let home = home();
        let mut record = site.persisted();
        record.as_object_mut().unwrap().remove(missing);
        let run = || tool("scar-set").record(&record).home(home.path());
        run().run().fails(
            2,
            &format!(
                "scar-set: error: set SCAR: the record does not show that {says}\nscar-set: hint: run {tool_named} before this \
                 step and pass its record on; --force goes on without\n"
            ),
        );
        assert_eq!(site.server.log().connections(), 0);
        run().arg("--force").run().succeeds().says("going on (--force)");
    }
}

#[test]
fn a_session_that_is_about_to_end_is_refused() {
    let site = site();
    let home = home();
    let mut record = site.persisted();
    record["session"]["expires_at"] = json!("2024-12-06T12:43:14Z");
    let run = || tool("scar-set").record(&record).home(home.path());
    run()
        .run()
        .exits(4)
        .writes_nothing()
        .says("use the session: it ended at 2024-12-06T12:43:14Z")
        .says("log in again: vertex-login");
    assert_eq!(site.server.log().connections(), 0);
    run().arg("--force").run().succeeds();
}

#[test]
fn bad_input_30_an_endpoint_is_scheme_host_and_port_alone() {
    for (endpoint, error) in [
        ("https://host/path?x=1#y", "it has a query or a fragment\nscar-set: hint: write https://HOST or https://HOST:PORT\n"),
        ("https://host/a/b", "it has a path\nscar-set: hint: give the path apart: --base-content-path a/b\n"),
        ("host:8443", "it is no https:// or http:// address\nscar-set: hint: write https://HOST or https://HOST:PORT\n"),
    ] {
        let outcome = tool("scar-set").args(["--scar-endpoint", endpoint]).run();
        outcome.fails(2, &format!("scar-set: error: read the SCAR endpoint '{endpoint}': {error}"));
    }
    let outcome = tool("scar-set").args(["--scar-endpoint", "https://u:pw-in-url@host"]).run();
    outcome.exits(2).says("it holds a login").never_says("pw-in-url");
}

#[test]
fn another_endpoint_is_set_where_it_is_asked_for() {
    let site = site();
    let home = home();
    site.vertex.behave(|b| b.content_servers.push(ContentServer { endpoint: "https://mirror.example:8443".into(), login: None }));
    let outcome = set(&site, home.path()).args(["--scar-endpoint", "https://mirror.example:8443/"]).run();
    outcome.succeeds();
    assert_eq!(outcome.json()["scar"]["endpoint"], "https://mirror.example:8443");
}

#[test]
fn a_hidden_password_does_not_stand_in_the_way() {
    for masking in [Masking::Blank, Masking::Absent, Masking::Masked] {
        let site = site();
        let home = home();
        site.vertex.behave(|b| b.scar_masking = masking);
        let outcome = set(&site, home.path()).run();
        outcome.succeeds().says("SCAR has a password that VerteX does not show: it will be gone, and undoing will ask for it");
        assert_eq!(outcome.json()["scar"]["previous"]["has_password"], true);
        let file = backups(home.path()).pop().unwrap();
        undo(&site, &file).run().exits(2).writes_nothing().says("give it with --scar-password-file FILE");
        assert_eq!(site.vertex.scar(), new());
        let prompt = "Password for scar at https://old.example: ";
        undo(&site, &file).answer(prompt, "scar-canary-3\n").run().succeeds();
        assert_eq!(site.vertex.scar(), {
            let mut expected = old();
            let kept = expected.as_object_mut().unwrap();
            // A setting without what the server leaves out means the same.
            kept.retain(|_, value| *value != json!(""));
            expected
        });
    }
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
fn undo_refuses_where_someone_has_changed_the_setting_since() {
    let site = site();
    let home = home();
    set(&site, home.path()).run().succeeds();
    let file = backups(home.path()).pop().unwrap();
    site.vertex.set_scar(json!({"endpoint": "https://third.example"}));
    undo(&site, &file)
        .run()
        .exits(7)
        .writes_nothing()
        .says("the present setting is not the one that was set then:\n  endpoint: 'https://third.example' -> ");
    assert_eq!(site.vertex.scar()["endpoint"], "https://third.example");
    let outcome = undo(&site, &file).arg("--force").run();
    outcome.succeeds();
    assert_eq!(site.vertex.scar(), old());
    let scar = &outcome.json()["scar"];
    assert_eq!((&scar["endpoint"], &scar["changed"], &scar["jobs"]), (&json!("https://old.example"), &json!(true), &json!([])));
    undo(&site, &file).run().succeeds().says("SCAR is 'https://old.example' already");
    let elsewhere = self::site();
    undo(&elsewhere, &file).run().exits(5).writes_nothing().says("the backup is of");
    assert_eq!(elsewhere.vertex.scar_writes(), 0);
}

#[test]
fn undo_reads_its_file_before_anything_else() {
    let site = site();
    for text in ["", "{}", "{\"record\":\"scar-tools/1\"}"] {
        let file = Private::new(text);
        undo(&site, &file.path()).run().exits(2).writes_nothing().says("read the backup");
    }
    undo(&site, Path::new("/nonexistent")).run().exits(2).says("no such file");
    assert_eq!(site.server.log().connections(), 0);
}

#[test]
fn a_dry_run_shows_the_difference_and_writes_nothing() {
    let site = site();
    let home = home();
    let outcome = set(&site, home.path()).arg("--dry-run").run();
    outcome.succeeds().tells(&format!(
        "scar-set: would save the present setting in the state folder\n\
         scar-set: would change SCAR endpoint: 'https://old.example' -> '{SPECMAN}'\n\
         scar-set: would change SCAR username: 'scar' -> (none)\n\
         scar-set: would change SCAR caCert: (PEM, 57 bytes) -> (none)\n\
         scar-set: would change SCAR baseContentPath: 'content' -> (none)\n\
         scar-set: would change SCAR password: (not shown) -> (none)\n\
         scar-set: SCAR fields that will be gone: note\n\
         scar-set: would have VerteX validate it, for 1 s at most\n\
         scar-set: would start the job 'syncCloudInstanceTypesData'\n\
         scar-set: would start the job 'syncCloudStorageTypesData'\n"
    ));
    assert_eq!(outcome.json()["dry_run"], true);
    assert_eq!(outcome.json().get("scar"), None);
    assert_eq!(site.requests(), ["GET /v1/system/config/scar -> 200"]);
    assert_eq!(backups(home.path()), Vec::<PathBuf>::new());
    let empty = json!({"record": "scar-tools/1", "dry_run": true});
    let outcome = tool("scar-set").record(&empty).run();
    outcome
        .succeeds()
        .prints("{\"record\":\"scar-tools/1\",\"dry_run\":true}\n")
        .says("would log in, save the present SCAR setting");
}

#[test]
fn a_named_backup_is_kept_and_the_next_one_stands_beside_it() {
    let site = site();
    let folder = home();
    let file = folder.path().join("scar.json");
    std::fs::write(&file, "something of mine").unwrap();
    let outcome = set(&site, folder.path()).arg("--backup").arg(&file).run();
    outcome.succeeds().says("the file that was named holds an earlier setting and is kept; saved in '[STATE]/scar.json.1'");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "something of mine");
    assert_eq!(outcome.json()["scar"]["backup"], "[STATE]/scar.json.1");
}

#[test]
fn the_session_leaves_the_record_unless_it_is_kept() {
    let site = site();
    let home = home();
    assert_eq!(set(&site, home.path()).run().json().get("session"), None);
    assert!(set(&site, home.path()).arg("--keep-session").run().json()["session"].is_object());
}

#[test]
fn a_session_that_ends_in_the_middle_says_in_which_state_the_system_is() {
    let site = site();
    let home = home();
    let ended = Answer::json(401, &json!({"code": "TokenExpired", "message": "token is expired"}));
    site.fault(Match::get(VALIDATE), Times::Always, Action::Answer(ended));
    let outcome = set(&site, home.path()).run();
    outcome.exits(4).writes_nothing().says("TokenExpired").says("stays so; no sync job was started").says("log in again");
    assert!(site.vertex.jobs().is_empty());
}

#[test]
fn the_record_is_read_to_its_end_before_anything_is_sent() {
    let site = site();
    let home = home();
    set(&site, home.path()).stdin("").run().exits(2).writes_nothing().says("standard input is empty");
    set(&site, home.path()).stdout_closed().run().exits(1).says("standard output is closed");
    assert_eq!(site.server.log().connections(), 0);
    set(&site, home.path()).stdout_full().run().exits(1).says("no space left on device");
    set(&site, home.path()).run().succeeds().says("already");
    assert_eq!(site.vertex.scar_writes(), 1);
}
