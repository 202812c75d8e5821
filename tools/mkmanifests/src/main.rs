//! Packs the file server's tree into one archive (guide, steps 2 and 3).
//!
//! The archive is exactly the tree, the same bytes for the same content, and never an incomplete file.

mod background_sync;
mod entry;
mod error;
mod gzip;
mod make;
mod options;
mod output;
mod pack;
mod read;

use std::process::ExitCode;

use scar_record::{Archive, Digest, Input, Record};
use scar_tool::{Console, Failure};
use scar_tree::{ArchiveFile, Root, recordable};

use crate::options::{Destination, Options};

fn main() -> ExitCode {
    scar_tool::main(include_str!("../../../man/mkmanifests.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let plan = options.plan()?;
    // Before the record is read: all stages of a pipe start at once, and a mistyped DIR should fail while the first one works.
    let source = Root::open(&plan.source)?;
    let Destination::File(output) = &plan.destination else {
        let record = Record::read(&options.common, Input::Stdin)?;
        return make::stream(&source, &plan, record.is_dry_run(), console);
    };
    let target = ArchiveFile::find(output)?;
    let (path, from) = (recordable(target.path())?, recordable(source.path())?);
    let mut record = Record::read(&options.common, Input::Stdin)?;
    if record.is_dry_run() {
        make::plan(&source, &target, &plan, console)?;
        return record.write(console);
    }
    let (count, written) = make::archive(&source, &target, &plan, console)?;
    record.set(&Archive {
        path,
        title: make::TITLE.to_owned(),
        digest: Digest::from_sha256(&written.sha256),
        size: written.size,
        files: count.files,
        directories: count.folders,
        links: count.links,
        bytes: count.bytes,
        source: from,
    });
    record.write(console)
}
