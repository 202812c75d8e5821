//! Checks that an archive is complete (FAULTS Q12). A program that fails halfway leaves a file or closes its pipe just like one
//! that succeeds. But its archive has no end: gzip's trailer (RFC 1952, 2.3.1) or tar's 1024 zero bytes (POSIX pax, "ustar
//! Interchange Format") are missing.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

/// The position of the word `ustar` in a header; GNU tar's begins so too (POSIX pax, "ustar Interchange Format").
const USTAR: std::ops::Range<usize> = 257..262;
/// Zero bytes at the end of a tar archive.
const END: usize = 1024;
/// The first bytes of a gzip member (RFC 1952, 2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Follows an archive block by block, and says at the end what is wrong with it.
pub(crate) struct Integrity {
    // Several gzip members in a row are one file (RFC 1952, 2.2), as `cat a.gz b.gz` makes it.
    gzip: MultiGzDecoder<Tar>,
    begin: Vec<u8>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Readable so far.
    Good,
    /// Not gzip, so it cannot be checked.
    Unknown,
    /// Not readable from some point on.
    Damaged(String),
}

/// What must be known about the tar archive inside.
#[derive(Debug, Default)]
struct Tar {
    /// The first header, up to its format's name.
    head: Vec<u8>,
    /// Zero bytes since the last other byte.
    zeros: usize,
}

impl Integrity {
    pub(crate) fn new() -> Self {
        Self { gzip: MultiGzDecoder::new(Tar::default()), begin: Vec::new(), state: State::Good }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) {
        if self.state != State::Good {
            return;
        }
        let missing = MAGIC.len().saturating_sub(self.begin.len()).min(bytes.len());
        self.begin.extend_from_slice(&bytes[..missing]);
        if let Err(error) = self.gzip.write_all(bytes) {
            // Data that does not even begin as gzip has another format.
            self.state = match self.gzip.get_ref().head.is_empty() {
                true => State::Unknown,
                false => State::Damaged(error.to_string()),
            };
        }
    }

    /// What is wrong, now that the archive has ended.
    pub(crate) fn fault(mut self) -> Option<String> {
        match self.state {
            State::Unknown => return None,
            State::Damaged(cause) => return Some(format!("it is damaged ({cause})")),
            State::Good => {}
        }
        let ended = self.gzip.try_finish();
        let tar = self.gzip.get_ref();
        match ended {
            Err(_) if self.begin != MAGIC => None,
            Err(_) => Some("it is truncated or damaged".to_owned()),
            Ok(()) if tar.is_tar() && tar.zeros < END => Some("the tar archive in it is truncated".to_owned()),
            Ok(()) => None,
        }
    }
}

impl Tar {
    fn is_tar(&self) -> bool {
        self.head.get(USTAR) == Some(b"ustar")
    }
}

impl Write for Tar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let missing = USTAR.end.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        // Only the end counts. GNU tar fills up its last record with zeros, so there may be more than 1024 (GNU tar manual, "The
        // Blocking Factor of an Archive").
        let zeros = bytes.iter().rev().take(END).take_while(|byte| **byte == 0).count();
        self.zeros = if zeros == bytes.len() { self.zeros.saturating_add(zeros) } else { zeros };
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(ended: bool) -> Vec<u8> {
        let mut tar = tar_of_one_file();
        if ended {
            tar.extend_from_slice(&[0; END]);
        }
        tar
    }

    fn tar_of_one_file() -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..4].copy_from_slice(b"./ab");
        header[USTAR].copy_from_slice(b"ustar");
        header.extend((0..512_u16).map(|n| (n % 251) as u8 + 1));
        header
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    fn fault(bytes: &[u8]) -> Option<String> {
        [1, 7, bytes.len().max(1)]
            .map(|step| {
                let mut integrity = Integrity::new();
                bytes.chunks(step).for_each(|piece| integrity.take(piece));
                integrity.fault()
            })
            .into_iter()
            .reduce(|one, other| {
                assert_eq!(one, other, "the size of the blocks does not matter");
                other
            })
            .unwrap()
    }

    #[test]
    fn a_complete_archive_is_complete_and_any_other_is_not() {
        let good = gzip(&tar(true));
        assert_eq!(fault(&good), None);
        for cut in 2..good.len() {
            assert!(fault(&good[..cut]).is_some(), "cut at {cut} of {}", good.len());
        }
        assert_eq!(fault(&gzip(&tar(false))).unwrap(), "the tar archive in it is truncated");
        let mut bad = good.clone();
        let at = bad.len() - 6;
        bad[at] ^= 1;
        assert_eq!(fault(&bad).unwrap(), "it is truncated or damaged");
        // Concatenated gzip members are one archive; the content need not be tar.
        let tar = tar(true);
        let (first, second) = tar.split_at(700);
        assert_eq!(fault(&[gzip(first), gzip(second)].concat()), None);
        assert_eq!(fault(&gzip(b"no tar at all")), None);
    }

    #[test]
    fn says_nothing_about_a_file_other_than_gzip() {
        for bytes in [&b"no gzip"[..], b"\x1f\x8bnoise that follows the magic", b"\x1f", b""] {
            assert_eq!(fault(bytes), None, "{bytes:?}");
        }
    }
}
