//! Checks of the registry: address, login, permission to push the artifact, and the present tag.
//!
//! Its only write is an upload session without a byte, which is cancelled at once.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use scar_http::{Method, Response, StatusCode};
use scar_record::{Check, CheckResult};
use scar_registry::login::Login;
use scar_registry::{Fault, Reference, Registry, ecr};
use scar_tool::{Console, Exit, Failure};
use serde_json::Value;

use crate::check::{blocked, check, failed, ok, skipped, warning, within};
use crate::findings::Findings;
use crate::network::Server;
use crate::plan;
use crate::room::size;

const REACHED: &str = "registry.reached";
const LOGIN: &str = "registry.login";
const REPOSITORY: &str = "registry.repository";
const TAG: &str = "registry.tag";
const PUSH: &str = "registry.push";
const LIMIT: &str = "registry.limit";
/// The lines of this part.
pub(crate) const NAMES: [&str; 6] = [REACHED, LOGIN, REPOSITORY, TAG, PUSH, LIMIT];

/// An ECR password that expires sooner may not last for the push.
const LASTS: SignedDuration = SignedDuration::from_hours(1);

/// Checks the part.
///
/// # Errors
/// The line that blocks the rest.
pub(crate) async fn look(plan: plan::Registry, time: Duration, console: &Console, found: &mut Findings) -> Result<(), Check> {
    let host = &plan.reference.registry;
    let act = format!("connect to '{host}'");
    let (login, from, unknown) = match plan.login {
        Ok(Some((login, from))) => (Some(login), from, None),
        Ok(None) => (None, String::new(), None),
        Err(failure) => (None, String::new(), Some(failure)),
    };
    let reached = async {
        let trust = plan.trust?;
        let last = trust.last_handshake().clone();
        let mut registry = Registry::new(&plan.reference, login, trust, plan.config, console)?;
        let asked = SystemTime::now();
        let door = registry.reach().await.map_err(|fault| registry.failure(&act, fault))?;
        let server = Server::new(host.clone(), registry.client.proxy(), door.date(), asked, last.expires());
        Ok((registry, door, server))
    };
    let (registry, door, server) = within(time, &act, reached).await.map_err(|failure| failed(REACHED, failure))?;
    found.server = Some(server);
    found.checks.push(door_line(&registry, &door));
    let limit = limit_line(&door.header("server").map(scar_tool::escape).unwrap_or_default());
    let login = match unknown {
        Some(failure) => failed(LOGIN, failure),
        None => check(LOGIN, time, &format!("log in to '{host}'"), login_line(&registry, door, &from)).await,
    };
    let is_blocked = login.result == CheckResult::Blocked;
    found.checks.push(login);
    if !is_blocked {
        found.checks.extend(repository_lines(&registry, time).await);
    }
    found.checks.push(limit);
    Ok(())
}

fn door_line(registry: &Registry, door: &Response) -> Check {
    let origin = registry.client.origin();
    // A registry answers 200 or 401 (OCI distribution specification, "Determining Support"); the header is Distribution's.
    let speaks = door.header("docker-distribution-api-version").is_some()
        || matches!(door.status(), StatusCode::OK | StatusCode::UNAUTHORIZED);
    if speaks {
        return ok(REACHED, format!("'{origin}' answers"));
    }
    let hint = "is it the registry itself? give its HOST[:PORT] as docker or podman use it";
    blocked(REACHED, format!("'{origin}' answers {} at /v2/, as no registry does", door.status()), hint)
}

/// Gets the login that the base address requires, and tries it there. Only the identity is checked there: the repository's
/// own answers show what the token may do.
async fn login_line(registry: &Registry, door: Response, from: &str) -> Result<Check, Failure> {
    let host = &registry.reference.registry;
    let who = match &registry.login {
        Some(login) => match login.username() {
            Some(username) => format!("user '{username}' from {from}"),
            None => format!("a token from {from}"),
        },
        None if door.status() == StatusCode::UNAUTHORIZED => {
            let hint = match ecr::Host::of(host) {
                Some(_) => format!("ecr-password {host} >pw; --registry-username AWS --registry-password-file pw"),
                None => "log in with docker or podman, or give --registry-username and --registry-password-file".to_owned(),
            };
            return Ok(blocked(LOGIN, format!("'{host}' asks for a login, and this host has none for it"), hint));
        }
        None => "none is asked for".to_owned(),
    };
    let tried = async {
        registry.log_in(door).await?;
        let answer = registry.exchange(Method::GET, &registry.url("/v2/")?, &[], None).await?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNAUTHORIZED => Ok(()),
            _ => registry.success(answer).await.map(drop),
        }
    };
    tried.await.map_err(|fault| registry.failure(&format!("log in to '{host}'"), fault))?;
    // An ECR password contains its expiry.
    let end = match (&registry.login, ecr::Host::of(host)) {
        (Some(Login::Password { password, .. }), Some(_)) => ecr::expiration(password),
        _ => None,
    };
    let Some(end) = end.and_then(|end| Timestamp::from_second(end).ok()) else { return Ok(ok(LOGIN, who)) };
    let found = format!("{who}; the password ends at {end:.0}");
    let hint = format!("take a new one right before the push: ecr-password {host}");
    Ok(if end.duration_since(Timestamp::now()) < LASTS { warning(LOGIN, found, hint) } else { ok(LOGIN, found) })
}

/// The repository, its tag, and whether it takes a push. A push lists no tags, and ECR's policies for it often lack that
/// action: so a refused list blocks only with a refused push.
async fn repository_lines(registry: &Registry, time: Duration) -> Vec<Check> {
    let Reference { repository, registry: host, tag, .. } = &registry.reference;
    let act = format!("look for the repository '{repository}'");
    let listed = within(time, &act, async { tags(registry).await.map_err(|fault| registry.failure(&act, fault)) }).await;
    let line = match &listed {
        Ok(Some(tags)) => ok(REPOSITORY, format!("'{repository}' is there, {}", shown(tags))),
        Ok(None) => match ecr::Host::of(host) {
            Some(at) => {
                let found = format!("no repository '{repository}', and a push to ECR makes none");
                return vec![blocked(REPOSITORY, found, at.create_repository(repository))];
            }
            None => ok(REPOSITORY, format!("'{repository}' is not there yet; the push makes it")),
        },
        Err(failure) if failure.exit == Exit::Refused => warning(
            REPOSITORY,
            format!("its tags may not be listed: {}", failure.message),
            "a push does not need to; Specman fetches every tag: see in the registry which there are",
        ),
        Err(failure) => return vec![failed(REPOSITORY, failure.clone())],
    };
    let (read, open) = (format!("read the tag '{tag}'"), format!("open an upload to '{repository}'"));
    let (tag, push) = tokio::join!(
        check(TAG, time, &read, async { tag_line(registry).await.map_err(|fault| registry.failure(&read, fault)) }),
        check(PUSH, time, &open, async { push_line(registry).await.map_err(|fault| registry.failure(&open, fault)) }),
    );
    match listed {
        Err(failure) if push.result == CheckResult::Blocked => vec![failed(REPOSITORY, failure)],
        _ => vec![line, tag, push],
    }
}

/// All tags; `None` if there is no repository.
async fn tags(registry: &Registry) -> Result<Option<Vec<String>>, Fault> {
    let answer = registry.exchange(Method::GET, &registry.in_repository("tags/list")?, &[], None).await?;
    // NAME_UNKNOWN: there is no repository before the first push (OCI distribution specification, "Error Codes").
    if answer.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let list: Value = registry.success(answer).await?.json().await?;
    let tags = list["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Some(tags.iter().filter_map(Value::as_str).map(str::to_owned).collect()))
}

/// Specman fetches every tag, so all are listed.
fn shown(tags: &[String]) -> String {
    const SHOWN: usize = 6;
    match tags.len() {
        0 => "without a tag".to_owned(),
        1..=SHOWN => format!("tags {}", tags.join(", ")),
        count => format!("tags {} and {} more", tags[..SHOWN].join(", "), count - SHOWN),
    }
}

async fn tag_line(registry: &Registry) -> Result<Check, Fault> {
    let tag = &registry.reference.tag;
    Ok(match registry.manifest(tag).await? {
        None => ok(TAG, format!("'{tag}' holds nothing yet")),
        Some((bytes, digest)) => ok(TAG, held(tag, digest.as_str(), &serde_json::from_slice(&bytes).unwrap_or_default())),
    })
}

fn held(tag: &str, digest: &str, manifest: &Value) -> String {
    let layers = manifest["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let bytes: u64 = layers.iter().filter_map(|layer| layer["size"].as_u64()).sum();
    let created = manifest["annotations"]["org.opencontainers.image.created"].as_str();
    let title = layers.first().and_then(|layer| layer["annotations"]["org.opencontainers.image.title"].as_str());
    let parts = [
        Some(digest.to_owned()),
        title.map(|title| format!("'{title}'")),
        Some(size(bytes)),
        created.map(|created| format!("of {created}")),
    ];
    format!("'{tag}' holds {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

async fn push_line(registry: &Registry) -> Result<Check, Fault> {
    let session = registry.open_upload().await?.url;
    Ok(match registry.cancel(&session).await {
        Ok(()) => ok(PUSH, "allowed: an upload was opened, and cancelled"),
        // Distribution requires the permission to delete for that, which a robot that pushes may lack.
        Err(fault) => {
            let cause = fault.failure("cancel the upload").message;
            ok(PUSH, format!("allowed: an upload was opened; the registry itself will end it ({cause})"))
        }
    })
}

fn limit_line(front: &str) -> Check {
    let who = if front.is_empty() { String::new() } else { format!(" ('{front}' answers)") };
    // A proxy counts the bytes, and answers 413 only while they come (nginx, client_max_body_size).
    let mut check = skipped(
        LIMIT,
        format!("the largest body that is let through cannot be asked for: only an upload of that size shows it{who}"),
    );
    if front.to_ascii_lowercase().contains("nginx") {
        check.hint = Some("nginx: client_max_body_size 0; else ocipush goes on in chunks by itself".to_owned());
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tag_is_reported_with_what_its_manifest_says() {
        let manifest = json!({
            "layers": [{"size": 2048, "annotations": {"org.opencontainers.image.title": "manifests.tgz"}}],
            "annotations": {"org.opencontainers.image.created": "2024-12-06T12:00:00Z"}
        });
        assert_eq!(
            held("0.0.0", "sha256:abc", &manifest),
            "'0.0.0' holds sha256:abc, 'manifests.tgz', 2.0 KiB, of 2024-12-06T12:00:00Z"
        );
        assert_eq!(held("0.0.0", "sha256:abc", &json!({})), "'0.0.0' holds sha256:abc, 0 B");
    }

    #[test]
    fn what_cannot_be_known_is_not_claimed() {
        let check = limit_line("nginx/1.24");
        assert_eq!(check.result, CheckResult::Skipped);
        assert!(check.hint.is_some() && limit_line("").hint.is_none());
    }
}
