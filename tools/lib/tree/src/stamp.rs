//! Detects whether a file is still the one that was listed. A stamp has only four bytes, so that those of a million files
//! fit into memory.

use rustix::fs::Stat;

/// A hash of the metadata that changes when a file is written, replaced or chmod'ed: device, inode, mode, size, mtime and
/// ctime. The access time is not included, because reading changes it.
///
/// A change goes unnoticed with a probability of 1 in 2^32.
pub fn of(stat: &Stat) -> u32 {
    let parts = [
        stat.st_dev,
        stat.st_ino,
        u64::from(stat.st_mode),
        stat.st_size as u64,
        stat.st_mtime as u64,
        stat.st_mtime_nsec,
        stat.st_ctime as u64,
        stat.st_ctime_nsec,
    ];
    fold(&parts)
}

/// A file's identity: device and inode.
pub type FileId = (u64, u64);

/// The identity of a file.
pub fn file_id(stat: &Stat) -> FileId {
    (stat.st_dev, stat.st_ino)
}

fn fold(parts: &[u64]) -> u32 {
    let mut sum = 0x9e37_79b9_7f4a_7c15_u64;
    for part in parts {
        // Multiply and fold, so that every input bit affects every bit of the hash.
        let product = u128::from(sum ^ part) * 0xd6e8_feb8_6659_fd93_u128;
        sum = (product as u64) ^ ((product >> 64) as u64) ^ sum.rotate_left(23);
    }
    (sum ^ (sum >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn one_bit_anywhere_changes_the_stamp() {
        let parts = [2049, 131_074, 0o100_644, 4096, 1_700_000_000, 5, 1_700_000_000, 5];
        for part in 0..parts.len() {
            for bit in 0..64 {
                let mut other = parts;
                other[part] ^= 1 << bit;
                assert_ne!(fold(&parts), fold(&other), "part {part}, bit {bit}");
            }
        }
    }
}
