//! What is really the matter when a registry says no.

use scar_http::Error;
use scar_record::Time;
use scar_tool::{Exit, Failure};

use scar_registry::Fault;
use scar_registry::Reference;
use scar_registry::ecr;
use scar_registry::login::Login;

use crate::target::Target;

/// How AWS says that a user is known and may not do something; its name follows.
const UNAUTHORIZED: &str = "is not authorized to perform:";
/// What ECR must allow for a push that looks at what it did.
const PUSH: [&str; 7] = [
    "ecr:BatchCheckLayerAvailability",
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
    "ecr:PutImage",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
];

impl Target {
    /// The failure to show for a fault.
    pub(crate) fn failure(&self, fault: Fault) -> Failure {
        let expires = match &self.registry.login {
            Some(Login::Password { password, .. }) => ecr::expiration(password),
            _ => None,
        };
        let who = Who {
            logged_in: self.registry.login.is_some(),
            username: self.registry.login.as_ref().and_then(Login::username),
            expires: expires.and_then(|seconds| Time::from_epoch(seconds).ok()),
            now: Time::now(),
        };
        failure(fault, &self.registry.reference, &who, self.registry.terms.retry.longest_wait.as_secs())
    }
}

/// Who was refused, and when.
struct Who<'l> {
    logged_in: bool,
    username: Option<&'l str>,
    /// When a password of ECR ends.
    expires: Option<Time>,
    now: Time,
}

fn failure(fault: Fault, reference: &Reference, who: &Who<'_>, cap: u64) -> Failure {
    let act = format!("push to '{reference}'");
    let (error, refused) = match fault {
        Fault::Fatal(failure) => return failure,
        Fault::Lost(cause) => {
            return Failure::new(Exit::Unreachable, format!("{act}: {cause}, in every try")).hint(
                "where several registries share one address, uploads must stay with one of them (sticky sessions), \
                 and all need the same http.secret; it is safe to run this step again",
            );
        }
        Fault::Refused(error) => (error, true),
        Fault::Http(error) | Fault::Spent(error) => (error, false),
    };
    let plain = error.failure(&act);
    let Error::Status { request, status, words, retry_after, .. } = &error else {
        return match error {
            Error::Broken { silent: true, .. } => Failure { exit: Exit::TimedOut, ..plain },
            Error::Connect { cause, .. } if cause == Error::NO_CONNECTION => Failure { exit: Exit::TimedOut, ..plain },
            _ => plain,
        };
    };
    let lower = words.to_ascii_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let named = |exit: Exit, hint: String| Failure { exit, ..plain.clone() }.hint(hint);
    match status.as_u16() {
        // Harbor's own words do not name it.
        _ if says(&["quota", "exceed the configured upper limit", "of storage resource"]) => {
            named(Exit::Failed, "the project's storage quota is used up: raise it, or delete what is not needed".to_owned())
        }
        // Harbor's status for such a tag, even where a proxy has put words of its own.
        _ if says(&["immutable", "imagetagalreadyexists"]) || (*status == 412 && request.contains("/manifests/")) => named(
            Exit::Failed,
            format!(
                "the tag {} is protected and holds something else: lift the rule for this repository, or delete the tag",
                reference.tag
            ),
        ),
        413 => named(
            Exit::Failed,
            "a proxy before the registry limits the size of a request: in nginx raise client_max_body_size (0: no limit)"
                .to_owned(),
        ),
        // A token realm that does not know the user has not looked at the project yet.
        401 if refused && !request.contains("/v2/") => refusal(plain, reference, Refused::Login, who),
        _ if refused => refusal(plain, reference, Refused::LoginOrRight, who),
        401 | 403 => refusal(plain, reference, Refused::Right, who),
        404 => missing(plain, reference),
        429 | 503 => match retry_after.map(|asked| asked.as_secs()).filter(|&asked| asked > cap) {
            Some(asked) => named(
                Exit::Unreachable,
                format!("the registry asks to wait {asked} s, longer than --retry-max-wait; run this step again after that"),
            ),
            None => plain,
        },
        500..=599 if says(&["no space", "\"err\":28"]) || status.as_u16() == 507 => {
            named(Exit::Unreachable, "the registry's storage is full: make room there, then run this step again".to_owned())
        }
        500 if request.starts_with("POST ") && request.ends_with("/blobs/uploads/") => unopened(plain, reference),
        _ => plain,
    }
}

/// What a refusal may be about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// Who we are.
    Login,
    /// That, or what we may, or a project that is not there and may not be told of.
    LoginOrRight,
    /// One of the latter two.
    Right,
}

fn refusal(plain: Failure, reference: &Reference, refused: Refused, who: &Who<'_>) -> Failure {
    let failure = Failure { exit: Exit::Refused, ..plain };
    let project = reference.repository.split('/').next().unwrap_or_default();
    if let Some((_, action)) = failure.message.split_once(UNAUTHORIZED) {
        let action: String = action.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == ':').collect();
        let repository = &reference.repository;
        return failure.hint(format!("the user's policy lacks {action}; a push to '{repository}' needs {}", PUSH.join(", ")));
    }
    // The registry's word counts before this host's clock.
    let says_expired = failure.message.contains("expired");
    if let Some(ecr::Host { account, region }) = ecr::Host::of(&reference.registry) {
        let anew = format!(
            "aws ecr get-login-password --region {region} | ocipush -u AWS --password-stdin … (or ecr-password {})",
            reference.registry
        );
        return failure.hint(match who.expires {
            Some(expires) if expires <= who.now || says_expired => {
                format!("the password expired at {expires}; a new one: {anew}")
            }
            Some(expires) => format!(
                "the password holds until {expires}: it is of another account than {account} or another region than {region}, \
                 or its user may not push; one of this registry: {anew}"
            ),
            None => format!("the password must be of account {account} and region {region}, and not older than 12 hours: {anew}"),
        });
    }
    if !who.logged_in {
        return failure.hint(format!(
            "no login for '{}' was found: give -u USER and --password-file FILE, or log in with docker or podman",
            reference.registry
        ));
    }
    if refused != Refused::Right && who.username.is_none() {
        return failure
            .hint(format!("the token that was stored for '{}' does not hold: log in to the registry anew", reference.registry));
    }
    let expanded = match who.username {
        Some(name) if scar_registry::login::lost_its_dollar(name) => {
            "a robot account is named robot$NAME: did the shell expand the $? quote it: -u 'robot$NAME'; else "
        }
        _ => "",
    };
    let repository = &reference.repository;
    failure.hint(match refused {
        Refused::Login => format!("{expanded}user or password is wrong, or the account is disabled or has expired"),
        Refused::LoginOrRight => format!(
            "{expanded}user or password is wrong, or the user may not push to '{repository}', or there is no project '{project}' \
             (Harbor says the same to all three)"
        ),
        Refused::Right => format!(
            "{expanded}the user may not push to '{repository}', or there is no project '{project}' (Harbor says the same to both)"
        ),
    })
}

/// An upload that could not be opened in any try: some versions of Harbor say so of a project that is not there.
fn unopened(plain: Failure, reference: &Reference) -> Failure {
    let project = reference.repository.split('/').next().unwrap_or_default();
    Failure { exit: Exit::Refused, ..plain }.hint(format!(
        "there is no project '{project}', or the user may not push to '{}' (Harbor says the same to both), or the registry is \
         out of order: its log tells",
        reference.repository
    ))
}

/// What is not there: a registry says it of the repository that a push does not make by itself.
fn missing(plain: Failure, reference: &Reference) -> Failure {
    let failure = Failure { exit: Exit::Absent, ..plain };
    let repository = &reference.repository;
    match ecr::Host::of(&reference.registry) {
        Some(host) => failure.hint(format!(
            "create the repository {repository} first: aws ecr create-repository --region {} --registry-id {} --repository-name {repository}",
            host.region, host.account
        )),
        None => {
            let project = repository.split('/').next().unwrap_or_default();
            failure.hint(format!("create the project '{project}' (Harbor) or the repository {repository} first"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scar_http::StatusCode;
    use std::time::Duration;

    fn shown(registry: &str, status: u16, words: &str, username: Option<&str>) -> Failure {
        let reference = Reference::parse(&format!("{registry}/proj/r:1"), None).unwrap();
        let error = Error::Status {
            request: "PUT https://h.example/v2/proj/r/manifests/1".into(),
            status: StatusCode::from_u16(status).unwrap(),
            words: words.into(),
            retry_after: Some(Duration::from_secs(99_999)),
            location: None,
        };
        let who = Who { logged_in: username.is_some(), username, expires: None, now: Time::now() };
        failure(Fault::Http(error), &reference, &who, 120)
    }

    #[test]
    fn bad_inputs_15_and_16_an_ecr_password_that_expired_or_is_of_elsewhere_is_told() {
        let reference = Reference::parse("123456789012.dkr.ecr.us-gov-west-1.amazonaws.com/p/r:1", None).unwrap();
        for (now, says) in [
            (
                1_733_489_000,
                "the password expired at 2024-12-06T12:43:14Z; a new one: aws ecr get-login-password --region us-gov-west-1",
            ),
            (
                1_733_480_000,
                "the password holds until 2024-12-06T12:43:14Z: it is of another account than 123456789012 or another region than us-gov-west-1",
            ),
        ] {
            let expires = Some(Time::from_epoch(1_733_488_994).unwrap());
            let who = Who { logged_in: true, username: Some("AWS"), expires, now: Time::from_epoch(now).unwrap() };
            let failure = refusal(Failure::new(Exit::Failed, "push"), &reference, Refused::Login, &who);
            assert_eq!(failure.exit, Exit::Refused);
            let hint = failure.hint.unwrap();
            assert!(hint.starts_with(says), "{hint}");
        }
    }

    #[test]
    fn each_refusal_is_told_with_its_real_cause() {
        const ECR: &str = "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com";
        for (registry, status, words, username, exit, says) in [
            ("h.example", 403, "DENIED: Quota exceeded: 9 GiB of 10 GiB", Some("u"), Exit::Failed, "quota"),
            (
                "h.example",
                403,
                "DENIED: adding 29.0 MiB of storage resource, which when updated to current usage of 152.4 MiB will exceed \
                 the configured upper limit of 10.0 MiB.",
                None,
                Exit::Failed,
                "the project's storage quota is used up",
            ),
            ("h.example", 401, "UNAUTHORIZED: unauthorized to access repository", Some("u"), Exit::Refused, "no project 'proj'"),
            ("h.example", 401, "", None, Exit::Refused, "no login for 'h.example'"),
            ("h.example", 401, "", Some("robot"), Exit::Refused, "did the shell expand the $?"),
            (
                ECR,
                404,
                "NAME_UNKNOWN: The repository does not exist",
                Some("AWS"),
                Exit::Absent,
                "create the repository proj/r first: aws ecr create-repository --region us-gov-west-1 --registry-id 123456789012",
            ),
            (
                ECR,
                403,
                "DENIED: Your authorization token has expired",
                Some("AWS"),
                Exit::Refused,
                "aws ecr get-login-password --region us-gov-west-1",
            ),
            ("h.example", 404, "NAME_UNKNOWN", Some("u"), Exit::Absent, "the project 'proj'"),
            ("h.example", 412, "PRECONDITION: the tag is immutable", Some("u"), Exit::Failed, "the tag 1 is protected"),
            (
                ECR,
                400,
                "TAG_INVALID: The image tag '1' already exists … repository is immutable",
                Some("AWS"),
                Exit::Failed,
                "protected",
            ),
            ("h.example", 412, "", Some("u"), Exit::Failed, "the tag 1 is protected"),
            ("h.example", 413, "an HTML page titled '413'", Some("u"), Exit::Failed, "client_max_body_size"),
            ("h.example", 429, "", Some("u"), Exit::Unreachable, "asks to wait 99999 s"),
            ("h.example", 507, "", Some("u"), Exit::Unreachable, "storage is full"),
            ("h.example", 500, "UNKNOWN: internal error", Some("u"), Exit::Unreachable, "safe to run this step again"),
            ("h.example", 500, "no space left on device", Some("u"), Exit::Unreachable, "storage is full"),
        ] {
            let failure = shown(registry, status, words, username);
            assert_eq!(failure.exit, exit, "{status} {words}");
            let hint = failure.hint.unwrap_or_default();
            assert!(hint.contains(says), "{status} {words}: {hint}");
        }
    }
}
