//! A sample of the content, spread evenly over its bytes, to estimate the archive's size.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// The bytes of a piece.
const PIECE: usize = 64 * 1024;
/// The most pieces; at twice as many, every second one is dropped.
const MOST: usize = 64;
/// The packed bytes of an entry's header in the tools' archive; a header of 512 bytes compresses well.
const ENTRY: u64 = 64;
/// The compression level of mkmanifests.
const LEVEL: u32 = 5;

/// The places of the pieces, chosen while the tree is walked.
#[derive(Debug)]
pub(crate) struct Sample {
    picks: Vec<(PathBuf, u64)>,
    bytes: u64,
    entries: u64,
    next: u64,
    step: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Self { picks: Vec::new(), bytes: 0, entries: 0, next: 0, step: PIECE as u64 }
    }
}

impl Sample {
    /// Adds a file of this size.
    pub(crate) fn add(&mut self, path: &Path, size: u64) {
        self.entries += 1;
        while self.next < self.bytes + size {
            self.picks.push((path.to_owned(), self.next - self.bytes));
            self.next += self.step;
            if self.picks.len() >= 2 * MOST {
                let mut number = 0;
                self.picks.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                self.step *= 2;
                // The piece that was dropped last is the next one due.
                self.next = (self.next).div_ceil(self.step) * self.step;
            }
        }
        self.bytes += size;
    }

    /// Estimates the archive's size. An unreadable piece counts as incompressible.
    pub(crate) fn estimate(&self) -> u64 {
        let (mut raw, mut packed) = (0u64, 0u64);
        let mut piece = vec![0; PIECE];
        for (path, at) in &self.picks {
            let read = File::open(path).and_then(|file| file.read_at(&mut piece, *at)).unwrap_or(0);
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
            let Ok(done) = encoder.write_all(&piece[..read]).and_then(|()| encoder.finish()) else { continue };
            raw += read as u64;
            packed += done.len() as u64;
        }
        let entries = self.entries * ENTRY;
        match raw {
            0 => self.bytes + entries,
            raw => (u128::from(self.bytes) * u128::from(packed) / u128::from(raw)) as u64 + entries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_few_and_spread_over_all_bytes() {
        let mut sample = Sample::default();
        for number in 0..1000 {
            sample.add(Path::new(&format!("f{number}")), 1_000_000);
        }
        assert!((MOST / 2..2 * MOST).contains(&sample.picks.len()), "{}", sample.picks.len());
        let file = |pick: &(PathBuf, u64)| pick.0.to_str().unwrap()[1..].parse::<u64>().unwrap();
        let places: Vec<_> = sample.picks.iter().map(file).collect();
        assert_eq!(places[0], 0);
        assert!(*places.last().unwrap() > 950, "{places:?}");
        let gaps = places.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.clone().max().unwrap() <= 2 * gaps.min().unwrap() + 1, "{places:?}");
    }

    #[test]
    fn what_packs_well_is_distinguished_from_what_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let mut sample = Sample::default();
            sample.add(&path, bytes.len() as u64);
            sample.estimate()
        };
        assert!(write("zeros", &vec![0; 1 << 20]) < 20_000);
        let mut seed = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            seed as u8
        })
        .take(1 << 20)
        .collect();
        assert!((1_000_000..1_100_000).contains(&write("noise", &noise)));
        let mut gone = Sample::default();
        gone.add(Path::new("/no/such/file"), 1000);
        assert_eq!(gone.estimate(), 1000 + ENTRY);
    }
}
