//! Turns errors of AWS and of the network into failures: the cause decides exit status and hint.

use std::error::Error;

use jiff::{SignedDuration, Timestamp};
use scar_tool::{Exit, Failure, bounded};

use crate::connect::{Answer, LastExchange, PlainHttp};

/// The clock difference that AWS accepts in a signature (AWS, "Signature Version 4": five minutes). A larger one explains a
/// refusal.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// A refusal by AWS or a server in between.
#[derive(Debug)]
pub(crate) struct AwsRefusal<'s> {
    pub(crate) answer: &'s Answer,
    /// AWS's error code; empty if the answer is not AWS's.
    pub(crate) code: &'s str,
    pub(crate) words: &'s str,
}

/// The failure for a refusal; `now` is this host's clock.
pub(crate) fn refused(act: &str, refusal: &AwsRefusal<'_>, now: Timestamp) -> Failure {
    let AwsRefusal { answer, code, words } = refusal;
    let named = if code.is_empty() { String::new() } else { format!(": {code}") };
    let words = shown(words);
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    let failure = |exit, why: &str| {
        let why = if why.is_empty() { String::new() } else { format!("{why}: ") };
        Failure::new(exit, format!("{act}: {why}{}: {}{named}{words}", answer.request, answer.status))
    };
    let skew = skew(answer, now);
    match *code {
        "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture" => too_skewed(failure, skew),
        // A wrong clock has the code of a wrong key; only the message differs (aws-amplify/amplify-js#7913,
        // JuliaCloud/AWS.jl#206).
        "InvalidSignatureException" | "SignatureDoesNotMatch" if skew.is_some() || is_about_time(&words) => {
            too_skewed(failure, skew)
        }
        "ExpiredTokenException" | "ExpiredToken" => failure(Exit::Refused, "the AWS credentials have expired")
            .hint("sign in again (aws sso login), or renew their session"),
        "UnrecognizedClientException" | "InvalidClientTokenId" | "AuthFailure" => {
            failure(Exit::Refused, "AWS does not know these credentials")
                .hint("check the access key and its session token, and that they belong to the region's partition (commercial, GovCloud, China)")
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "IncompleteSignature" | "IncompleteSignatureException" => {
            failure(Exit::Refused, "the secret access key is wrong").hint("check AWS_SECRET_ACCESS_KEY or the profile's aws_secret_access_key")
        }
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "UnauthorizedOperation" => {
            failure(Exit::Refused, "ecr:GetAuthorizationToken is not allowed")
                .hint("allow this identity the action ecr:GetAuthorizationToken on resource \"*\", also in the policy of a VPC endpoint on the way")
        }
        "OptInRequired" | "MissingAuthenticationTokenException" | "MissingAuthenticationToken" => failure(Exit::Refused, ""),
        "InvalidParameterException" | "ValidationException" => {
            failure(Exit::Misuse, "").hint("check --registry-id, or the account in HOST")
        }
        code if is_throttling(code) => {
            failure(Exit::Unreachable, "too many requests, even after all retries").hint("it is safe to run this step again")
        }
        _ => match answer.status.as_u16() {
            429 | 500.. => failure(Exit::Unreachable, "").hint("the server has a problem; it is safe to run this step again"),
            401 | 403 => failure(Exit::Refused, ""),
            404 => failure(Exit::Mismatch, "").hint("ECR's API does not answer there: check --endpoint-url"),
            // A signature covers the host (AWS, "Signature Version 4"), so another host could only refuse the request, or keep
            // it.
            300..=399 => failure(Exit::Unsafe, "it redirects, and redirects are not followed")
                .hint("give the API's own address as --endpoint-url"),
            _ => failure(Exit::Failed, ""),
        },
    }
}

fn too_skewed(failure: impl Fn(Exit, &str) -> Failure, skew: Option<String>) -> Failure {
    let failure = failure(Exit::Refused, "this host's clock differs from AWS's")
        .hint("set the clock (timedatectl, chronyc makestep) and run it again");
    match skew {
        Some(skew) => failure.detail(skew),
        None => failure,
    }
}

/// The difference between this host's clock and the server's, if it is too large.
fn skew(answer: &Answer, now: Timestamp) -> Option<String> {
    let date = jiff::fmt::rfc2822::parse(answer.date.as_deref()?).ok()?.timestamp();
    let ahead = now.duration_since(date);
    let word = if ahead.is_negative() { "behind" } else { "ahead" };
    let whole = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    (ahead.abs() > SKEW).then(|| format!("here it is {whole}, there {date}: {} min {word}", ahead.abs().as_mins()))
}

fn is_about_time(words: &str) -> bool {
    ["Signature expired", "not yet current"].iter().any(|part| words.contains(part))
}

/// AWS's error codes for "too many requests" (aws-runtime src/retries/classifiers.rs, `THROTTLING_ERRORS`).
fn is_throttling(code: &str) -> bool {
    code.contains("Throttl")
        || ["TooManyRequestsException", "LimitExceededException", "RequestLimitExceeded", "SlowDown"].contains(&code)
}

/// The refusal's message up to the point where AWS quotes the request, which contains the session token (aws/aws-sdk-cpp#17).
fn shown(words: &str) -> String {
    let end = ["The Canonical String", "The String-to-Sign", "Canonical String for this request"]
        .iter()
        .filter_map(|part| words.find(part))
        .min()
        .unwrap_or(words.len());
    bounded(&words.as_bytes()[..end])
}

/// The failure for a request without an answer, if `error` says why: certificate, proxy or network.
pub(crate) fn unsent(act: &str, error: &(dyn Error + 'static)) -> Option<Failure> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<scar_http::Error>() {
            return Some(error.failure(act));
        }
        if let Some(refused) = error.downcast_ref::<PlainHttp>() {
            return Some(plain(act, refused));
        }
        next = error.source();
    }
    None
}

fn plain(act: &str, refused: &PlainHttp) -> Failure {
    Failure::new(Exit::Unsafe, format!("{act}: {refused}"))
        .hint("use https:// in the endpoint of the AWS configuration or environment (AWS_ENDPOINT_URL and its like)")
}

/// The failure of a configured source of credentials.
pub(crate) fn of_credentials(
    act: &str,
    error: &(dyn Error + 'static),
    last: &LastExchange,
    misconfigured: bool,
    now: Timestamp,
) -> Failure {
    if let Some(failure) = unsent(act, error) {
        return failure;
    }
    if let Some(refused) = &last.refused {
        return plain(act, refused);
    }
    let words = chain(error);
    let message = format!("{act}: {words}");
    if misconfigured {
        return Failure::misuse(message).hint("correct the AWS configuration (~/.aws/config, ~/.aws/credentials, AWS_PROFILE)");
    }
    let Some(answer) = &last.answer else { return Failure::new(Exit::Refused, message).hint(SOURCE) };
    let failure = |exit| Failure::new(exit, &message).detail(format!("the last answer: {}: {}", answer.request, answer.status));
    match answer.status.as_u16() {
        429 | 500.. => failure(Exit::Unreachable).hint("the server has a problem; it is safe to run this step again"),
        _ if is_about_time(&words) => too_skewed(|exit, _| failure(exit), skew(answer, now)),
        _ => failure(Exit::Refused).hint(SOURCE),
    }
}

/// The configured source of credentials that failed.
const SOURCE: &str = "fix the source of credentials in the AWS configuration, or choose another profile (AWS_PROFILE)";

/// An error with its causes, without repetitions, for messages.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    shown(&texts.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scar_http::StatusCode;

    fn failure(status: u16, code: &str, words: &str, date: Option<&str>) -> Failure {
        let answer = Answer {
            request: "POST https://api.ecr.example/".into(),
            status: StatusCode::from_u16(status).unwrap(),
            date: date.map(str::to_owned),
        };
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        refused("ask", &AwsRefusal { answer: &answer, code, words }, now)
    }

    #[test]
    fn e1_each_code_has_its_class() {
        for (status, code, words, exit, says) in [
            (400, "ExpiredTokenException", "x", Exit::Refused, "the AWS credentials have expired"),
            (400, "UnrecognizedClientException", "x", Exit::Refused, "does not know"),
            (400, "InvalidSignatureException", "does not match", Exit::Refused, "the secret access key is wrong"),
            (400, "InvalidSignatureException", "Signature expired: 1 is now earlier than 2", Exit::Refused, "clock"),
            (400, "InvalidSignatureException", "Signature not yet current: 1", Exit::Refused, "clock"),
            (400, "AccessDeniedException", "x", Exit::Refused, "ecr:GetAuthorizationToken is not allowed"),
            (400, "InvalidParameterException", "x", Exit::Misuse, "InvalidParameterException"),
            (400, "ThrottlingException", "x", Exit::Unreachable, "too many requests"),
            (500, "ServerException", "x", Exit::Unreachable, "500 Internal Server Error: ServerException: x"),
            (502, "", "an HTML page", Exit::Unreachable, "502 Bad Gateway: an HTML page"),
            (302, "", "", Exit::Unsafe, "not followed"),
            (404, "", "", Exit::Mismatch, "404 Not Found"),
            (403, "", "", Exit::Refused, "403 Forbidden"),
            (400, "Else", "", Exit::Failed, "Else"),
        ] {
            let failure = failure(status, code, words, None);
            assert_eq!(failure.exit, exit, "{code}");
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }

    #[test]
    fn e1_a_wrong_clock_is_reported_with_both_times() {
        let date = "Tue, 24 Nov 2026 10:30:00 GMT";
        let skewed = failure(400, "InvalidSignatureException", "does not match", Some(date));
        assert_eq!(skewed.details, ["here it is 2026-11-24T12:00:00Z, there 2026-11-24T10:30:00Z: 90 min ahead"]);
        let right = failure(400, "InvalidSignatureException", "does not match", Some("Tue, 24 Nov 2026 11:58:00 GMT"));
        assert!(right.message.contains("secret access key is wrong"), "{}", right.message);
    }

    #[test]
    fn the_quoted_request_with_its_session_token_is_cut() {
        let words = "The request signature we calculated does not match. The Canonical String for this request should have been \
                     'POST\n/\n\nx-amz-security-token:canary'";
        let failure = failure(400, "InvalidSignatureException", words, None);
        assert!(!failure.message.contains("canary"), "{}", failure.message);
    }
}
