//! Links that will lead to nothing where Specman unpacks the archive.

use std::path::Path;

/// Why the link at `path` in the tree at `root` (made absolute, without links) will lead nowhere, in words that follow
/// its name; `None` where it leads to something in the tree.
pub(crate) fn lost(root: &Path, path: &Path) -> Option<&'static str> {
    let target = match std::fs::read_link(path) {
        Ok(target) => target,
        Err(_) => return Some("cannot be read"),
    };
    if target.is_absolute() {
        return Some("has an absolute path");
    }
    match std::fs::canonicalize(path) {
        Ok(real) if real.starts_with(root) => None,
        Ok(_) => Some("leads out of the folder"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("leads to nothing"),
        Err(_) => Some("cannot be followed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_leads_into_the_tree_or_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(&outside, "").unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        let root = root.canonicalize().unwrap();
        for (name, target, expected) in [
            ("good", "file", None),
            ("up", "a/../file", None),
            ("chain", "good", None),
            ("dangling", "gone", Some("leads to nothing")),
            ("out", "../outside", Some("leads out of the folder")),
            ("through", "out", Some("leads out of the folder")),
            ("absolute", root.join("file").to_str().unwrap(), Some("has an absolute path")),
            ("self", "self", Some("cannot be followed")),
        ] {
            symlink(target, root.join(name)).unwrap();
            assert_eq!(lost(&root, &root.join(name)), expected, "{name}");
        }
    }
}
