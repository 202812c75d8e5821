//! Sets "Contains Spectro Manifests" of a pack registry, as the console does (guide, steps 6 to 8).

mod backup;
mod change;
mod compare;
mod options;
mod sync;
mod write;

use std::process::ExitCode;

use options::Options;
use scar_record::{Artifact, Input, Record, Session};
use scar_tool::backup::Backup;
use scar_tool::{Console, Failure};
use scar_vertex::Api;
use scar_vertex::entry::Selector;

fn main() -> ExitCode {
    scar_tool::main(include_str!("../../../man/pack-registry-set.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let plan = options.open(console)?;
    let backup = options.backup.as_deref().map(|path| Backup::find(path, console)).transpose()?;
    let mut record = Record::read(&options.common, Input::Stdin)?;
    let artifact = record.section::<Artifact>()?.filter(|_| plan.undo.is_none());
    let dry_run = record.is_dry_run();
    // Without an option the record chooses the entry, and so where the login goes: the environment must agree (FAULTS Q20).
    if plan.wanted.is_none() {
        artifact.as_ref().map_or(Ok(()), options::is_named)?;
    }
    let at_host = || artifact.as_ref().map(|artifact| Selector::Host(artifact.registry.clone()));
    let wanted = match plan.wanted.clone().or_else(at_host) {
        None if dry_run => {
            console.plan(format!("set the flag of the pack registry that the artifact is pushed to: {}", plan.flag));
            return record.write(console);
        }
        None => record.need::<Artifact>().map(|artifact| Selector::Host(artifact.registry))?,
        Some(wanted) => wanted,
    };
    let session = match record.section::<Session>()? {
        None if dry_run => {
            console.plan(format!("log in, find the pack registry {wanted}, and set its flag: {}", plan.flag));
            return record.write(console);
        }
        None => record.need::<Session>()?,
        Some(session) => session,
    };
    let api = Api::open(&session, &options.api, console)?;
    let (artifact, check) = (artifact.as_ref(), options.check);
    let mut change = change::Change { api: &api, console, plan: &plan, artifact, backup, check, dry_run };
    let act = format!("set the flag of the pack registry {wanted}");
    if let Some(section) = scar_http::run(api.deadline(), console, &act, change.run(&wanted))? {
        record.set(&section);
    }
    if options.drop_session {
        record.remove::<Session>();
    }
    record.write(console)
}
