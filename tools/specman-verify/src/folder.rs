//! The file server's folder: names and sizes are read now, bytes when they are compared. Links are followed only among the
//! folder's own names, so never out of it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::readlinkat;
use scar_tool::{Console, Failure};
use scar_tree::{ArchiveFile, Exclude, FAULTS, Fault, Kind, OwnArchive, Root, Rules, shown};

use crate::report::LISTED;
use crate::tree::{Content, File, Node, Tree};

/// Lists the folder, except the archive that was made of it and may lie in it.
///
/// # Errors
/// Exit 1 if a folder or link cannot be read: what cannot be listed cannot be compared.
pub(crate) fn list(root: &Root, archive: Option<&Path>, console: &Console) -> Result<Tree, Failure> {
    let archive = archive.and_then(|path| ArchiveFile::find(path).ok());
    let none = OwnArchive::default();
    let own = archive.as_ref().map_or(&none, ArchiveFile::own);
    let rules = Rules { dereference: false, exclude: &Exclude::default(), own };
    let (listed, mut faults) = root.list(rules, None, None, console)?;
    // Specman has no special file either. After too many faults the list is incomplete, so that nothing can be compared.
    if faults.len() < FAULTS {
        faults.retain(|fault| match fault {
            Fault::Special { path, kind } => {
                console.warn(format!("'{}' is a {kind}; it is not compared", shown(path)));
                false
            }
            _ => true,
        });
    }
    let mut tree = Tree::default();
    listed.each(|path, kind| {
        let node = match kind {
            Kind::Folder { .. } => Node::Folder,
            Kind::File { size, .. } => {
                let content = Content::Path(root.path().join(OsStr::from_bytes(path)));
                Node::File(Arc::new(File { size, content }))
            }
            Kind::Link { .. } => match readlinkat(root, path, Vec::new()) {
                Ok(target) => Node::Link(target.into_bytes()),
                Err(errno) => return faults.push(Fault::entry("read the link", path, errno)),
            },
        };
        // Cannot fail: names are unique, and a folder comes before its content.
        let _ = tree.insert(path.to_vec(), node);
    });
    let hint = "run this as a user that can read all of the folder, while nothing writes to it";
    Fault::combined(faults, LISTED).map_or(Ok(tree), |failure| Err(failure.hint(hint)))
}
