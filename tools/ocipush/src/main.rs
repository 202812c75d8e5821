//! Pushes the archive of the manifests to the OCI registry (guide step 5), as ORAS v1.0.0 would.

mod body;
mod cause;
mod layout;
mod manifest;
mod options;
mod push;
mod queue;
mod source;
mod step;
mod target;
mod upload;

use scar_http::Origin;
use scar_record::Record;
use scar_registry::{Registry, login};
use scar_tool::{Console, Failure};
use scar_trust::Trust;

use options::Options;
use source::Named;
use step::Step;
use target::Target;

fn main() -> std::process::ExitCode {
    scar_tool::main(include_str!("../../../man/ocipush.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let reference = options.reference(console)?;
    let title = options.title()?.to_owned();
    let created = options::created()?;
    let input = options.input()?;
    let places = options.places();
    let given = options.login.open(console)?;
    let file = Named::open(options.file.as_deref())?;
    let origin = Origin::at(options.scheme(), &reference.registry)?;
    let terms = options.terms(&places);
    let trust = login::with_certs_d(Trust::load(&options.tls)?, &reference.registry, places.home.as_deref(), true, console)?;
    if let Some(directory) = &options.oci_layout {
        layout::vacant(directory)?;
    }

    let mut record = Record::read(&options.common, input)?;
    let step = Step { reference, title, created, layout: options.oci_layout.clone(), timeout: options.timeout };
    let dry_run = record.is_dry_run();
    let source = if options.adopt && options.file.is_none() { None } else { file.source(&record, console)? };
    let artifact = match (&options.oci_layout, &source) {
        (Some(_), Some(source)) => step.write_layout(source, dry_run, console)?,
        _ => {
            let login = login::find(options.login.username.as_deref(), &given, &step.reference, &origin, &places, console)?;
            let registry = Registry::new(origin, &step.reference, login, trust, terms, console)?;
            let target = Target::new(registry, options.stall_timeout, options.chunk_size);
            if options.adopt {
                step.adopt(target, &record, source.as_ref())?
            } else {
                step.push(target, source.as_ref(), dry_run)?
            }
        }
    };
    // A dry run's record is the one that came in.
    if let Some(artifact) = artifact.filter(|_| !dry_run) {
        record.set(&artifact);
    }
    record.write(console)
}
