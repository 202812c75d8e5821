//! What to compare with: the named file or folder, else the record's archive, else its artifact in the registry.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use scar_record::{Archive, Artifact, Digest, Record};
use scar_tool::{Console, Deadline, Exit, Failure};
use scar_tree::Root;

use crate::archive;
use crate::folder;
use crate::layer::Access;
use crate::tree::Tree;

/// The operand FILE|DIR.
pub(crate) enum Named {
    /// An open archive.
    Archive(PathBuf, File),
    /// An open folder.
    Folder(Root),
}

/// A tree, and where it was read from.
pub(crate) struct Source {
    /// The expected files.
    pub(crate) tree: Tree,
    /// An absolute path, or a reference.
    pub(crate) name: String,
    /// The layer's digest; `None` for a folder.
    pub(crate) layer: Option<Digest>,
}

impl Named {
    /// Opens the operand.
    ///
    /// # Errors
    /// Exit 2 if it does not exist, or is neither file nor folder.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let act = format!("open '{}'", path.display());
        let misuse = |error: io::Error| Failure { exit: Exit::Misuse, ..Failure::io(&act, &error) };
        let absolute = path.canonicalize().map_err(misuse)?;
        let data = absolute.metadata().map_err(misuse)?;
        match () {
            () if data.is_dir() => Root::open(path).map(Self::Folder),
            () if data.is_file() => File::open(&absolute).map(|file| Self::Archive(absolute, file)).map_err(misuse),
            () => Err(Failure::misuse(format!("{act}: it is neither an archive nor a folder"))),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Archive(path, _) => path,
            Self::Folder(root) => root.path(),
        }
    }
}

/// What the record names: its archive, and the artifact.
pub(crate) struct Recorded {
    archive: Option<Archive>,
    artifact: Option<Artifact>,
}

impl Recorded {
    /// Reads the record's sections.
    ///
    /// # Errors
    /// Exit 2 for a malformed section.
    pub(crate) fn of(record: &Record) -> Result<Self, Failure> {
        Ok(Self { archive: record.section()?, artifact: record.section()? })
    }

    /// The digest of the pushed archive.
    fn digest(&self) -> Option<&Digest> {
        self.artifact.as_ref().map(|artifact| &artifact.layer).or_else(|| self.archive.as_ref().map(|archive| &archive.digest))
    }

    /// Describes what would be compared with, for a plan.
    pub(crate) fn words(&self, named: Option<&Named>) -> String {
        match (named, &self.archive, &self.artifact) {
            (Some(named), ..) => format!("'{}'", named.path().display()),
            (None, Some(archive), artifact) if artifact.is_none() || Path::new(&archive.path).is_file() => {
                format!("'{}'", archive.path)
            }
            (None, _, Some(artifact)) => format!("the layer of '{}'", artifact.reference),
            (None, ..) => "the archive".to_owned(),
        }
    }

    /// Reads what to compare with.
    ///
    /// # Errors
    /// Exit 2 if there is nothing; defects of what was read.
    pub(crate) async fn source(
        &self,
        named: Option<Named>,
        access: Access,
        deadline: Deadline,
        console: &Console,
    ) -> Result<Source, Failure> {
        if let Some(named) = named {
            return self.read_named(named, console);
        }
        match (self.read(console)?, &self.artifact) {
            (Some(source), _) => Ok(source),
            (None, Some(artifact)) => {
                let tree = access.read(artifact, deadline, console).await?;
                Ok(Source { tree, name: artifact.reference.clone(), layer: Some(artifact.layer.clone()) })
            }
            (None, None) => Err(nothing()),
        }
    }

    /// Reads the record's archive; `None` if the file is no longer what was packed.
    ///
    /// # Errors
    /// Defects of the archive itself.
    fn read(&self, console: &Console) -> Result<Option<Source>, Failure> {
        let Some(archive) = &self.archive else { return Ok(None) };
        let path = Path::new(&archive.path);
        let why = match File::open(path) {
            Err(error) => Failure::io("cannot be read", &error).message,
            Ok(file) => {
                let (tree, digest) = read(path, file, console)?;
                if digest == archive.digest {
                    return Ok(Some(Source { tree: tree?, name: archive.path.clone(), layer: Some(digest) }));
                }
                "is not what was packed any more".to_owned()
            }
        };
        if self.artifact.is_none() {
            return Err(Failure::misuse(format!("compare with the record's archive: '{}' {why}", archive.path))
                .hint("name the archive or the folder: specman-verify FILE|DIR"));
        }
        console.note(format!("the record's archive '{}' {why}; the layer in the registry is taken instead", archive.path));
        Ok(None)
    }

    /// Reads the operand.
    ///
    /// # Errors
    /// Its defects.
    fn read_named(&self, named: Named, console: &Console) -> Result<Source, Failure> {
        let name = named.path().display().to_string();
        let (tree, layer) = match named {
            Named::Folder(root) => {
                let own = self.archive.as_ref().map(|archive| Path::new(&archive.path));
                (folder::list(&root, own, console)?, None)
            }
            Named::Archive(path, file) => {
                let (tree, digest) = read(&path, file, console)?;
                if let Some(pushed) = self.digest().filter(|pushed| **pushed != digest) {
                    let message =
                        format!("compare with '{name}': it is not what the record says was pushed: '{digest}', not '{pushed}'");
                    return Err(Failure::new(Exit::Mismatch, message)
                        .hint("name the archive that was pushed, or none; --new-record compares without a record"));
                }
                (tree?, Some(digest))
            }
        };
        Ok(Source { tree, name, layer })
    }
}

fn nothing() -> Failure {
    Failure::misuse("find what to compare with: the record has neither section 'archive' nor section 'artifact'")
        .hint("name the archive or the folder: specman-verify FILE|DIR")
}

/// Reads an archive: its tree or its defect, and the digest of all its bytes.
fn read(path: &Path, file: File, console: &Console) -> Result<(Result<Tree, Failure>, Digest), Failure> {
    let what = format!("'{}'", path.display());
    let length = file.metadata().map_err(|error| Failure::io(format!("read {what}"), &error))?.len();
    archive::read(file, &what, console.progress_bytes("reading the archive", Some(length)))
}
