//! Debian's registry with a token server beside it: each way in which a login is not enough.

use std::time::Duration;

use scar_kit::{TokenServer, docker_registry_with_tokens};
use scar_suites::Migration;

use crate::rig::{Rig, lines, says};

/// What a token server said of the login is told apart: who it is, what it may, and tokens that the registry never takes.
#[test]
fn debians_registry_with_a_token_server_is_reported_as_it_is() {
    let tokens = TokenServer::start();
    let Some(registry) = docker_registry_with_tokens(&tokens) else { return };
    let rig = Rig { migration: Migration::on_docker(&registry) };
    let realm = tokens.authority();
    let look = |change: &[(&str, Option<&str>)]| {
        let outcome = rig.run_with(&[change, &[("--only", Some("registry")), ("--trust-realm", Some(&realm))]].concat());
        let found = lines(&outcome.stderr());
        (found["registry.login"].clone(), found["registry.push"].clone(), outcome)
    };
    let (login, push, outcome) = look(&[]);
    assert_eq!((login.as_str(), push.as_str()), ("ok", "ok"), "{outcome}");
    says(&outcome, "allowed: an upload was opened, and cancelled");
    let password = rig.migration.folder().join("reader");
    std::fs::write(&password, TokenServer::READER.password).unwrap();
    let reader = [("--registry-username", Some("reader")), ("--registry-password-file", password.to_str())];
    let (login, push, outcome) = look(&reader);
    assert_eq!((login.as_str(), push.as_str()), ("ok", "blocked"), "{outcome}");
    says(&outcome, "hint: the user may not push to");
    says(&outcome, "(Harbor gives the same answer for both)");
    std::fs::write(&password, "canary-wrong").unwrap();
    let (login, push, outcome) = look(&reader);
    assert_eq!((login.as_str(), push.as_str()), ("blocked", "skipped"), "{outcome}");
    says(&outcome, "hint: user or password is wrong");
    tokens.lasting(Duration::ZERO);
    let (login, push, outcome) = look(&[]);
    assert_eq!((login.as_str(), push.as_str()), ("blocked", "skipped"), "{outcome}");
    says(&outcome, "hint: registry and token server disagree: compare their clocks");
}
