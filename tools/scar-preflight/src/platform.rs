//! Checks of VerteX: address, login, version, SCAR's current address, and its pack registry.

use std::time::{Duration, SystemTime};

use scar_http::{Client, Method};
use scar_record::{Check, Session};
use scar_registry::Reference;
use scar_tool::{Console, Deadline, Failure};
use scar_vertex::scar::{SPECMAN, Setting, installed};
use scar_vertex::user::{self, User};
use scar_vertex::{Api, OLDEST, browser, login, token};
use secrecy::{ExposeSecret, SecretString};

use crate::check::{self, Side, blocked, failed, needs, ok, skipped, warning, within};
use crate::goal::{Platform, Way};
use crate::network::Server;
use crate::options::Options;
use crate::pack::{self, Flag};
use crate::version;

const REACHED: &str = "platform.reached";
const LOGIN: &str = "platform.login";
const VERSION: &str = "platform.version";
const SCAR: &str = "platform.scar";
/// The names of the lines after the login.
const AFTER: [&str; 4] = [VERSION, SCAR, pack::ENTRY, pack::FLAG];
/// The lines of this side.
pub(crate) fn names() -> Vec<&'static str> {
    [&[REACHED, LOGIN], &AFTER[..]].concat()
}

/// The results.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) checks: Vec<Check>,
    pub(crate) server: Option<Server>,
    /// The flag of the pack registry, if it was read.
    pub(crate) flag: Option<Flag>,
}

/// The inputs of the checks.
pub(crate) struct Manner<'a> {
    pub(crate) time: Duration,
    /// The entry and its login, as `pack-registry-set` will get them.
    pub(crate) options: &'a Options,
    pub(crate) console: &'a Console,
}

/// Checks the side.
pub(crate) async fn look(goal: Platform, reference: Option<&Reference>, manner: &Manner<'_>) -> Found {
    let mut found = Found::default();
    let client = match reach(&goal, manner).await {
        Ok((client, server)) => {
            found.checks.push(ok(REACHED, format!("'{}' answers", goal.origin)));
            found.server = Some(server);
            client
        }
        Err(failure) => {
            found.checks.push(failed(REACHED, failure, Side::Platform));
            found.checks.extend(needs([&[LOGIN], &AFTER[..]].concat(), REACHED));
            return found;
        }
    };
    let act = format!("log in to '{}'", goal.origin);
    let (line, api) = match within(manner.time, &act, enter(&goal, client, manner)).await {
        Ok(Some((line, api))) => (line, api),
        Ok(None) => (skipped(LOGIN, "no password: --vertex-password-file FILE or VERTEX_PASSWORD_FILE"), None),
        Err(failure) => (failed(LOGIN, failure, Side::Platform), None),
    };
    found.checks.push(line);
    let Some(api) = api else {
        found.checks.extend(needs(AFTER, LOGIN));
        return found;
    };
    let (version, scar, (pack, flag)) =
        tokio::join!(version_line(&api, manner), scar_line(&api, manner), pack::look(&api, reference, manner));
    found.checks.extend([version, scar]);
    found.checks.extend(pack);
    found.flag = flag;
    found
}

/// Sends a request without a credential: any answer is fine.
async fn reach(goal: &Platform, manner: &Manner<'_>) -> Result<(Client, Server), Failure> {
    let trust = goal.trust.as_ref().map_err(Failure::clone)?;
    let client = Client::new(goal.origin.clone(), trust, goal.plain_http, manner.console)?;
    let begun = SystemTime::now();
    let answer = client.at(Method::GET, user::PATH)?.timeout(manner.time).send().await;
    let answer = answer.map_err(|error| error.failure(&format!("connect to '{}'", goal.origin)))?;
    let server = Server::new(goal.origin.authority(), client.proxy(), answer.date(), begun, goal.seen.until());
    Ok((client, server))
}

/// Logs in: the line, and the API. `None` if no password is known.
async fn enter(goal: &Platform, client: Client, manner: &Manner<'_>) -> Result<Option<(Check, Option<Api>)>, Failure> {
    let session = |authorization: SecretString| Session {
        endpoint: goal.origin.to_string(),
        expires_at: token::expiry(authorization.expose_secret()),
        authorization,
        ca_file: None,
        insecure: false,
    };
    let (session, how) = match &goal.way {
        Way::Session(session) => {
            let api = Api::with(client.clone(), session, Deadline::after(manner.time), manner.console)?;
            let user = user::me(&api, "use the session of the record", &format!("log in again: {}", api.login())).await?;
            ((**session).clone(), format!("the session of the record, of {}", named(&user)))
        }
        Way::Token(given) => {
            let session = session(browser::shaped(given.as_ref().map_err(Failure::clone)?)?);
            let user = browser::accepted(client.clone(), &session, Deadline::after(manner.time), manner.console).await?;
            (session, format!("the token from the browser, of {}", named(&user)))
        }
        Way::Password { username, password } => {
            let Some(password) = password.as_ref().map_err(Failure::clone)? else { return Ok(None) };
            let token = login::syslogin(&client, username, password, Deadline::after(manner.time), manner.console).await?;
            let session = session(token);
            let api = Api::with(client.clone(), &session, Deadline::after(manner.time), manner.console)?;
            let user = user::me(&api, &format!("log in to '{}'", goal.origin), &login::no_access()).await?;
            (session, format!("as {}, with the password", named(&user)))
        }
    };
    let api = Api::with(client, &session, Deadline::after(manner.time * 3), manner.console)?;
    let end = session.expires_at.map(|end| format!("; the session ends at {end}")).unwrap_or_default();
    Ok(Some((ok(LOGIN, how + &end), Some(api))))
}

/// The account, and whether it is a full administrator.
fn named(user: &User) -> String {
    match &user.admin_type {
        Some(kind) => format!("'{}', administrator type '{kind}'", user.name),
        None => format!("'{}'", user.name),
    }
}

async fn version_line(api: &Api, manner: &Manner<'_>) -> Check {
    let act = "read the installed version";
    let read = within(manner.time, act, async { installed(api).await.map_err(|error| api.failure(act, &error)) }).await;
    let needed = format!("it must be {OLDEST} or later");
    let version = match read {
        Ok(Some(version)) => version,
        Ok(None) => return warning(VERSION, "the platform does not say its version", needed),
        Err(failure) => return failed(VERSION, failure, Side::Platform),
    };
    match version::is_enough(&version) {
        Some(true) => ok(VERSION, format!("{version}; {OLDEST} or later is needed")),
        Some(false) => {
            let hint = format!("upgrade VerteX or Palette to {OLDEST} or later first");
            blocked(VERSION, format!("{version} is older than {OLDEST}"), hint)
        }
        None => warning(VERSION, format!("'{version}' is not a version that can be compared"), needed),
    }
}

async fn scar_line(api: &Api, manner: &Manner<'_>) -> Check {
    let setting = match within(manner.time, "read the SCAR setting", Setting::read(api)).await {
        Ok(setting) => setting,
        Err(failure) => return failed(SCAR, failure, Side::Platform),
    };
    let endpoint = setting.endpoint();
    if endpoint.is_empty() {
        return warning(SCAR, "SCAR has no endpoint", "is this the VerteX that is to be migrated?");
    }
    if setting.same_endpoint(&Setting::target(SPECMAN, None, false, None)) {
        return ok(SCAR, format!("'{endpoint}': it leads to Specman already"));
    }
    let hidden = if setting.hides_its_password() { "; its password is not shown: an undo will ask for it" } else { "" };
    check::ok(SCAR, format!("'{endpoint}'{hidden}"))
}
