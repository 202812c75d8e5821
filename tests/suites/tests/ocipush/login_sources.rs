//! Where the login comes from: options, the terminal, the host's login files, credential helpers.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use scar_kit::{Run, secret};
use scar_lab::faults::Match;
use scar_lab::registry::{Credentials, TokenService};
use serde_json::{Value, json};

use crate::Site;
use crate::logins::{PASSWORD, authorizations, basic, bearer};

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
fn a_missing_login_is_reported_with_the_options_for_it() {
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
fn q66_a_project_robots_name_that_the_shell_expanded_is_reported() {
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
fn q47_a_missing_helper_is_a_warning_and_the_next_source_is_used() {
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
fn q47_an_unreadable_certificate_is_a_warning() {
    let site = Site::plain();
    let at = format!("home/.config/containers/certs.d/{}", site.registry.authority());
    std::fs::create_dir_all(site.folder.path().join(&at).join("ca.crt")).unwrap();
    let run = site.ocipush(site.archive(10)).home(site.folder.path().join("home"));
    run.run()
        .succeeds()
        .says("warning: read '[DIR]/home/.config/containers/certs.d/127.0.0.1:PORT/ca.crt'")
        .says("going on without");
}
