//! `/v1/auth/syslogin`, its token, and who may use the rest of the API.
//!
//! The token is a JWT with `exp`, but only tokens that the lab has issued and that have not expired are valid.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use axum::http::{Response, StatusCode};
use axum::middleware::Next;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Vertex, answer, unique};

/// The state of logins.
#[derive(Default)]
pub(super) struct Logins {
    /// Issued tokens with their expiry.
    tokens: HashMap<String, i64>,
    attempts: u32,
    failures: u32,
}

impl Vertex {
    /// A token as in a browser after MFA or SSO, with the usual lifetime.
    pub fn issue_token(&self) -> String {
        let expires = self.token_end();
        let token = jwt(&self.behaviour().username, expires);
        self.lock().logins.tokens.insert(token.clone(), expires);
        token
    }

    /// Revokes all issued tokens.
    pub fn expire_tokens(&self) {
        self.lock().logins.tokens.clear();
    }

    /// The number of password tries.
    pub fn login_attempts(&self) -> u32 {
        self.lock().logins.attempts
    }

    /// Unlocks the account.
    pub fn unlock(&self) {
        self.lock().logins.failures = 0;
    }

    fn token_end(&self) -> i64 {
        let life = i64::try_from(self.behaviour().token_lifetime.as_secs()).unwrap_or(i64::MAX);
        Timestamp::now().as_second().saturating_add(life)
    }
}

/// `POST /v1/auth/syslogin`: exchanges user and password for a token; `?setCookie=true` also sets it as a cookie.
pub(super) async fn syslogin(
    State(vertex): State<Arc<Vertex>>,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> Response<Body> {
    let given: Value = serde_json::from_slice(&body).unwrap_or_default();
    let behaviour = vertex.behaviour();
    let right = given["username"] == behaviour.username && given["password"] == behaviour.password;
    {
        let mut state = vertex.lock();
        state.logins.attempts += 1;
        if state.logins.failures >= behaviour.lockout_after {
            let words = "User account is locked due to too many failed login attempts";
            return answer::error(StatusCode::FORBIDDEN, "UserLocked", words);
        }
        if !right {
            state.logins.failures += 1;
            let words = "Invalid credentials: username or password is incorrect";
            return answer::error(StatusCode::UNAUTHORIZED, "InvalidCredentials", words);
        }
        state.logins.failures = 0;
    }
    let token = match behaviour.mfa {
        true => jwt(&behaviour.username, vertex.token_end()),
        false => vertex.issue_token(),
    };
    let mut said = json!({"IsEmailSet": true, "IsEmailVerified": false, "IsPasswordReset": true});
    said[&behaviour.mfa_field] = json!(behaviour.mfa);
    if !behaviour.no_token {
        said["Authorization"] = json!(token);
    }
    let mut response = answer::ok(&said);
    if query.get("setCookie").is_some_and(|v| v == "true")
        && let Ok(cookie) = HeaderValue::from_str(&format!("Authorization={token}; Path=/; HttpOnly; Secure"))
    {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// Lets a request with a valid token pass.
pub(super) async fn required(State(vertex): State<Arc<Vertex>>, request: Request, next: Next) -> Response<Body> {
    let now = Timestamp::now().as_second();
    let known = token_of(request.headers()).and_then(|token| vertex.lock().logins.tokens.get(&token).copied());
    match known {
        Some(end) if now < end => next.run(request).await,
        Some(_) => answer::error(StatusCode::UNAUTHORIZED, "TokenExpired", "Authorization token is expired"),
        None => answer::error(StatusCode::UNAUTHORIZED, "InvalidToken", "Authorization token is missing or invalid"),
    }
}

/// A request's token: the cookie as in the guide (its `jq` keeps the quotes), else the header `Authorization`.
fn token_of(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(COOKIE).into_iter();
    let cookie = cookies
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == "Authorization")
        .map(|(_, value)| value);
    let token = match cookie {
        Some(value) => value,
        None => headers.get(AUTHORIZATION)?.to_str().ok()?,
    };
    let bare = token.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    Some(bare.unwrap_or(token).to_owned())
}

/// Header, claims and signature, base64url each.
fn jwt(user: &str, expires: i64) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = json!({"sub": user, "jti": unique(), "iat": Timestamp::now().as_second(), "exp": expires});
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    let signature = URL_SAFE_NO_PAD.encode(Sha256::digest(unique()));
    format!("{header}.{claims}.{signature}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_taken_from_the_cookie_with_and_without_quotes_else_from_the_header() {
        let cases: [(&str, &str, Option<&str>); 5] = [
            ("cookie", "Authorization=a.b.c", Some("a.b.c")),
            ("cookie", "x=1; Authorization=\"a.b.c\"", Some("a.b.c")),
            ("cookie", "authorization=a.b.c", None),
            ("authorization", "a.b.c", Some("a.b.c")),
            ("x-other", "a.b.c", None),
        ];
        for (name, value, token) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(token_of(&headers).as_deref(), token, "{name}: {value}");
        }
    }
}
