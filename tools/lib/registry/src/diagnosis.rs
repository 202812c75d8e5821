//! What the operator sees of a fault: the registry's message, and a hint if the cause is known.

use std::borrow::Cow;

use scar_record::Time;
use scar_tool::{Exit, Failure, Spelling};

use crate::fault::Fault;
use crate::login::Login;
use crate::refusal::{Meaning, Refusal};
use crate::registry::{Registry, Scope};
use crate::{Reference, ecr, login};

/// The actions that ECR must allow for a push that is verified.
// Those of "IAM permissions for pushing an image" (Amazon ECR User Guide), and GetDownloadUrlForLayer, by which a blob is read
// back.
const PUSH: [&str; 7] = [
    "ecr:BatchCheckLayerAvailability",
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
    "ecr:PutImage",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
];

/// Who is logged in, and until when a password of ECR is valid.
struct LoginState<'l> {
    logged_in: bool,
    username: Option<&'l str>,
    expires: Option<Time>,
    now: Time,
    /// The access that was needed.
    scope: Scope,
    /// How the options of the login are spelled.
    spelling: Spelling,
}

impl Registry {
    /// The failure to show for a fault; `act` is what was being done, in lower case with its operand.
    pub fn failure(&self, act: &str, fault: Fault) -> Failure {
        let refusal = match fault {
            Fault::Refused(refusal) => refusal,
            Fault::Spent(fault) => return self.failure(act, *fault),
            fault => return fault.failure(act),
        };
        let expires = match &self.login {
            Some(Login::Password { password, .. }) => ecr::expiration(password),
            _ => None,
        };
        let who = LoginState {
            logged_in: self.login.is_some(),
            username: self.login.as_ref().and_then(Login::username),
            expires: expires.and_then(|seconds| Time::from_epoch(seconds).ok()),
            now: Time::now(),
            scope: self.config.scope,
            spelling: self.config.login,
        };
        explained(&refusal, act, &self.reference, &who, self.config.retry.longest_wait.as_secs())
    }
}

fn explained(refusal: &Refusal, act: &str, reference: &Reference, who: &LoginState<'_>, max_wait: u64) -> Failure {
    let plain = refusal.failure(act);
    let (project, repository, tag) = (reference.project(), &reference.repository, &reference.tag);
    // A permanent refusal, even if the status is one that is retried.
    let failed = Failure { exit: Exit::Failed, ..plain.clone() };
    match refusal.meaning() {
        Meaning::Quota => failed.hint("the project's storage quota is used up: raise it, or delete what is not needed"),
        Meaning::Immutable => failed.hint(format!(
            "the tag {tag} is immutable and holds another manifest: lift the rule for this repository, or delete the tag"
        )),
        Meaning::Policy => failed.hint(format!(
            "a policy of the project '{project}' forbids pulling this artifact, so Specman cannot fetch it either: change the policy in the registry"
        )),
        Meaning::ReadOnly => failed.hint("the registry is read-only: make it writable, then run this step again"),
        Meaning::ProxyProject => failed.hint(format!(
            "the project '{project}' is a proxy cache of another registry: choose another project with --base-path"
        )),
        Meaning::Mirror => failed.hint(
            "this registry is a pull-through cache: push to the registry that it caches",
        ),
        Meaning::TooLarge => failed.hint(
            "a proxy in front of the registry limits the size of a request: in nginx raise client_max_body_size (0: no limit)",
        ),
        Meaning::Store(origin) => {
            // The store does not know the user, so a 401 or 403 is not about the login.
            let failure = if plain.exit == Exit::Refused { failed } else { plain };
            failure.hint(format!(
                "the registry redirects to its blob store '{origin}', which refuses the request: see the store's log, and compare its clock"
            ))
        }
        Meaning::Page => plain.hint(
            "a proxy or firewall in front of the registry blocks the request: this page is not the registry's own answer",
        ),
        Meaning::ActionDenied(action) => Failure { exit: Exit::Refused, ..plain }.hint(format!(
            "the user's policy lacks {action}; a push to '{repository}' needs {}",
            PUSH.join(", ")
        )),
        meaning @ (Meaning::Login | Meaning::LoginOrPermission | Meaning::Permission | Meaning::Expired) => {
            refused(plain, &meaning, reference, who)
        }
        Meaning::Missing => missing(plain, reference),
        Meaning::Full => Failure { exit: Exit::Unreachable, ..plain }
            .hint("the registry's storage is full: make room there, then run this step again"),
        Meaning::NoSession if who.logged_in => Failure { exit: Exit::Refused, ..plain }.hint(format!(
            "there is no project '{project}', or the user may not push to '{repository}' (Harbor 1 answers so for both), or the registry has a problem: see its log"
        )),
        // `NoSession` without a login does not concern a user, so only the status counts.
        Meaning::NoSession | Meaning::Plain => match refusal.asked().map(|asked| asked.as_secs()).filter(|&s| s > max_wait) {
            Some(asked) if matches!(refusal.status.as_u16(), 429 | 503) => Failure { exit: Exit::Unreachable, ..plain }
                .hint(format!("the registry asks to wait {asked} s, longer than --retry-max-wait; run this step again after that")),
            _ => plain,
        },
    }
}

fn refused(plain: Failure, meaning: &Meaning, reference: &Reference, who: &LoginState<'_>) -> Failure {
    let failure = Failure { exit: Exit::Refused, ..plain };
    let Reference { registry, repository, .. } = reference;
    if let Some(host) = ecr::Host::of(registry) {
        return of_ecr(failure, &host, registry, who, meaning);
    }
    if !who.logged_in {
        let (user, password_file) = (who.spelling.user(), who.spelling.option("password-file"));
        return failure.hint(format!(
            "no login for '{registry}' was found: give {user} USER and {password_file} FILE, or log in with docker or podman"
        ));
    }
    if *meaning != Meaning::Permission && who.username.is_none() {
        return failure.hint(format!("the stored token for '{registry}' is no longer valid: log in to the registry again"));
    }
    // Harbor's token for a project that does not exist has no permissions, as for a user who has none (goharbor/harbor
    // src/core/service/token/creator.go, `repositoryFilter`).
    let right = format!("the user may not {} '{repository}', or there is no project '{}'", who.scope.act(), reference.project());
    let hint = match meaning {
        Meaning::Login => Cow::Borrowed("user or password is wrong, or the account is disabled or has expired"),
        Meaning::LoginOrPermission => {
            format!("user or password is wrong, or {right} (Harbor gives the same answer for all three)").into()
        }
        _ => format!("{right} (Harbor gives the same answer for both)").into(),
    };
    failure.hint(match who.username {
        Some(name) if login::lost_its_dollar(name) => Cow::Owned(format!(
            "a robot account is named robot$NAME: did the shell expand the $? quote it: {} 'robot$NAME'; otherwise {hint}",
            who.spelling.user()
        )),
        _ => hint,
    })
}

/// Explains a refused ECR password, which is valid for 12 hours in one account and region.
fn of_ecr(
    failure: Failure,
    ecr::Host { account, region }: &ecr::Host<'_>,
    registry: &str,
    who: &LoginState<'_>,
    meaning: &Meaning,
) -> Failure {
    // The registry knows better than this host's clock.
    let says_expired = *meaning == Meaning::Expired;
    let renew =
        format!("aws ecr get-login-password --region {region} | ocipush -u AWS --password-stdin … (or ecr-password {registry})");
    failure.hint(match who.expires {
        Some(expires) if expires <= who.now || says_expired => {
            format!("the password expired at {expires}; get a new one: {renew}")
        }
        Some(expires) => format!(
            "the password is valid until {expires}: it is for another account than {account} or another region than {region}, \
             or its user may not push; get one for this registry: {renew}"
        ),
        None => format!("the password must be of account {account} and region {region}, and not older than 12 hours: {renew}"),
    })
}

/// Explains a missing repository that a push does not create.
fn missing(plain: Failure, reference: &Reference) -> Failure {
    let failure = Failure { exit: Exit::Absent, ..plain };
    let repository = &reference.repository;
    match ecr::Host::of(&reference.registry) {
        Some(host) => failure.hint(format!("create the repository {repository} first: {}", host.create_repository(repository))),
        None => {
            let project = reference.project();
            failure.hint(format!("create the project '{project}' (Harbor) or the repository {repository} first"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::tests::refusal;

    const ECR: &str = "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com";

    fn shown(registry: &str, status: u16, errors: &str, username: Option<&str>) -> Failure {
        let reference = Reference::parse(&format!("{registry}/proj/r:1"), None).unwrap();
        let who = LoginState {
            logged_in: username.is_some(),
            username,
            expires: None,
            now: Time::now(),
            scope: Scope::Push,
            spelling: Spelling::default(),
        };
        explained(&refusal("PUT https://h.example/v2/proj/r/manifests/1", status, errors), "push", &reference, &who, 120)
    }

    #[test]
    fn bad_inputs_15_and_16_an_expired_or_foreign_ecr_password_is_explained() {
        let reference = Reference::parse(&format!("{ECR}/p/r:1"), None).unwrap();
        for (now, says) in [
            (
                1_733_489_000,
                "the password expired at 2024-12-06T12:43:14Z; get a new one: aws ecr get-login-password --region us-gov-west-1",
            ),
            (
                1_733_480_000,
                "the password is valid until 2024-12-06T12:43:14Z: it is for another account than 123456789012 or another region than us-gov-west-1",
            ),
        ] {
            let expires = Some(Time::from_epoch(1_733_488_994).unwrap());
            let now = Time::from_epoch(now).unwrap();
            let who = LoginState {
                logged_in: true,
                username: Some("AWS"),
                expires,
                now,
                scope: Scope::Push,
                spelling: Spelling::default(),
            };
            let failure = refused(Failure::new(Exit::Failed, "push"), &Meaning::Login, &reference, &who);
            assert_eq!(failure.exit, Exit::Refused);
            let hint = failure.hint.unwrap();
            assert!(hint.starts_with(says), "{hint}");
        }
    }

    #[test]
    fn each_refusal_has_its_status_and_hint() {
        for (registry, status, errors, username, exit, says) in [
            ("h.example", 401, r#"[{"code":"UNAUTHORIZED","message":"no"}]"#, Some("u"), Exit::Refused, "no project 'proj'"),
            ("h.example", 401, "", None, Exit::Refused, "no login for 'h.example'"),
            ("h.example", 401, "", Some("robot"), Exit::Refused, "did the shell expand the $?"),
            (
                ECR,
                404,
                "",
                Some("AWS"),
                Exit::Absent,
                "create the repository proj/r first: aws ecr create-repository --region us-gov-west-1 --registry-id 123456789012",
            ),
            (ECR, 403, "", Some("AWS"), Exit::Refused, "aws ecr get-login-password --region us-gov-west-1"),
            ("h.example", 404, "", Some("u"), Exit::Absent, "the project 'proj'"),
            ("h.example", 412, "", Some("u"), Exit::Failed, "the tag 1 is immutable"),
            ("h.example", 413, "<html>", Some("u"), Exit::Failed, "client_max_body_size"),
            ("h.example", 403, "<html>", Some("u"), Exit::Refused, "not the registry's own answer"),
            ("h.example", 429, "", Some("u"), Exit::Unreachable, "asks to wait 99999 s"),
            ("h.example", 507, "", Some("u"), Exit::Unreachable, "storage is full"),
            ("h.example", 500, "", Some("u"), Exit::Unreachable, "safe to run this step again"),
        ] {
            let failure = shown(registry, status, errors, username);
            assert_eq!(failure.exit, exit, "{status} {errors}");
            let hint = failure.hint.unwrap_or_default();
            assert!(hint.contains(says), "{status} {errors}: {hint}");
        }
    }
}
