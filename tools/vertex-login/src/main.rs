//! Logs in to the VerteX System API with a password or a browser's token, for the next stage of a pipe or for one command
//! (guide, steps 6 and 12).

mod command;
mod options;

use std::process::ExitCode;

use options::Options;
use scar_http::Client;
use scar_record::Record;
use scar_tool::{Console, Deadline, Failure};
use scar_trust::Trust;
use scar_vertex::Entrance;

fn main() -> ExitCode {
    scar_tool::main(include_str!("../../../man/vertex-login.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let mut plan = options.open(console)?;
    let trust = Trust::load(&options.account.tls)?.by(options.route);
    let client = Client::new(plan.origin.clone(), &trust, options.account.plain_http, console)?;
    let mut record = Record::read(&options.common, plan.input)?;
    if record.is_dry_run() {
        console.plan(plan.as_text());
        return plan.pass_on(&record, console);
    }
    // After all input was read: the stages of a pipe start at once (bash(1), "Pipelines"), and an earlier one may fail or ask,
    // too.
    plan.ask()?;
    let deadline = Deadline::after(options.timeout);
    let entrance = Entrance { client: &client, trust: &trust, deadline, console };
    let act = format!("log in to '{}'", plan.origin);
    let (session, _) = scar_http::run(deadline, console, &act, entrance.enter(&plan.method))?;
    let end = session.expires_at.map(|end| format!("; the session ends at {end}")).unwrap_or_default();
    console.note(format!("logged in to '{}'{end}", plan.origin));
    record.set(&session);
    plan.pass_on(&record, console)
}
