//! A token server for Debian's docker-registry, on another port and with TLS (Distribution "Token Authentication").
//!
//! It issues signed tokens (JWT, ES256, with the certificate in `x5c`) for passwords, with the actions that the account may
//! do, and the lifetime that the test sets. The registry verifies them itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use scar_lab::certs::{Certs, Pair};
use scar_lab::registry::Credentials;
use scar_lab::server::{Listener, Server};
use serde_json::{Value, json};

use crate::registry::PASSWORD;

/// How long Distribution accepts an expired token, for clock differences.
const LEEWAY: i64 = 60;

/// A user, and the allowed actions in every repository.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// The user.
    pub user: &'static str,
    /// The password, a registered secret.
    pub password: &'static str,
    /// The actions of a scope.
    pub may: &'static [&'static str],
}

/// A request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The query's `account`.
    pub account: Option<String>,
    /// Every requested scope.
    pub scopes: Vec<String>,
    /// Whether it had a password.
    pub with_password: bool,
    /// The status of the answer.
    pub status: u16,
}

/// The signing key; the registry trusts the authority of its certificate.
pub(crate) struct Tokens {
    key: EcdsaKeyPair,
    certificate: String,
    lifetime: Mutex<Duration>,
    given: AtomicU64,
    asked: Mutex<Vec<Asked>>,
}

impl Tokens {
    pub(crate) const SERVICE: &'static str = "kit-registry";
    pub(crate) const ISSUER: &'static str = "kit-tokens";

    fn signed_with(pair: &Pair) -> Self {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.key_der().secret_der());
        Self {
            key: key.expect("a key on P-256"),
            certificate: BASE64_STANDARD.encode(pair.der()),
            lifetime: Mutex::new(Duration::from_secs(300)),
            given: AtomicU64::new(0),
            asked: Mutex::default(),
        }
    }

    /// A token to read this repository, without a request.
    pub(crate) fn to_read(&self, repository: &str) -> String {
        self.token("kit", &[json!({"type": "repository", "name": repository, "actions": ["pull"]})])
    }

    /// A token, registered as a secret, with the current lifetime, which may be up to a second shorter because expiry has
    /// whole seconds.
    fn token(&self, user: &str, access: &[Value]) -> String {
        let now = SystemTime::now();
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs() as i64;
        let until = seconds(now + *self.lifetime.lock().unwrap());
        let claims = json!({
            "iss": Self::ISSUER, "sub": user, "aud": Self::SERVICE, "exp": until - LEEWAY, "nbf": seconds(now), "iat": seconds(now),
            "jti": self.given.fetch_add(1, Ordering::SeqCst).to_string(), "access": access,
        });
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&json!({"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]})), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature");
        format!("{text}.{}", crate::secret(&BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The answer to a request: the requested actions that the account may do; none without a password.
    fn answer(&self, query: &[(String, String)], headers: &HeaderMap) -> Result<Value, StatusCode> {
        let given = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if given("service") != Some(Tokens::SERVICE) {
            return Err(StatusCode::BAD_REQUEST);
        }
        let account = match headers.contains_key(header::AUTHORIZATION) {
            false => None,
            true => {
                let fits = |account: &&Account| Credentials::new(account.user, account.password).fit(headers);
                Some(TokenServer::ACCOUNTS.iter().find(fits).ok_or(StatusCode::UNAUTHORIZED)?)
            }
        };
        let may = account.map_or(&[][..], |account| account.may);
        let access: Vec<_> = scopes(query).filter_map(|scope| granted(scope, may)).collect();
        let token = self.token(account.map_or("", |account| account.user), &access);
        let lifetime = self.lifetime.lock().unwrap().as_secs();
        Ok(json!({"token": token, "expires_in": lifetime, "issued_at": jiff::Timestamp::now().to_string()}))
    }
}

/// Every scope of a query; one `scope` may contain several, separated by spaces.
fn scopes(query: &[(String, String)]) -> impl Iterator<Item = &str> {
    query.iter().filter(|(key, _)| key == "scope").flat_map(|(_, value)| value.split(' '))
}

/// The granted part of `TYPE:NAME:ACTION,…`; `None` if nothing is granted.
fn granted(scope: &str, may: &[&str]) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let actions: Vec<_> = actions.split(',').filter(|action| may.contains(action)).collect();
    (!actions.is_empty()).then(|| json!({"type": kind, "name": name, "actions": actions}))
}

async fn issue(State(tokens): State<Arc<Tokens>>, Query(query): Query<Vec<(String, String)>>, headers: HeaderMap) -> Response {
    let answer = tokens.answer(&query, &headers);
    tokens.asked.lock().unwrap().push(Asked {
        account: query.iter().find(|(key, _)| key == "account").map(|(_, value)| value.clone()),
        scopes: scopes(&query).map(str::to_owned).collect(),
        with_password: headers.contains_key(header::AUTHORIZATION),
        status: answer.as_ref().err().map_or(200, StatusCode::as_u16),
    });
    let refusal = |code: &str, message: &str| Json(json!({"errors": [{"code": code, "message": message}]}));
    match answer {
        Ok(token) => Json(token).into_response(),
        Err(status @ StatusCode::UNAUTHORIZED) => {
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"kit\"")];
            (status, challenge, refusal("UNAUTHORIZED", "incorrect username or password")).into_response()
        }
        Err(status) => (status, refusal("UNSUPPORTED", "unknown service")).into_response(),
    }
}

/// A token server that runs until it is dropped.
pub struct TokenServer {
    server: Server,
    certs: Certs,
    tokens: Arc<Tokens>,
}

impl TokenServer {
    /// The user of [`crate::DockerRegistry::username`].
    pub const ROBOT: Account = Account { user: "robot", password: PASSWORD, may: &["pull", "push", "delete"] };
    /// A user who may only read.
    pub const READER: Account = Account { user: "reader", password: "reader+canary/19c2=%", may: &["pull"] };
    const ACCOUNTS: [Account; 2] = [Self::ROBOT, Self::READER];

    /// Starts one with its own certificate authority.
    pub fn start() -> Self {
        let certs = Certs::new(&[]);
        let pair = certs.server().clone();
        Self::start_with(certs, &pair)
    }

    /// Starts one that presents this certificate; the registry's and the tokens' are from `certs`.
    pub fn start_with(certs: Certs, pair: &Pair) -> Self {
        for account in Self::ACCOUNTS {
            crate::secret(account.password);
        }
        let tokens = Arc::new(Tokens::signed_with(&certs.named(&["tokens.example"])));
        let router = Router::new().route("/token", get(issue)).with_state(tokens.clone());
        Self { server: Server::start(router, Listener::tls(pair.server_config())), certs, tokens }
    }

    /// `https://127.0.0.1:PORT/token`.
    pub fn realm(&self) -> String {
        format!("{}/token", self.server.url())
    }

    /// `127.0.0.1:PORT`.
    pub fn authority(&self) -> String {
        self.server.authority()
    }

    /// The underlying server, with its log and faults.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The authority of its own and the registry's certificates.
    pub fn certs(&self) -> &Certs {
        &self.certs
    }

    /// Sets the lifetime of new tokens, in whole seconds; the default is five minutes.
    pub fn lasting(&self, lifetime: Duration) {
        *self.tokens.lifetime.lock().unwrap() = lifetime;
    }

    /// The requests so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.tokens.asked.lock().unwrap().clone()
    }

    pub(crate) fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::{self, Answer};

    fn with_token(registry: &crate::DockerRegistry, token: &str) -> Answer {
        let url = registry.url() + "/v2/";
        web::send(reqwest::Method::GET, &url, Some(registry.ca_pem()), |request| request.bearer_auth(token)).unwrap()
    }

    fn ask(server: &TokenServer, query: &str, login: Option<Account>) -> Answer {
        let url = format!("{}?{query}", server.realm());
        let log_in = |request: reqwest::RequestBuilder| match login {
            Some(account) => request.basic_auth(account.user, Some(account.password)),
            None => request,
        };
        web::send(reqwest::Method::GET, &url, Some(server.certs().ca_pem()), log_in).unwrap()
    }

    /// The claims of the token in an answer.
    fn claims(answer: &Answer) -> Value {
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let claims = body["token"].as_str().unwrap().split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
    }

    #[test]
    fn debians_registry_takes_a_token_of_its_own_server_until_its_end_alone() {
        let server = TokenServer::start();
        let Some(registry) = crate::docker_registry_with_tokens(&server) else { return };
        let challenge = web::get(&(registry.url() + "/v2/a/b/tags/list"), Some(registry.ca_pem()));
        let expected = format!("Bearer realm=\"{}\",service=\"kit-registry\",scope=\"repository:a/b:pull\"", server.realm());
        assert_eq!(challenge.headers["www-authenticate"], expected);
        let token = server.tokens.to_read("a/b");
        assert_eq!(with_token(&registry, &token).status, 200);
        assert_eq!(registry.get("/v2/a/b/tags/list").status, 404, "it may be asked for");
        let (text, signature) = token.rsplit_once('.').unwrap();
        let swapped = format!("{text}.{}{}", &signature[43..], &signature[..43]);
        assert_eq!(with_token(&registry, &swapped).status, 401);
        let stranger = TokenServer::start();
        assert_eq!(with_token(&registry, &stranger.tokens.to_read("a/b")).status, 401);
        server.lasting(Duration::from_secs(0));
        assert_eq!(with_token(&registry, &server.tokens.to_read("a/b")).status, 401);
        assert_eq!(with_token(&registry, &token).status, 200, "the earlier one has its time");
    }

    #[test]
    fn an_account_gets_what_it_may_of_what_it_asks() {
        let server = TokenServer::start();
        let query = "service=kit-registry&account=x&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository:c:push";
        let pull = json!({"type": "repository", "name": "a/b", "actions": ["pull"]});
        let both = json!({"type": "repository", "name": "a/b", "actions": ["pull", "push"]});
        let push = json!({"type": "repository", "name": "c", "actions": ["push"]});
        for (login, access) in
            [(Some(TokenServer::ROBOT), json!([both, push])), (Some(TokenServer::READER), json!([pull])), (None, json!([]))]
        {
            assert_eq!(claims(&ask(&server, query, login))["access"], access);
        }
        let wrong = Account { password: "wrong", ..TokenServer::ROBOT };
        assert_eq!(ask(&server, query, Some(wrong)).status, 401);
        assert_eq!(ask(&server, "service=other", Some(TokenServer::ROBOT)).status, 400);
        let asked = |scopes: &[&str], account: Option<&str>, with_password, status| Asked {
            account: account.map(str::to_owned),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            with_password,
            status,
        };
        let scopes = &["repository:a/b:pull,push", "repository:c:push"][..];
        let x = Some("x");
        assert_eq!(
            server.asked(),
            [
                asked(scopes, x, true, 200),
                asked(scopes, x, true, 200),
                asked(scopes, x, false, 200),
                asked(scopes, x, true, 401),
                asked(&[], None, true, 400)
            ]
        );
    }
}
