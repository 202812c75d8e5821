//! Logs in to the VerteX System API with a password or a browser's token, for the next stage of a pipe or for one command
//! (guide, steps 6 and 12).

mod command;
mod enter;
mod options;

use std::process::ExitCode;

use options::Options;
use scar_http::Client;
use scar_record::Record;
use scar_tool::{Console, Failure};
use scar_trust::Trust;

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
    record.set(&enter::run(&plan, &trust, client, options.timeout, console)?);
    plan.pass_on(&record, console)
}
