//! Tokens that expire during a push.

use std::time::Duration;

use scar_lab::faults::{Action, Answer, Match, Times};

use crate::logins::{PASSWORD, bearer, log_in, service};

#[test]
fn p9_a_token_that_expires_during_the_push_is_renewed() {
    let at = [
        Match::post("/v2/**/blobs/uploads/"),
        Match::head("/v2/**/blobs/*"),
        Match::put("/v2/**/blobs/uploads/*"),
        Match::get("/v2/**/manifests/0.0.0"),
    ];
    for matcher in at {
        let service = service();
        let site = bearer(&service);
        let ending = service.clone();
        let fault = site.registry.faults().on(matcher, Times::First(1), Action::edit(move |_| ending.expire()));
        log_in(site.ocipush(site.archive(1_000_000)), PASSWORD).run().succeeds();
        assert_eq!(fault.hits(), 1);
        // The token for cancelling the lost session is another one.
        assert_eq!(site.registry.log().count(&Match::get("/service/token").query("pull%2Cpush&")), 2);
        assert!(site.tag().is_some());
    }
}

#[test]
fn p9_a_token_that_expires_between_two_chunks_loses_no_chunk() {
    let service = service();
    let site = bearer(&service);
    let ending = service.clone();
    let patches = Match::patch("/v2/**/blobs/uploads/*");
    let fault = site.registry.faults().on(patches.clone(), Times::Nth(2), Action::edit(move |_| ending.expire()));
    log_in(site.ocipush(site.archive(1_000_000)).args(["--chunk-size", "256KiB"]), PASSWORD).run().succeeds();
    assert_eq!((fault.hits(), site.registry.log().count(&patches)), (1, 4));
}

#[test]
fn p9_a_token_that_expires_before_a_chunked_upload_is_closed_loses_no_chunk() {
    for stream in [false, true] {
        let service = service();
        let site = bearer(&service);
        let ending = service.clone();
        let patches = Match::patch("/v2/**/blobs/uploads/*");
        site.registry.faults().on(patches.clone(), Times::Nth(4), Action::edit(move |_| ending.expire()));
        let run = match stream {
            true => site.ocipush("-").stdin(crate::bytes(1 << 20)),
            false => site.ocipush(site.archive(1 << 20)),
        };
        let password = site.folder.path().join("pw");
        std::fs::write(&password, PASSWORD).unwrap();
        let run = run.args(["--chunk-size", "256KiB", "-q", "-u", "pusher", "--password-file"]).arg(password);
        run.secret(PASSWORD).run().succeeds();
        assert_eq!(site.registry.log().count(&patches), 4, "stream: {stream}");
        assert_eq!(site.registry.log().count(&Match::post("/v2/**/blobs/uploads/")), 2, "one session for each blob");
    }
}

#[test]
fn p9_a_token_that_ends_while_a_try_waits_is_renewed() {
    let service = service();
    let site = bearer(&service);
    let ending = service.clone();
    let short = Action::edit(move |_| {
        let ending = ending.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1100));
            ending.expire();
        });
    });
    site.registry.faults().on(Match::get("/service/token"), Times::Always, short);
    let refused = Answer::status(401)
        .header("www-authenticate", &format!("Bearer realm=\"{}/service/token\",service=\"lab-registry\"", site.registry.url()));
    let fault = site.registry.faults().on(Match::put("/v2/**/blobs/uploads/*"), Times::First(3), Action::Answer(refused));
    // Waits of half, one and two seconds, each with up to as much again.
    let run = site.bare().arg(site.archive(1000)).args(["--plain-http", "--new-record", "--retry-max-wait", "10s"]);
    log_in(run, PASSWORD).run().succeeds();
    assert_eq!(fault.hits(), 3);
}

#[test]
fn p9_a_login_that_expires_within_chunks_uses_no_retry() {
    for stream in [false, true] {
        let service = service();
        let site = bearer(&service);
        let refused = Answer::status(401).header(
            "www-authenticate",
            &format!("Bearer realm=\"{}/service/token\",service=\"lab-registry\"", site.registry.url()),
        );
        // Each fault only counts what earlier ones let through: every chunk but the first is refused once.
        let patches = Match::patch("/v2/**/blobs/uploads/*");
        let refuse = |nth| site.registry.faults().on(patches.clone(), Times::Nth(nth), Action::Answer(refused.clone()));
        let faults = [2, 3, 4].map(refuse);
        let run = match stream {
            true => site.ocipush("-").stdin(crate::bytes(1 << 20)),
            false => site.ocipush(site.archive(1 << 20)),
        };
        let password = site.folder.path().join("pw");
        std::fs::write(&password, PASSWORD).unwrap();
        let run = run.args(["--chunk-size", "256KiB", "--retries", "1", "-q", "-u", "pusher", "--password-file"]);
        run.arg(password).secret(PASSWORD).run().succeeds();
        assert_eq!(faults.map(|fault| fault.hits()), [1; 3]);
        assert_eq!(site.registry.log().count(&Match::post("/v2/**/blobs/uploads/")), 2, "one session for each blob");
        assert_eq!(site.registry.log().count(&Match::get("/service/token")), 4);
        crate::chunks::assert_none_is_sent_blindly(&site);
    }
}

#[test]
fn p9_a_login_too_short_for_the_whole_blob_leads_to_chunks() {
    let service = service();
    let site = bearer(&service);
    let refused = Answer::status(401)
        .header("www-authenticate", &format!("Bearer realm=\"{}/service/token\",service=\"lab-registry\"", site.registry.url()));
    let whole = Match::put("/v2/**/blobs/uploads/*").query("_state=0");
    let fault = site.registry.faults().on(whole, Times::First(2), Action::Answer(refused));
    log_in(site.ocipush(site.archive(3 << 20)), PASSWORD).run().succeeds();
    assert_eq!((fault.hits(), site.registry.log().count(&Match::patch("/**"))), (2, 3));
}
