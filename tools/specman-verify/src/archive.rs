//! Reads an archive once, from its first byte to its last: all names, and the SHA-256 of every file. Nothing is written.
//!
//! Invariants: memory grows only with the number of names; an archive is refused, naming the entry, if it is not complete
//! gzip, unpacks to more than a thousand times its size, or has an entry whose path leaves it.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use scar_record::Digest;
use scar_tool::{Exit, Failure, Progress};
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use crate::tree::{Content, File, Node, Tree, plain, sum, text};

/// The first bytes of a gzip member (RFC 1952, 2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// How many packed bytes are read at a time.
const BUFFER: usize = 32 * 1024;
/// The highest ratio of unpacked to packed size: deflate reaches 1032 (zlib's technical notes), but only for a file of one
/// repeated byte.
const RATIO: u64 = 1000;
/// Unpacked bytes up to which the ratio is not checked: small archives of empty files are harmless.
const GRACE: u64 = 64 << 20;
/// The longest name or link target, in bytes: far above what Linux opens (PATH_MAX, 4096).
const NAME: usize = 64 * 1024;
/// The hint for an archive that cannot be used.
const OTHER_ARCHIVE: &str = "name another archive, or the folder that it was made of; if it was pushed, pack and push it again";

/// The archive's own bytes, hashed and counted.
struct Packed<R> {
    inner: R,
    hash: Sha256,
    count: u64,
    progress: Progress,
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.inner.read(buffer)?;
        self.hash.update(&buffer[..size]);
        self.count += size as u64;
        self.progress.add(size as u64);
        Ok(size)
    }
}

/// The unpacked bytes; reading fails if there are too many.
struct Unpacked<'p, R> {
    inner: MultiGzDecoder<BufReader<&'p mut Packed<R>>>,
    count: u64,
}

impl<R: Read> Read for Unpacked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.inner.read(buffer)?;
        self.count += size as u64;
        if self.count > GRACE && self.count / RATIO > self.inner.get_ref().get_ref().count {
            return Err(io::Error::new(ErrorKind::QuotaExceeded, "it unpacks to more than 1000 times its size"));
        }
        Ok(size)
    }
}

/// Reads the archive: its tree or its defect, and the digest of all its bytes. `what` is its name in messages.
///
/// # Errors
/// Exit 1 if reading itself fails. A defect has exit status 7 and names the entry.
pub(crate) fn read(inner: impl Read, what: &str, progress: Progress) -> Result<(Result<Tree, Failure>, Digest), Failure> {
    let act = format!("read the archive {what}");
    let mut packed = Packed { inner, hash: Sha256::new(), count: 0, progress };
    let tree = tree(&mut packed, &act);
    // The digest is of the whole file, even if its content is malformed, or ends before the file does.
    io::copy(&mut packed, &mut io::sink()).map_err(|error| Failure::io(&act, &error))?;
    Ok((tree, Digest::from_sha256(&packed.hash.finalize().into())))
}

fn tree(packed: &mut Packed<impl Read>, act: &str) -> Result<Tree, Failure> {
    let mut packed = BufReader::with_capacity(BUFFER, packed);
    let start = packed.fill_buf().map_err(|error| Failure::io(act, &error))?;
    let defect = match &start[..start.len().min(GZIP.len())] {
        [] => Some("it is empty"),
        start => (!GZIP.starts_with(start)).then_some("it is not a gzip archive"),
    };
    if let Some(defect) = defect {
        return Err(Failure::new(Exit::Mismatch, format!("{act}: {defect}")).hint(OTHER_ARCHIVE));
    }
    let mut archive = tar::Archive::new(Unpacked { inner: MultiGzDecoder::new(packed), count: 0 });
    let mut tree = Tree::default();
    let mut last = String::new();
    for entry in archive.entries().map_err(|error| broken(act, &last, &error))? {
        let mut entry = entry.map_err(|error| broken(act, &last, &error))?;
        let name = entry.path_bytes().into_owned();
        let shown = text(&name[..name.len().min(NAME)]);
        let node = node(&mut entry, &tree).map_err(|cause| match cause {
            Cause::Io(error) => broken(act, &format!("in entry '{shown}': "), &error),
            Cause::Refused(why) => refused(act, &shown, why),
        })?;
        if let Some(node) = node {
            plain(&name).and_then(|name| tree.insert(name, node)).map_err(|why| refused(act, &shown, why))?;
        }
        last = format!("after entry '{shown}': ");
    }
    // Read on after the archive's end: the gzip trailer with the checksum follows (RFC 1952, 2.3).
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| broken(act, &last, &error))?;
    Ok(tree)
}

/// Why an entry cannot be used.
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
        // tar stores a file's content once, under its first name.
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

fn refused(act: &str, entry: &str, why: &str) -> Failure {
    Failure::new(Exit::Mismatch, format!("{act}: entry '{entry}' is refused: {why}"))
        .hint("no packing tool writes such an entry: find out who made the archive")
}

/// The failure of a read: either the bytes are wrong, or reading them failed. The libraries' own words for damage (which
/// header field, which block) help nobody who has the archive from somewhere else.
fn broken(act: &str, place: &str, error: &io::Error) -> Failure {
    let cause = match error.kind() {
        ErrorKind::QuotaExceeded => error.to_string(),
        ErrorKind::UnexpectedEof => "it is truncated".to_owned(),
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::Other if error.raw_os_error().is_none() => {
            "it is damaged".to_owned()
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

    fn read(archive: &[u8]) -> Result<Tree, Failure> {
        let progress = scar_tool::Console::new("test").progress_bytes("reading", None);
        let (tree, digest) = super::read(archive, "'x'", progress).unwrap();
        assert_eq!(digest, Digest::from_sha256(&Sha256::digest(archive).into()));
        tree
    }

    fn message(archive: &[u8]) -> String {
        read(archive).unwrap_err().message
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
        let (expected, outside) = read(&archive).unwrap().expected().unwrap();
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
        assert_eq!(message(&flipped), "read the archive 'x': after entry 'b': it is damaged");
        assert_eq!(message(&zipped(b"no tar".repeat(200).as_slice())), "read the archive 'x': it is damaged");
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
