//! Secrets are never shown: not in output, arguments, environments, or files on disk. Every run of every suite is checked
//! (see `scar_kit`); these are the runs with the most secrets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use scar_kit::{Outcome, TOOLS, bash, docker_registry, find_secrets, program, workspace};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_suites::{Migration, new_record};

/// A pipe of all tools with `-vv`, with a user's options.
fn verbose_pipe(migration: &Migration) -> Outcome {
    let quoted = |words: Vec<String>| words.iter().map(|word| format!(" '{word}'")).collect::<String>();
    let stages = TOOLS.map(|name| format!("{name} -vv{}", quoted(migration.arguments(name))));
    bash(&stages.join(" |\n")).env("KUBECONFIG", migration.setting("KUBECONFIG")).folder(migration.folder()).run()
}

/// Tokens are created during the run: the servers' logs have them.
fn register_tokens(migration: &Migration) -> usize {
    let mut tokens = 0;
    for (_, server) in migration.site.servers() {
        for request in server.log().requests() {
            for (header, before) in [("authorization", ' '), ("cookie", '=')] {
                let Some(value) = request.header(header) else { continue };
                scar_kit::secret(value.split_once(before).unwrap().1);
                tokens += 1;
            }
        }
    }
    tokens
}

#[track_caller]
fn shows_none(outcome: &Outcome) {
    for text in [outcome.stdout(), outcome.stderr()] {
        assert_eq!(find_secrets(text.as_bytes()), [""; 0], "{outcome}");
    }
}

/// No file contains a secret, except backups, which only the owner can read.
#[track_caller]
fn leaves_none(folder: &Path) {
    for entry in walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file()) {
        let found = find_secrets(&std::fs::read(entry.path()).unwrap());
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let name = entry.file_name().to_str().unwrap();
        let backup = mode == 0o600 && ["backup-", "scar", "secret", "pack-registry"].iter().any(|what| name.starts_with(what));
        let backup = backup && name.ends_with(".json");
        assert!(found.is_empty() || backup, "{found:?} in {} (mode {mode:o})", entry.path().display());
    }
}

#[test]
fn a_whole_run_at_its_most_talkative_shows_none() {
    let migration = Migration::new();
    let outcome = verbose_pipe(&migration);
    outcome.succeeds();
    assert!(register_tokens(&migration) > 10);
    assert!(outcome.stderr().lines().count() > 30, "-vv says little\n{outcome}");
    shows_none(&outcome);
    leaves_none(migration.folder());
}

#[test]
fn a_whole_run_on_debians_registry_shows_none() {
    let Some(registry) = docker_registry() else { return };
    let migration = Migration::on_docker(&registry);
    let outcome = verbose_pipe(&migration);
    outcome.succeeds();
    register_tokens(&migration);
    shows_none(&outcome);
    leaves_none(migration.folder());
}

#[test]
fn scar_migrate_keeps_none_in_state_log_and_record() {
    let migration = Migration::new();
    let config = migration.folder().join("site.env");
    migration.site.write_environment(&config);
    let state = migration.folder().join("state");
    let outcome = program(workspace().join("shell/scar-migrate"))
        .args(["-vv", "--yes", "-c"])
        .arg(&config)
        .arg("--state")
        .arg(&state)
        .env("SCAR_CONTENT", migration.tree())
        .run();
    outcome.succeeds();
    assert!(register_tokens(&migration) > 10);
    shows_none(&outcome);
    leaves_none(migration.folder());
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
}

/// A secret as a server may write it back: as it is, and in each escape that a message, a header or a page can have.
fn echoes(secret: &str) -> [String; 7] {
    let bytes = |write: fn(&u8) -> String| secret.as_bytes().iter().map(write).collect::<String>();
    [
        secret.to_owned(),
        STANDARD.encode(format!("admin:{secret}")),
        URL_SAFE_NO_PAD.encode(secret),
        bytes(|byte| format!("%{byte:02x}")),
        bytes(|byte| format!("\\u{byte:04X}")),
        bytes(|byte| format!("&#{byte};")),
        bytes(|byte| format!("&#x{byte:x};")),
    ]
}

/// The refusals of a server that repeats a text: in a JSON message, in a page, as bare text, and in headers.
fn refusals(status: u16, said: &str) -> Vec<Answer> {
    let json = serde_json::json!({
        "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": "Refused", "message": said,
        "errors": [{"code": "DENIED", "message": said}]
    });
    let page = format!("<html><body><h1>Refused</h1><p>{said}</p></body></html>");
    vec![
        Answer::json(status, &json),
        Answer::html(status, &page),
        Answer::status(status).header("content-type", "text/plain").body(said.to_owned()),
        Answer::status(status).header("www-authenticate", &format!("Bearer realm=\"{said}\",scope=\"{said}\"")),
        Answer::status(307).header("location", &format!("/elsewhere?{}", said.replace(' ', "&"))),
        Answer::status(307).header("location", &format!("https://{}.example/", said.replace(' ', "."))),
    ]
}

/// A server that repeats the request in its refusal: the message quotes it, but without the secret.
#[test]
fn q22_a_server_that_repeats_a_secret_does_not_make_the_tool_show_it() {
    for (name, server) in [
        ("scar-secret-rm", "kube"),
        ("ocipush", "registry"),
        ("vertex-login", "vertex"),
        ("pack-registry-set", "vertex"),
        ("scar-set", "vertex"),
    ] {
        let migration = Migration::new();
        let record = migration.steps_before(name, &new_record());
        register_tokens(&migration);
        let password = |key: &str| std::fs::read_to_string(migration.setting(key)).unwrap().trim_end().to_owned();
        let secret = match name {
            "ocipush" => password("OCI_PASSWORD_FILE"),
            "vertex-login" => password("VERTEX_PASSWORD_FILE"),
            "scar-secret-rm" => migration.site.cluster.token(),
            _ => record["session"]["authorization"].as_str().unwrap().to_owned(),
        };
        let forms = echoes(&secret);
        let servers = migration.site.servers();
        let (_, server) = servers.iter().find(|(known, _)| known == server).unwrap();
        for answer in refusals(403, &format!("no entry for {} here", forms.join(" "))) {
            server.faults().clear();
            server.faults().on(Match::any("/**"), Times::Always, Action::Answer(answer));
            let outcome = migration.tool(name).args(["-vv", "--timeout", "2s"]).record(&record).run();
            assert_ne!(outcome.status(), 0, "{outcome}");
            for form in &forms {
                let lower = outcome.stderr().to_lowercase();
                assert!(!lower.contains(&form.to_lowercase().replace('\\', "/")), "{form}\n{outcome}");
            }
        }
    }
}
