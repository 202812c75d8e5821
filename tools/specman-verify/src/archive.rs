//! Reads an archive once, from its first byte to its last: all names, and the SHA-256 of every file. Nothing is written.
//!
//! Invariants: memory grows only with the number of names; an archive is refused, naming the entry, if it is not complete
//! gzip, unpacks to more than a thousand times its size, or has an entry whose path leaves it.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read};
use std::rc::Rc;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use scar_record::Digest;
use scar_tool::{Exit, Failure, Progress};
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use crate::tree::{Content, File, Node, Tree, plain, text};

/// The first bytes of a gzip member (RFC 1952, 2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// The highest ratio of unpacked to packed size.
const RATIO: u64 = 1000;
/// Unpacked bytes up to which the ratio is not checked: small archives of empty files are harmless.
const GRACE: u64 = 64 << 20;
/// The longest name or link target, in bytes (Linux: PATH_MAX).
const NAME: usize = 64 * 1024;

/// Counts the bytes that are read.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.inner.read(buffer)?;
        self.count.set(self.count.get() + size as u64);
        Ok(size)
    }
}

/// The unpacked side; fails if the ratio is exceeded.
struct Unpacked<R> {
    inner: R,
    packed: Rc<Cell<u64>>,
    unpacked: u64,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.inner.read(buffer)?;
        self.unpacked += size as u64;
        if self.unpacked > GRACE && self.unpacked / RATIO > self.packed.get() {
            return Err(io::Error::new(ErrorKind::QuotaExceeded, "it unpacks to more than 1000 times its size"));
        }
        Ok(size)
    }
}

/// Reads the archive; `what` is its name in messages.
///
/// # Errors
/// Exit 7 naming the entry; exit 1 if reading itself fails.
pub(crate) fn read(mut reader: impl Read, what: &str) -> Result<Tree, Failure> {
    let act = format!("read the archive {what}");
    let mut magic = Vec::new();
    reader.by_ref().take(2).read_to_end(&mut magic).map_err(|error| Failure::io(&act, &error))?;
    match magic[..] {
        [] => return Err(Failure::new(Exit::Mismatch, format!("{act}: it is empty")).hint(OTHER_ARCHIVE)),
        [0x1f, 0x8b] => {}
        _ => return Err(Failure::new(Exit::Mismatch, format!("{act}: it is not a gzip archive")).hint(OTHER_ARCHIVE)),
    }
    let packed = Rc::new(Cell::new(0));
    let reader = Counted { inner: GZIP.chain(reader), count: packed.clone() };
    let mut archive = tar::Archive::new(Unpacked { inner: MultiGzDecoder::new(reader), packed, unpacked: 0 });
    let mut tree = Tree::default();
    let mut last = String::new();
    for entry in archive.entries().map_err(|error| broken(&act, &last, &error))? {
        let mut entry = entry.map_err(|error| broken(&act, &last, &error))?;
        let name = entry.path_bytes().into_owned();
        let shown = text(&name[..name.len().min(NAME)]);
        let node = node(&mut entry, &tree).map_err(|cause| match cause {
            Cause::Io(error) => broken(&act, &format!("in entry '{shown}': "), &error),
            Cause::Refused(why) => refused(&act, &shown, why),
        })?;
        if let Some(node) = node {
            plain(&name).and_then(|name| tree.insert(name, node)).map_err(|why| refused(&act, &shown, why))?;
        }
        last = format!("after entry '{shown}': ");
    }
    // Read on after the archive's end, because the checksum follows.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| broken(&act, &last, &error))?;
    Ok(tree)
}

/// Hashes and counts the bytes that are read.
pub(crate) struct HashingReader<R> {
    inner: R,
    hash: Sha256,
    progress: Progress,
}

impl<R> HashingReader<R> {
    /// Starts with nothing read.
    pub(crate) fn new(inner: R, progress: Progress) -> Self {
        Self { inner, hash: Sha256::new(), progress }
    }

    /// The digest of everything read so far.
    pub(crate) fn digest(self) -> Digest {
        Digest::from_sha256(&self.hash.finalize().into())
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.inner.read(buffer)?;
        self.hash.update(&buffer[..size]);
        self.progress.add(size as u64);
        Ok(size)
    }
}

enum Cause {
    Io(io::Error),
    Refused(&'static str),
}

/// The kind of an entry; `None` for entries that only describe others.
fn node(entry: &mut tar::Entry<'_, impl Read>, tree: &Tree) -> Result<Option<Node>, Cause> {
    let target = |entry: &tar::Entry<'_, _>| {
        let target = entry.link_name_bytes().map(|target| target.into_owned()).filter(|target| target.len() <= NAME);
        target.ok_or(Cause::Refused("it is a link without a target"))
    };
    Ok(match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let (size, sum) = sum(entry).map_err(Cause::Io)?;
            Some(Node::File(Arc::new(File { size, content: Content::Sum(sum) })))
        }
        EntryType::Directory => Some(Node::Folder),
        EntryType::Symlink => Some(Node::Link(target(entry)?)),
        EntryType::Link => {
            let first = plain(&target(entry)?).map_err(|_| Cause::Refused("its hard link leads out of the archive"))?;
            let file = tree.file(&first);
            Some(Node::File(file.ok_or(Cause::Refused("its hard link is to no file that came before it"))?))
        }
        // `git archive` writes one, with the commit.
        EntryType::XGlobalHeader => None,
        _ => return Err(Cause::Refused("it is neither file, folder nor link")),
    })
}

/// Length and SHA-256 of all remaining bytes.
pub(crate) fn sum(reader: &mut impl Read) -> io::Result<(u64, [u8; 32])> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((size, hash.finalize().into())),
            Ok(read) => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn refused(act: &str, entry: &str, why: &str) -> Failure {
    Failure::new(Exit::Mismatch, format!("{act}: entry '{entry}' is refused: {why}"))
        .hint("no packing tool writes such an entry: find out who made the archive")
}

/// Why an archive cannot be read.
const OTHER_ARCHIVE: &str = "name another archive, or the folder that it was made of; if it was pushed, pack and push it again";

/// The failure of a read: either the bytes are wrong, or reading them failed.
fn broken(act: &str, place: &str, error: &io::Error) -> Failure {
    let cause = match error.kind() {
        ErrorKind::QuotaExceeded => error.to_string(),
        ErrorKind::UnexpectedEof => "it is truncated".to_owned(),
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::Other if error.raw_os_error().is_none() => {
            format!("it is damaged: {error}")
        }
        _ => return Failure::io(act, error),
    };
    Failure::new(Exit::Mismatch, format!("{act}: {place}{cause}")).hint(OTHER_ARCHIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn packed(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        fill(&mut builder);
        zipped(&builder.into_inner().unwrap())
    }

    fn zipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Writes the name unchecked.
    fn add(builder: &mut tar::Builder<Vec<u8>>, kind: EntryType, name: &str, target: &str, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }

    fn message(archive: &[u8]) -> String {
        read(archive, "'x'").unwrap_err().message
    }

    #[test]
    fn files_and_links_get_their_sums() {
        let mut builder = tar::Builder::new(Vec::new());
        add(&mut builder, EntryType::Directory, "./", "", b"");
        add(&mut builder, EntryType::Regular, "./a", "", b"abc");
        add(&mut builder, EntryType::Link, "./hard", "./a", b"");
        add(&mut builder, EntryType::Symlink, "./soft", "a", b"");
        let bytes = builder.into_inner().unwrap();
        // Two members, as programs that compress in parallel write them.
        let archive = [zipped(&bytes[..1000]), zipped(&bytes[1000..])].concat();
        let (expected, outside) = read(&archive[..], "'x'").unwrap().expected().unwrap();
        assert!(outside.is_empty());
        let names: Vec<_> = expected.iter().map(|e| (text(&e.name), e.file.size)).collect();
        assert_eq!(names, [("a".to_owned(), 3), ("hard".to_owned(), 3), ("soft".to_owned(), 3)]);
        let sum: [u8; 32] = Sha256::digest(b"abc").into();
        assert!(expected.iter().all(|e| e.file.content == Content::Sum(sum)));
    }

    #[test]
    fn bad_input_35_every_damage_is_reported_with_its_entry() {
        let good = packed(|builder| {
            add(builder, EntryType::Regular, "a", "", &(0..=255).collect::<Vec<u8>>().repeat(400));
            add(builder, EntryType::Regular, "b", "", b"b");
        });
        assert_eq!(message(b""), "read the archive 'x': it is empty");
        assert_eq!(message(b"x"), "read the archive 'x': it is not a gzip archive");
        assert_eq!(message(b"PK\x03\x04 no gzip at all"), "read the archive 'x': it is not a gzip archive");
        let cut = good.len() - 9;
        assert!(message(&good[..cut]).ends_with("it is truncated"), "{}", message(&good[..cut]));
        let mut flipped = good.clone();
        let crc = flipped.len() - 6;
        flipped[crc] ^= 1;
        assert!(message(&flipped).starts_with("read the archive 'x': after entry 'b': it is damaged: "), "{}", message(&flipped));
        assert!(message(&zipped(b"no tar".repeat(200).as_slice())).contains("it is damaged: "));
        for (kind, name, target, says) in [
            (EntryType::Regular, "../x", "", "entry '../x' is refused: its path leaves the archive"),
            (EntryType::Regular, "/x", "", "entry '/x' is refused: its name is absolute"),
            (EntryType::Fifo, "pipe", "", "entry 'pipe' is refused: it is neither file, folder nor link"),
            (EntryType::Link, "hard", "../a", "entry 'hard' is refused: its hard link leads out of the archive"),
            (EntryType::Link, "hard", "b", "entry 'hard' is refused: its hard link is to no file that came before it"),
        ] {
            assert_eq!(
                message(&packed(|builder| add(builder, kind, name, target, b""))),
                format!("read the archive 'x': {says}")
            );
        }
        let archive = packed(|builder| {
            add(builder, EntryType::Symlink, "l", "/tmp", b"");
            add(builder, EntryType::Regular, "l/x", "", b"x");
        });
        let says = "read the archive 'x': entry 'l/x' is refused: its path goes through a link in the archive";
        assert_eq!(message(&archive), says);
    }

    #[test]
    fn bad_input_35_a_bomb_is_refused_in_its_middle() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let mut header = tar::Header::new_gnu();
        header.set_path("zeros").unwrap();
        header.set_size(1 << 40);
        header.set_cksum();
        encoder.write_all(header.as_bytes()).unwrap();
        let zeros = vec![0; 1 << 20];
        (0..80).for_each(|_| encoder.write_all(&zeros).unwrap());
        let archive = encoder.finish().unwrap();
        assert_eq!(message(&archive), "read the archive 'x': in entry 'zeros': it unpacks to more than 1000 times its size");
    }
}
