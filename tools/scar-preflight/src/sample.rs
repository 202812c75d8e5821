//! Estimates the archive's size from pieces of the content, spread evenly over its bytes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use flate2::Compression;
use flate2::write::GzEncoder;
use scar_tree::{Kind, Root, Tree};

/// The bytes of a piece.
const PIECE: u64 = 64 * 1024;
/// The most pieces.
const MOST: u64 = 64;
/// The packed bytes of an entry's header in the tools' archive; a header of 512 bytes compresses well.
const ENTRY: u64 = 64;
/// The compression level of mkmanifests.
const LEVEL: u32 = 5;

/// The packed size of a listed tree. An unreadable piece counts as incompressible.
pub(crate) fn estimate(root: &Root, tree: &Tree) -> u64 {
    let step = PIECE.max(tree.count.bytes.div_ceil(MOST));
    let (mut bytes, mut next, mut raw, mut packed) = (0, 0, 0, 0);
    let mut piece = vec![0; PIECE as usize];
    tree.each(|path, kind| {
        let Kind::File { size, .. } = kind else { return };
        while next < bytes + size {
            let file = File::open(root.path().join(OsStr::from_bytes(path)));
            let read = file.and_then(|file| file.read_at(&mut piece, next - bytes)).unwrap_or(0);
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
            if let Ok(done) = encoder.write_all(&piece[..read]).and_then(|()| encoder.finish()) {
                raw += read as u64;
                packed += done.len() as u64;
            }
            next += step;
        }
        bytes += size;
    });
    let content = if raw == 0 { bytes } else { (u128::from(bytes) * u128::from(packed) / u128::from(raw)) as u64 };
    content + tree.count.files * ENTRY
}

#[cfg(test)]
mod tests {
    use super::*;
    use scar_tree::{Exclude, OwnArchive, Rules};

    #[test]
    fn what_packs_well_is_distinguished_from_what_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let estimate = |files: &[(&str, &[u8])]| {
            files.iter().for_each(|(name, bytes)| std::fs::write(folder.path().join(name), bytes).unwrap());
            let root = Root::open(folder.path()).unwrap();
            let own = OwnArchive::default();
            let rules = Rules { dereference: false, exclude: &Exclude::default(), own: &own };
            let (tree, _) = root.list(rules, None, None, &scar_tool::Console::new("test")).unwrap();
            super::estimate(&root, &tree)
        };
        let zeros = vec![0; 8 << 20];
        assert!(estimate(&[("a", &zeros)]) < 200_000);
        let mut seed = 1u32;
        let noise = std::iter::repeat_with(|| {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            seed as u8
        });
        let noise: Vec<u8> = noise.take(8 << 20).collect();
        // Half of the bytes are noise, and so is half of the sample.
        let half = estimate(&[("b", &noise)]);
        assert!((8_000_000..9_500_000).contains(&half), "{half}");
        assert_eq!(estimate(&[("a", b""), ("b", b"")]), 2 * ENTRY);
    }
}
