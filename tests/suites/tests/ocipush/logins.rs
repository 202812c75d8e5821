//! Logins by password and token, and that none goes where it does not belong.

use std::sync::Arc;
use std::time::Duration;

use scar_kit::Run;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::registry::{Auth, Credentials, LabRegistry, RegistryOptions, TokenService};
use scar_lab::server::{Listener, Server};
use serde_json::json;

use crate::{REPOSITORY, Site};

pub(crate) const PASSWORD: &str = "canary+pass/word=1";

pub(crate) fn basic() -> Site {
    Site::start(RegistryOptions { auth: Auth::Basic(Credentials::new("pusher", PASSWORD)), ..RegistryOptions::default() })
}

pub(crate) fn service() -> Arc<TokenService> {
    Arc::new(TokenService::new(Credentials::new("pusher", PASSWORD), Duration::from_secs(1800)))
}

pub(crate) fn bearer(service: &Arc<TokenService>) -> Site {
    Site::start(RegistryOptions { auth: Auth::Bearer(service.clone()), ..RegistryOptions::default() })
}

/// The number of requests with an `Authorization` of this scheme.
pub(crate) fn authorizations(site: &Server, scheme: &str) -> usize {
    let with = |request: &&scar_lab::log::Request| request.header("authorization").is_some_and(|value| value.starts_with(scheme));
    site.log().requests().iter().filter(with).count()
}

pub(crate) fn log_in(run: Run, password: &str) -> Run {
    run.args(["-u", "pusher", "--password-stdin"]).stdin(format!("{password}\n")).secret(password)
}

#[test]
fn p5_each_kind_of_login_is_used_as_asked() {
    let site = basic();
    log_in(site.ocipush(site.archive(10)), PASSWORD).run().succeeds();
    let service = service();
    let site = bearer(&service);
    log_in(site.ocipush(site.archive(10)), PASSWORD).run().succeeds();
    assert_eq!((authorizations(&site.registry, "Basic"), site.registry.log().count(&Match::get("/service/token"))), (1, 1));
    let asked = &site.registry.log().matching(&Match::get("/service/token"))[0];
    assert!(
        asked.query.as_ref().unwrap().contains("scope=repository%3Aspectro-packs%2Fspectro-manifests%2Fmanifest%3Apull%2Cpush")
    );
    let site = Site::plain();
    log_in(site.ocipush(site.archive(10)), PASSWORD).run().succeeds();
    assert_eq!(authorizations(&site.registry, "Basic"), 0, "nobody asked for it");
}

#[test]
fn p5_a_malformed_challenge_is_reported() {
    for challenge in ["Bearer service=\"x\"", "Negotiate", "Bearer realm=\"unclosed", "Bearer realm=\"\""] {
        let site = Site::plain();
        let answer = Answer::status(401).header("www-authenticate", challenge);
        site.registry.faults().on(Match::any("/v2/**"), Times::Always, Action::Answer(answer));
        log_in(site.ocipush(site.archive(10)), PASSWORD).run().exits(4).writes_nothing();
        assert_eq!(authorizations(&site.registry, "Basic"), 0);
    }
}

#[test]
fn p6_no_login_goes_to_a_token_realm_on_another_host() {
    let other = LabRegistry::start(RegistryOptions::default());
    let other_realm = format!("{}/service/token", other.url());
    for realm in [
        &other_realm,
        "https://auth.example/token",
        "http://169.254.169.254/latest",
        "http://10.0.0.1:8080/t",
        "ftp://x/",
        "file:///etc/passwd",
    ] {
        let site = bearer(&Arc::new(TokenService::new(Credentials::new("pusher", PASSWORD), Duration::from_secs(60)).at(realm)));
        let outcome = log_in(site.ocipush(site.archive(10)), PASSWORD).run();
        outcome.exits(5).writes_nothing().says("its token realm").never_says("null");
        assert_eq!(authorizations(&site.registry, "Basic"), 0);
    }
    assert_eq!(other.log().connections(), 0);
}

#[test]
fn what_may_get_the_login_or_the_archive_is_a_host() {
    let site = Site::plain();
    for option in ["--trust-realm", "--trust-upload"] {
        for bad in ["https://auth.example", "auth.example/token", "user@auth.example", ""] {
            let outcome = site.ocipush(site.archive(10)).args([option, bad]).run();
            outcome.exits(2).writes_nothing().says(&format!("'{bad}' is not HOST[:PORT], such as auth.example:8443\n"));
        }
    }
    assert_eq!(site.registry.log().connections(), 0);
}

#[test]
fn p6_a_token_realm_on_another_host_needs_trust_realm() {
    let credentials = Credentials::new("pusher", PASSWORD);
    // The realm's port must be known before its service is created.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let service = TokenService::new(credentials, Duration::from_secs(60)).at(&format!("http://127.0.0.1:{port}/service/token"));
    let service = Arc::new(service);
    let realm = Server::start(service.router(), Listener { port, ..Listener::plain() });
    let site = bearer(&service);
    let host = realm.authority();
    let push = || log_in(site.ocipush(site.archive(10)), PASSWORD).called(port, "REALM");
    push().run().fails(
        5,
        "ocipush: error: get a token for '127.0.0.1:PORT': its token realm 'http://127.0.0.1:REALM' is another server; \
         the login was not sent to it\n\
         ocipush: hint: if that server belongs to the registry, add --trust-realm 127.0.0.1:REALM\n",
    );
    site.ocipush(site.archive(10)).called(port, "REALM").run().exits(5).says("is another server; nothing was sent to it");
    assert_eq!(realm.log().connections(), 0);
    push().args(["--trust-realm", "other.example"]).run().exits(5);
    push().args(["--trust-realm", &host]).run().succeeds();
    assert_eq!(authorizations(&realm, "Basic"), 1);
    assert_eq!(authorizations(&site.registry, "Basic"), 0);
}

#[test]
fn p7_a_malformed_token_answer_is_reported_and_not_retried_forever() {
    for (answer, says) in [
        (Answer::json(200, &json!({})), "contains no token"),
        (Answer::json(200, &json!({"token": ""})), "contains no token"),
        (Answer::json(200, &json!({"token": "a b\r\n", "expires_in": 1e18})), "contains invalid characters"),
        (Answer::json(200, &json!({"token": "wrong", "expires_in": -1})), "401 Unauthorized"),
        (Answer::html(200, "<html><title>Sign in</title></html>"), "an HTML page titled 'Sign in'"),
        (Answer::status(200).body(vec![b' '; 10 << 20]), "longer than"),
        (Answer::status(500), "500 Internal Server Error"),
    ] {
        let site = bearer(&service());
        let fault = site.registry.faults().on(Match::get("/service/token"), Times::Always, Action::Answer(answer));
        let outcome = log_in(site.ocipush(site.archive(10)).args(["--retries", "2"]), PASSWORD).run();
        outcome.exits(if says.starts_with("500") { 6 } else { 4 }).says(says).writes_nothing();
        assert!(fault.hits() <= 9, "{says}: asked {} times", fault.hits());
    }
}

#[test]
fn p8_a_wrong_password_is_tried_once() {
    let site = basic();
    let outcome = log_in(site.ocipush(site.archive(10)), "canary-wrong").run();
    outcome.exits(4).says("user or password is wrong").says("no project 'spectro-packs'").writes_nothing();
    assert_eq!(authorizations(&site.registry, "Basic"), 1);
    let site = bearer(&service());
    log_in(site.ocipush(site.archive(10)), "canary-wrong").run().exits(4).writes_nothing();
    assert_eq!(site.registry.log().count(&Match::get("/service/token")), 1);
    let site = bearer(&service());
    let denied = Answer::json(403, &json!({"errors": [{"code": "DENIED", "message": "locked"}]}));
    let fault = site.registry.faults().on(Match::get("/service/token"), Times::Always, Action::Answer(denied));
    log_in(site.ocipush(site.archive(10)), PASSWORD).run().exits(4).says("DENIED: locked").writes_nothing();
    assert_eq!(fault.hits(), 1);
}

#[test]
fn p7_a_failing_token_realm_is_retried_as_often_as_the_user_allows() {
    for status in [500, 503, 429] {
        let service = service();
        let site = bearer(&service);
        let realm = Match::get("/service/token");
        let fault = site.registry.faults().on(realm.clone(), Times::Always, Action::Answer(Answer::status(status)));
        log_in(site.ocipush(site.archive(1000)).args(["--retries", "2"]), PASSWORD).run().exits(6).writes_nothing();
        assert_eq!(fault.hits(), 3);
        // Now it answers again, after two failures.
        site.registry.faults().clear();
        site.registry.faults().on(realm, Times::First(2), Action::Answer(Answer::status(status)));
        log_in(site.ocipush(site.archive(1000)).args(["--retries", "2"]), PASSWORD).run().succeeds();
    }
}

#[test]
fn p13_no_login_goes_to_an_upload_location_on_another_host() {
    let site = basic();
    let other = LabRegistry::start(RegistryOptions::default());
    other.tolerate_unexpected();
    let elsewhere = format!("{}/v2/x/blobs/uploads/1?_state=0", other.url());
    let fault = site.registry.faults().on(Match::post("/**"), Times::Always, Action::set_header("location", &elsewhere));
    let push = || log_in(site.ocipush(site.archive(1000)), PASSWORD).called(other.port(), "OTHER");
    push().run().fails(
        5,
        "ocipush: error: push to '127.0.0.1:PORT': it asks to send the archive to another server, 'http://127.0.0.1:OTHER'\n\
         ocipush: hint: if that server belongs to the registry, add --trust-upload 127.0.0.1:OTHER\n",
    );
    assert_eq!((other.log().connections(), fault.hits()), (0, 1));
    other.faults().on(Match::put("/**"), Times::Always, Action::Answer(Answer::status(201)));
    push().args(["--trust-upload", &other.authority(), "--retries", "0"]).run().exits(7).writes_nothing();
    let put = &other.log().requests()[0];
    assert_eq!((put.body_bytes, put.header("authorization")), (1000, None));
}

#[test]
fn p14_redirects_are_followed_only_to_the_same_origin() {
    let site = basic();
    let to = |url: &str| Action::Answer(Answer::status(307).header("location", url));
    let path = format!("/v2/{REPOSITORY}/blobs/uploads/");
    site.registry.faults().on(Match::post(&path), Times::First(1), to(&path));
    log_in(site.ocipush(site.archive(1000)), PASSWORD).run().succeeds();
    let other = LabRegistry::start(RegistryOptions::default());
    site.registry.faults().on(Match::post(&path), Times::Always, to(&format!("{}{path}", other.url())));
    log_in(site.ocipush(site.archive(2000)), PASSWORD).run().exits(5).says("another server").writes_nothing();
    assert_eq!(other.log().connections(), 0);
    site.registry.faults().clear();
    let circle = site.registry.faults().on(Match::post(&path), Times::Always, to(&path));
    log_in(site.ocipush(site.archive(2000)), PASSWORD).run().exits(5).says("it redirects to").writes_nothing();
    assert_eq!(circle.hits(), 6);
}
