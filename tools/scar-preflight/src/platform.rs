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

use crate::check::{blocked, check, failed, ok, skipped, warning, within};
use crate::findings::Findings;
use crate::network::Server;
use crate::options::Options;
use crate::pack;
use crate::plan::{Platform, PlatformLogin};

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
    let time = options.timeout;
    let (version, scar, pack) = tokio::join!(
        check(VERSION, time, "read the installed version", version_line(&api)),
        check(SCAR, time, "read the SCAR setting", scar_line(&api)),
        pack::look(&api, reference, options, console),
    );
    found.checks.extend([version, scar]);
    let (entry, flag_line, flag) = pack?;
    found.checks.extend([entry, flag_line]);
    found.flag = Some(flag);
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

async fn version_line(api: &Api) -> Result<Check, Failure> {
    let version = installed(api).await.map_err(|error| api.failure("read the installed version", &error))?;
    let needed = format!("it must be {OLDEST} or later");
    let Some(version) = version else { return Ok(warning(VERSION, "the platform does not say its version", needed)) };
    Ok(match numbers(&version) {
        Some(found) if Some(found) >= numbers(OLDEST) => ok(VERSION, format!("{version}; {OLDEST} or later is needed")),
        Some(_) => {
            let hint = format!("upgrade VerteX or Palette to {OLDEST} or later first");
            blocked(VERSION, format!("{version} is older than {OLDEST}"), hint)
        }
        None => warning(VERSION, format!("'{version}' is not a version that can be compared"), needed),
    })
}

/// The first three numbers of a version; a release candidate counts as its release.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let text = version.trim().trim_start_matches(['v', 'V']);
    let mut parts = text.split(['-', '+', ' ']).next()?.split('.').map(str::parse);
    let (first, second, third) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next().unwrap_or(Ok(0)).ok()?);
    Some([first, second, third])
}

async fn scar_line(api: &Api) -> Result<Check, Failure> {
    let setting = Setting::read(api).await?;
    let endpoint = setting.endpoint();
    if endpoint.is_empty() {
        return Ok(warning(SCAR, "SCAR has no endpoint", "is this the VerteX that is to be migrated?"));
    }
    if setting.same_endpoint(&Setting::target(SPECMAN, None, false, None)) {
        return Ok(ok(SCAR, format!("'{endpoint}': it leads to Specman already")));
    }
    let hidden = if setting.hides_its_password() { "; its password is not shown: an undo will ask for it" } else { "" };
    Ok(ok(SCAR, format!("'{endpoint}'{hidden}")))
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, expected) in [
            ("4.5.15", Some([4, 5, 15])),
            ("10.0", Some([10, 0, 0])),
            ("v4.6.2", Some([4, 6, 2])),
            ("4.5.15-rc1", Some([4, 5, 15])),
            ("4.5.15.3", Some([4, 5, 15])),
            ("dev", None),
            ("", None),
            ("4", None),
            ("4.x.1", None),
        ] {
            assert_eq!(numbers(version), expected, "{version}");
        }
    }
}
