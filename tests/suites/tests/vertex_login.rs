//! vertex-login against the lab's VerteX: one password, one try, and every way in which a login can fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod vertex_site;

use std::time::Duration;

use scar_kit::{Signal, bash, secret, tool};
use scar_lab::certs::Certs;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::server::{Listener, Server};
use scar_lab::vertex::{Vertex, router};
use serde_json::{Value, json};
use vertex_site::{PASSWORD, Private, Site};

const LOGIN: &str = "/v1/auth/syslogin";

fn login(site: &Site, password: &Private) -> scar_kit::Run {
    tool("vertex-login").arg(site.url()).arg("--password-file").arg(password.path()).called(site.url(), "[VERTEX]")
}

#[test]
fn a_password_becomes_a_session_and_the_record_passes_through() {
    let site = Site::start();
    let password = Private::new("Spectro-2024!\n");
    let record = json!({"record": "scar-tools/1", "zeta": 1, "archive_note": {"a": [1.50]}});
    let outcome = login(&site, &password).record(&record).run();
    outcome.succeeds().says("vertex-login: logged in to '[VERTEX]'; the session ends at 20");
    let mut out = outcome.json();
    let session = out.as_object_mut().unwrap().remove("session").unwrap();
    assert_eq!(out, record);
    assert_eq!(session["endpoint"], "[VERTEX]");
    assert_eq!((&session["insecure"], session.get("ca_file")), (&json!(false), None));
    assert_eq!(session["authorization"].as_str().unwrap().split('.').count(), 3);
    assert!(session["expires_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(site.requests(), ["POST /v1/auth/syslogin -> 200", "GET /v1/system/users/me -> 200"]);
    let sent = site.server.log().requests()[0].json();
    assert_eq!(sent, json!({"username": "admin", "password": PASSWORD}));
}

#[test]
fn environment_and_standard_input_give_what_the_options_do_not() {
    let site = Site::start();
    site.vertex.behave(|b| b.username = "operator".into());
    let password = Private::new(PASSWORD);
    tool("vertex-login")
        .env("VERTEX_ENDPOINT", site.url())
        .env("VERTEX_USERNAME", "operator")
        .env("VERTEX_PASSWORD_FILE", password.path())
        .run()
        .succeeds();
    tool("vertex-login")
        .args([&site.url(), "-u", "operator", "--password-stdin"])
        .env("VERTEX_PASSWORD_FILE", "/nonexistent")
        .stdin("Spectro-2024!\r\n")
        .run()
        .succeeds();
    assert_eq!(site.vertex.login_attempts(), 2);
}

#[test]
fn bad_input_31_a_path_of_the_api_or_the_console_is_left_out_and_plain_http_is_refused() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    let at = |endpoint: &str| tool("vertex-login").arg(endpoint).arg("--password-file").arg(password.path());
    for path in ["/v1", "/v1/", "/system", "/system/"] {
        let outcome = at(&(site.url() + path)).called(site.url(), "[VERTEX]").run();
        let part = path.trim_end_matches('/');
        let note = format!("vertex-login: '{part}' is not a part of the address and was left out: using '[VERTEX]'\n");
        assert_eq!(outcome.succeeds().says(&note).json()["session"]["endpoint"], "[VERTEX]");
    }
    for address in ["http://vertex.invalid", "http://vertex.invalid/v1"] {
        at(address).run().exits(5).writes_nothing().says("plain HTTP would show credentials to the network");
    }
}

#[test]
fn l1_a_malformed_password_is_refused_before_anything_is_sent() {
    let site = Site::start();
    for (text, says) in [
        ("", "it is empty"),
        ("\n", "it is empty"),
        ("two\nlines\n", "more than one line"),
        ("\u{feff}canary\n", "it begins with a byte order mark"),
        ("c\0a\0n\0", "it holds NUL bytes: it may be UTF-16"),
        (&"x".repeat(1 << 20), "longer than"),
    ] {
        let file = Private::new(text);
        login(&site, &file).run().exits(2).writes_nothing().says(says);
    }
    tool("vertex-login")
        .args([&site.url(), "--password-file", "/nonexistent/pw"])
        .run()
        .fails(2, "vertex-login: error: read the password file '/nonexistent/pw': no such file or directory\n");
    let file = Private::new(PASSWORD);
    login(&site, &file).arg("--password-stdin").run().fails(
        2,
        "vertex-login: error: '--password-file <FILE>' cannot be used with '--password-stdin'\nvertex-login: hint: choose one\n",
    );
    tool("vertex-login").arg(site.url()).run().exits(2).writes_nothing().says("there is no terminal to ask on");
    tool("vertex-login").args([&site.url(), "--password-stdin"]).stdin("").run().exits(2).says("from standard input");
    assert_eq!(site.server.log().connections(), 0);
}

#[test]
fn l1_a_password_file_that_others_can_read_is_a_warning() {
    let site = Site::start();
    let file = Private::new(PASSWORD);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(file.path(), mode).unwrap();
    login(&site, &file).run().succeeds().says("warning: the password file").says("can be read by others (mode 0644)");
}

#[test]
fn l1_without_a_password_it_is_asked_for_at_the_terminal_and_not_shown() {
    let site = Site::start();
    let prompt = format!("Password for admin at {}: ", site.url());
    let outcome = tool("vertex-login").arg(site.url()).answer(&prompt, "Spectro-2024!\n").run();
    outcome.succeeds();
    assert!(!outcome.screen().contains(PASSWORD));
}

#[test]
fn l1_an_interrupted_prompt_restores_the_terminals_echo() {
    let site = Site::start();
    let prompt = format!("Password for admin at {}: ", site.url());
    let script = format!("vertex-login {}; echo $?; stty -a </dev/tty | grep -o -e ' -\\?echo '", site.url());
    let outcome = bash(&script).answer(&prompt, "half\u{3}").run();
    outcome.succeeds().prints("130\n echo \n").reports("vertex-login: error: interrupted\n");
    assert_eq!(site.server.log().connections(), 0);
}

#[test]
fn bad_inputs_10_31_36_are_refused_without_a_connection() {
    tool("vertex-login").args(["https://v.example", "--password", "x"]).run().fails(
        2,
        "vertex-login: error: '--password' is not offered: a password in the arguments can be read by every user of this host\n\
         vertex-login: hint: use --password-stdin or --password-file FILE\n",
    );
    tool("vertex-login").args(["https://v.example", "--pasword-stdin"]).run().fails(
        2,
        "vertex-login: error: unknown option '--pasword-stdin'\nvertex-login: hint: did you mean '--password-stdin'?\n",
    );
    tool("vertex-login").arg("http://v.example").run().exits(5).writes_nothing().says("plain HTTP would show credentials");
    tool("vertex-login").arg("https://v.example/console").run().fails(
        2,
        "vertex-login: error: read the address 'https://v.example/console': it has the path '/console'\n\
         vertex-login: hint: write https://v.example\n",
    );
    let outcome = tool("vertex-login").arg("https://u:pw-in-url@v.example").run();
    outcome.exits(2).says("it holds credentials").never_says("pw-in-url");
    tool("vertex-login").run().exits(2).writes_nothing().says("missing: ENDPOINT");
}

#[test]
fn l2_a_wrong_password_and_a_locked_account_are_tried_once() {
    let site = Site::start();
    site.vertex.behave(|b| b.lockout_after = 1);
    let wrong = Private::new("wrong-canary-1");
    secret("wrong-canary-1");
    login(&site, &wrong).run().fails(
        4,
        "vertex-login: error: log in to '[VERTEX]' as 'admin': POST [VERTEX]/v1/auth/syslogin: 401 Unauthorized: \
         InvalidCredentials: Invalid credentials: username or password is incorrect\n\
         vertex-login: hint: user name or password is wrong, or the account is locked; it was tried once and will not be tried \
         again, since wrong tries lock the account\n",
    );
    assert_eq!(site.vertex.login_attempts(), 1);
    login(&site, &wrong).run().exits(4).says("UserLocked").says("hint: the account may be locked (");
    assert_eq!(site.vertex.login_attempts(), 2);
}

#[test]
fn a_password_is_redacted_in_the_servers_message_but_not_in_ours() {
    let site = Site::start();
    let outcome = login(&site, &Private::new("password")).run();
    outcome.exits(4).says("Invalid credentials: username or (not shown) is incorrect\n");
    outcome.says("hint: user name or password is wrong, or the account is locked; ");
}

#[test]
fn l3_a_busy_server_is_retried_once_after_its_retry_after() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    for status in [429, 503] {
        site.server.log().clear();
        let busy = Answer::status(status).header("retry-after", "1");
        let fault = site.fault(Match::post(LOGIN), Times::First(1), Action::Answer(busy));
        let outcome = login(&site, &password).run();
        outcome.succeeds().says("asks to wait 1 s");
        assert!(outcome.took() >= Duration::from_secs(1));
        assert_eq!((fault.hits(), site.requests().len()), (1, 3));
        site.server.faults().clear();
    }
    let fault = site.fault(Match::post(LOGIN), Times::Always, Action::Answer(Answer::status(503).header("retry-after", "1")));
    login(&site, &password).run().exits(6).writes_nothing();
    assert_eq!(fault.hits(), 2);
    site.server.faults().clear();
    let fault = site.fault(Match::post(LOGIN), Times::Always, Action::Answer(Answer::status(503).header("retry-after", "99999")));
    login(&site, &password).run().exits(6);
    assert_eq!(fault.hits(), 1);
}

#[test]
fn l4_a_connection_that_breaks_before_the_login_is_tried_again_and_after_it_is_not() {
    let certs = Certs::new(&["127.0.0.1"]);
    let vertex = Vertex::start();
    let server = Server::start(router(vertex.clone()), Listener::tls(certs.server_config()));
    let ca = Private::new(certs.ca_pem());
    let password = Private::new(PASSWORD);
    secret(PASSWORD);
    let run = || {
        let run = tool("vertex-login").arg(server.url()).arg("--ca-file").arg(ca.path());
        run.arg("--password-file").arg(password.path())
    };
    server.faults().reset_connections(2);
    let outcome = run().run();
    outcome.succeeds();
    assert_eq!(outcome.json()["session"]["ca_file"], ca.path().display().to_string());
    assert_eq!((server.log().connections(), vertex.login_attempts()), (3, 1));
    for action in [Action::Reset, Action::LoseReply] {
        let fault = server.faults().on(Match::post(LOGIN), Times::Always, action);
        run()
            .run()
            .exits(6)
            .writes_nothing()
            .says("the answer to the login was lost, and the password is not sent again automatically");
        assert_eq!(fault.hits(), 1);
        server.faults().clear();
    }
}

#[test]
fn l5_an_answer_without_a_usable_token_is_a_failure() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    let page = "<html><head><title>Sign in</title></head></html>";
    let token = |token: &str| Answer::json(200, &json!({"Authorization": token, "isMfa": false}));
    secret("canary-token");
    for (answer, status, says) in [
        (Answer::json(200, &json!({"isMfa": false})), 7, "gave no token"),
        (token(""), 7, "gave no token"),
        (token("canary-token\nX: y"), 7, "malformed: its character 13"),
        (token("canary-token\u{1b}[2J"), 7, "token is malformed"),
        (token("canary-token;x"), 7, "token is malformed"),
        (Answer::html(200, page), 7, "an HTML page titled 'Sign in'"),
        (Answer::status(200), 7, "the answer is empty"),
        (Answer::status(200).body("[1]"), 7, "not an object"),
        (Answer::status(200).body(vec![b'['; 10_000]), 7, "the answer is"),
        (Answer::status(200).body(vec![b' '; 9 << 20]), 7, "longer than"),
        (Answer::html(502, page), 6, "502 Bad Gateway: an HTML page titled 'Sign in'"),
        (Answer::json(404, &json!({})), 3, "is this the address of VerteX's system console?"),
    ] {
        site.fault(Match::post(LOGIN), Times::Always, Action::Answer(answer));
        login(&site, &password).run().exits(status).writes_nothing().says(says);
        site.server.faults().clear();
    }
}

#[test]
fn l5_a_second_factor_is_reported_with_a_hint() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    for field in ["isMfa", "IsMfa"] {
        site.vertex.behave(|b| (b.mfa, b.mfa_field) = (true, field.to_owned()));
        let outcome = login(&site, &password).run();
        outcome.exits(4).writes_nothing().says("has a second factor (MFA)").says("use --token-file FILE");
        outcome.says("local storage 'lscache-loginauthToken', or the cookie 'Authorization'");
    }
    let token = Private::new(&format!("\"{}\"\n", secret(&site.vertex.issue_token())));
    let outcome = tool("vertex-login").arg(site.url()).arg("--token-file").arg(token.path()).run();
    outcome.succeeds();
    assert!(outcome.json()["session"]["expires_at"].is_string());
    assert_eq!(site.requests().last().unwrap(), "GET /v1/system/users/me -> 200");
}

/// With a passkey a login still returns a token, and a proxy may answer instead of VerteX: a session only counts if VerteX
/// says whose it is.
#[test]
fn q11_a_session_without_a_user_is_refused_with_a_hint() {
    let case: Value = serde_json::from_str(include_str!("../reference/vertex/login-with-passkey.json")).unwrap();
    let errors: Value = serde_json::from_str(include_str!("../reference/vertex/errors.json")).unwrap();
    let password = Private::new(PASSWORD);
    let mut passkey = case["POST /v1/auth/syslogin"].clone();
    passkey["Authorization"] = json!(secret("canary.of.nobody"));
    let mut silent = passkey.clone();
    silent.as_object_mut().unwrap().remove("IsMfa");
    for (said, me, status, says) in [
        (&passkey, Answer::json(401, &errors["401"]), 4, "has a second factor (MFA)"),
        (&silent, Answer::json(401, &errors["401"]), 4, "401 Unauthorized: Unauthorized: Unauthorized access"),
        (&silent, Answer::json(200, &json!({})), 4, "/v1/system/users/me returns no user\n"),
        (&silent, Answer::json(200, &json!({"code": "X", "message": "log in"})), 4, "returns no user: log in\n"),
        (&silent, Answer::json(200, &json!({"metadata": {"name": ""}})), 4, "returns no user\n"),
        (&silent, Answer::html(200, "<title>Sign in</title>"), 7, "an HTML page titled 'Sign in'"),
        (&silent, Answer::status(204), 7, "the answer is 204 No Content, not 200 OK"),
    ] {
        let site = Site::start();
        site.fault(Match::post(LOGIN), Times::Always, Action::Answer(Answer::json(200, said)));
        site.fault(Match::get("/v1/system/users/me"), Times::Always, Action::Answer(me));
        let outcome = login(&site, &password).run();
        outcome.exits(status).writes_nothing().says(says);
        assert!(status == 7 || outcome.stderr().contains("use --token-file FILE"), "{outcome}");
        assert_eq!(site.server.log().count(&Match::post(LOGIN)), 1, "a password is tried once");
    }
}

#[test]
fn l5_a_token_that_vertex_refuses_is_a_failure() {
    let site = Site::start();
    let token = |text: &str| {
        let file = Private::new(text);
        tool("vertex-login").arg(site.url()).arg("--token-file").arg(file.path()).called(site.url(), "[VERTEX]").run()
    };
    secret("canary.not.issued");
    token("canary.not.issued").exits(4).writes_nothing().says("copy it again from the browser");
    let count = site.requests().len();
    token("canary.not.issued; x").exits(2).writes_nothing().says("it holds no token: its character 18");
    assert_eq!(site.requests().len(), count);
}

#[test]
fn l6_no_redirect_gets_the_password() {
    let site = Site::start();
    let other = Server::start(axum::Router::new(), Listener::plain());
    let password = Private::new(PASSWORD);
    for (location, status, says) in [
        (format!("{}/v1/auth/syslogin?code=canary-code", other.url()), 5, "the password does not go there"),
        ("http://sso.example/".to_owned(), 5, "redirects to http://sso.example/"),
        ("/auth/login".to_owned(), 4, "wants the login at"),
    ] {
        for code in [301, 302, 307, 308] {
            let answer = Answer::status(code).header("location", &location);
            site.fault(Match::post(LOGIN), Times::Always, Action::Answer(answer));
            login(&site, &password).run().exits(status).writes_nothing().says(says).never_says("canary-code");
            site.server.faults().clear();
        }
    }
    assert_eq!(other.log().connections(), 0);
    assert_eq!(site.vertex.login_attempts(), 0);
}

#[test]
fn l7_an_untrusted_certificate_is_shown_and_the_password_stays_here() {
    let certs = Certs::new(&["127.0.0.1"]);
    let server = Server::start(axum::Router::new(), Listener::tls(certs.server_config()));
    let password = Private::new(PASSWORD);
    let outcome = tool("vertex-login").arg(server.url()).arg("--password-file").arg(password.path()).run();
    outcome.exits(5).writes_nothing().says("is not trusted: its issuer is not known here").says("SHA-256:").says("--ca-file");
    assert!(server.log().requests().is_empty());
}

#[test]
fn l8_no_core_file_could_hold_the_password() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    site.fault(Match::post(LOGIN), Times::Always, Action::Stall);
    let running = login(&site, &password).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |requests| !requests.is_empty()));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    running.signal(Signal::INT);
    running.wait().fails(130, "vertex-login: error: interrupted\n");
}

#[test]
fn a_silent_server_ends_in_time() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    site.fault(Match::post(LOGIN), Times::Always, Action::Stall);
    let outcome = login(&site, &password).args(["--timeout", "2s"]).run();
    outcome.exits(8).writes_nothing().says("not done within 2 s; no answer yet to POST [VERTEX]/v1/auth/syslogin");
    assert!(outcome.took() < Duration::from_secs(7));
}

#[test]
fn a_dry_run_sends_nothing() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    login(&site, &password)
        .arg("--dry-run")
        .run()
        .succeeds()
        .prints("{\"record\":\"scar-tools/1\",\"dry_run\":true}\n")
        .reports("vertex-login: would log in to '[VERTEX]' as 'admin' with the password that was given, in one try\n");
    login(&site, &password).record(&json!({"record": "scar-tools/1", "dry_run": true})).run().succeeds();
    assert_eq!(site.server.log().connections(), 0);
}

#[test]
fn the_record_is_read_to_its_end_before_anything_is_sent() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    login(&site, &password).stdin("").run().exits(2).says("not run: the stage before it wrote no record");
    login(&site, &password).stdin("{").run().exits(2).says("read the record");
    assert_eq!(site.server.log().connections(), 0);
    login(&site, &password).stdout_full().run().exits(1).says("no space left on device");
}

#[test]
fn a_terminal_sees_no_token() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    let outcome = login(&site, &password).stdout_terminal().run();
    outcome.succeeds();
    assert!(outcome.screen().contains("(not shown on a terminal)"), "{}", outcome.screen());
    assert!(!outcome.screen().contains("eyJ"));
}

/// Chain loading: everything after COMMAND is COMMAND's, and its status is the tool's.
#[test]
fn a_command_gets_the_record_with_the_session_and_its_own_options() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    let script = r#"printf '%s\n' "$@" >&2; cat; exit 7"#;
    let record = json!({"record": "scar-tools/1", "zeta": "z".repeat(300_000)});
    let outcome = login(&site, &password)
        .args(["--timeout", "30s", "sh", "-c", script, "sh", "-u", "robot", "--password-file", "none", "--help"])
        .record(&record)
        .run();
    outcome.exits(7).says("vertex-login: logged in to '[VERTEX]'").says("\n-u\nrobot\n--password-file\nnone\n--help\n");
    let mut out = outcome.json();
    let session = out.as_object_mut().unwrap().remove("session").unwrap();
    assert_eq!((out, session["endpoint"].as_str()), (record, Some("[VERTEX]")));
}

/// The session is in no argument or variable, which the kit checks in every run, and in no file.
#[test]
fn a_command_takes_the_place_of_vertex_login() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    let command = |script: &str| login(&site, &password).args(["sh", "-c", script]);
    command("kill -KILL $$").run().exits(137);
    command("readlink /proc/self/fd/0 >&2").run().succeeds().says("\npipe:[");
    let mut running = command("trap 'exit 9' TERM; echo ready: $$ >&2; while :; do sleep 0.05; done").start();
    running.until(&format!("ready: {}\n", running.pid()));
    running.signal(Signal::TERM);
    running.wait().exits(9);
    // Without a reader, the shell sees the same as for any first stage.
    bash(&format!(
        "vertex-login {} --password-file {} yes | true; echo ${{PIPESTATUS[0]}}",
        site.url(),
        password.path().display()
    ))
    .run()
    .prints("141\n");
}

#[test]
fn a_command_that_cannot_be_run_is_found_before_the_login() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    for (command, status, cause) in
        [("no-such-program", 127, "no such program"), ("./plain", 126, "permission denied"), ("/etc", 126, "permission denied")]
    {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("plain"), "#!/bin/sh\n").unwrap();
        let outcome = login(&site, &password).folder(folder.path()).args([command, "-x"]).run();
        outcome.exits(status).writes_nothing().says(&format!("vertex-login: error: run '{command}': {cause}\n"));
    }
    assert_eq!(site.server.log().connections(), 0);
}

#[test]
fn a_dry_run_runs_the_command_without_a_session() {
    let site = Site::start();
    let password = Private::new(PASSWORD);
    let outcome = login(&site, &password).args(["--dry-run", "cat"]).run();
    outcome.succeeds().says("vertex-login: would log in to ");
    assert_eq!(outcome.json(), json!({"record": "scar-tools/1", "dry_run": true}));
    assert_eq!(site.server.log().connections(), 0);
}
