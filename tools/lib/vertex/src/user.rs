//! Whose session it is, from `/v1/system/users/me`. With a passkey the login returns a token that opens nothing (VerteX
//! documentation, "Manage User Credentials", "Passkeys and API Access"), and a proxy may answer instead of VerteX. So a session
//! counts only if VerteX says whose it is.

use scar_http::StatusCode;
use scar_tool::{Exit, Failure};

use crate::Api;

/// The path that says whose session it is.
pub const PATH: &str = "/v1/system/users/me";
/// Where a logged-in browser stores the token (VerteX documentation, "Manage User Credentials", "Passkeys and API Access").
pub const IN_THE_BROWSER: &str = "local storage 'lscache-loginauthToken', or the cookie 'Authorization'";

/// A session's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name, else the e-mail address, else the uid.
    pub name: String,
    /// `adminType`: distinguishes full administrators from others.
    pub admin_type: Option<String>,
}

/// Asks VerteX whose session it is. Exit 4 with the hint `way_on` if VerteX rejects the token or returns no user.
pub async fn me(api: &Api, act: &str, way_on: &str) -> Result<User, Failure> {
    let me = api.get(PATH).await.map_err(|error| {
        let failure = api.failure(act, &error);
        if error.status() == Some(StatusCode::UNAUTHORIZED) { failure.hint(way_on.to_owned()) } else { failure }
    })?;
    let text = |path: &[&str]| me.text(path).filter(|text| !text.is_empty());
    // v1SystemUserMe in the API's description; none of these fields is required.
    let paths: [&[&str]; 3] = [&["metadata", "name"], &["spec", "emailId"], &["metadata", "uid"]];
    match paths.into_iter().find_map(text) {
        Some(name) => Ok(User { name, admin_type: text(&["spec", "adminType"]) }),
        None => {
            let said = text(&["message"]).map(|words| format!(": {}", scar_tool::bounded(words.as_bytes())));
            let cause = format!("GET {}{PATH} returns no user{}", api.origin(), said.unwrap_or_default());
            Err(Failure::new(Exit::Refused, format!("{act}: {cause}")).hint(way_on.to_owned()))
        }
    }
}
