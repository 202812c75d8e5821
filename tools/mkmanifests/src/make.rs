//! The whole step: list, check, pack, commit; and start over if the tree was changing.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, Stat};
use scar_links::DeadEnd;
use scar_tool::{Console, Failure, Interrupt, signal};

use crate::error::{self, PackError};
use crate::exclude::OwnArchive;
use crate::listing::Kind;
use crate::name::quoted;
use crate::options::Plan;
use crate::output::OutputFile;
use crate::pack::{Watch, Written, pack};
use crate::stamp;
use crate::tree::{Count, Tree};
use crate::walk::{Rules, walk};

/// The title that Specman expects, whatever the file's name.
pub(crate) const TITLE: &str = "manifests.tgz";
/// The best compression ratio to expect of manifests; a disk without space for that is certainly too small.
const BEST_RATIO: u64 = 100;

/// The tree to pack.
#[derive(Debug)]
pub(crate) struct Source {
    fd: OwnedFd,
    path: PathBuf,
}

impl Source {
    /// Opens the tree's root.
    ///
    /// # Errors
    /// Exit 2 if the folder does not exist, exit 1 if it cannot be opened.
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let failure = Failure::io(format_args!("pack '{}'", dir.display()), &error);
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Failure { exit: scar_tool::Exit::Misuse, ..failure }
                    .hint("name the folder that the file server serves, such as /var/www/html"),
                _ => failure,
            }
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Everything is opened relative to this descriptor: a folder that is renamed or replaced meanwhile cannot lead elsewhere.
        let fd = rustix::fs::open(dir, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let path = fs::canonicalize(dir).map_err(failed)?;
        Ok(Self { fd, path })
    }

    /// Its absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the root again: a duplicate descriptor would share the read position of the last listing (dup(2)).
    fn fd(&self) -> Result<OwnedFd, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, ".", flags, Mode::empty())
            .map_err(|errno| Failure::io(format_args!("pack '{}'", self.path.display()), &errno.into()))
    }
}

/// A path for the record.
///
/// # Errors
/// Exit 2 if it is not UTF-8, which JSON needs.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::misuse(format_args!(
            "'{}' is not UTF-8, and the record can hold only UTF-8",
            quoted(path.as_os_str().as_encoded_bytes())
        ))
        .hint("-o - writes no record")
    })
}

/// Writes the archive to `target`.
///
/// # Errors
/// Exit 1 or 2; the old archive is then unchanged.
pub(crate) fn archive(source: &Source, target: &OutputFile, plan: &Plan, console: &Console) -> Result<(Count, Written), Failure> {
    raise_open_files();
    // From here on a signal must remove the temporary file first.
    let interrupt = signal::catch();
    let mut draft = target.draft(console)?;
    let mut left = plan.retries;
    let (count, written) = loop {
        let attempt = list(source, target.output(), plan, Some(&interrupt), console).and_then(|tree| {
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
pub(crate) fn stream(source: &Source, plan: &Plan, dry_run: bool, console: &Console) -> Result<(), Failure> {
    raise_open_files();
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
pub(crate) fn plan(source: &Source, target: &OutputFile, plan: &Plan, console: &Console) -> Result<(), Failure> {
    raise_open_files();
    target.probe()?;
    let tree = list(source, target.output(), plan, None, console)?;
    print_plan(&tree, source, &format!("'{}'", target.path().display()), console);
    Ok(())
}

fn print_plan(tree: &Tree, source: &Source, to: &str, console: &Console) {
    let Count { files, folders, links, bytes } = tree.count;
    console.plan(format_args!(
        "pack {files} files ({bytes} bytes), {folders} directories and {links} links of '{}' into {to}",
        source.path.display()
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

impl From<Vec<PackError>> for Stopped {
    fn from(faults: Vec<PackError>) -> Self {
        match faults.iter().all(PackError::is_transient) {
            true => Self::Transient(error::combined(faults)),
            false => Self::Permanent(error::combined(faults)),
        }
    }
}

/// Lists the tree, and warns about dead links.
fn list(
    source: &Source,
    output: &OwnArchive,
    plan: &Plan,
    interrupt: Option<&Interrupt>,
    console: &Console,
) -> Result<Tree, Stopped> {
    let seen = AtomicU64::new(0);
    let progress = console.progress_waiting("listing");
    let stop = || {
        progress.message(format_args!("{} entries", seen.load(Ordering::Relaxed)));
        interrupt.is_some_and(|interrupt| interrupt.check().is_err())
    };
    let rules = Rules { dereference: plan.settings.dereference, exclude: &plan.exclude, output };
    let listed = walk(source.fd().map_err(Stopped::Permanent)?, rules, &seen, &stop);
    // A stopped walk has only seen a part of the tree.
    interrupt.map_or(Ok(()), Interrupt::check).map_err(Stopped::Permanent)?;
    let tree = listed?;
    drop(progress);
    if tree.count.files + tree.count.links == 0 && !plan.allow_empty {
        let failure = Failure::misuse(format_args!("pack '{}': nothing to pack: it contains no files", source.path.display()));
        return Err(Stopped::Permanent(failure.hint("--allow-empty packs it anyway")));
    }
    warn_of_lost_links(source, output, plan, &tree, console);
    Ok(tree)
}

fn warn_of_lost_links(source: &Source, output: &OwnArchive, plan: &Plan, tree: &Tree, console: &Console) {
    if tree.count.links == 0 {
        return;
    }
    tree.each(|path, kind| {
        if !matches!(kind, Kind::Link { .. }) {
            return;
        }
        // A link that has vanished meanwhile is reported when it is read.
        let left_out = |at: &[u8], stat: &Stat| plan.exclude.matches(at) || output.is(stamp::file_id(stat));
        if let Some(DeadEnd { target, why }) = scar_links::dead_end(&source.fd, path, left_out) {
            let (path, target) = (quoted(path), quoted(&target));
            console.warn(format_args!("link './{path}' -> '{target}': its target {why}, Specman will not have it"));
        }
    });
}

/// Packs the listed tree into `out`.
fn write(
    source: &Source,
    tree: &Tree,
    plan: &Plan,
    interrupt: Option<&Interrupt>,
    console: &Console,
    out: &mut (impl Write + Send),
    name: &str,
) -> Result<Written, Stopped> {
    let progress = console.progress_bytes("packing", Some(tree.count.bytes));
    let watch = Watch { console, interrupt, progress: &progress };
    let root = source.fd().map_err(Stopped::Permanent)?;
    pack(root, tree, plan.settings, watch, out, name).map_err(|fault| vec![fault].into())
}

/// Raises the limit of open files (setrlimit(2)): a deep tree needs a descriptor for each folder on the way down.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Without the permission a tree that is too deep fails with EMFILE, naming the folder.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
