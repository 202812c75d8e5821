//! Checks of VerteX: address, login, version, SCAR's current address, and its pack registry.

use std::time::SystemTime;

use scar_http::{Client, Method};
use scar_record::{Check, Session};
use scar_registry::Reference;
use scar_tool::{Console, Failure};
use scar_vertex::scar::{SPECMAN, Setting, installed};
use scar_vertex::user::{self, User};
use scar_vertex::{Api, Entrance, OLDEST};

use crate::check::{blocked, complete, failed, ok, skipped, warning, within};
use crate::findings::Findings;
use crate::network::Server;
use crate::options::Options;
use crate::pack;
use crate::plan::{Platform, PlatformLogin};
use crate::version;

const REACHED: &str = "platform.reached";
const LOGIN: &str = "platform.login";
const VERSION: &str = "platform.version";
const SCAR: &str = "platform.scar";
/// The lines of this part.
pub(crate) const NAMES: [&str; 6] = [REACHED, LOGIN, VERSION, SCAR, pack::ENTRY, pack::FLAG];

/// Checks the part.
pub(crate) async fn look(plan: Platform, reference: Option<&Reference>, options: &Options, console: &Console) -> Findings {
    let mut findings = Findings::default();
    let mut checks = Vec::new();
    match reach(&plan, options, console).await {
        Ok((client, server)) => {
            checks.push(ok(REACHED, format!("'{}' answers", plan.origin)));
            findings.server = Some(server);
            let act = format!("log in to '{}'", plan.origin);
            let (line, api) = match within(options.timeout, &act, enter(&plan, client, options, console)).await {
                Ok(Some((line, api))) => (line, Some(api)),
                Ok(None) => (skipped(LOGIN, "no password: --vertex-password-file FILE or VERTEX_PASSWORD_FILE"), None),
                Err(failure) => (failed(LOGIN, failure), None),
            };
            checks.push(line);
            if let Some(api) = api {
                let pack = pack::look(&api, reference, options, console);
                let (version, scar, (pack, flag)) = tokio::join!(version_line(&api, options), scar_line(&api, options), pack);
                checks.extend([version, scar]);
                checks.extend(pack);
                findings.flag = flag;
            }
        }
        Err(failure) => checks.push(failed(REACHED, failure)),
    }
    Findings { checks: complete(&NAMES, checks), ..findings }
}

/// Sends a request without a credential: any answer is fine.
async fn reach(plan: &Platform, options: &Options, console: &Console) -> Result<(Client, Server), Failure> {
    let trust = plan.trust.as_ref().map_err(Failure::clone)?;
    let client = Client::new(plan.origin.clone(), trust, plan.plain_http, console)?;
    let begun = SystemTime::now();
    let answer = client.at(Method::GET, user::PATH)?.timeout(options.timeout).send().await;
    let answer = answer.map_err(|error| error.failure(&format!("connect to '{}'", plan.origin)))?;
    let server = Server::new(plan.origin.authority(), client.proxy(), answer.date(), begun, trust.seen().until());
    Ok((client, server))
}

/// Logs in as `vertex-login` does: the line, and the API. `None` if no password is known.
async fn enter(plan: &Platform, client: Client, options: &Options, console: &Console) -> Result<Option<(Check, Api)>, Failure> {
    let deadline = options.deadline();
    let (session, how): (Session, String) = match &plan.login {
        PlatformLogin::Nothing => return Ok(None),
        PlatformLogin::Session(session) => {
            let api = Api::with(client.clone(), session, deadline, console)?;
            let user = user::me(&api, "use the session of the record", &format!("log in again: {}", api.login())).await?;
            ((**session).clone(), format!("the session of the record, of {}", named(&user)))
        }
        PlatformLogin::Method(method) => {
            let method = method.as_ref().map_err(Failure::clone)?;
            let trust = plan.trust.as_ref().map_err(Failure::clone)?;
            let (session, user) = Entrance { client: &client, trust, deadline, console }.enter(method).await?;
            let how = match method {
                scar_vertex::LoginMethod::Token(_) => format!("the token from the browser, of {}", named(&user)),
                scar_vertex::LoginMethod::Password { .. } => format!("as {}, with the password", named(&user)),
            };
            (session, how)
        }
    };
    let api = Api::with(client, &session, scar_tool::Deadline::after(options.timeout * 3), console)?;
    let end = session.expires_at.map(|end| format!("; the session ends at {end}")).unwrap_or_default();
    Ok(Some((ok(LOGIN, how + &end), api)))
}

/// The account, and whether it is a full administrator.
fn named(user: &User) -> String {
    match &user.admin_type {
        Some(kind) => format!("'{}', administrator type '{kind}'", user.name),
        None => format!("'{}'", user.name),
    }
}

async fn version_line(api: &Api, options: &Options) -> Check {
    let act = "read the installed version";
    let read = within(options.timeout, act, async { installed(api).await.map_err(|error| api.failure(act, &error)) }).await;
    let needed = format!("it must be {OLDEST} or later");
    let version = match read {
        Ok(Some(version)) => version,
        Ok(None) => return warning(VERSION, "the platform does not say its version", needed),
        Err(failure) => return failed(VERSION, failure),
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

async fn scar_line(api: &Api, options: &Options) -> Check {
    let setting = match within(options.timeout, "read the SCAR setting", Setting::read(api)).await {
        Ok(setting) => setting,
        Err(failure) => return failed(SCAR, failure),
    };
    let endpoint = setting.endpoint();
    if endpoint.is_empty() {
        return warning(SCAR, "SCAR has no endpoint", "is this the VerteX that is to be migrated?");
    }
    if setting.same_endpoint(&Setting::target(SPECMAN, None, false, None)) {
        return ok(SCAR, format!("'{endpoint}': it leads to Specman already"));
    }
    let hidden = if setting.hides_its_password() { "; its password is not shown: an undo will ask for it" } else { "" };
    ok(SCAR, format!("'{endpoint}'{hidden}"))
}
