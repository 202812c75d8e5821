//! Answering a registry's 401: with user and password, or with a token of its realm (Distribution "Token Authentication").
//!
//! Invariants: a refused credential is not sent again; a token realm on another origin gets nothing unless the user allows
//! it.

use std::time::{Duration, Instant};

use scar_http::header::CONTENT_TYPE;
use scar_http::{Cause, Client, Credential, Error, Method, Origin, Response, StatusCode, Url};
use scar_tool::{Exit, Failure};

use crate::fault::Fault;
use crate::login::{self, Challenge, Login, Realm, challenge};
use crate::refusal::{Refusal, Sender};
use crate::registry::{Registry, names};

/// The hint for an answer that no registry gives.
const NOT_A_REGISTRY: &str = "is this the registry itself, and not a proxy or a login page in front of it?";

/// A token that is refused at this age has not expired.
// A token is valid for 60 seconds at least (Distribution, "Token Authentication", `expires_in`).
const FRESH: Duration = Duration::from_secs(1);
/// The time limit for cancelling an upload session.
const CANCEL: Duration = Duration::from_secs(2);

impl Registry {
    /// Returns the answer, or `None` if it asked for a login and the request is to be sent again with it.
    pub async fn answer_challenge(&self, answer: Response) -> Result<Option<Response>, Fault> {
        let at_home = Origin::of(answer.url()).as_ref() == Some(self.client.origin());
        // A blob store or a proxy elsewhere knows nothing of this login, so its 401 is not a verdict on it.
        if !at_home {
            return Ok(Some(answer));
        }
        if answer.status() != StatusCode::UNAUTHORIZED {
            self.proven.set(true);
            return Ok(Some(answer));
        }
        let asked = challenge(&answer);
        if let Ok(Challenge::Bearer { realm, .. }) = &asked {
            *self.realm.borrow_mut() = Some(realm.clone());
        }
        // A password that was refused once is not sent again: a few tries lock an account (FAULTS P8).
        let held = self.credential.borrow().clone();
        let unproven = held.is_some() && !self.proven.get();
        // The retry policy may wait for longer than a token lives, after it was fetched and before it is used (FAULTS P9).
        let ended = unproven && self.since.get().is_some_and(|since| since.elapsed() >= FRESH);
        if unproven && !ended {
            return self.login_refused(asked, answer).await;
        }
        let has_token = matches!(held, Some(Credential::Bearer(_)));
        let realm = self.realm.borrow().clone().filter(|_| has_token || matches!(asked, Ok(Challenge::Bearer { .. })));
        let credential = match (&self.login, asked, realm) {
            (Some(Login::Registry(token)), Ok(_), _) if held.is_none() => Credential::Bearer(token.clone()),
            (Some(Login::Registry(_)), ..) => return Err(self.refusal(answer, true).await),
            // The realm is remembered: to a token that has only expired, after 30 minutes, Harbor answers `Basic
            // realm="harbor"` (goharbor/harbor src/server/middleware/v2auth/auth.go, `getChallenge`;
            // src/lib/config/metadata/metadatalist.go, TOKEN_EXPIRATION).
            (.., Some(realm)) => self.token(&realm, self.config.scope.actions()).await?,
            (Some(Login::Password { username, password }), Ok(Challenge::Basic), _) if held.is_none() => {
                Credential::Basic { username: username.clone(), password: password.clone() }
            }
            (_, Err(cause), _) if held.is_none() => {
                return Err(Failure::new(Exit::Refused, format!("log in to '{}': {cause}", self.reference.registry))
                    .hint(NOT_A_REGISTRY)
                    .into());
            }
            _ => return Err(self.refusal(answer, true).await),
        };
        self.since.set((!ended && matches!(credential, Credential::Bearer(_))).then(Instant::now));
        *self.credential.borrow_mut() = Some(credential);
        self.proven.set(false);
        Ok(None)
    }

    /// Interprets a challenge to a login that was just made: either the user is refused, or the permission. A Bearer
    /// challenge means the latter. Harbor's Basic challenge may mean both, because its realm gives a token even for a wrong
    /// password (goharbor/harbor src/core/service/token/creator.go, `Create`).
    async fn login_refused(&self, asked: Result<Challenge, String>, answer: Response) -> Result<Option<Response>, Fault> {
        let is_token = matches!(*self.credential.borrow(), Some(Credential::Bearer(_)));
        match asked {
            // A token service must not refuse a user who lacks the permission: it gives a token that allows less (Distribution,
            // "Token Authentication": "Requesting a Token"). So a token that is refused at once means the permission, not the
            // password.
            Ok(Challenge::Bearer { invalid, .. }) if is_token && !matches!(self.login, Some(Login::Registry(_))) => {
                // Distribution writes `invalid_token` for a wrong signature, issuer, audience or time
                // (registry/auth/token/accesscontroller.go, `challengeParams`): another login would not help.
                if !invalid {
                    return Ok(Some(answer));
                }
                let error = answer.into_error().await;
                let act = format!("log in to '{}'", self.reference.registry);
                Err(Failure::new(Exit::Refused, format!("{act}: it refuses the token that its own token realm issued: {error}"))
                    .hint("registry and token server disagree: compare their clocks, and issuer, service and certificate in both; the registry's log says more")
                    .into())
            }
            _ => Err(self.refusal(answer, true).await),
        }
    }

    /// Cancels an upload session, within a short time limit.
    ///
    /// Distribution requires the action `delete` for that. It is only requested here, and only if the challenge names it,
    /// because Quay refuses (400) a scope with `delete` (<https://github.com/quay/quay/pull/6576>).
    pub async fn cancel(&self, session: &Url) -> Result<(), Fault> {
        let ended = async {
            let answer = self.request(Method::DELETE, session)?.send().await?;
            let answer = match challenge(&answer) {
                Ok(Challenge::Bearer { realm, deletes: true, .. }) if answer.status() == StatusCode::UNAUTHORIZED => {
                    let token = self.token(&realm, "pull,push,delete").await?;
                    self.client.request(Method::DELETE, session.clone()).credential(&token)?.send().await?
                }
                _ => answer,
            };
            self.success(answer).await.map(drop)
        };
        tokio::time::timeout(CANCEL, ended).await.unwrap_or_else(|_| {
            Err(Error::silent(format!("DELETE {}", scar_http::redacted(session)), "no answer in time").into())
        })
    }

    /// Fetches a token for these actions on the repository (Distribution "Token Authentication"). Its expiry is not read:
    /// the registry's 401 says when it has expired, whatever the clocks say.
    async fn token(&self, realm: &Realm, actions: &str) -> Result<Credential, Fault> {
        let Realm { url: realm, service } = realm;
        let registry = &self.reference.registry;
        let act = format!("get a token for '{registry}'");
        let refuse = |cause: &str| Failure::new(Exit::Refused, format!("{act}: {cause}")).hint(NOT_A_REGISTRY);
        let no_url = |_| refuse(&format!("its token realm '{realm}' is not a URL"));
        let mut url = Url::parse(realm).map_err(no_url)?;
        let Some(origin) = Origin::of(&url) else {
            return Err(Failure::new(
                Exit::Unsafe,
                format!("{act}: its token realm '{}' is not an HTTP URL", scar_http::redacted(&url)),
            )
            .into());
        };
        let away = self.realm_client(&act, &origin)?;
        let client = away.as_ref().unwrap_or(&self.client);
        // Not the challenge's scope: Distribution asks only for `pull` on a HEAD (registry/handlers/app.go,
        // `appendAccessRecords`), which does not suffice for the upload, and Harbor's Basic challenge has none.
        let scope = format!("repository:{}:{actions}", self.reference.repository);
        let mut form = vec![("scope", scope.as_str())];
        // Harbor answers 400 to a service that it does not know (goharbor/harbor src/core/service/token/token.go, `Get`).
        form.extend(service.as_deref().map(|service| ("service", service)));
        // A refresh token goes into the body of a POST (Distribution, "OAuth2 Token Authentication"): in a URL it would be
        // logged.
        if !matches!(self.login, Some(Login::Identity(_))) {
            url.query_pairs_mut().extend_pairs(&form);
        }
        let ask = || async {
            let request = match &self.login {
                // By GET, which every token server has; not every one has OAuth2's POST (Distribution, "OAuth2 Token
                // Authentication").
                Some(Login::Password { username, password }) => client
                    .request(Method::GET, url.clone())
                    .credential(&Credential::Basic { username: username.clone(), password: password.clone() })?,
                Some(Login::Identity(token)) => client
                    .request(Method::POST, url.clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(refresh(&form, token)),
                _ => client.request(Method::GET, url.clone()),
            };
            let answer = request.timeout(self.config.patience).send().await?;
            if answer.status().is_success() {
                return Ok(answer.json::<Token>().await?);
            }
            // Other statuses do not refuse the login.
            let login = matches!(answer.status().as_u16(), 400 | 401 | 403);
            Err(Fault::Refused(Box::new(Refusal::of(answer, Sender::Realm, login).await)))
        };
        let token = match self.retry(ask).await {
            Ok(token) => token,
            Err(Fault::Http(error @ Error { cause: Cause::Malformed(_), .. })) => return Err(refuse(&error.to_string()).into()),
            // The caller would retry the realm's own retries.
            Err(fault) => return Err(Fault::Spent(Box::new(fault))),
        };
        // OAuth 2.0 calls it `access_token`, and Distribution's specification allows either name.
        let text = [token.token, token.access_token].into_iter().flatten().find(|text| !text.is_empty());
        let text = text.ok_or_else(|| refuse("its token realm's answer contains no token"))?;
        // It becomes a header: a line break in it would begin another one.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refuse("its token realm's token contains invalid characters").into());
        }
        self.console.verbose(|| format!("got a token for '{registry}' from '{origin}'"));
        Ok(Credential::Bearer(text.into()))
    }

    /// A client for a token realm on another origin that the user trusts; `None` if the realm is on the registry's own
    /// origin.
    fn realm_client(&self, act: &str, origin: &Origin) -> Result<Option<Client>, Failure> {
        if origin == self.client.origin() {
            return Ok(None);
        }
        if origin.is_plain() && !self.client.origin().is_plain() {
            return Err(Failure::new(
                Exit::Unsafe,
                format!("{act}: its token realm '{origin}' would get the login over plain HTTP"),
            )
            .hint("the registry must name an https realm"));
        }
        // Anybody who can alter one answer of the registry could otherwise collect passwords (FAULTS P6).
        if !names(&self.config.trust_realm, origin) {
            let kept = if self.login.is_some() { "the login was not sent to it" } else { "nothing was sent to it" };
            return Err(Failure::new(Exit::Unsafe, format!("{act}: its token realm '{origin}' is another server; {kept}"))
                .hint(format!("if that server belongs to the registry, add --trust-realm {}", origin.authority())));
        }
        // The client certificate was given for the registry; another server does not get to see it.
        let trust = self.trust.for_another();
        let trust = login::with_certs_d(trust, &origin.authority(), false, &self.console)?;
        Client::new(origin.clone(), &trust, self.config.plain_http, &self.console).map(Some)
    }
}

/// A token service's answer, without its expiry.
#[derive(serde::Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// The form that exchanges a refresh token (RFC 6749, 6).
fn refresh(form: &[(&str, &str)], token: &secrecy::SecretString) -> String {
    use secrecy::ExposeSecret;
    // Unlike other credentials it does not pass through a header, where each is registered.
    scar_tool::never_show(token.expose_secret());
    let mut encoder = scar_http::form_urlencoded::Serializer::new(String::new());
    encoder.extend_pairs(form).append_pair("grant_type", "refresh_token").append_pair("client_id", "scar-tools");
    encoder.append_pair("refresh_token", token.expose_secret()).finish()
}
