//! What a registry asks for with a 401: `WWW-Authenticate` (RFC 9110, 11.6.1; Distribution "Token Authentication").

use http_auth::parser::ChallengeParser;
use scar_http::Response;

/// The way in that a registry offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// User and password with each request.
    Basic,
    /// A token of this realm.
    Bearer {
        /// Where it comes from.
        realm: Realm,
        /// Whether the token that came with the request is none that the registry takes (RFC 6750, 3.1).
        invalid: bool,
        /// Whether the token must allow to delete.
        deletes: bool,
    },
}

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Realm {
    /// The token service's URL, as written.
    pub(crate) url: String,
    /// The service's name for the registry.
    pub(crate) service: Option<String>,
}

/// The way in that an answer offers.
///
/// # Errors
/// A text that says what the challenge is instead.
pub(crate) fn challenge(answer: &Response) -> Result<Asked, String> {
    asked(answer.headers().get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok()))
}

/// Reads the challenges of an answer; a token where there is a choice.
///
/// # Errors
/// A text that says what the challenge is instead.
fn asked<'h>(headers: impl IntoIterator<Item = &'h str>) -> Result<Asked, String> {
    let mut found = Vec::new();
    let mut others = Vec::new();
    // Harbor's header is empty for a project that is not there (src/server/middleware/v2auth/auth.go, `check`).
    for header in headers.into_iter().filter(|header| !header.trim().is_empty()) {
        for challenge in ChallengeParser::new(header) {
            let challenge = challenge.map_err(|_| format!("its challenge is malformed: '{header}'"))?;
            let parameter = |name: &str| {
                let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                found.push(Asked::Basic);
            } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let url = parameter("realm").ok_or("its challenge names no realm")?;
                let invalid = parameter("error").is_some_and(|error| error == "invalid_token");
                let deletes = parameter("scope").is_some_and(|scope| scope.ends_with("delete"));
                found.push(Asked::Bearer { realm: Realm { url, service: parameter("service") }, invalid, deletes });
            } else {
                others.push(challenge.scheme.to_owned());
            }
        }
    }
    found.sort_by_key(|asked| matches!(asked, Asked::Basic));
    found.into_iter().next().ok_or_else(|| match others.is_empty() {
        true => "it asks for a login without saying which (no WWW-Authenticate)".to_owned(),
        false => format!("it asks for a login of a kind that is not known here ({})", others.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_reads_every_kind_of_challenge() {
        let realm = |url: &str, service: Option<&str>| Realm { url: url.into(), service: service.map(Into::into) };
        let bearer = |url: &str, service| Asked::Bearer { realm: realm(url, service), invalid: false, deletes: false };
        let invalid = Asked::Bearer { realm: realm("y", None), invalid: true, deletes: false };
        for (headers, expected) in [
            (vec!["Basic realm=\"Registry Realm\""], Ok(Asked::Basic)),
            (vec!["basic"], Ok(Asked::Basic)),
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
            match (asked(headers.iter().copied()), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{headers:?}"),
                (Err(found), Err(says)) => assert!(found.contains(says), "{headers:?}: {found}"),
                (found, expected) => panic!("{headers:?}: {found:?}, not {expected:?}"),
            }
        }
    }
}
