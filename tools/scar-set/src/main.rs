//! Points VerteX's SCAR setting to Specman, validates it, and starts the two sync jobs (guide, steps 10 to 12); or undoes
//! the change.

mod address;
mod change;
mod evidence;
mod jobs;
mod options;
mod setting_backup;
mod settle;
mod site;
mod summary;
mod undo;

use std::process::ExitCode;

use options::{Options, Task};
use scar_record::{Input, Record, Scar, Session};
use scar_tool::{Console, Failure};
use scar_vertex::Api;
use site::Site;

fn main() -> ExitCode {
    scar_tool::main(include_str!("../../../man/scar-set.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let task = options.open(console)?;
    let mut record = Record::read(&options.common, Input::Stdin)?;
    let dry_run = record.is_dry_run();
    // The success of this step means that the migration is done, so a dry run's record must not pass here unnoticed (FAULTS Q1).
    if dry_run && !options.common.dry_run {
        return Err(Failure::misuse("set SCAR: the record is from a dry run: the steps before this one have changed nothing")
            .hint("run every step without --dry-run; scar-set --dry-run shows what this one would do"));
    }
    let session = record.section::<Session>()?;
    if let Task::Set(_) = &task {
        evidence::check(&record, session.as_ref(), &options, console)?;
    }
    let session = match session {
        None if dry_run => {
            console.plan(task.as_text());
            return record.write(console);
        }
        None => record.need::<Session>()?,
        Some(session) => session,
    };
    let api = Api::open(&session, &options.api, console)?.with_time(options.settle);
    let site = Site { api: &api, console, settle: options.settle, force: options.force, dry_run };
    let section = scar_http::run(api.deadline(), console, "set SCAR", async {
        match task {
            Task::Set(plan) => change::run(&site, plan, record.section::<Scar>()?.as_ref()).await,
            Task::Undo(plan) => undo::run(&site, &plan).await,
        }
    })?;
    if let Some(section) = section {
        record.set(&section);
    }
    if !options.keep_session {
        record.remove::<Session>();
    }
    record.write(console)?;
    if options.summary && !dry_run { summary::show(&record, console) } else { Ok(()) }
}
