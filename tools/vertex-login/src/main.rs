//! vertex-login: a session of the VerteX System API, from a password or from a token of the browser, for the next stage of a
//! pipe or for one program (guide steps 6 and 12).

mod command;
mod options;

use std::process::ExitCode;

use options::{Options, Way};
use scar_http::{Client, Origin};
use scar_record::{Record, Session};
use scar_tool::{Console, Deadline, Failure};
use scar_trust::Trust;
use scar_vertex::{browser, login};
use secrecy::{ExposeSecret, SecretString};

fn main() -> ExitCode {
    scar_tool::main(include_str!("../../../man/vertex-login.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let plan = options.open(console)?;
    let trust = Trust::load(&options.tls)?.by(options.route);
    let client = Client::new(plan.origin.clone(), &trust, options.plain_http, console)?;
    let mut record = Record::read(&options.common, plan.input)?;
    if record.is_dry_run() {
        console.plan(plan.as_text());
        return plan.pass_on(&record, console);
    }
    let act = format!("log in to '{}'", plan.origin);
    let session = match &plan.way {
        Way::Token(given) => {
            console.verbose(|| format!("login to '{}': the token of --token-file", plan.origin));
            let session = session(&plan.origin, browser::shaped(given)?, &trust);
            let deadline = Deadline::after(options.timeout);
            scar_http::run(deadline, console, &act, browser::accepted(client, &session, deadline, console))?;
            session
        }
        Way::Password { username, login: given } => {
            let password = given.password(username, &plan.origin)?;
            let deadline = Deadline::after(options.timeout);
            let token =
                scar_http::run(deadline, console, &act, login::syslogin(&client, username, &password, deadline, console))?;
            session(&plan.origin, token, &trust)
        }
    };
    match session.expires_at {
        Some(end) => console.note(format!("logged in to '{}'; the session ends at {end}", plan.origin)),
        None => console.note(format!("logged in to '{}'", plan.origin)),
    }
    record.set(&session);
    plan.pass_on(&record, console)
}

/// The session that the stages after this one use without an option.
fn session(origin: &Origin, authorization: SecretString, trust: &Trust) -> Session {
    Session {
        endpoint: origin.to_string(),
        expires_at: scar_vertex::token::expiry(authorization.expose_secret()),
        authorization,
        ca_file: trust.ca_file().map(|path| path.display().to_string()),
        insecure: trust.is_insecure(),
    }
}
