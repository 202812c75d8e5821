//! Deletes the secret of the old manifest registry, so that the platform recreates it (guide, step 1).
//!
//! It deletes exactly the object that it has read and saved, and never shows a secret's content.

mod backup;
mod options;
mod removal;
mod restore;
mod secret;

use std::process::ExitCode;

use scar_cluster::Opened;
use scar_record::{Input, Preflight, Record, Secret};
use scar_tool::{Console, Deadline, Failure};

use crate::backup::{Backup, Identity, Saved};
use crate::options::Options;
use crate::removal::Removal;

fn main() -> ExitCode {
    scar_tool::main(include_str!("../../../man/scar-secret-rm.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let name = options.name()?;
    let opened = Opened::open(&options.cluster, options.route, console)?;
    let server = opened.server().to_owned();
    let secret = Identity { server: &server, namespace: &options.cluster.namespace, name };
    let is_saved = !options.no_backup && options.undo.is_none();
    let backup = is_saved.then(|| Backup::find(options.backup.as_deref(), &secret, console)).transpose()?;
    let undo = options.undo.as_deref().map(|path| Saved::read(path, &secret, console)).transpose()?;
    let mut record = Record::read(&options.common, Input::Stdin)?;
    // The platform's secret for the flag stays (FAULTS S11), except with --no-backup, which deletes in any case.
    let stays = is_saved && options.is_guides() && record.section::<Preflight>()?.is_some_and(|found| found.secret_stays());
    let deadline = Deadline::after(options.timeout);
    let dry_run = record.is_dry_run();
    let act = format!("{} the secret '{name}'", if undo.is_some() { "restore" } else { "delete" });
    let secret = scar_http::run(deadline, console, &act, async {
        let removal = Removal::new(opened.client(), name, stays, deadline, console);
        match (&undo, dry_run) {
            (Some(saved), _) => removal.restore(saved, dry_run).await.map(|()| None),
            (None, true) => removal.plan(backup.as_ref(), options.must_exist).await.map(|()| None),
            (None, false) => removal.run(backup.as_ref(), options.must_exist).await.map(Some),
        }
    })?;
    match secret {
        Some(secret) => record.set(&secret),
        None if dry_run => {}
        None => record.remove::<Secret>(),
    }
    record.write(console)
}
