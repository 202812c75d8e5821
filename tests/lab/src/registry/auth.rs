//! Authentication: none, Basic, or Bearer with a token service, on the registry itself or on another server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::profile::{Asked, Profile, Rule, Why};
use super::reply;
use super::store::random;
use super::target::parameter;

/// A user and a password.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Credentials {
    /// Creates it.
    pub fn new(user: &str, password: &str) -> Self {
        Self { user: user.to_owned(), password: password.to_owned() }
    }

    /// Whether a request has exactly these in Basic authentication.
    pub fn fit(&self, headers: &HeaderMap) -> bool {
        let expected = BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password));
        scheme(headers, "basic").is_some_and(|given| given == expected)
    }
}

/// The kind of authentication.
#[derive(Clone, Default)]
pub enum Auth {
    /// None.
    #[default]
    None,
    /// Basic, as in `docker-registry` with htpasswd.
    Basic(Credentials),
    /// Bearer, as in Harbor, with this token service.
    Bearer(Arc<TokenService>),
}

impl Auth {
    /// Ok, or the refusal.
    pub(super) fn check(&self, profile: Profile, rule: Option<Rule>, asked: &Asked<'_>) -> Result<(), Box<Response>> {
        let (realm, service) = match self {
            Self::Bearer(service) => {
                let realm = service.realm.clone();
                (realm.unwrap_or_else(|| format!("{}/service/token", asked.own_url)), service.service.as_str())
            }
            _ => (String::new(), ""),
        };
        match self {
            Self::None => {}
            Self::Basic(credentials) if credentials.fit(asked.headers) => {}
            Self::Basic(_) => return Err(Box::new(profile.no_password(asked))),
            // Harbor accepts a password instead of a token (src/server/middleware/security/basic_auth.go).
            Self::Bearer(service) if profile == Profile::Harbor && service.credentials.fit(asked.headers) => {}
            Self::Bearer(service) => {
                if let Err(why) = service.admits(profile, asked) {
                    return Err(Box::new(profile.no_token(why, asked, &realm, service.service.as_str())));
                }
            }
        }
        rule.and_then(|rule| profile.stopped(rule, asked, &realm, service)).map_or(Ok(()), |stopped| Err(Box::new(stopped)))
    }
}

/// The credentials of an `Authorization` header of that scheme.
fn scheme<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (given, value) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then_some(value)
}

struct Token {
    scopes: Vec<String>,
    until: Instant,
    /// Whether it was issued for a wrong password.
    anonymous: bool,
}

/// A token service like Harbor's: Basic credentials get a token with a scope and lifetime.
pub struct TokenService {
    realm: Option<String>,
    service: String,
    credentials: Credentials,
    refresh: Option<String>,
    answer: Option<Value>,
    lifetime: Duration,
    tokens: Mutex<HashMap<String, Token>>,
    /// The registry that uses it; set when that starts.
    pub(super) profile: OnceLock<Profile>,
}

impl TokenService {
    /// A service on the registry's own server, at `/service/token`. Harbor's tokens live for 30 minutes.
    pub fn new(credentials: Credentials, lifetime: Duration) -> Self {
        Self {
            realm: None,
            service: "lab-registry".to_owned(),
            credentials,
            refresh: None,
            answer: None,
            lifetime,
            tokens: Mutex::default(),
            profile: OnceLock::new(),
        }
    }

    /// Uses another realm in the challenge; serve [`TokenService::router`] there.
    pub fn at(mut self, realm: &str) -> Self {
        self.realm = Some(realm.to_owned());
        self
    }

    /// Also accepts this refresh token (Docker's `identitytoken`).
    pub fn refreshed_by(mut self, token: &str) -> Self {
        self.refresh = Some(token.to_owned());
        self
    }

    /// Claims this lifetime (`expires_in`, `issued_at`) instead of the true one.
    pub fn with_answer(mut self, answer: Value) -> Self {
        self.answer = Some(answer);
        self
    }

    /// The routes `GET /service/token` for user and password, `POST /service/token` for a refresh token.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/service/token", get(issue).post(exchange)).with_state(self.clone())
    }

    /// Expires all tokens issued so far.
    pub fn expire(&self) {
        self.lock().clear();
    }

    /// Ok, or why not.
    fn admits(&self, profile: Profile, asked: &Asked<'_>) -> Result<(), Why> {
        let tokens = self.lock();
        let token = scheme(asked.headers, "bearer").ok_or(Why::Nobody)?;
        let known = tokens.get(token).filter(|known| known.until > Instant::now()).ok_or(Why::Invalid)?;
        let Some(name) = asked.target.name() else {
            return match profile {
                // pulp_container/app/token_verification.py, `TokenPermission`: the bare address wants a token for nothing.
                Profile::Pulp if !known.scopes.is_empty() => Err(Why::Scope),
                // src/common/security/v2token/context.go, `IsAuthenticated`.
                Profile::Harbor if known.anonymous => Err(Why::Invalid),
                _ => Ok(()),
            };
        };
        let prefix = format!("repository:{name}:");
        let action = asked.action();
        // Quay has no action for deletions (endpoints/v2/blob.py, `cancel_upload`).
        let action = if profile == Profile::Quay && action == "delete" { "push" } else { action };
        let allowed = known
            .scopes
            .iter()
            .any(|scope| scope.strip_prefix(&prefix).is_some_and(|actions| actions.split(',').any(|a| a == action || a == "*")));
        allowed.then_some(()).ok_or(Why::Scope)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn issue(State(service): State<Arc<TokenService>>, request: Request) -> Response {
    let profile = service.profile.get().copied().unwrap_or_default();
    let asked = scopes(request.uri());
    let fits = service.credentials.fit(request.headers());
    match profile {
        // Even a wrong password gets a token, which allows nothing (src/core/service/token/creator.go, `Create`).
        Profile::Harbor if !fits && !asked.is_empty() => service.token(request.uri(), true),
        _ if !fits => reply::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "unauthorized", Value::Null),
        // endpoints/v2/v2auth.py, `SCOPE_REGEX_TEMPLATE`.
        Profile::Quay if asked.iter().flat_map(|scope| actions(scope)).any(|action| !["pull", "push", "*"].contains(&action)) => {
            let said = format!("Unable to decode repository and actions: {}", asked.join(" "));
            reply::error(StatusCode::BAD_REQUEST, "INVALID_REQUEST", &said, Value::Null)
        }
        _ => service.token(request.uri(), false),
    }
}

/// Exchanges a refresh token in a form (RFC 6749, 6; Distribution "Token Authentication with OAuth2").
async fn exchange(State(service): State<Arc<TokenService>>, form: String) -> Response {
    let Ok(form) = format!("/?{form}").parse::<http::Uri>() else { return invalid_grant() };
    let is = |name: &str, value: &str| parameter(&form, name).is_some_and(|given| given == value);
    let known = service.refresh.as_deref().is_some_and(|token| is("refresh_token", token));
    if !known || !is("grant_type", "refresh_token") || parameter(&form, "client_id").is_none() {
        return invalid_grant();
    }
    service.token(&form, false)
}

fn invalid_grant() -> Response {
    reply::with_body(
        StatusCode::BAD_REQUEST,
        &[("content-type", "application/json")],
        json!({"error": "invalid_grant"}).to_string(),
    )
}

impl TokenService {
    /// A token for the query's scope.
    fn token(&self, asked: &http::Uri, anonymous: bool) -> Response {
        if parameter(asked, "service").is_none_or(|service| service != self.service) {
            return reply::error(StatusCode::BAD_REQUEST, "UNSUPPORTED", "unknown service", Value::Null);
        }
        let token = random();
        let until = Instant::now() + self.lifetime;
        let scopes = match self.profile.get() {
            _ if anonymous => Vec::new(),
            // Everything that the user may do there, whatever was requested (src/core/service/token/creator.go, `filter`).
            Some(Profile::Harbor) => {
                scopes(asked).iter().filter_map(|scope| Some(scope.rsplit_once(':')?.0.to_owned() + ":*")).collect()
            }
            _ => scopes(asked),
        };
        self.lock().insert(token.clone(), Token { scopes, until, anonymous });
        let truth = || json!({"expires_in": self.lifetime.as_secs(), "issued_at": jiff::Timestamp::now().to_string()});
        let mut body = self.answer.clone().unwrap_or_else(truth);
        body["token"] = json!(token);
        body["access_token"] = json!(token);
        reply::with_body(StatusCode::OK, &[("content-type", "application/json")], body.to_string())
    }
}

/// The actions of a scope.
fn actions(scope: &str) -> impl Iterator<Item = &str> {
    scope.rsplit(':').next().unwrap_or_default().split(',')
}

/// Every `scope` parameter; one may contain several, separated by spaces.
fn scopes(uri: &http::Uri) -> Vec<String> {
    let query = uri.query().unwrap_or_default();
    query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("scope="))
        .flat_map(|value| {
            let value = value.replace('+', " ");
            let text = percent_encoding::percent_decode_str(&value);
            let text = text.decode_utf8_lossy().into_owned();
            text.split(' ').map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}
