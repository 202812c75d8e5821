//! Checks every prerequisite of the migration before it begins; changes nothing.

mod access;
mod check;
mod claim;
mod cluster;
mod content;
mod findings;
mod network;
mod options;
mod pack;
mod plan;
mod platform;
mod registry;
mod room;
mod run;
mod sample;
mod specman;
mod table;

use std::process::ExitCode;

use options::Options;
use scar_record::{Input, Preflight, Record};
use scar_tool::{Console, Deadline, Failure};

fn main() -> ExitCode {
    scar_tool::main(include_str!("../../../man/scar-preflight.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let plan = options.plan(console)?;
    let mut record = Record::read(&options.common, Input::Stdin)?;
    if record.is_dry_run() && !options.common.dry_run {
        // Nothing would be checked, and the next stage would take that for a site that is ready.
        return Err(Failure::misuse("read the record: it is a dry run's").hint("give the record of a real run, or --dry-run"));
    }
    let plan = plan.with_session(record.section()?, &options)?;
    if record.is_dry_run() {
        plan.show(console);
        return record.write(console);
    }
    let plan = plan.with_logins(&options, console)?;
    // Each check has a deadline of its own.
    let checks = scar_http::run(Deadline::never(), console, "check the site", run::all(plan, &options, console))?;
    table::show(&checks, console);
    check::verdict(&checks, console)?;
    record.set(&Preflight { checks });
    record.write(console)
}
