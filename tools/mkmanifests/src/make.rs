//! The whole step: list, check, pack, commit; and start over if the tree was changing.

use std::fs::File;
use std::io::{self, IsTerminal, Write};

use scar_tool::{Console, Failure, Interrupt, signal};
use scar_tree::{ArchiveFile, Count, Fault, OwnArchive, Root, Rules, Tree, stamp};

use crate::error::PackError;
use crate::options::Plan;
use crate::output::Draft;
use crate::pack::{Watch, Written, pack};

/// The title that Specman expects, whatever the file's name.
pub(crate) const TITLE: &str = "manifests.tgz";
/// The best compression ratio to expect of manifests; a disk without space for that is certainly too small.
const BEST_RATIO: u64 = 100;
/// How many faults to list below the first.
const SHOWN: usize = 20;

/// Writes the archive to `target`.
///
/// # Errors
/// Exit 1 or 2; the old archive is then unchanged.
pub(crate) fn archive(source: &Root, target: &ArchiveFile, plan: &Plan, console: &Console) -> Result<(Count, Written), Failure> {
    // From here on a signal must remove the temporary file first.
    let interrupt = signal::catch();
    let mut draft = Draft::create(target, console)?;
    let mut left = plan.retries;
    let (count, written) = loop {
        let attempt = list(source, target.own(), plan, Some(&interrupt), console).and_then(|tree| {
            draft.room(tree.count.bytes / BEST_RATIO, "an archive of this tree").map_err(Stopped::Permanent)?;
            let name = target.path().display().to_string();
            let written = write(source, &tree, plan, Some(&interrupt), console, &mut draft.writer(), &name)?;
            Ok((tree.count, written))
        });
        match attempt {
            Ok(made) => break made,
            Err(Stopped::Transient(failure)) if left > 0 => {
                left -= 1;
                console.warn(format_args!("{}; starting over", failure.message));
                draft.restart()?;
            }
            Err(stopped) => return Err(stopped.into()),
        }
    };
    interrupt.check()?;
    draft.commit()?;
    console.verbose(|| format!("wrote {} bytes to '{}'", written.size, target.path().display()));
    Ok((count, written))
}

/// Writes the archive to standard output.
///
/// # Errors
/// Exit 1 or 2; what was written is then incomplete.
pub(crate) fn stream(source: &Root, plan: &Plan, dry_run: bool, console: &Console) -> Result<(), Failure> {
    let stdout = io::stdout();
    if stdout.is_terminal() && !dry_run {
        return Err(Failure::misuse("write the archive: standard output is a terminal").hint("pipe it into ocipush REFERENCE -"));
    }
    // Standard output may be redirected into the tree, and must not be packed either.
    let file = rustix::fs::fstat(&stdout).ok().map(|stat| stamp::file_id(&stat));
    let output = OwnArchive { file, entry: None };
    let tree = list(source, &output, plan, None, console)?;
    if dry_run {
        print_plan(&tree, source, "standard output", console);
        return Ok(());
    }
    // The standard library's handle looks for line ends in everything that it writes.
    let mut out = File::from(rustix::io::dup(&stdout).map_err(|errno| Failure::io("write to standard output", &errno.into()))?);
    write(source, &tree, plan, None, console, &mut out, "standard output")?;
    Ok(())
}

/// Prints what would be packed.
///
/// # Errors
/// The errors that packing would meet before its first byte.
pub(crate) fn plan(source: &Root, target: &ArchiveFile, plan: &Plan, console: &Console) -> Result<(), Failure> {
    target.probe()?;
    let tree = list(source, target.own(), plan, None, console)?;
    print_plan(&tree, source, &format!("'{}'", target.path().display()), console);
    Ok(())
}

fn print_plan(tree: &Tree, source: &Root, to: &str, console: &Console) {
    let Count { files, folders, links, bytes } = tree.count;
    console.plan(format_args!(
        "pack {files} files ({bytes} bytes), {folders} directories and {links} links of '{}' into {to}",
        source.path().display()
    ));
}

/// Why an attempt failed.
enum Stopped {
    /// The tree was changing; the next attempt may succeed.
    Transient(Failure),
    /// Permanently.
    Permanent(Failure),
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Transient(failure) | Stopped::Permanent(failure) => failure,
        }
    }
}

impl From<PackError> for Stopped {
    fn from(error: PackError) -> Self {
        match matches!(&error, PackError::Fault(fault) if fault.is_transient()) {
            true => Self::Transient(error.failure()),
            false => Self::Permanent(error.failure()),
        }
    }
}

/// Lists the tree, and warns about dead links.
fn list(source: &Root, own: &OwnArchive, plan: &Plan, interrupt: Option<&Interrupt>, console: &Console) -> Result<Tree, Stopped> {
    let rules = Rules { dereference: plan.settings.dereference, exclude: &plan.exclude, own };
    let (tree, faults) = source.list(rules, None, interrupt, console).map_err(Stopped::Permanent)?;
    let is_transient = faults.iter().all(Fault::is_transient);
    if let Some(failure) = Fault::combined(faults, SHOWN) {
        return Err(if is_transient { Stopped::Transient(failure) } else { Stopped::Permanent(failure) });
    }
    if tree.count.files + tree.count.links == 0 && !plan.allow_empty {
        let failure = Failure::misuse(format_args!("pack '{}': nothing to pack: it contains no files", source.path().display()));
        return Err(Stopped::Permanent(failure.hint("--allow-empty packs it anyway")));
    }
    source.dead_links(&tree, rules, |dead| console.warn(format_args!("link {dead}, Specman will not have it")));
    Ok(tree)
}

/// Packs the listed tree into `out`.
fn write(
    source: &Root,
    tree: &Tree,
    plan: &Plan,
    interrupt: Option<&Interrupt>,
    console: &Console,
    out: &mut (impl Write + Send),
    name: &str,
) -> Result<Written, Stopped> {
    let progress = console.progress_bytes("packing", Some(tree.count.bytes));
    let watch = Watch { console, interrupt, progress: &progress };
    let root = source.again().map_err(Stopped::Permanent)?;
    Ok(pack(root, tree, plan.settings, watch, out, name)?)
}
