//! Pushes the manifest archive to the OCI registry, as ORAS v1.0.0 would (guide, steps 4 and 5).

mod action;
mod ahead;
mod archive;
mod body;
mod integrity;
mod layout;
mod manifest;
mod options;
mod push;
mod remote;
mod session;
mod socket_backlog;
mod supply;
mod tag_backup;
mod undo;
mod unhashed;
mod upload;

use scar_record::{Artifact, Record};
use scar_registry::Registry;
use scar_tool::{Console, Deadline, Failure};

use action::Action;
use options::Options;
use session::Pusher;
use supply::{FileArgument, Supply};
use tag_backup::BackupFile;

fn main() -> std::process::ExitCode {
    scar_tool::main(include_str!("../../../man/ocipush.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let undo = options.undo(console)?;
    let reference = options.reference(undo.as_ref(), console)?;
    let title = options.title()?.to_owned();
    let created = options::created()?;
    let input = options.input()?;
    // All stages of a pipe start at once (bash(1), "Pipelines"): what can fail without a peer fails here, while the first stage
    // still works.
    let (login, trust) = options.connection(&reference, console)?;
    let file = FileArgument::open(options.file.as_deref())?;
    options.oci_layout.as_deref().map_or(Ok(()), layout::vacant)?;
    let backup = options.backup.as_deref().map(|path| BackupFile::find(path, &reference, console)).transpose()?;

    let mut record = Record::read(&options.common, input)?;
    let dry_run = record.is_dry_run();
    // An undo needs no archive, and --adopt can compare with the record alone.
    let supply = match undo.is_some() || (options.adopt && options.file.is_none()) {
        true => Supply::Nothing,
        false => file.supply(&record, options.ahead(dry_run), console)?,
    };
    let undoes = undo.is_some();
    let action = match (undo, supply, &options.oci_layout) {
        (Some(backup), ..) => Action::Undo(backup, dry_run),
        (None, supply, _) if options.adopt => Action::adopt(&supply, &record, &reference)?,
        (None, Supply::Archive(archive), Some(directory)) => Action::Layout(directory.clone(), archive, dry_run),
        (None, Supply::Archive(archive), None) if dry_run => Action::Plan(Some(archive)),
        (None, Supply::Archive(archive), None) => Action::Push(archive, backup),
        (None, Supply::Unhashed(archive), _) => Action::PushUnhashed(archive, backup),
        (None, Supply::Nothing, _) => Action::Plan(None),
    };
    let pusher = || -> Result<Pusher, Failure> {
        let login = login.find(&reference, console)?.map(|(login, _)| login);
        // The deadline starts after the password prompt: people take their time.
        let deadline = options.timeout.map_or_else(Deadline::never, Deadline::after);
        let config = options.registry_config(dry_run, deadline);
        let registry = Registry::new(&reference, login, trust, config, console)?;
        Ok(Pusher::new(registry, options.stall_timeout, options.chunk_size))
    };
    let artifact = action.run(pusher, (&reference, &title, created), console)?;
    // A dry run passes its input record on.
    if undoes && !dry_run {
        record.remove::<Artifact>();
    }
    if let Some(artifact) = artifact.filter(|_| !dry_run) {
        record.set(&artifact);
    }
    record.write(console)
}
