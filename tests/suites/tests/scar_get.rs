//! scar-get against the lab's VerteX: what it reads and expects, and that it changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod vertex_site;

use scar_kit::{Run, tool};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::vertex::SPECMAN;
use serde_json::{Value, json};
use vertex_site::Site;

const SCAR: &str = "/v1/system/config/scar";

/// A site whose SCAR setting is Specman's address.
fn site() -> Site {
    let site = Site::start();
    site.vertex.set_scar(json!({"endpoint": SPECMAN, "username": "", "password": ""}));
    site.vertex.set_persisted(true);
    site
}

fn get(site: &Site) -> Run {
    let record = json!({"record": "scar-tools/1", "x-unknown": [1.50], "session": site.session()});
    tool("scar-get").record(&record).called(site.url(), "[VERTEX]")
}

fn section(validated: bool, version: &str) -> Value {
    json!({
        "endpoint": SPECMAN, "vertex": "[VERTEX]", "changed": false, "validated": validated, "spectro_version": version,
        "previous": {"endpoint": SPECMAN, "insecure_verify": false, "has_ca_cert": false, "has_password": false}, "jobs": []
    })
}

#[test]
fn reads_the_setting_and_the_installed_version_and_drops_the_session() {
    let site = site();
    site.vertex.behave(|b| b.version = "4.5.20".into());
    let outcome = get(&site).run();
    let record = json!({"record": "scar-tools/1", "x-unknown": [1.50], "scar": section(false, "4.5.20")});
    assert_eq!(outcome.succeeds().json(), record);
    assert_eq!(outcome.stderr(), format!("scar-get: SCAR is '{SPECMAN}'\nscar-get: VerteX 4.5.20 is installed\n"));
    assert_eq!(site.requests(), ["GET /v1/system/config/scar -> 200", "GET /v1/system/version/installed -> 200"]);
}

#[test]
fn an_expected_endpoint_is_compared_by_meaning() {
    let site = site();
    get(&site).args(["--expect", &format!("{SPECMAN}/")]).run().succeeds();
    get(&site).args(["--expect", &SPECMAN.replace("https:", "HTTPS:")]).run().succeeds();
    let outcome = get(&site).args(["--expect", "https://scar.example"]).run();
    outcome.fails(
        7,
        &format!(
            "scar-get: SCAR is '{SPECMAN}'\nscar-get: VerteX 4.5.15 is installed\n\
             scar-get: error: check the SCAR setting: SCAR is '{SPECMAN}', not 'https://scar.example'\n\
             scar-get: hint: scar-set sets it, scar-set --undo FILE restores a saved one\n"
        ),
    );
}

#[test]
fn an_expected_endpoint_without_a_scheme_is_refused_before_anything_is_read() {
    let site = site();
    get(&site).args(["--expect", "scar.example"]).run().fails(
        2,
        "scar-get: error: read --expect 'scar.example': it has no scheme\nscar-get: hint: write https://scar.example\n",
    );
    assert_eq!(site.requests(), Vec::<String>::new());
}

#[test]
fn a_setting_that_vertex_rejects_is_a_mismatch() {
    let site = site();
    let outcome = get(&site).arg("--validate").run();
    assert_eq!(outcome.succeeds().json()["scar"], section(true, "4.5.15"));
    site.vertex.set_persisted(false);
    let outcome = get(&site).arg("--validate").run();
    assert_eq!(outcome.status(), 7);
    assert!(
        outcome.stderr().contains("error: validate the SCAR setting: VerteX does not accept it: GET [VERTEX]"),
        "{}",
        outcome.stderr()
    );
    assert_eq!(outcome.stdout(), "");
}

#[test]
fn what_scar_set_has_recorded_of_the_same_endpoint_is_kept() {
    let site = site();
    let mut scar = section(true, "4.5.15");
    scar["vertex"] = site.url().into();
    scar["changed"] = true.into();
    scar["backup"] = "/backup.json".into();
    scar["previous"]["endpoint"] = "https://old.example".into();
    scar["jobs"] = json!([{"name": "syncCloudInstanceTypesData", "status": "started"}]);
    let record = json!({"record": "scar-tools/1", "session": site.session(), "scar": scar});
    let outcome = tool("scar-get").record(&record).arg("--keep-session").run();
    assert_eq!(outcome.succeeds().json(), record);
    site.vertex.set_scar(json!({"endpoint": "https://third.example"}));
    let outcome = tool("scar-get").record(&record).run();
    assert_eq!(outcome.succeeds().json()["scar"]["previous"]["endpoint"], "https://third.example");
}

#[test]
fn a_session_that_has_ended_and_a_page_in_place_of_json_are_named() {
    let site = site();
    let fault = site.fault(Match::get(SCAR), Times::First(1), Action::Answer(Answer::html(200, "<title>Sign in</title>")));
    let outcome = get(&site).run();
    assert_eq!((outcome.status(), fault.hits()), (7, 1));
    assert!(outcome.stderr().contains("the answer is an HTML page titled 'Sign in'"), "{}", outcome.stderr());
    let ended = Answer::json(401, &json!({"code": "Unauthorized", "message": "the token has expired"}));
    let fault = site.fault(Match::get(SCAR), Times::First(1), Action::Answer(ended));
    let outcome = get(&site).run();
    assert_eq!((outcome.status(), fault.hits()), (4, 1));
    assert!(outcome.stderr().contains("log in again: vertex-login [VERTEX]"), "{}", outcome.stderr());
}

#[test]
fn q7_an_answer_that_is_not_a_setting_is_a_mismatch() {
    let site = site();
    for answer in [json!({}), json!({"code": "Busy", "message": "later"}), json!({"endpoint": null}), json!([])] {
        site.fault(Match::get(SCAR), Times::First(1), Action::Answer(Answer::json(200, &answer)));
        let outcome = get(&site).args(["--expect", SPECMAN]).run();
        assert_eq!((outcome.status(), outcome.stdout()), (7, String::new()), "{answer}");
        assert!(outcome.stderr().contains("not a SCAR setting"), "{outcome}");
    }
}

#[test]
fn q9_sections_about_another_vertex_are_ignored() {
    let site = site();
    let mut scar = section(true, "4.5.15");
    scar["vertex"] = "https://other.example".into();
    scar["jobs"] = json!([{"name": "syncCloudInstanceTypesData", "status": "started"}]);
    let record = json!({"record": "scar-tools/1", "session": site.session(), "scar": scar});
    let outcome = tool("scar-get").record(&record).run();
    assert_eq!(outcome.succeeds().json()["scar"]["jobs"], json!([]));
}

#[test]
fn a_dry_run_reads_and_adds_nothing() {
    let site = site();
    let outcome = get(&site).arg("--dry-run").run();
    assert_eq!(outcome.succeeds().json(), json!({"record": "scar-tools/1", "x-unknown": [1.50], "dry_run": true}));
    let outcome = tool("scar-get").record(&json!({"record": "scar-tools/1", "dry_run": true})).run();
    outcome.succeeds();
    assert_eq!(outcome.stderr(), "scar-get: would log in and read the SCAR setting\n");
    assert_eq!(site.writes(), Vec::<String>::new());
}
