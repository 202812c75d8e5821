//! Writes one entry of the archive in GNU tar's format: a name that does not fit into the header gets an entry before it,
//! and owner and group are 0.

use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

/// An entry's kind and content.
#[derive(Debug)]
pub(crate) enum Body<R> {
    /// A regular file of exactly `size` bytes.
    File { size: u64, content: R },
    /// A folder.
    Folder,
    /// A symbolic link and its target.
    Link { target: Vec<u8> },
}

/// Name, mode and time of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta<'a> {
    /// The name in the archive: it begins with `./`, and a folder's ends with a slash.
    pub(crate) name: &'a [u8],
    /// Permission bits with set-user-ID, set-group-ID and sticky.
    pub(crate) mode: u32,
    /// Seconds since 1970; may be negative.
    pub(crate) mtime: i64,
}

/// Appends an entry.
///
/// # Errors
/// Errors of the archive and of the content.
pub(crate) fn append<W: Write, R: Read>(to: &mut Builder<W>, meta: Meta<'_>, body: Body<R>) -> io::Result<()> {
    // GNU tar's own format, which `tar -czvf` writes too (guide, step 3).
    let mut header = Header::new_gnu();
    let fields = header.as_old_mut();
    if let Body::Link { target } = &body
        && !fits(&mut fields.linkname, target)
    {
        long(to, EntryType::GNULongLink, target)?;
    }
    if !fits(&mut fields.name, meta.name) {
        long(to, EntryType::GNULongName, meta.name)?;
    }
    fields.mtime = time(meta.mtime);
    header.set_mode(meta.mode & 0o7777);
    // Not the file's owner, as tar has it: the archive must not depend on who copied the tree (FAULTS M11).
    header.set_uid(0);
    header.set_gid(0);
    match body {
        Body::File { size, content } => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(size);
            header.set_cksum();
            // Not `append_data`: it would write the name itself, without the `./` (tar src/header.rs, `copy_path_into_inner`).
            to.append(&header, content)
        }
        Body::Folder => bare(to, header, EntryType::Directory),
        Body::Link { .. } => bare(to, header, EntryType::Symlink),
    }
}

fn bare<W: Write>(to: &mut Builder<W>, mut header: Header, kind: EntryType) -> io::Result<()> {
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_cksum();
    to.append(&header, io::empty())
}

/// Copies as much of `text` as fits into a header's field; returns whether that is all.
fn fits(field: &mut [u8; 100], text: &[u8]) -> bool {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    // A name of exactly 100 bytes fills the field, without a zero byte at its end (POSIX, pax, "ustar Interchange Format").
    length == text.len()
}

/// The extra entry with the long name of the next entry (GNU tar manual, "Basic Tar Format"): its content ends with a zero byte,
/// and its name, mode and time are those that GNU tar writes.
fn long<W: Write>(to: &mut Builder<W>, kind: EntryType, text: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    fits(&mut header.as_old_mut().name, b"././@LongLink");
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(text.len() as u64 + 1);
    header.set_entry_type(kind);
    header.set_cksum();
    to.append(&header, text.chain(&[0][..]))
}

/// Writes a time in octal digits if they suffice, else in base 256, which also allows times before 1970. Base 256 is GNU tar's
/// extension: the highest bit of the first byte marks it (GNU tar manual, "Large or Negative Values").
fn time(seconds: i64) -> [u8; 12] {
    const OCTAL: std::ops::Range<i64> = 0..1 << 33;
    let mut field = [0; 12];
    if OCTAL.contains(&seconds) {
        let digits = format!("{seconds:011o}");
        field[..11].copy_from_slice(digits.as_bytes());
    } else {
        field[..4].fill(if seconds < 0 { 0xff } else { 0 });
        field[0] |= 0x80;
        field[4..].copy_from_slice(&seconds.to_be_bytes());
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(meta: Meta<'_>, body: Body<&[u8]>) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        append(&mut builder, meta, body).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_header_holds_a_hundred_bytes_and_longer_names_go_before_it() {
        for (length, blocks) in [(99, 1), (100, 1), (101, 3), (511, 3), (512, 4), (5000, 12)] {
            let name = [b"./", &vec![b'x'; length - 2][..]].concat();
            let bytes = archive(Meta { name: &name, mode: 0o644, mtime: 1 }, Body::File { size: 0, content: &[] });
            assert_eq!(bytes.len(), (blocks + 2) * 512, "{length}");
            let mut read = tar::Archive::new(&bytes[..]);
            let entry = read.entries().unwrap().next().unwrap().unwrap();
            assert_eq!(&*entry.path_bytes(), &name[..]);
        }
    }

    #[test]
    fn a_folder_and_a_link_keep_their_names_as_bytes() {
        let bytes = archive(Meta { name: b"./\xff \n/", mode: 0o41777, mtime: 1 }, Body::Folder);
        assert_eq!(&bytes[..7], b"./\xff \n/\0");
        assert_eq!(&bytes[100..108], b"0001777\0");
        assert_eq!(&bytes[108..124], b"0000000\x000000000\0");
        let target = [b'y'; 300];
        let bytes = archive(Meta { name: b"./l", mode: 0o777, mtime: 1 }, Body::Link { target: target.to_vec() });
        let mut read = tar::Archive::new(&bytes[..]);
        let entry = read.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.link_name_bytes().unwrap(), &target[..]);
    }

    #[test]
    fn a_size_over_eight_gibibytes_is_written_in_base_256() {
        let mut header = Header::new_gnu();
        header.set_size(9 << 30);
        assert_eq!(header.entry_size().unwrap(), 9 << 30);
        assert_eq!(header.as_old().size[0], 0x80);
    }

    #[test]
    fn times_before_1970_and_after_2242_are_kept() {
        assert_eq!(&time(0), b"00000000000\0");
        assert_eq!(&time((1 << 33) - 1), b"77777777777\0");
        assert_eq!(time(1 << 33), [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        assert_eq!(time(-1), [0xff; 12]);
    }
}
