//! A token that the user copied from a browser: its form, and whether VerteX accepts it.

use scar_http::Client;
use scar_record::Session;
use scar_tool::{Console, Deadline, Failure};
use secrecy::{ExposeSecret, SecretString};

use crate::user::{self, IN_THE_BROWSER, User};
use crate::{Api, token};

/// What may be copied along with a token: the names under which a browser stores it, and a header's.
const NAMES: [&str; 3] = ["Cookie", "Authorization", "lscache-loginauthToken"];

/// The token without names, quotes (jq prints them) and white space around it.
pub fn shaped(given: &SecretString) -> Result<SecretString, Failure> {
    let mut text = given.expose_secret().trim();
    for name in NAMES {
        let rest = text.strip_prefix(name).map(|rest| rest.trim_start().strip_prefix([':', '=']).unwrap_or(rest));
        text = rest.unwrap_or(text).trim_start();
    }
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let text = token::bare(text);
    token::check(text).map_err(|cause| {
        Failure::misuse(format!("read the token file: it holds no token: {cause}"))
            .hint(format!("it must contain only the token, on one line; a browser has it in {IN_THE_BROWSER}"))
    })?;
    Ok(text.to_owned().into())
}

/// Asks VerteX whose token it is. A token that VerteX rejects is not accepted here either.
pub async fn accepted(client: Client, session: &Session, deadline: Deadline, console: &Console) -> Result<User, Failure> {
    let act = format!("check the token at '{}'", client.origin());
    let again = format!("the token has expired or belongs to another site: copy it again from the browser ({IN_THE_BROWSER})");
    let user = user::me(&Api::with(client, session, deadline, console)?, &act, &again).await?;
    console.verbose(|| format!("the token is of '{}'", user.name));
    Ok(user)
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
            "lscache-loginauthToken=a.b.c",
            "lscache-loginauthToken: \"a.b.c\"",
            "lscache-loginauthToken\ta.b.c",
        ] {
            assert_eq!(shaped(&text.to_owned().into()).unwrap().expose_secret(), "a.b.c", "{text}");
        }
        let failure = shaped(&"can ary".to_owned().into()).unwrap_err();
        assert!(!failure.message.contains("ary") && failure.message.contains("character 4"), "{}", failure.message);
    }
}
