//! Parsing a registry's challenge, `WWW-Authenticate` (RFC 9110, 11.6.1; Distribution "Token Authentication").

use http_auth::parser::ChallengeParser;
use scar_http::Response;

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Send user and password with each request.
    Basic,
    /// Get a token from this realm.
    Bearer {
        realm: Realm,
        /// Whether the registry calls the token that was sent invalid (RFC 6750, 3.1).
        invalid: bool,
        /// Whether the scope includes `delete`.
        deletes: bool,
    },
}

/// A token service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Realm {
    /// Its URL, as written.
    pub(crate) url: String,
    /// The name under which it knows the registry.
    pub(crate) service: Option<String>,
}

/// The challenge of an answer.
pub(crate) fn challenge(answer: &Response) -> Result<Challenge, String> {
    parse(answer.headers().get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok()))
}

/// Parses the challenges of an answer; prefers a token.
pub(super) fn parse<'h>(headers: impl IntoIterator<Item = &'h str>) -> Result<Challenge, String> {
    let mut found = Vec::new();
    let mut others = Vec::new();
    // Harbor sends an empty header for a project that does not exist (goharbor/harbor src/server/middleware/v2auth/auth.go,
    // `check`; FAULTS Q61).
    for header in headers.into_iter().filter(|header| !header.trim().is_empty()) {
        for challenge in ChallengeParser::new(header) {
            let challenge = challenge.map_err(|_| format!("its challenge is malformed: '{header}'"))?;
            let parameter = |name: &str| {
                let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                found.push(Challenge::Basic);
            } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let url = parameter("realm").ok_or("its challenge names no realm")?;
                let invalid = parameter("error").is_some_and(|error| error == "invalid_token");
                // Distribution asks for it on a DELETE (registry/handlers/app.go, `appendAccessRecords`).
                let deletes = parameter("scope").is_some_and(|scope| scope.ends_with("delete"));
                found.push(Challenge::Bearer { realm: Realm { url, service: parameter("service") }, invalid, deletes });
            } else {
                others.push(challenge.scheme.to_owned());
            }
        }
    }
    // Of several, the client chooses (RFC 9110, 11.6.1). With a token, the password goes to the realm alone and not with each
    // request.
    found.sort_by_key(|asked| matches!(asked, Challenge::Basic));
    found.into_iter().next().ok_or_else(|| match others.is_empty() {
        true => "it asks for a login without saying which (no WWW-Authenticate)".to_owned(),
        false => format!("it asks for an unsupported login method ({})", others.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_reads_every_kind_of_challenge() {
        let realm = |url: &str, service: Option<&str>| Realm { url: url.into(), service: service.map(Into::into) };
        let bearer = |url: &str, service| Challenge::Bearer { realm: realm(url, service), invalid: false, deletes: false };
        let invalid = Challenge::Bearer { realm: realm("y", None), invalid: true, deletes: false };
        for (headers, expected) in [
            (vec!["Basic realm=\"Registry Realm\""], Ok(Challenge::Basic)),
            (vec!["basic"], Ok(Challenge::Basic)),
            (
                vec!["Bearer realm=\"https://h.example/t?x=1,2\",service=\"s\",scope=\"repository:a/b:pull,push\""],
                Ok(bearer("https://h.example/t?x=1,2", Some("s"))),
            ),
            (vec!["Basic realm=\"x\", bearer Realm=\"y\""], Ok(bearer("y", None))),
            (vec!["Basic realm=\"x\"", "Bearer realm=\"y\""], Ok(bearer("y", None))),
            (vec!["Bearer realm=\"y\",error=\"insufficient_scope\""], Ok(bearer("y", None))),
            (vec!["Bearer realm=\"y\",error=\"invalid_token\""], Ok(invalid)),
            (vec![], Err("no WWW-Authenticate")),
            (vec![""], Err("no WWW-Authenticate")),
            (vec!["Bearer service=\"x\""], Err("no realm")),
            (vec!["Negotiate"], Err("(Negotiate)")),
            (vec!["Bearer realm=\"unclosed"], Err("malformed")),
            (vec!["="], Err("malformed")),
        ] {
            match (parse(headers.iter().copied()), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{headers:?}"),
                (Err(found), Err(says)) => assert!(found.contains(says), "{headers:?}: {found}"),
                (found, expected) => panic!("{headers:?}: {found:?}, not {expected:?}"),
            }
        }
    }
}
