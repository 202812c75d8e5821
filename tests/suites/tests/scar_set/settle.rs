//! After the write: the settling time with the validation, and the two jobs.

use std::path::Path;

use scar_kit::tool;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::vertex::{JOBS, Masking, SPECMAN};
use serde_json::json;

use crate::vertex_site::Private;
use crate::{OLD_PASSWORD, VALIDATE, home, new, old, set, site, undo};

#[test]
fn c6_a_setting_that_is_never_accepted_starts_no_job_and_prints_the_undo_command() {
    let site = site();
    let home = home();
    site.vertex.set_persisted(false);
    let outcome = set(&site, home.path()).run();
    outcome.exits(7).writes_nothing().says("validate the SCAR setting: VerteX did not accept it within 1 s");
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
fn c6_a_setting_that_is_accepted_in_time_succeeds() {
    let site = site();
    let home = home();
    site.vertex.behave(|b| b.scar_invalid_for = 2);
    site.fault(Match::get(VALIDATE), Times::Nth(2), Action::Answer(Answer::html(502, "<html></html>")));
    tool("scar-set").record(&site.persisted()).home(home.path()).run().succeeds();
    assert_eq!(site.vertex.jobs(), JOBS);
}

#[test]
fn c6_without_time_to_settle_vertex_is_asked_once() {
    let site = site();
    let home = home();
    site.vertex.set_persisted(false);
    let outcome = tool("scar-set").record(&site.persisted()).home(home.path()).args(["--settle", "0s"]).run();
    outcome.exits(7).writes_nothing().says("validate the SCAR setting: VerteX did not accept it: ");
    assert_eq!(site.server.log().count(&Match::get(VALIDATE)), 1);
}

#[test]
fn c6_undo_on_failure_restores_the_old_setting() {
    let site = site();
    let home = home();
    site.vertex.set_persisted(false);
    let outcome = set(&site, home.path()).arg("--undo-on-failure").run();
    outcome.exits(7).writes_nothing().says("the old setting 'https://old.example' is restored (--undo-on-failure)");
    assert_eq!(site.vertex.scar(), old());
    // A hidden secret must be given before anything is changed.
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

/// A running job may have begun before the change, and then syncs from the old address.
#[test]
fn c7_a_job_that_runs_already_does_not_count_as_started() {
    let site = site();
    let home = home();
    site.vertex.behave(|b| b.jobs_in_progress.push(JOBS[0].into()));
    let outcome = set(&site, home.path()).run();
    outcome.exits(8).writes_nothing().says("409 Conflict").says("run this step again in a few minutes").says("and stays so");
    assert_eq!(site.vertex.jobs(), [JOBS[1]]);
    site.vertex.behave(|b| b.jobs_in_progress.clear());
    set(&site, home.path()).run().succeeds().says(&format!("job '{}': started", JOBS[0]));
    assert_eq!(site.vertex.scar_writes(), 1);
}

#[test]
fn c8_a_job_that_fails_is_named_and_scar_stays_set() {
    for (action, status) in [
        (Action::Answer(Answer::status(404)), 1),
        (Action::Answer(Answer::json(422, &json!({"message": "no"}))), 1),
        (Action::Answer(Answer::html(200, "<html><title>Login</title></html>")), 7),
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
fn a_session_that_ends_in_the_middle_says_in_which_state_the_system_is() {
    let site = site();
    let home = home();
    let ended = Answer::json(401, &json!({"code": "TokenExpired", "message": "token is expired"}));
    site.fault(Match::get(VALIDATE), Times::Always, Action::Answer(ended));
    let outcome = set(&site, home.path()).run();
    outcome.exits(4).writes_nothing().says("TokenExpired").says("stays so; no sync job was started").says("log in again");
    assert!(site.vertex.jobs().is_empty());
}

/// The guide's script only accepts 204. Anything else may come from a proxy, or be an error in disguise.
#[test]
fn q8_only_204_means_that_a_job_was_started() {
    for (answer, status, says) in [
        (Answer::status(200), 7, "the answer is 200 OK, not 204 No Content"),
        (Answer::json(200, &json!({"code": "Busy", "message": "try later"})), 7, "not 204 No Content: Busy: try later"),
        (Answer::json(202, &json!({"uid": "job-1"})), 7, "the answer is 202 Accepted"),
        (Answer::json(500, &json!({"message": "the job is already running"})), 6, "500 Internal Server Error: the job is"),
    ] {
        let site = site();
        let home = home();
        let fault = site.fault(Match::get("/v1/jobs/**"), Times::Always, Action::Answer(answer));
        let outcome = set(&site, home.path()).run();
        outcome.exits(status).writes_nothing().says(says).says("run this step again to start the syncs");
        assert_eq!(fault.hits(), 2);
    }
}

#[test]
fn q8_only_the_documented_answer_accepts_a_setting() {
    for answer in [
        Answer::json(200, &json!({})),
        Answer::json(200, &json!({"code": "ScarValidationFailed", "message": "no"})),
        Answer::json(200, &json!({"spectroVersion": ""})),
        Answer::json(200, &json!({"spectroVersion": true})),
        Answer::status(204),
        Answer::json(201, &json!({"spectroVersion": "4.5.15"})),
    ] {
        let site = site();
        let home = home();
        site.fault(Match::get(VALIDATE), Times::Always, Action::Answer(answer));
        let outcome = set(&site, home.path()).run();
        outcome
            .exits(7)
            .writes_nothing()
            .says("validate the SCAR setting: VerteX did not accept it within 1 s")
            .says("scar-set --undo");
        assert!(site.vertex.jobs().is_empty());
    }
}
