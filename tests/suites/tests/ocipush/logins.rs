//! Logins, and that none goes where it does not belong.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use scar_kit::{Run, secret};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::registry::{Auth, Credentials, LabRegistry, RegistryOptions, TokenService};
use scar_lab::server::{Listener, Server};
use serde_json::{Value, json};

use crate::{REPOSITORY, Site};

pub(crate) const PASSWORD: &str = "canary+pass/word=1";

fn basic() -> Site {
    Site::start(RegistryOptions { auth: Auth::Basic(Credentials::new("pusher", PASSWORD)), ..RegistryOptions::default() })
}

pub(crate) fn service() -> Arc<TokenService> {
    Arc::new(TokenService::new(Credentials::new("pusher", PASSWORD), Duration::from_secs(1800)))
}

pub(crate) fn bearer(service: &Arc<TokenService>) -> Site {
    Site::start(RegistryOptions { auth: Auth::Bearer(service.clone()), ..RegistryOptions::default() })
}

/// For each request, whether it had an `Authorization` of this scheme.
fn authorizations(site: &Server, scheme: &str) -> usize {
    let with = |request: &&scar_lab::log::Request| request.header("authorization").is_some_and(|value| value.starts_with(scheme));
    site.log().requests().iter().filter(with).count()
}

pub(crate) fn log_in(run: Run, password: &str) -> Run {
    run.args(["-u", "pusher", "--password-stdin"]).stdin(format!("{password}\n")).secret(password)
}

fn write(site: &Site, name: &str, text: &str) -> PathBuf {
    let path = site.folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

fn logins(site: &Site, password: &str) -> Value {
    use base64::Engine;
    secret(password);
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("pusher:{password}"));
    json!({"auths": {(site.registry.authority()): {"auth": auth}}})
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
fn p6_no_login_goes_to_a_realm_elsewhere() {
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
fn p6_a_realm_elsewhere_needs_the_users_word() {
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
         ocipush: hint: if it belongs to the registry: --trust-realm 127.0.0.1:REALM\n",
    );
    site.ocipush(site.archive(10)).called(port, "REALM").run().exits(5).says("is another server; nothing was sent to it");
    assert_eq!(realm.log().connections(), 0);
    push().args(["--trust-realm", "other.example"]).run().exits(5);
    push().args(["--trust-realm", &host]).run().succeeds();
    assert_eq!(authorizations(&realm, "Basic"), 1);
    assert_eq!(authorizations(&site.registry, "Basic"), 0);
}

#[test]
fn p7_a_token_service_that_answers_nonsense_is_reported_and_not_asked_for_ever() {
    for (answer, says) in [
        (Answer::json(200, &json!({})), "contains no token"),
        (Answer::json(200, &json!({"token": ""})), "contains no token"),
        (Answer::json(200, &json!({"token": "a b\r\n", "expires_in": 1e18})), "contains characters that a token cannot have"),
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
fn p9_a_token_that_ends_between_two_chunks_costs_no_chunk() {
    let service = service();
    let site = bearer(&service);
    let ending = service.clone();
    let patches = Match::patch("/v2/**/blobs/uploads/*");
    let fault = site.registry.faults().on(patches.clone(), Times::Nth(2), Action::edit(move |_| ending.expire()));
    log_in(site.ocipush(site.archive(1_000_000)).args(["--chunk-size", "256KiB"]), PASSWORD).run().succeeds();
    assert_eq!((fault.hits(), site.registry.log().count(&patches)), (1, 4));
}

#[test]
fn p9_a_token_that_ends_before_a_chunked_upload_is_closed_costs_no_chunk() {
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
fn p7_a_token_realm_out_of_order_is_asked_as_often_as_the_user_allows() {
    for status in [500, 503, 429] {
        let service = service();
        let site = bearer(&service);
        let realm = Match::get("/service/token");
        let fault = site.registry.faults().on(realm.clone(), Times::Always, Action::Answer(Answer::status(status)));
        log_in(site.ocipush(site.archive(1000)).args(["--retries", "2"]), PASSWORD).run().exits(6).writes_nothing();
        assert_eq!(fault.hits(), 3);
        // The certificate is restored.
        site.registry.faults().clear();
        site.registry.faults().on(realm, Times::First(2), Action::Answer(Answer::status(status)));
        log_in(site.ocipush(site.archive(1000)).args(["--retries", "2"]), PASSWORD).run().succeeds();
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
fn p9_a_login_that_ends_within_chunks_uses_up_no_try() {
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
fn p9_a_login_that_never_lasts_for_the_whole_goes_in_parts() {
    let service = service();
    let site = bearer(&service);
    let refused = Answer::status(401)
        .header("www-authenticate", &format!("Bearer realm=\"{}/service/token\",service=\"lab-registry\"", site.registry.url()));
    let whole = Match::put("/v2/**/blobs/uploads/*").query("_state=0");
    let fault = site.registry.faults().on(whole, Times::First(2), Action::Answer(refused));
    log_in(site.ocipush(site.archive(3 << 20)), PASSWORD).run().succeeds();
    assert_eq!((fault.hits(), site.registry.log().count(&Match::patch("/**"))), (2, 3));
}

#[test]
fn p13_no_login_goes_to_an_upload_location_elsewhere() {
    let site = basic();
    let other = LabRegistry::start(RegistryOptions::default());
    other.tolerate_unexpected();
    let elsewhere = format!("{}/v2/x/blobs/uploads/1?_state=0", other.url());
    let fault = site.registry.faults().on(Match::post("/**"), Times::Always, Action::set_header("location", &elsewhere));
    let push = || log_in(site.ocipush(site.archive(1000)), PASSWORD).called(other.port(), "OTHER");
    push().run().fails(
        5,
        "ocipush: error: push to '127.0.0.1:PORT': it asks to send the archive to another server, 'http://127.0.0.1:OTHER'\n\
         ocipush: hint: if it belongs to the registry: --trust-upload 127.0.0.1:OTHER\n",
    );
    assert_eq!((other.log().connections(), fault.hits()), (0, 1));
    other.faults().on(Match::put("/**"), Times::Always, Action::Answer(Answer::status(201)));
    push().args(["--trust-upload", &other.authority(), "--retries", "0"]).run().exits(7).writes_nothing();
    let put = &other.log().requests()[0];
    assert_eq!((put.body_bytes, put.header("authorization")), (1000, None));
}

#[test]
fn p14_redirects_are_followed_at_home_alone() {
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

#[test]
fn no_login_at_all_is_reported_with_the_way_to_give_one() {
    let site = basic();
    let outcome = site.ocipush(site.archive(10)).run();
    outcome.exits(4).says("no login for '127.0.0.1:PORT' was found: give -u USER and --password-file FILE");
}

#[test]
fn a_password_is_asked_for_on_the_terminal_with_user_and_registry() {
    let site = basic();
    secret(PASSWORD);
    let run = site.ocipush(site.archive(10)).args(["-u", "pusher"]);
    let prompt = format!("Password for pusher at http://{}: ", site.registry.authority());
    let outcome = run.answer(&prompt, &format!("{PASSWORD}\n")).run();
    outcome.succeeds();
    assert_eq!(outcome.json()["artifact"]["uploaded"], true);
    site.ocipush(site.archive(20)).args(["-u", "pusher"]).run().exits(2).says("no password is given and there is no terminal");
}

#[test]
fn bad_input_13_a_robots_name_that_the_shell_expanded_is_reported() {
    let site = basic();
    let run =
        site.ocipush(site.archive(10)).args(["-u", "robot", "--password-stdin"]).stdin("canary-robot").secret("canary-robot");
    run.run().exits(4).says("did the shell expand the $? quote it: -u 'robot$NAME'");
}

#[test]
fn q66_so_is_a_robot_of_a_project() {
    let site = basic();
    for (user, eaten) in [("robot+name", true), ("robot-x+name", true), ("robotics", false), ("robot$x+name", false)] {
        let run = site.ocipush(site.archive(10)).args(["-u", user, "--password-stdin"]).stdin("canary-robot");
        let outcome = run.secret("canary-robot").run();
        outcome.exits(4);
        assert_eq!(outcome.stderr().contains("did the shell expand the $?"), eaten, "{user}: {outcome}");
    }
}

#[test]
fn bad_inputs_11_and_12_a_password_is_one_line() {
    let site = basic();
    let run = |text: &str| site.ocipush(site.archive(10)).args(["-u", "pusher", "--password-stdin", "-v"]).stdin(text).run();
    run("").exits(2).says("read the password from standard input: it is empty");
    run("canary-a\ncanary-b\n").exits(2).says("more than one line");
    assert_eq!(site.registry.log().connections(), 0);
    run(&format!("{PASSWORD}\r\n")).succeeds().says("one line ending was stripped");
    let site = basic();
    site.ocipush(site.archive(10)).arg("--password-stdin").stdin("canary-x").run().exits(2).says("add -u USER");
}

#[test]
fn the_hosts_own_logins_are_found_in_their_order() {
    let site = basic();
    let wrong = logins(&site, "canary-wrong").to_string();
    let right = logins(&site, PASSWORD).to_string();
    let home = site.folder.path().join("home");
    let places = [
        "home/.config/containers/auth.json",
        "run/containers/auth.json",
        "home/.docker/config.json",
        "docker/config.json",
        "auth.json",
    ];
    let mut size = 10;
    let mut push = |registry_config: Option<&Path>| {
        size += 1;
        let run = site.ocipush(site.archive(size)).home(&home).arg("-v");
        let run =
            run.env("XDG_RUNTIME_DIR", site.folder.path().join("run")).env("DOCKER_CONFIG", site.folder.path().join("docker"));
        let run = run.env("REGISTRY_AUTH_FILE", site.folder.path().join("auth.json"));
        match registry_config {
            Some(path) => run.arg("--registry-config").arg(path).run(),
            None => run.run(),
        }
    };
    // Each source, from the last to the first, takes precedence over all earlier ones.
    for place in places {
        write(&site, place, &right);
        push(None)
            .succeeds()
            .says(&format!("ocipush: login to 'http://127.0.0.1:PORT': user 'pusher' from '[DIR]/{place}', '127.0.0.1:PORT'\n"));
        write(&site, place, &wrong);
        push(None).exits(4);
    }
    let config = write(&site, "config.json", &right);
    push(Some(&config)).succeeds();
    push(Some(Path::new("/nowhere/config.json"))).exits(2).says("read the logins in '/nowhere/config.json'");
    let run = site.ocipush(site.archive(1)).env("DOCKER_AUTH_CONFIG", &right);
    run.arg("-v").run().exits(0).says("from $DOCKER_AUTH_CONFIG");
}

#[test]
fn an_identity_token_is_exchanged_at_the_realm_and_shown_to_nobody_else() {
    let identity = "canary.identity+token/4=";
    secret(identity);
    let service = TokenService::new(Credentials::new("pusher", PASSWORD), Duration::from_secs(1800)).refreshed_by(identity);
    let site = bearer(&Arc::new(service));
    let push = |size: usize, token: &str| {
        let logins = json!({"auths": {(site.registry.authority()): {"auth": "", "identitytoken": token}}}).to_string();
        let run = site.ocipush(site.archive(size)).arg("--registry-config").arg(write(&site, "config.json", &logins));
        run.args(["-v", "--retries", "1"]).run()
    };
    push(1_000_000, identity).succeeds().says("a token from '[DIR]/config.json'");
    let exchanged = site.registry.log().matching(&Match::post("/service/token"));
    let form = String::from_utf8(exchanged[0].body.clone()).unwrap();
    assert!(form.contains("grant_type=refresh_token") && form.contains("refresh_token=canary.identity%2Btoken%2F4%3D"), "{form}");
    assert_eq!((exchanged.len(), exchanged[0].query.as_ref(), exchanged[0].header("authorization")), (1, None, None));
    assert_eq!(authorizations(&site.registry, "Basic"), 0);
    assert!(site.tag().is_some());
    // A wrong one is tried once.
    site.registry.log().clear();
    push(10, "canary-other").exits(4).says("invalid_grant").says("log in to the registry again").writes_nothing();
    assert_eq!(site.registry.log().count(&Match::post("/service/token")), 1);
}

#[test]
fn bad_input_32_a_malformed_login_file_is_named_before_a_connection() {
    let site = basic();
    let authority = site.registry.authority();
    for (text, says) in [
        ("{\"auths\":".to_owned(), "not the expected JSON at line 1"),
        (json!({"auths": {(authority.as_str()): {"auth": "%%%"}}}).to_string(), "auths '127.0.0.1:PORT': 'auth' is not base64"),
        (json!({"auths": {(authority.as_str()): {"auth": "Y2FuYXJ5"}}}).to_string(), "holds no colon"),
        (json!({"credHelpers": {(authority.as_str()): "../../bin/sh"}}).to_string(), "it is not a plain name, so it was not run"),
    ] {
        let config = write(&site, "config.json", &text);
        site.ocipush(site.archive(10)).arg("--registry-config").arg(config).run().exits(2).says("[DIR]/config.json").says(says);
    }
    assert_eq!(site.registry.log().connections(), 0);
}

#[test]
fn q23_a_credential_helper_is_asked_for_the_registry_and_its_answer_is_never_shown() {
    let site = basic();
    secret(PASSWORD);
    let helper = |script: &str| {
        let path = write(&site, "bin/docker-credential-lab", &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let mut size = 10;
    let mut push = |config: Value| {
        size += 1;
        let config = write(&site, "config.json", &config.to_string());
        let path = format!("{}:/usr/bin:/bin", site.folder.path().join("bin").display());
        site.ocipush(site.archive(size)).env("PATH", path).arg("--registry-config").arg(config).arg("-v").run()
    };
    let one = json!({"credHelpers": {(site.registry.authority()): "lab"}});
    let all = json!({"credsStore": "lab", "auths": {(site.registry.authority()): {}}});
    let answer = json!({"ServerURL": "", "Username": "pusher", "Secret": PASSWORD});
    helper(&format!("test \"$1\" = get && test \"$(cat)\" = {} && echo '{answer}'", site.registry.authority()));
    push(one.clone()).succeeds().says("from credential helper 'lab' of '[DIR]/config.json'");
    push(all.clone()).succeeds();
    helper("echo 'credentials not found in native keychain'; exit 1");
    push(all).exits(4).says("no login for");
    helper("echo 'the keyring is locked' >&2; exit 1");
    push(one.clone()).exits(2).says("it failed (exit status: 1): the keyring is locked");
    helper(&format!("echo '{answer}'; exit 1"));
    push(one.clone()).exits(2).says("it failed (exit status: 1)\n").never_says(PASSWORD);
    helper("echo nonsense");
    push(one.clone()).exits(2).says("its answer is not the expected JSON");
    // A child that keeps its streams open delays nobody, and a flood is not read to its end.
    helper(&format!("echo '{answer}'; sleep 50 &"));
    let outcome = push(one.clone());
    outcome.succeeds();
    assert!(outcome.took() < Duration::from_secs(10), "{:?}", outcome.took());
    helper("head -c 100000000 /dev/zero");
    push(one.clone()).exits(2).says("it failed");
}

#[test]
fn q47_a_helper_that_is_not_installed_is_warned_of_and_the_next_source_is_asked() {
    let site = basic();
    let config = write(&site, "config.json", &json!({"credsStore": "desktop.exe"}).to_string());
    let push = |run: Run| run.env("DOCKER_CONFIG", site.folder.path()).run();
    let outcome = push(site.ocipush(site.archive(10)));
    outcome.exits(4).says("no login for").says("'docker-credential-desktop.exe' is not installed; going on without");
    let home = site.folder.path().join("home");
    write(&site, "home/.config/containers/auth.json", &logins(&site, PASSWORD).to_string());
    push(site.ocipush(site.archive(10)).home(home)).succeeds().says("is not installed");
    // A registry without logins needs none.
    let site = Site::plain();
    site.ocipush(site.archive(10)).arg("--registry-config").arg(config).run().succeeds().says("is not installed");
}

#[test]
fn q47_a_certificate_that_cannot_be_read_is_warned_of() {
    let site = Site::plain();
    let at = format!("home/.config/containers/certs.d/{}", site.registry.authority());
    std::fs::create_dir_all(site.folder.path().join(&at).join("ca.crt")).unwrap();
    let run = site.ocipush(site.archive(10)).home(site.folder.path().join("home"));
    run.run()
        .succeeds()
        .says("warning: read '[DIR]/home/.config/containers/certs.d/127.0.0.1:PORT/ca.crt'")
        .says("going on without");
}
