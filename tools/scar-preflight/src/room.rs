//! Space for the archive: on this host's disk, and in Specman's claim.

use scar_record::Check;
use scar_tool::Failure;
use scar_tree::ArchiveFile;

use crate::check::{blocked, failed, ok, skipped, warning};

/// The line of the disk.
pub(crate) const DISK: &str = "content.disk";
/// The line of the claim.
pub(crate) const CLAIM: &str = "content.claim";

/// The size of the folder's content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// The bytes of all files.
    pub(crate) bytes: u64,
    /// The estimated bytes of the archive.
    pub(crate) packed: u64,
}

/// Whether mkmanifests can write an archive of about this size where it will.
pub(crate) fn disk(archive: Result<ArchiveFile, Failure>, estimate: u64) -> Check {
    let elsewhere = "name another file with --archive, or stream it: mkmanifests -o - DIR | ocipush HOST -";
    let archive = match archive.and_then(|archive| archive.probe().map(|()| archive)) {
        Ok(archive) => archive,
        Err(failure) => return failed(DISK, failure.hint(elsewhere)),
    };
    let (shown, needed) = (archive.folder().display(), size(estimate));
    let Some(free) = archive.free() else {
        let found = format!("the file system of '{shown}' does not say how much is free");
        return warning(DISK, found, format!("about {needed} are needed"));
    };
    let found = format!("{} free in '{shown}', about {needed} needed", size(free));
    if free < estimate { blocked(DISK, found, elsewhere) } else { ok(DISK, found) }
}

/// Whether Specman's claim of `room` bytes can store the archive, and the files beside it.
pub(crate) fn claim(content: Sizes, room: Option<u64>) -> Check {
    let Sizes { bytes, packed } = content;
    let Some(room) = room else { return skipped(CLAIM, "the claim's room is not known here") };
    let found = format!("{} unpacked, about {} packed, for {} of the claim", size(bytes), size(packed), size(room));
    if packed > room {
        return blocked(CLAIM, found, "Specman cannot keep it: have the claim made larger first");
    }
    match bytes.saturating_add(packed) > room {
        true => warning(CLAIM, found, "archive and content together do not fit: have the claim made larger"),
        false => ok(CLAIM, found),
    }
}

/// A size for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use scar_record::CheckResult;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1 << 20, "1.0 MiB"),
            (10 << 30, "10.0 GiB"),
            (1_048_575, "1.0 MiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn the_claim_must_hold_the_archive_and_should_hold_all() {
        for (room, expected) in [
            (Some(200), CheckResult::Ok),
            (Some(105), CheckResult::Warning),
            (Some(9), CheckResult::Blocked),
            (None, CheckResult::Skipped),
        ] {
            assert_eq!(claim(Sizes { bytes: 100, packed: 10 }, room).result, expected, "{room:?}");
        }
    }

    #[test]
    fn the_disk_must_take_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, bytes: u64| disk(ArchiveFile::find(&folder.path().join(name)), bytes).result;
        assert_eq!(at("m.tgz", 1), CheckResult::Ok);
        assert_eq!(at("m.tgz", u64::MAX), CheckResult::Blocked);
        assert_eq!(at("none/m.tgz", 1), CheckResult::Blocked);
        assert_eq!(at(".", 1), CheckResult::Blocked);
    }
}
