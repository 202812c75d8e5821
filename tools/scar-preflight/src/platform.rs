//! Checks of VerteX: address, login, version, SCAR's current address, and its pack registry.

use std::time::SystemTime;

use scar_http::{Client, Method};
use scar_record::Check;
use scar_registry::Reference;
use scar_tool::{Console, Deadline, Failure};
use scar_trust::Trust;
use scar_vertex::scar::{SPECMAN, Setting, installed};
use scar_vertex::user::{self, User};
use scar_vertex::{Api, Entrance, LoginMethod, OLDEST};

use crate::check::{blocked, failed, ok, skipped, warning, within};
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
///
/// # Errors
/// The line that blocks the rest.
pub(crate) async fn look(
    plan: Platform,
    reference: Option<&Reference>,
    options: &Options,
    console: &Console,
    found: &mut Findings,
) -> Result<(), Check> {
    let (client, server) = reach(&plan, options, console).await.map_err(|failure| failed(REACHED, failure))?;
    found.server = Some(server);
    found.checks.push(ok(REACHED, format!("'{}' answers", plan.origin)));
    let Some(login) = plan.login else {
        return Err(skipped(LOGIN, "no password: --vertex-password-file FILE or VERTEX_PASSWORD_FILE"));
    };
    let act = format!("log in to '{}'", plan.origin);
    let entered = within(options.timeout, &act, enter(login, plan.trust, client, options, console)).await;
    let (how, api) = entered.map_err(|failure| failed(LOGIN, failure))?;
    found.checks.push(ok(LOGIN, how));
    let pack = pack::look(&api, reference, options, console);
    let (version, scar, (pack, flag)) = tokio::join!(version_line(&api, options), scar_line(&api, options), pack);
    found.checks.extend([version, scar]);
    found.checks.extend(pack);
    found.flag = flag;
    Ok(())
}

/// Sends a request without a credential: any answer is fine.
async fn reach(plan: &Platform, options: &Options, console: &Console) -> Result<(Client, Server), Failure> {
    let trust = plan.trust.as_ref().map_err(Failure::clone)?;
    let client = Client::new(plan.origin.clone(), trust, plan.plain_http, console)?;
    let begun = SystemTime::now();
    let answer = client.at(Method::GET, user::PATH)?.timeout(options.timeout).send().await;
    let answer = answer.map_err(|error| error.failure(&format!("connect to '{}'", plan.origin)))?;
    let server = Server::new(plan.origin.authority(), client.proxy(), answer.date(), begun, trust.last_handshake().expires());
    Ok((client, server))
}

/// Logs in as `vertex-login` does: how, and the API.
async fn enter(
    login: PlatformLogin,
    trust: Result<Trust, Failure>,
    client: Client,
    options: &Options,
    console: &Console,
) -> Result<(String, Api), Failure> {
    let deadline = options.deadline();
    let (session, how) = match login {
        PlatformLogin::Session(session) => {
            let api = Api::with(client.clone(), &session, deadline, console)?;
            let user = user::me(&api, "use the session of the record", &format!("log in again: {}", api.login())).await?;
            (*session, format!("the session of the record, of {}", named(&user)))
        }
        PlatformLogin::Method(method) => {
            let method = method?;
            let (session, user) = Entrance { client: &client, trust: &trust?, deadline, console }.enter(&method).await?;
            let how = match method {
                LoginMethod::Token(_) => format!("the token from the browser, of {}", named(&user)),
                LoginMethod::Password { .. } => format!("as {}, with the password", named(&user)),
            };
            (session, how)
        }
    };
    // The checks after the login run side by side, each with a time limit of its own.
    let api = Api::with(client, &session, Deadline::after(options.timeout * 3), console)?;
    let end = session.expires_at.map(|end| format!("; the session ends at {end}")).unwrap_or_default();
    Ok((how + &end, api))
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
