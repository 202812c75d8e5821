//! Docker's credential helpers: runs `docker-credential-NAME get` with the registry on standard input.
//!
//! Invariants: the name is a plain name, so that no other program runs; the helper has no terminal and limited time, and so
//! has any child that keeps its streams open; its answer is bounded. Its standard error is shown, its answer never.

use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

use scar_tool::child::Running;
use scar_tool::{Console, Failure};
use serde::Deserialize;

use super::Login;

/// The time limit for a helper.
const TIME: Duration = Duration::from_secs(30);
/// The longest answer, in bytes.
const LIMIT: u64 = 64 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Runs a helper; `None` if it has no login for the registry, or is not installed. Exit 2 for a malformed name, and for a
/// helper that fails, hangs, or gives a malformed answer.
pub(crate) fn get(name: &str, registry: &str, from: &str, console: &Console) -> Result<Option<Login>, Failure> {
    let act = format!("ask the credential helper '{name}' of {from}");
    let refuse = |cause: String| Failure::misuse(format!("{act}: {cause}"));
    // A login file comes from elsewhere; with a slash in it the name would run any program (FAULTS, bad input 32).
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Err(refuse("it is not a plain name, so it was not run".to_owned()));
    }
    let program = format!("docker-credential-{name}");
    console.verbose(|| format!("asking '{program}' for the login to '{registry}'"));
    let mut command = Command::new(&program);
    // The protocol passes the registry on standard input (docker/docker-credential-helpers client/client.go, `Get`).
    let running = match Running::start(command.arg("get"), Some(registry.as_bytes()), LIMIT) {
        Ok(running) => running,
        // The file may come from another host (such as "credsStore": "desktop.exe"), and the registry may need no login (FAULTS
        // Q47).
        Err(error) if error.kind() == ErrorKind::NotFound => {
            console.warn(format!("{act}: '{program}' is not installed; going on without"));
            return Ok(None);
        }
        Err(error) => return Err(refuse(format!("run '{program}': {error}"))),
    };
    let Some(ended) = running.wait(TIME).map_err(|error| refuse(error.to_string()))? else {
        return Err(refuse(format!("it gave no answer within {} s", TIME.as_secs())));
    };
    let stdout = ended.stdout;
    if !ended.status.success() {
        // The protocol's message for "not found", on standard output (docker/docker-credential-helpers credentials/error.go);
        // any other output may contain the secret.
        if scar_tool::bounded(&stdout).contains("credentials not found") {
            return Ok(None);
        }
        let stderr = scar_tool::bounded(&ended.stderr);
        return Err(refuse(format!(
            "it failed ({}){}",
            ended.status,
            if stderr.is_empty() { stderr } else { format!(": {stderr}") }
        )));
    }
    let answer: Answer = serde_json::from_slice(&stdout).map_err(|_| refuse("its answer is not the expected JSON".to_owned()))?;
    if answer.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(match answer.username.as_str() {
        // The protocol's user name for an identity token instead of a password (docker/cli
        // cli/config/credentials/native_store.go).
        "<token>" => Login::Identity(answer.secret.into()),
        _ => Login::Password { username: answer.username, password: answer.secret.into() },
    }))
}
