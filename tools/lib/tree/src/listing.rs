//! A folder's names in the archive's order, in little memory: the prefix that a name shares with the previous one is not
//! stored, so that a tree of a million files fits into some megabytes.

/// An entry's kind, with what must still hold when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of `size` bytes; `stamp` detects changes (see [`crate::stamp`]).
    File {
        /// In bytes.
        size: u64,
        /// See above.
        stamp: u32,
    },
    /// A folder.
    Folder {
        /// Its number in the tree.
        number: u32,
    },
    /// A symbolic link.
    Link {
        /// As a file's.
        stamp: u32,
    },
}

/// Writes a listing; names must come in the archive's order.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    last: Vec<u8>,
}

impl Encoder {
    /// Appends an entry.
    pub(crate) fn push(&mut self, name: &[u8], kind: Kind) {
        let shared = self.last.iter().zip(name).take_while(|(a, b)| a == b).count();
        number(&mut self.bytes, shared as u64);
        number(&mut self.bytes, (name.len() - shared) as u64);
        self.bytes.extend_from_slice(&name[shared..]);
        match kind {
            Kind::File { size, stamp } => {
                self.bytes.push(b'f');
                number(&mut self.bytes, size);
                self.bytes.extend_from_slice(&stamp.to_le_bytes());
            }
            Kind::Folder { number } => {
                self.bytes.push(b'd');
                self.bytes.extend_from_slice(&number.to_le_bytes());
            }
            Kind::Link { stamp } => {
                self.bytes.push(b'l');
                self.bytes.extend_from_slice(&stamp.to_le_bytes());
            }
        }
        self.last.truncate(shared);
        self.last.extend_from_slice(&name[shared..]);
    }

    /// The listing.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// A position in a listing; it does not borrow the listing, so that a walk can keep many.
#[derive(Debug, Default, Clone)]
pub struct Cursor {
    at: usize,
    name: Vec<u8>,
}

impl Cursor {
    /// The next entry of `listing`, whose name is then [`Cursor::name`].
    pub fn next(&mut self, listing: &[u8]) -> Option<Kind> {
        let rest = &mut listing.get(self.at..)?;
        let shared = take_number(rest)? as usize;
        let suffix = take_number(rest)? as usize;
        self.name.truncate(shared);
        self.name.extend_from_slice(rest.split_off(..suffix)?);
        let kind = match rest.split_off_first()? {
            b'f' => Kind::File { size: take_number(rest)?, stamp: take_u32(rest)? },
            b'd' => Kind::Folder { number: take_u32(rest)? },
            _ => Kind::Link { stamp: take_u32(rest)? },
        };
        self.at = listing.len() - rest.len();
        Some(kind)
    }

    /// The name of the entry that [`Cursor::next`] returned last.
    pub fn name(&self) -> &[u8] {
        &self.name
    }
}

/// Writes seven bits per byte, the lowest first; the eighth says that more follow.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *from.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take_u32(from: &mut &[u8]) -> Option<u32> {
    from.split_off(..4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_written() {
        let entries: [(&[u8], Kind); 6] = [
            (b"a", Kind::File { size: 0, stamp: 7 }),
            (b"a-long-name-000001.yaml", Kind::File { size: u64::MAX, stamp: u32::MAX }),
            (b"a-long-name-000002.yaml", Kind::Link { stamp: 1 }),
            (&[0xff; 255], Kind::Folder { number: 70_000 }),
            (b"\xff", Kind::File { size: 8 << 30, stamp: 0 }),
            (b"z\n", Kind::Folder { number: 0 }),
        ];
        let mut encoder = Encoder::default();
        for (name, kind) in entries {
            encoder.push(name, kind);
        }
        let listing = encoder.finish();
        let mut cursor = Cursor::default();
        for (name, kind) in entries {
            assert_eq!(cursor.next(&listing), Some(kind));
            assert_eq!(cursor.name(), name);
        }
        assert_eq!(cursor.next(&listing), None);
    }

    #[test]
    fn a_numbered_name_costs_little() {
        let mut encoder = Encoder::default();
        for n in 0..100_000 {
            encoder.push(format!("manifest-{n:06}.yaml").as_bytes(), Kind::File { size: 2048, stamp: n });
        }
        let bytes = encoder.finish().len();
        assert!(bytes < 1_700_000, "{bytes}");
    }
}
