//! A token that a person copied from a browser: its shape, and whether VerteX takes it.

use scar_http::{Client, StatusCode};
use scar_record::Session;
use scar_tool::{Console, Deadline, Failure};
use secrecy::{ExposeSecret, SecretString};

use crate::{Api, token};

/// The token without what copying left around it: quotes (as jq prints them), the name of the cookie or of a header, white
/// space.
///
/// # Errors
/// Exit 2 where it can be no token.
pub fn shaped(given: &SecretString) -> Result<SecretString, Failure> {
    let text = given.expose_secret().trim();
    let text = text.strip_prefix("Cookie:").unwrap_or(text).trim_start();
    let text = ["Authorization=", "Authorization:"].iter().find_map(|name| text.strip_prefix(name)).unwrap_or(text).trim_start();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let text = token::bare(text);
    token::check(text).map_err(|cause| {
        Failure::misuse(format!("read the token file: it holds no token: {cause}"))
            .hint("it must hold the value of the browser's cookie 'Authorization' alone, on one line")
    })?;
    Ok(text.to_owned().into())
}

/// Has VerteX say whose token it is; a token that it does not take is no session.
///
/// # Errors
/// What the token, the network or the server is to blame for.
pub async fn accepted(client: Client, session: &Session, deadline: Deadline, console: &Console) -> Result<String, Failure> {
    let act = format!("check the token at '{}'", client.origin());
    let api = Api::with(client, session, deadline, console)?;
    let me = api.get("/v1/system/users/me").await.map_err(|error| {
        let failure = api.failure(&act, &error);
        match error.status() {
            Some(StatusCode::UNAUTHORIZED) => {
                failure.hint("the token has ended or is of another site: copy it again from the browser")
            }
            Some(StatusCode::FORBIDDEN) => failure.hint("the token must be of the system console, and of a system administrator"),
            _ => failure,
        }
    })?;
    let name = me.text_or_empty(&["metadata", "name"]);
    console.verbose(|| format!("the token is of '{name}'"));
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_copying_leaves_around_a_token_is_taken_off() {
        for text in [
            "a.b.c",
            "\"a.b.c\"",
            " a.b.c ",
            "Authorization=a.b.c",
            "Authorization=\"a.b.c\"",
            "Authorization: Bearer a.b.c",
            "Cookie: Authorization=a.b.c",
        ] {
            assert_eq!(shaped(&text.to_owned().into()).unwrap().expose_secret(), "a.b.c", "{text}");
        }
        let failure = shaped(&"can ary".to_owned().into()).unwrap_err();
        assert!(!failure.message.contains("ary") && failure.message.contains("character 4"), "{}", failure.message);
    }
}
