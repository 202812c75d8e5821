//! A listed tree: every entry in the archive's order, in a few bytes each.
//!
//! The order is that of the archive's names as byte strings, where a folder's name ends with a slash.

use crate::listing::{Cursor, Kind};
use crate::stamp::FileId;

/// Counts of each kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Regular files.
    pub files: u64,
    /// Folders, the root included.
    pub folders: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes in all files.
    pub bytes: u64,
}

impl Count {
    /// Adds another count.
    pub(crate) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.folders += other.folders;
        self.links += other.links;
        self.bytes += other.bytes;
    }
}

/// One folder of the tree.
#[derive(Debug, Clone, Copy)]
pub struct Folder {
    /// Its identity on the disk.
    pub id: FileId,
    /// The time of the newest file or link below it, in seconds since 1970; `i64::MIN` if it has neither.
    pub newest: i64,
    /// Its parent; the root is its own parent.
    pub parent: u32,
    start: usize,
    end: usize,
}

/// The listed tree. Folder 0 is the root; a folder's number is higher than its parent's.
#[derive(Debug, Default)]
pub struct Tree {
    folders: Vec<Folder>,
    listings: Vec<u8>,
    /// The counts.
    pub count: Count,
}

impl Tree {
    /// Assigns a number to a folder in `parent` that will be listed later.
    ///
    /// # Errors
    /// `None` if there are more than 2^32.
    pub(crate) fn reserve(&mut self, parent: u32, id: FileId) -> Option<u32> {
        let number = u32::try_from(self.folders.len()).ok()?;
        self.folders.push(Folder { id, newest: i64::MIN, parent, start: 0, end: 0 });
        Some(number)
    }

    /// Stores a folder's listing.
    pub(crate) fn keep(&mut self, number: u32, listing: &[u8], newest: i64, count: Count) {
        let start = self.listings.len();
        self.listings.extend_from_slice(listing);
        if let Some(folder) = self.folders.get_mut(number as usize) {
            (folder.start, folder.end, folder.newest) = (start, self.listings.len(), newest);
        }
        self.count.add(count);
    }

    /// Sets every folder's time to that of the newest file below it. Call it after all are listed.
    pub(crate) fn settle(&mut self) {
        // A folder's own time changes whenever a file in it is created or renamed, and so with every copy of the tree. The
        // archive would differ although no content does.
        for number in (1..self.folders.len()).rev() {
            let Folder { newest, parent, .. } = self.folders[number];
            let above = &mut self.folders[parent as usize];
            above.newest = above.newest.max(newest);
        }
    }

    /// A folder.
    pub fn folder(&self, number: u32) -> Folder {
        self.folders[number as usize]
    }

    /// A folder's listing.
    pub fn listing(&self, number: u32) -> &[u8] {
        let Folder { start, end, .. } = self.folder(number);
        &self.listings[start..end]
    }

    /// Calls `visit` with path and kind of each entry below the root, in the archive's order.
    pub fn each(&self, mut visit: impl FnMut(&[u8], Kind)) {
        let mut path = Vec::new();
        let mut above = vec![(0, Cursor::default(), 0)];
        while let Some((number, cursor, length)) = above.last_mut() {
            path.truncate(*length);
            let Some(kind) = cursor.next(self.listing(*number)) else {
                above.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(cursor.name());
            visit(&path, kind);
            if let Kind::Folder { number } = kind {
                above.push((number, Cursor::default(), path.len()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Encoder;

    #[test]
    fn folders_take_the_time_of_the_newest_file_below_them() {
        let mut tree = Tree::default();
        let root = tree.reserve(0, (1, 1)).unwrap();
        let outer = tree.reserve(root, (1, 2)).unwrap();
        let inner = tree.reserve(outer, (1, 3)).unwrap();
        let empty = tree.reserve(root, (1, 4)).unwrap();
        let listing = |name: &str, kind| {
            let mut encoder = Encoder::default();
            encoder.push(name.as_bytes(), kind);
            encoder.finish()
        };
        tree.keep(inner, &listing("f", Kind::File { size: 1, stamp: 0 }), 50, Count { files: 1, bytes: 1, ..Count::default() });
        tree.keep(root, &listing("outer", Kind::Folder { number: outer }), 10, Count::default());
        tree.keep(outer, &listing("inner", Kind::Folder { number: inner }), i64::MIN, Count::default());
        tree.keep(empty, &[], i64::MIN, Count::default());
        tree.settle();
        assert_eq!([root, outer, inner, empty].map(|n| tree.folder(n).newest), [50, 50, 50, i64::MIN]);
        let mut seen = Vec::new();
        tree.each(|path, _| seen.push(String::from_utf8_lossy(path).into_owned()));
        assert_eq!(seen, ["outer", "outer/inner", "outer/inner/f"]);
    }
}
