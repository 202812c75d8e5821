//! Who may do what: nobody asked, Basic, or Bearer with a token service, on the registry itself or on another server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::reply;
use super::store::random;
use super::target::{Target, parameter};

/// A user and a password.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Credentials {
    /// Both together.
    pub fn new(user: &str, password: &str) -> Self {
        Self { user: user.to_owned(), password: password.to_owned() }
    }

    /// Whether a request carries exactly these, as Basic.
    pub fn fit(&self, headers: &HeaderMap) -> bool {
        let expected = BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password));
        scheme(headers, "basic").is_some_and(|given| given == expected)
    }
}

/// How the registry asks who is there.
#[derive(Clone, Default)]
pub enum Auth {
    /// It does not.
    #[default]
    None,
    /// Basic, as `docker-registry` with htpasswd.
    Basic(Credentials),
    /// Bearer, as Harbor; tokens come from this service.
    Bearer(Arc<TokenService>),
}

impl Auth {
    /// Ok, or the answer that refuses the request.
    pub(super) fn check(
        &self,
        method: &Method,
        target: &Target,
        headers: &HeaderMap,
        own_url: &str,
    ) -> Result<(), Box<Response>> {
        match self {
            Self::None => Ok(()),
            Self::Basic(credentials) if credentials.fit(headers) => Ok(()),
            Self::Basic(_) => Err(Box::new(refuse("Basic realm=\"Registry Realm\""))),
            Self::Bearer(service) => {
                let action = match *method {
                    Method::GET | Method::HEAD => "pull",
                    Method::DELETE => "delete",
                    _ => "push",
                };
                let wanted = target.name().map(|name| (name, action));
                let Err(why) = service.admits(scheme(headers, "bearer"), wanted) else {
                    return Ok(());
                };
                let realm = service.realm.clone();
                let realm = realm.unwrap_or_else(|| format!("{own_url}/service/token"));
                let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{}\"", service.service);
                if let Some((name, action)) = wanted {
                    let actions = if action == "push" { "pull,push" } else { action };
                    challenge.push_str(&format!(",scope=\"repository:{name}:{actions}\""));
                }
                if !why.is_empty() {
                    challenge.push_str(&format!(",error=\"{why}\""));
                }
                Err(Box::new(refuse(&challenge)))
            }
        }
    }
}

/// The credentials of an `Authorization` header of that scheme.
fn scheme<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (given, value) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then_some(value)
}

fn refuse(challenge: &str) -> Response {
    let mut response = reply::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required", Value::Null);
    response.headers_mut().insert("www-authenticate", challenge.parse().expect("a header value"));
    response
}

struct Token {
    scopes: Vec<String>,
    until: Instant,
}

/// A token service as Harbor has one: Basic credentials for a token that holds for a scope and a while.
pub struct TokenService {
    realm: Option<String>,
    service: String,
    credentials: Credentials,
    refresh: Option<String>,
    told: Option<Value>,
    lifetime: Duration,
    tokens: Mutex<HashMap<String, Token>>,
}

impl TokenService {
    /// A service on the registry's own server, at `/service/token`. Harbor's tokens live 30 minutes.
    pub fn new(credentials: Credentials, lifetime: Duration) -> Self {
        Self {
            realm: None,
            service: "lab-registry".to_owned(),
            credentials,
            refresh: None,
            told: None,
            lifetime,
            tokens: Mutex::default(),
        }
    }

    /// The challenge names this realm; serve [`TokenService::router`] there.
    pub fn at(mut self, realm: &str) -> Self {
        self.realm = Some(realm.to_owned());
        self
    }

    /// Gives tokens for this refresh token, too (Docker's `identitytoken`).
    pub fn refreshed_by(mut self, token: &str) -> Self {
        self.refresh = Some(token.to_owned());
        self
    }

    /// Tells this of how long its tokens hold (`expires_in`, `issued_at`), in place of the truth.
    pub fn telling(mut self, told: Value) -> Self {
        self.told = Some(told);
        self
    }

    /// The routes `GET /service/token` for user and password, `POST /service/token` for a refresh token.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/service/token", get(issue).post(exchange)).with_state(self.clone())
    }

    /// Ends all tokens given so far, as if their time had passed.
    pub fn expire(&self) {
        self.lock().clear();
    }

    /// Ok, or the word for the challenge's `error`, empty where no token was given.
    fn admits(&self, token: Option<&str>, wanted: Option<(&str, &str)>) -> Result<(), &str> {
        let tokens = self.lock();
        let known = tokens.get(token.ok_or("")?).ok_or("invalid_token")?;
        if known.until <= Instant::now() {
            return Err("invalid_token");
        }
        let Some((name, action)) = wanted else {
            return Ok(());
        };
        let prefix = format!("repository:{name}:");
        let allowed = known
            .scopes
            .iter()
            .any(|scope| scope.strip_prefix(&prefix).is_some_and(|actions| actions.split(',').any(|a| a == action || a == "*")));
        allowed.then_some(()).ok_or("insufficient_scope")
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn issue(State(service): State<Arc<TokenService>>, request: Request) -> Response {
    if !service.credentials.fit(request.headers()) {
        return reply::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "unauthorized", Value::Null);
    }
    service.token(request.uri())
}

/// A refresh token in a form, for a token (RFC 6749, 6; Distribution "Token Authentication with OAuth2").
async fn exchange(State(service): State<Arc<TokenService>>, form: String) -> Response {
    let Ok(form) = format!("/?{form}").parse::<http::Uri>() else { return invalid_grant() };
    let is = |name: &str, value: &str| parameter(&form, name).is_some_and(|given| given == value);
    let known = service.refresh.as_deref().is_some_and(|token| is("refresh_token", token));
    if !known || !is("grant_type", "refresh_token") || parameter(&form, "client_id").is_none() {
        return invalid_grant();
    }
    service.token(&form)
}

fn invalid_grant() -> Response {
    reply::with_body(
        StatusCode::BAD_REQUEST,
        &[("content-type", "application/json")],
        json!({"error": "invalid_grant"}).to_string(),
    )
}

impl TokenService {
    /// A token for what the query asks.
    fn token(&self, asked: &http::Uri) -> Response {
        if parameter(asked, "service").is_none_or(|service| service != self.service) {
            return reply::error(StatusCode::BAD_REQUEST, "UNSUPPORTED", "unknown service", Value::Null);
        }
        let token = random();
        let until = Instant::now() + self.lifetime;
        self.lock().insert(token.clone(), Token { scopes: scopes(asked), until });
        let truth = || json!({"expires_in": self.lifetime.as_secs(), "issued_at": jiff::Timestamp::now().to_string()});
        let mut body = self.told.clone().unwrap_or_else(truth);
        body["token"] = json!(token);
        body["access_token"] = json!(token);
        reply::with_body(StatusCode::OK, &[("content-type", "application/json")], body.to_string())
    }
}

/// Every `scope` parameter; one may hold several, parted by spaces.
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
