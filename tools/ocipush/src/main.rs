//! Pushes the archive of the manifests to the OCI registry (guide step 5), as ORAS v1.0.0 would.

mod body;
mod kept;
mod layout;
mod manifest;
mod options;
mod overlap;
mod push;
mod queue;
mod restore;
mod session;
mod source;
mod step;
mod stream;
mod target;
mod there;
mod upload;
mod whole;

use scar_http::Origin;
use scar_record::{Artifact, Record};
use scar_registry::{Registry, login};
use scar_tool::{Console, Deadline, Failure};
use scar_trust::Trust;

use kept::Backup;
use options::Options;
use source::{Named, Supply};
use step::Step;
use target::Target;

fn main() -> std::process::ExitCode {
    scar_tool::main(include_str!("../../../man/ocipush.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let undo = options.undo(console)?;
    let reference = options.reference(undo.as_ref(), console)?;
    let title = options.title()?.to_owned();
    let created = options::created()?;
    let input = options.input()?;
    let places = options.places();
    let given = options.login.open(console)?;
    let file = Named::open(options.file.as_deref())?;
    if let Some(directory) = &options.oci_layout {
        layout::vacant(directory)?;
    }
    let trust = Trust::load(&options.tls)?.by(options.route);
    let trust = login::with_certs_d(trust, &reference.registry, places.home.as_deref(), true, console)?;
    let origin = Origin::at(options.scheme(), &reference.registry)?;
    let backup = options.backup.as_deref().map(|path| Backup::find(path, &reference, console)).transpose()?;

    let mut record = Record::read(&options.common, input)?;
    let step = Step { reference, title, created, layout: options.oci_layout.clone(), backup };
    let dry_run = record.is_dry_run();
    let nothing_to_read = undo.is_some() || (options.adopt && options.file.is_none());
    // What is not a push needs the digest first.
    let ahead = if options.adopt || dry_run || options.oci_layout.is_some() { None } else { options.ahead() };
    let supply = if nothing_to_read { Supply::Nothing } else { file.source(&record, ahead, console)? };
    let target = || -> Result<Target, Failure> {
        let login = login::find(options.login.username.as_deref(), &given, &step.reference, &origin, &places, console)?;
        // The time begins once nobody has to be asked for a password any more.
        let deadline = options.timeout.map_or_else(Deadline::never, Deadline::after);
        let terms = options.terms(&places, deadline);
        let registry = Registry::new(origin.clone(), &step.reference, login, trust, terms, console)?;
        Ok(Target::new(registry, options.stall_timeout, options.chunk_size))
    };
    let artifact = match (&options.oci_layout, &supply, &undo) {
        (Some(_), Supply::Whole(source), _) => step.write_layout(source, dry_run, console)?,
        (.., Some(kept)) => {
            step.restore(target()?, kept, dry_run)?;
            if !dry_run {
                record.remove::<Artifact>();
            }
            None
        }
        (_, supply, _) if options.adopt => step.adopt(target()?, &record, supply.whole())?,
        (_, Supply::Unhashed(archive), _) => step.push_ahead(target()?, archive)?,
        (_, supply, _) => step.push(target()?, supply.whole(), dry_run)?,
    };
    // A dry run's record is the one that came in.
    if let Some(artifact) = artifact.filter(|_| !dry_run) {
        record.set(&artifact);
    }
    record.write(console)
}
