//! pack-registry-set against the lab's VerteX: one field changes, whatever the server hides, loses or changes itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod compare;
mod entry;
mod hidden;
mod undo;
#[path = "../vertex_site/mod.rs"]
mod vertex_site;

use std::os::unix::fs::PermissionsExt;

use scar_kit::{Run, secret, tool};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::vertex::{Masking, RegistryKind, basic_registry};
use serde_json::{Value, json};
use vertex_site::{REGISTRY_PASSWORD, Site};

pub(crate) const ENTRY: &str = "/v1/registries/oci/r1/basic";
pub(crate) const VALIDATE: &str = "/v1/registries/oci/basic/validate";

/// The step as an operator runs it: VerteX masks the entry's password, so the login is given.
pub(crate) fn set(site: &Site) -> Run {
    without_login(site).args(["-u", "robot$packs", "--password-file"]).arg(site.registry_password.path())
}

pub(crate) fn without_login(site: &Site) -> Run {
    tool("pack-registry-set").record(&site.pushed()).called(site.url(), "[VERTEX]")
}

/// Makes the server show a modified entry `r1`, whatever it stores.
pub(crate) fn shown_as(site: &Site, change: impl Fn(&mut Value) + Send + Sync + 'static) {
    let vertex = site.vertex.clone();
    let show = Action::edit(move |response| {
        let mut entry = vertex.registry("r1").unwrap();
        change(&mut entry);
        *response.body_mut() = entry.to_string().into();
        response.headers_mut().remove("content-length");
    });
    site.fault(Match::get(ENTRY), Times::Always, show);
}

/// The expected entry: the old one with the flag set.
fn flagged(mut entry: Value) -> Value {
    entry["spec"]["containsSpectroManifest"] = json!(true);
    entry
}

#[test]
fn the_flag_is_set_and_every_other_field_kept() {
    let site = Site::with_registry();
    let before = site.vertex.registry("r1").unwrap();
    let outcome = set(&site).run();
    outcome.succeeds().reports(
        "pack-registry-set: 'harbor': spec.auth.password: as given\n\
         pack-registry-set: 'harbor': spec.containsSpectroManifest: false -> true\n\
         pack-registry-set: the flag of 'harbor' is true now\n",
    );
    let mut record = site.pushed();
    record["session"]["endpoint"] = json!("[VERTEX]");
    record["pack_registry"] = json!({
        "uid": "r1", "name": "harbor", "kind": "basic", "endpoint": "https://harbor.example",
        "vertex": "[VERTEX]", "contains_spectro_manifest": true, "changed": true
    });
    assert_eq!(outcome.json(), record);
    assert_eq!(site.vertex.registry("r1").unwrap(), flagged(before));
    assert!(site.vertex.registry_login_works("r1"));
    assert_eq!(
        site.requests(),
        [
            "GET /v1/registries/oci/summary -> 200",
            "GET /v1/registries/oci/r1/basic -> 200",
            "POST /v1/registries/oci/basic/validate -> 204",
            "GET /v1/registries/oci/r1/basic/sync/status -> 200",
            "GET /v1/registries/oci/r1/basic -> 200",
            "PUT /v1/registries/oci/r1/basic -> 204",
            "GET /v1/registries/oci/r1/basic -> 200",
            "GET /v1/registries/oci/r1/basic/sync/status -> 200",
            "GET /v1/registries/oci/r1/basic/sync/status -> 200",
        ]
    );
    for request in site.server.log().requests() {
        assert!(request.header("cookie").unwrap().starts_with("Authorization=eyJ"));
    }
}

/// The entry is found by its host, without a push; only reading requests are sent.
#[test]
fn a_check_says_what_the_flag_is_and_writes_nothing() {
    let site = Site::with_registry();
    let record = json!({"record": "scar-tools/1", "session": site.session()});
    let check = || set(&site).record(&record).args(["--registry", "Harbor.example:443", "--check", "--drop-session"]);
    check().run().fails(
        7,
        "pack-registry-set: error: check the flag of 'harbor': it is false, not true\n\
         pack-registry-set: hint: without --check this step sets it\n",
    );
    assert_eq!(check().arg("--contains-spectro-manifests=false").run().succeeds().json()["pack_registry"]["changed"], false);
    set(&site).run().succeeds();
    let record = check().run().succeeds().json();
    assert_eq!(record["pack_registry"]["contains_spectro_manifest"], true);
    assert_eq!(record.get("session"), None);
    assert_eq!(site.writes().len(), 1, "{:?}", site.writes());
    check().args(["--name", "harbor"]).run().exits(2).says("cannot be used with");
    check().args(["--backup", "/tmp/x"]).run().exits(2).says("cannot be used with");
}

#[test]
fn r1_no_match_is_absent_and_two_are_listed() {
    let site = Site::start();
    set(&site).run().fails(
        3,
        "pack-registry-set: error: find the pack registry at 'harbor.example': VerteX has no such OCI pack registry\n\
         pack-registry-set: hint: add the pack registry for 'harbor.example' in VerteX, under Administration, Pack Registries\n",
    );
    for (uid, endpoint) in [("r1", "https://Harbor.example:443/"), ("r2", "harbor.example"), ("r3", "https://other.example")] {
        let object = basic_registry(uid, "dup", endpoint, "robot$packs", REGISTRY_PASSWORD);
        site.vertex.add_registry(RegistryKind::Basic, object);
    }
    set(&site).run().fails(
        2,
        "pack-registry-set: error: find the pack registry at 'harbor.example': 2 entries match:\n  \
         --uid r1 (name 'dup', endpoint 'https://Harbor.example:443/', provider 'pack')\n  \
         --uid r2 (name 'dup', endpoint 'harbor.example', provider 'pack')\n\
         pack-registry-set: hint: choose one with --uid\n",
    );
    set(&site).args(["--name", "dup"]).run().exits(2).writes_nothing().says("3 entries match");
    set(&site).args(["--name", "none"]).run().exits(3).writes_nothing().says("--uid r3");
    set(&site).args(["--uid", "none"]).run().exits(3).writes_nothing();
    assert_eq!(site.writes(), [""; 0]);
    let outcome = set(&site).args(["--uid", "r2"]).run();
    outcome.succeeds();
    assert_eq!(outcome.json()["pack_registry"]["uid"], "r2");
}

#[test]
fn r2_unknown_fields_and_numbers_go_back_as_they_came() {
    let site = Site::with_registry();
    let before = r#"{"kind":"basic","metadata":{"name":"harbor","uid":"r1"},"spec":{"auth":{"type":"noAuth"},"baseContentPath":"spectro-packs","containsSpectroManifest":false,"endpoint":"https://harbor.example","x":{"n":1.50,"big":123456789012345678901234567890,"e":1E400,"t":"\u0041","z":null}}}"#;
    let after = before.replace("Manifest\":false", "Manifest\":true");
    site.fault(Match::get(ENTRY), Times::First(2), Action::Answer(Answer::status(200).body(before)));
    site.fault(Match::post(VALIDATE), Times::Always, Action::Answer(Answer::status(204)));
    let put = site.fault(Match::put(ENTRY), Times::Always, Action::Answer(Answer::status(204)));
    site.fault(Match::get(ENTRY), Times::Always, Action::Answer(Answer::status(200).body(after.clone())));
    set(&site).run().succeeds();
    assert_eq!(put.hits(), 1);
    assert_eq!(site.server.log().matching(&Match::put(ENTRY))[0].text(), after);
}

#[test]
fn r3_an_ended_session_is_refused_with_a_hint() {
    let site = Site::with_registry();
    site.vertex.expire_tokens();
    set(&site).run().fails(
        4,
        "pack-registry-set: error: list the pack registries: GET [VERTEX]/v1/registries/oci/summary: 401 Unauthorized: \
         InvalidToken: Authorization token is missing or invalid\n\
         pack-registry-set: hint: the session has ended or is not accepted; log in again: vertex-login [VERTEX]\n",
    );
    let site = Site::with_registry();
    let ended = Answer::json(401, &json!({"code": "TokenExpired", "message": "token is expired"}));
    let fault = site.fault(Match::put(ENTRY), Times::Always, Action::Answer(ended));
    set(&site).run().exits(4).writes_nothing().says("TokenExpired").says("log in again");
    assert_eq!(fault.hits(), 1);
}

#[test]
fn r4_a_lost_reply_and_an_error_after_the_change_are_settled_by_reading() {
    for action in [
        Action::LoseReply,
        Action::edit(|response| *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR),
        Action::edit(|response| {
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            *response.body_mut() = axum::body::Body::from("<html><title>502</title></html>");
        }),
    ] {
        let site = Site::with_registry();
        let fault = site.fault(Match::put(ENTRY), Times::Always, action);
        set(&site).run().succeeds().says("the answer to the write was lost; reading shows that it is done");
        assert_eq!((fault.hits(), site.vertex.registry_writes("r1").0), (1, 1));
    }
}

#[test]
fn r4_a_write_without_effect_is_retried_only_after_reading() {
    let site = Site::with_registry();
    let fault = site.fault(Match::put(ENTRY), Times::First(1), Action::Reset);
    set(&site).run().succeeds();
    assert_eq!((fault.hits(), site.vertex.registry_writes("r1").0), (1, 1));
    let lines = site.requests();
    let first = lines.iter().position(|line| line == "PUT /v1/registries/oci/r1/basic -> -").unwrap();
    assert_eq!(lines[first + 1], "GET /v1/registries/oci/r1/basic -> 200");
    assert_eq!(lines[first + 2], "PUT /v1/registries/oci/r1/basic -> 204");
    let site = Site::with_registry();
    let fault = site.fault(Match::put(ENTRY), Times::Always, Action::Answer(Answer::status(500)));
    set(&site).run().exits(6).writes_nothing().says("500 Internal Server Error");
    assert_eq!(fault.hits(), 3);
}

#[test]
fn r4_if_reading_fails_too_the_result_is_reported_as_unknown() {
    let site = Site::with_registry();
    site.fault(Match::put(ENTRY), Times::Always, Action::LoseReply);
    site.fault(Match::get(ENTRY), Times::Nth(3), Action::Answer(Answer::html(404, "<html></html>")));
    set(&site).run().exits(6).writes_nothing().says("so it is unknown whether the change was made");
    assert_eq!(site.vertex.registry_writes("r1").0, 1);
}

#[test]
fn r5_a_change_by_someone_else_is_shown_and_left_alone() {
    let site = Site::with_registry();
    site.vertex.behave(|b| b.registry_masking = Masking::Shown);
    let vertex = site.vertex.clone();
    let edit = Action::edit(move |_| {
        vertex.edit_registry("r1", |entry| {
            entry["spec"]["basePath"] = json!("/changed");
            entry["spec"]["auth"]["password"] = json!("other-canary-8");
        });
    });
    secret("other-canary-8");
    site.fault(Match::post(VALIDATE), Times::Always, edit);
    set(&site).run().exits(7).writes_nothing().says(
        "someone else changed the entry meanwhile; nothing was written:\n  spec.auth.password: (not shown) -> (not shown)\n  \
         spec.basePath: (empty) -> '/changed'\n",
    );
    assert_eq!(site.vertex.registry_writes("r1").0, 0);
}

#[test]
fn r6_a_write_that_reads_back_differently_is_a_mismatch() {
    let site = Site::with_registry();
    let fault = site.fault(Match::put(ENTRY), Times::Always, Action::Answer(Answer::status(204)));
    set(&site).run().exits(7).writes_nothing().says("VerteX confirmed the write, but the flag reads false");
    assert_eq!(fault.hits(), 1);
}

#[test]
fn r8_a_second_run_writes_nothing() {
    let site = Site::with_registry();
    set(&site).run().succeeds();
    site.server.log().clear();
    let outcome = without_login(&site).run();
    outcome.succeeds().reports("pack-registry-set: the flag of 'harbor' is true already\n");
    assert_eq!(outcome.json()["pack_registry"]["changed"], false);
    assert_eq!(site.writes(), [""; 0]);
}

#[test]
fn r9_unexpected_answers_are_reported_by_their_class() {
    let deep = format!("{{\"items\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let huge = format!("{{\"items\":[\"{}\"]}}", "x".repeat(64 << 20));
    let page = "<html><title>Bad Gateway</title></html>";
    for (answer, status, says) in [
        (Answer::status(422).body("no such thing"), 1, "422 Unprocessable Entity: no such thing"),
        (Answer::html(502, page), 6, "an HTML page titled 'Bad Gateway'"),
        (Answer::html(200, page), 7, "an HTML page titled 'Bad Gateway'"),
        (Answer::status(200), 7, "the answer is empty"),
        (Answer::status(200).body(huge), 7, "longer than"),
        (Answer::status(200).body(deep), 7, "nests deeper"),
        (Answer::status(200).body("{}"), 7, "not a list of pack registries"),
        (Answer::status(302).header("location", "https://sso.example/x"), 5, "redirects are not followed"),
        (Answer::json(403, &json!({"code": "Forbidden", "message": "no\u{1b}[2J"})), 4, "Forbidden: no\\x1b[2J"),
    ] {
        let site = Site::with_registry();
        site.fault(Match::get("/v1/registries/oci/summary"), Times::Always, Action::Answer(answer));
        set(&site).args(["--timeout", "3s"]).run().exits(status).writes_nothing().says(says);
        assert_eq!(site.writes(), [""; 0]);
    }
    let site = Site::with_registry();
    site.fault(Match::post(VALIDATE), Times::Always, Action::Answer(Answer::html(200, page)));
    set(&site).run().exits(7).writes_nothing().says("an HTML page");
    assert_eq!(site.vertex.registry_writes("r1").0, 0);
}

#[test]
fn r9_a_server_that_repeats_secrets_is_quoted_without_them() {
    let site = Site::with_registry();
    let token = site.session()["authorization"].as_str().unwrap().to_owned();
    let words = format!("bad login robot$packs:{REGISTRY_PASSWORD} with {token}");
    let answer = Answer::json(400, &json!({"code": "Bad", "message": words}));
    site.fault(Match::post(VALIDATE), Times::Always, Action::Answer(answer));
    set(&site).arg("-vv").run().exits(1).writes_nothing().says("Bad: bad login robot$packs:");
}

#[test]
fn a_get_is_tried_again_within_its_time() {
    let site = Site::with_registry();
    let fault = site.fault(Match::get("/**"), Times::First(2), Action::Answer(Answer::status(503)));
    set(&site).run().succeeds();
    assert_eq!(fault.hits(), 2);
}

#[test]
fn an_artifact_that_specman_would_not_find_is_a_mismatch() {
    let site = Site::with_registry();
    site.vertex.edit_registry("r1", |entry| entry["spec"]["baseContentPath"] = json!("/packs/"));
    set(&site).run().fails(
        7,
        "pack-registry-set: error: set the flag of 'harbor': the artifact is in 'spectro-packs/spectro-manifests/manifest', and \
         Specman will look in 'packs/spectro-manifests/manifest'\n\
         pack-registry-set: hint: push it there: ocipush harbor.example/packs/spectro-manifests/manifest:0.0.0; or correct the \
         entry's base content path, now '/packs/'\n",
    );
    assert_eq!(site.writes(), [""; 0]);
    let outcome = set(&site).args(["--contains-spectro-manifests=false"]).run();
    outcome.succeeds().says("is false already");
}

#[test]
fn the_flag_can_be_cleared() {
    let site = Site::with_registry();
    let before = site.vertex.registry("r1").unwrap();
    set(&site).run().succeeds();
    let outcome = set(&site).arg("--contains-spectro-manifests=false").run();
    outcome.succeeds();
    assert_eq!(outcome.json()["pack_registry"]["contains_spectro_manifest"], false);
    assert_eq!(site.vertex.registry("r1").unwrap(), before);
}

#[test]
fn a_dry_run_shows_the_difference_and_writes_nothing() {
    let site = Site::with_registry();
    let outcome = set(&site).arg("--dry-run").run();
    outcome.succeeds().reports(
        "pack-registry-set: would validate the entry 'harbor' (r1) and write it with\n\
         pack-registry-set: would change spec.auth.password: as given\n\
         pack-registry-set: would change spec.containsSpectroManifest: false -> true\n",
    );
    let mut record = site.pushed();
    record["session"]["endpoint"] = json!("[VERTEX]");
    record["dry_run"] = json!(true);
    assert_eq!(outcome.json(), record);
    assert!(site.requests().iter().all(|line| line.starts_with("GET ")));
    let empty = json!({"record": "scar-tools/1", "dry_run": true});
    tool("pack-registry-set")
        .record(&empty)
        .run()
        .succeeds()
        .prints("{\"record\":\"scar-tools/1\",\"dry_run\":true}\n")
        .reports("pack-registry-set: would set the flag of the pack registry that the artifact is pushed to: true\n");
}

#[test]
fn a_backup_is_private_and_the_first_one_is_kept() {
    let site = Site::with_registry();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("harbor.json");
    let before = site.vertex.registry("r1").unwrap();
    let run = || set(&site).arg("--backup").arg(&file);
    run().run().succeeds();
    let read = |path: &std::path::Path| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap();
    let mut shown = before;
    shown["spec"]["auth"]["password"] = json!("********");
    assert_eq!(read(&file)["entry"], shown);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    run().arg("--contains-spectro-manifests=false").run().succeeds().says("harbor.json.1'");
    assert_eq!(read(&file)["entry"], shown);
    assert_eq!(read(&folder.path().join("harbor.json.1"))["entry"]["spec"]["containsSpectroManifest"], true);
    set(&site).args(["--backup", "/nonexistent/x"]).run().exits(2).writes_nothing().says("its folder is not there");
}

#[test]
fn the_sync_is_waited_for_and_its_failure_shown() {
    let site = Site::with_registry();
    let path = "/v1/registries/oci/r1/basic/sync/status";
    let status = |word: &str, run: &str| {
        let status = json!({"status": word, "message": "no route", "isSyncSupported": true, "lastRunTime": run});
        Action::Answer(Answer::json(200, &status))
    };
    let (old, new) = ("2026-01-05T08:12:44.431Z", "2026-01-05T09:00:00.000Z");
    // An earlier failed or successful sync says nothing about this write.
    site.fault(Match::get(path), Times::First(2), status("Failed", old));
    let running = site.fault(Match::get(path), Times::First(1), status("Pending", new));
    site.fault(Match::get(path), Times::Always, status("Failed", new));
    set(&site).run().succeeds().says("warning: the flag is set, but the registry's sync failed: no route");
    assert_eq!(running.hits(), 1);
    assert_eq!(site.server.log().count(&Match::get(path)), 4);
}

#[test]
fn a_token_goes_only_to_its_own_origin() {
    let site = Site::with_registry();
    let other = Site::with_registry();
    set(&site).args(["--endpoint", &other.url()]).run().exits(5).writes_nothing().says("use the session: it is for");
    set(&site).args(["--endpoint", &(site.url() + "/v1")]).run().succeeds();
    assert_eq!(other.server.log().connections(), 0);
}

#[test]
fn a_record_that_lacks_what_is_needed_names_the_tool_that_writes_it() {
    let site = Site::with_registry();
    let run = |record: &Value| tool("pack-registry-set").record(record).run();
    run(&json!({"record": "scar-tools/1"})).fails(
        2,
        "pack-registry-set: error: read the record: it has no section 'artifact'\n\
         pack-registry-set: hint: run ocipush before this step, and pass its record on\n",
    );
    let mut record = site.pushed();
    record.as_object_mut().unwrap().remove("session");
    run(&record).exits(2).writes_nothing().says("no section 'session'").says("run vertex-login before this step");
    record["session"] = json!({"endpoint": site.url(), "authorization": "(not shown on a terminal)", "insecure": false});
    run(&record).exits(2).writes_nothing().says("its token cannot be one");
    let session = json!({"record": "scar-tools/1", "session": site.session()});
    set(&site).record(&session).args(["--name", "harbor"]).run().succeeds();
    tool("pack-registry-set").stdin("").run().exits(2).writes_nothing().says("not run: the stage before it wrote no record");
}
