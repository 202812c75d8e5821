//! What is left out of the archive: the user's globs, the archive itself, and temporary files of this program.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::stamp::FileId;

/// Prefix and suffix of temporary archives' names, around [`RANDOM`] letters and digits.
pub const TEMPORARY: (&str, &str) = (".mkmanifests-", ".tmp");
/// Number of letters and digits in a temporary name.
pub const RANDOM: usize = 16;

/// Whether this is the name of a temporary archive.
pub fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(TEMPORARY.0.as_bytes())
        .and_then(|rest| rest.strip_suffix(TEMPORARY.1.as_bytes()))
        .is_some_and(|random| random.len() == RANDOM && random.iter().all(u8::is_ascii_alphanumeric))
}

/// `--exclude`: a glob without a slash matches the last part of a path, one with a slash matches the whole path below the
/// tree's root. A folder that matches is left out with everything below it.
#[derive(Debug, Default)]
pub struct Exclude {
    names: GlobSet,
    paths: GlobSet,
}

impl Exclude {
    /// Parses the globs.
    ///
    /// # Errors
    /// A message that quotes the bad glob.
    pub(crate) fn new(globs: &[String]) -> Result<Self, String> {
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for text in globs {
            let bare = text.strip_prefix("./").unwrap_or(text);
            let bare = bare.strip_suffix('/').unwrap_or(bare);
            // `*` does not match a slash, as in a shell; `**` does.
            let glob = GlobBuilder::new(bare.strip_prefix('/').unwrap_or(bare))
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|error| format!("'{text}' is not a glob: {}", error.kind()))?;
            if bare.is_empty() {
                return Err(format!("'{text}' is not a glob: it would leave out everything"));
            }
            match bare.contains('/') || text.starts_with("./") {
                true => paths.add(glob),
                false => names.add(glob),
            };
        }
        let build = |set: GlobSetBuilder| set.build().map_err(|error| error.to_string());
        Ok(Self { names: build(names)?, paths: build(paths)? })
    }

    /// Whether the entry `path`, relative to the tree, is left out. It is not called for entries of a folder that is left
    /// out.
    pub fn matches(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
        (!self.names.is_empty() && self.names.is_match_candidate(&Candidate::new(OsStr::from_bytes(name))))
            || (!self.paths.is_empty() && self.paths.is_match_candidate(&Candidate::new(OsStr::from_bytes(path))))
    }
}

/// The archive itself, which must not be packed into itself.
#[derive(Debug, Default, Clone)]
pub struct OwnArchive {
    /// The old archive's file, or the file behind standard output.
    pub file: Option<FileId>,
    /// The archive's folder and name, because another run may replace the file.
    pub entry: Option<(FileId, Vec<u8>)>,
}

impl OwnArchive {
    /// Whether an entry of `folder` is the archive by its name, or a temporary one.
    pub(crate) fn is_named(&self, folder: FileId, name: &[u8]) -> bool {
        is_temporary(name) || self.entry.as_ref().is_some_and(|(at, own)| *at == folder && own == name)
    }

    /// Whether a file is the archive.
    pub(crate) fn is(&self, file: FileId) -> bool {
        self.file == Some(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_without_a_slash_is_for_names_and_one_with_a_slash_for_paths() {
        for (glob, left_out, kept) in [
            ("*.log", &["a.log", "b/c/a.log"][..], &["a.log.gz", "log"][..]),
            ("cache", &["cache", "a/cache"], &["cache2"]),
            ("a/*.log", &["a/x.log"], &["x.log", "a/b/x.log", "b/a/x.log"]),
            ("a/**", &["a/x", "a/b/c"], &["a", "b/a"]),
            ("./cache", &["cache"], &["a/cache"]),
            ("/cache/", &["cache"], &["a/cache"]),
            ("tmp/", &["tmp", "a/tmp"], &["tmpx"]),
            ("[ab]?{c,d}", &["axc", "x/b.d"], &["axe"]),
        ] {
            let exclude = Exclude::new(&[glob.to_owned()]).unwrap();
            for path in left_out {
                assert!(exclude.matches(path.as_bytes()), "{glob} leaves out {path}");
            }
            for path in kept {
                assert!(!exclude.matches(path.as_bytes()), "{glob} keeps {path}");
            }
        }
    }

    #[test]
    fn a_name_that_is_not_utf_8_can_be_left_out() {
        let exclude = Exclude::new(&["*.log".to_owned()]).unwrap();
        assert!(exclude.matches(b"\xff.log") && !exclude.matches(b"\xff.txt"));
        assert!(Exclude::new(&["**".to_owned()]).unwrap().matches(b"\xff"));
    }

    #[test]
    fn a_bad_glob_is_quoted() {
        assert!(Exclude::new(&["a[".to_owned()]).unwrap_err().starts_with("'a[' is not a glob: "));
        assert!(Exclude::new(&["/".to_owned()]).is_err());
    }

    #[test]
    fn only_names_of_the_full_form_are_temporary() {
        assert!(is_temporary(b".mkmanifests-0123456789abcDEF.tmp"));
        for name in [&b".mkmanifests-.tmp"[..], b".mkmanifests-0123456789abcde/.tmp", b"mkmanifests", b".mkmanifests-notes.tmp"] {
            assert!(!is_temporary(name));
        }
    }
}
