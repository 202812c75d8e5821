//! The file server's folder: names and sizes are read now, bytes when they are compared. Links are followed only among the
//! folder's own names, so never out of it.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use scar_tool::{Console, Failure};
use walkdir::WalkDir;

use crate::tree::{Content, File, Node, Tree};

/// Lists the folder, except the archive `left_out` that was made of it and may lie in it.
///
/// # Errors
/// Exit 1 if a folder or link cannot be read: what cannot be listed cannot be compared.
pub(crate) fn list(root: &Path, left_out: Option<&Path>, console: &Console) -> Result<Tree, Failure> {
    let act = |path: &Path| format!("list '{}'", path.display());
    let mut tree = Tree::default();
    for entry in WalkDir::new(root).min_depth(1) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            Failure::io(act(&path), &error.into_io_error().unwrap_or_else(|| std::io::Error::other("a loop of folders")))
        })?;
        let (path, kind) = (entry.path(), entry.file_type());
        let node = if kind.is_dir() {
            Node::Folder
        } else if kind.is_symlink() {
            Node::Link(std::fs::read_link(path).map_err(|error| Failure::io(act(path), &error))?.into_os_string().into_vec())
        } else if !kind.is_file() {
            console.warn(format!("'{}' is neither file, folder nor link; it is not compared", path.display()));
            continue;
        } else if left_out == Some(path) {
            console.verbose(|| format!("'{}' is the archive itself; it is not compared", path.display()));
            continue;
        } else {
            let data = entry.metadata().map_err(|error| Failure::io(act(path), &std::io::Error::from(error)))?;
            Node::File(Arc::new(File { size: data.len(), content: Content::Path(path.to_owned()) }))
        };
        let name = path.strip_prefix(root).unwrap_or(path).as_os_str().as_bytes().to_vec();
        // Names are unique, and a folder comes before its content.
        tree.insert(name, node).map_err(|why| Failure::new(scar_tool::Exit::Failed, format!("{}: {why}", act(path))))?;
    }
    Ok(tree)
}
