//! Refusals by a registry, or a proxy in front of it.

use std::time::Duration;

use scar_lab::faults::{Action, Answer, Times};
use serde_json::json;

use crate::requests::{error, manifests, patches, puts, uploads};
use crate::{REPOSITORY, SIZE, Site, assert_pushed};

#[test]
fn p15_a_missing_repository_is_named() {
    let site = Site::plain();
    site.registry.faults().on(uploads(), Times::Always, Action::Answer(error(404, "NAME_UNKNOWN")));
    let outcome = site.ocipush(site.archive(SIZE)).run();
    outcome.fails(
        3,
        &format!(
            "ocipush: error: push to '127.0.0.1:PORT/{REPOSITORY}:0.0.0': POST http://127.0.0.1:PORT/v2/{REPOSITORY}/blobs/uploads/: \
             404 Not Found: NAME_UNKNOWN: the lab says so\n\
             ocipush: hint: create the project 'spectro-packs' (Harbor) or the repository {REPOSITORY} first\n"
        ),
    );
    site.registry.faults().clear();
    site.registry.faults().on(uploads(), Times::Always, Action::Answer(error(403, "DENIED")));
    let run = site.ocipush(site.archive(SIZE)).args(["-u", "user", "--password-stdin"]).stdin("canary/p15\n");
    run.secret("canary/p15").run().exits(4).says("may not push").says("no project 'spectro-packs'");
    // Some Harbor versions fail on it; that may pass, so it is retried like anything else.
    site.registry.faults().clear();
    let failing = site.registry.faults().on(uploads(), Times::Always, Action::Answer(error(500, "UNKNOWN")));
    let run = || site.ocipush(site.archive(SIZE)).args(["--retries", "1"]);
    let outcome = run().args(["-u", "user", "--password-stdin"]).stdin("canary/p15\n").secret("canary/p15").run();
    outcome.exits(4).says("there is no project 'spectro-packs', or the user may not push").writes_nothing();
    assert_eq!(failing.hits(), 2);
    // Without a login nobody was refused.
    run().run().exits(6).says("the server has a problem").writes_nothing();
}

#[test]
fn p17_server_errors_are_tried_again_whatever_their_body_says() {
    for status in [500, 502, 503, 504, 408, 499, 522] {
        for answer in [error(status, "UNHEARD_OF"), Answer::html(status, "<html><title>oh</title></html>")] {
            let site = Site::plain();
            let fault = site.registry.faults().on(puts(), Times::First(1), Action::Answer(answer));
            site.ocipush(site.archive(SIZE)).run().succeeds();
            assert_eq!(fault.hits(), 1);
            assert_pushed(&site, SIZE);
        }
    }
}

#[test]
fn p18_a_rate_limit_of_a_proxy_is_not_reported_as_a_block() {
    // nginx with limit_req_status 429 (ngx_http_limit_req_module) answers with its usual page.
    let site = Site::plain();
    let page = Answer::html(429, "<html><head><title>429 Too Many Requests</title></head></html>");
    site.registry.faults().on(uploads(), Times::Always, Action::Answer(page));
    let outcome = site.ocipush(site.archive(SIZE)).args(["--retries", "0"]).run();
    outcome.exits(6).says("titled '429 Too Many Requests'").says("it is safe to run this step again").writes_nothing();
}

#[test]
fn q50_a_pull_through_cache_is_not_a_read_only_registry() {
    // Distribution with proxy.remoteurl: v2.8 registry/proxy/proxyblobstore.go, `Create`, and registry/handlers/blobupload.go.
    let site = Site::plain();
    let unsupported = json!({"errors": [{"code": "UNSUPPORTED", "message": "The operation is unsupported."}]});
    site.registry.faults().on(uploads(), Times::Always, Action::Answer(Answer::json(405, &unsupported)));
    site.ocipush(site.archive(SIZE)).run().exits(1).says("this registry is a pull-through cache").writes_nothing();
}

#[test]
fn p18_retry_after_is_waited_for_up_to_the_users_limit() {
    let site = Site::plain();
    let later = |after: &str| Action::Answer(Answer::status(429).header("retry-after", after));
    site.registry.faults().on(puts(), Times::First(1), later("1"));
    let run = |archive: std::path::PathBuf| {
        site.bare().arg(archive).args(["--plain-http", "--new-record", "--retry-max-wait", "2s"]).run()
    };
    let outcome = run(site.archive(SIZE));
    outcome.succeeds();
    assert!(outcome.took() >= Duration::from_secs(1), "{:?}", outcome.took());
    for asked in ["soon", ""] {
        site.registry.faults().on(puts(), Times::First(1), later(asked));
        run(site.archive(SIZE + asked.len() + 1)).succeeds();
    }
    let fault = site.registry.faults().on(puts(), Times::Always, later("99999"));
    run(site.archive(20)).exits(6).says("the registry asks to wait 99999 s, longer than --retry-max-wait");
    assert_eq!(fault.hits(), 1);
}

#[test]
fn p24_a_full_quota_is_reported_and_not_tried_again() {
    let site = Site::plain();
    let quota = json!({"errors": [{"code": "DENIED", "message": "quota exceeded: adding 1.0 MiB would exceed 10 of 10 MiB"}]});
    let fault = site.registry.faults().on(puts(), Times::Always, Action::Answer(Answer::json(403, &quota)));
    site.ocipush(site.archive(SIZE)).run().exits(1).says("would exceed 10 of 10 MiB").says("raise it").writes_nothing();
    assert_eq!(fault.hits(), 1);
}

/// The message of Harbor's quota controller, which does not contain the word quota.
#[test]
fn p24_a_full_quota_is_recognized_by_harbors_message() {
    let words = "adding 29.0 MiB of storage resource, which when updated to current usage of 152.4 MiB will exceed the configured \
                 upper limit of 10.0 MiB.";
    let quota = json!({"errors": [{"code": "DENIED", "message": words}]});
    for (matcher, chunks) in [(uploads(), false), (puts(), false), (patches(), true), (manifests(), false)] {
        for login in [false, true] {
            let site = Site::plain();
            let fault = site.registry.faults().on(matcher.clone(), Times::Always, Action::Answer(Answer::json(403, &quota)));
            let mut run = site.ocipush(site.archive(SIZE));
            if chunks {
                run = run.args(["--chunk-size", "64KiB"]);
            }
            if login {
                run = run.args(["-u", "user", "--password-stdin"]).stdin("canary/p24\n").secret("canary/p24");
            }
            run.run().exits(1).says("upper limit of 10.0 MiB").says("the project's storage quota is used up").writes_nothing();
            assert_eq!(fault.hits(), 1);
        }
    }
}

#[test]
fn p25_full_storage_is_reported_after_the_usual_tries() {
    // Distribution's message says nothing. The detail does: 2.8.2 answers a POST with the second, and a PUT with the third
    // (registry/handlers/blobupload.go, `ErrorCodeUnknown.WithDetail`); 3 always with text.
    let full = |detail| json!({"errors": [{"code": "UNKNOWN", "message": "unknown error", "detail": detail}]});
    let path_error = json!({"Op": "write", "Path": "/var/lib/registry/docker/startedat", "Err": 28});
    let details = [
        path_error.clone(),
        json!({"DriverName": "filesystem", "Enclosed": path_error}),
        json!("write /var/lib/registry/docker/data: no space left on device"),
    ];
    let answers = details.map(|detail| Answer::json(500, &full(detail)));
    for (asked, answer) in [puts(), uploads()].iter().flat_map(|asked| answers.iter().map(move |answer| (asked, answer))) {
        let site = Site::plain();
        let fault = site.registry.faults().on(asked.clone(), Times::Always, Action::Answer(answer.clone()));
        let outcome = site.ocipush(site.archive(SIZE)).args(["--retries", "1"]).run();
        outcome.exits(6).says("storage is full").writes_nothing();
        assert_eq!(fault.hits(), 2);
    }
    let site = Site::plain();
    site.registry.faults().on(puts(), Times::Always, Action::Answer(Answer::status(507)));
    site.ocipush(site.archive(SIZE)).args(["--retries", "1"]).run().exits(6).says("storage is full").writes_nothing();
}

#[test]
fn p29_a_registry_that_receives_something_else_is_reported_after_one_more_try() {
    let site = Site::plain();
    site.registry.faults().on(puts(), Times::First(1), Action::Answer(error(400, "DIGEST_INVALID")));
    site.ocipush(site.archive(SIZE)).run().succeeds();
    let site = Site::plain();
    let fault = site.registry.faults().on(puts(), Times::Always, Action::Answer(error(400, "DIGEST_INVALID")));
    site.ocipush(site.archive(SIZE)).run().exits(7).says("twice received other data than was sent").writes_nothing();
    assert_eq!(fault.hits(), 2);
}
