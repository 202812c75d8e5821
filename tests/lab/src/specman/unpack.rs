//! Unpacks an archive into a folder, touching nothing outside.
//!
//! Links are created as stored, but never written through: an entry below a link is refused, and so is one with `..`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use tar::{Archive, Entry, EntryType};

/// Unpacks the gzipped tar archive into the empty folder `root`. The error names the entry.
pub(super) fn unpack(archive: impl Read, root: &Path) -> Result<(), String> {
    let mut archive = Archive::new(GzDecoder::new(archive));
    for entry in archive.entries().map_err(|e| e.to_string())? {
        let mut entry = entry.map_err(|e| e.to_string())?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        place(&mut entry, root).map_err(|cause| format!("entry {name:?}: {cause}"))?;
    }
    // Reads on after the archive's end, so that the last member's checksum is verified.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|e| e.to_string())?;
    Ok(())
}

fn place<R: Read>(entry: &mut Entry<'_, R>, root: &Path) -> io::Result<()> {
    let kind = entry.header().entry_type();
    let Some(target) = inside(root, &entry.path()?)? else {
        return Ok(());
    };
    match kind {
        EntryType::Directory => fs::create_dir_all(&target),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            clear(&target)?;
            io::copy(entry, &mut File::create_new(&target)?).map(drop)
        }
        EntryType::Symlink => {
            let to = entry.link_name()?.ok_or_else(|| refused("a link without a target"))?;
            clear(&target)?;
            std::os::unix::fs::symlink(to, &target)
        }
        EntryType::Link => {
            let to = entry.link_name()?.ok_or_else(|| refused("a link without a target"))?;
            let to = inside(root, &to)?.ok_or_else(|| refused("a link to the folder itself"))?;
            clear(&target)?;
            fs::hard_link(to, &target)
        }
        EntryType::XGlobalHeader => Ok(()),
        _ => Err(refused("neither file, folder nor link")),
    }
}

/// The path below `root`, with its parents created; `None` for the root itself.
fn inside(root: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let mut target = root.to_owned();
    let mut depth = 0;
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => {
                if depth > 0 {
                    folder(&target)?;
                }
                target.push(name);
                depth += 1;
            }
            _ => return Err(refused("leads out of the folder")),
        }
    }
    Ok((depth > 0).then_some(target))
}

/// Creates the folder, or checks that it is one and not a link.
fn folder(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(refused("lies below a file or link")),
        Err(_) => fs::create_dir(path),
    }
}

/// A later entry replaces an earlier one of the same name.
fn clear(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};
    use tempfile::TempDir;

    /// An archive of entries: type, name, link target or content.
    fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (kind, name, text) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0);
            let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
            if is_link {
                header.set_link_name_literal(text).unwrap();
            }
            let content = if is_link { "" } else { text };
            header.set_size(content.len() as u64);
            // Written directly, because the crate would refuse these names.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn files_folders_and_links_come_out_readable() {
        let root = TempDir::new().unwrap();
        let bytes = archive(&[
            (EntryType::Directory, "./", ""),
            (EntryType::Directory, "./a/", ""),
            (EntryType::Regular, "./a/b", "hello"),
            (EntryType::Symlink, "./link", "a/b"),
            (EntryType::Link, "./hard", "a/b"),
            (EntryType::Regular, "./deep/er/c", "later"),
        ]);
        unpack(&bytes[..], root.path()).unwrap();
        for (name, content) in [("a/b", "hello"), ("link", "hello"), ("hard", "hello"), ("deep/er/c", "later")] {
            assert_eq!(fs::read_to_string(root.path().join(name)).unwrap(), content);
        }
    }

    #[test]
    fn an_entry_that_leads_out_is_refused_by_name() {
        for (entries, message) in [
            (vec![(EntryType::Regular, "../x", "")], "entry \"../x\": leads out of the folder"),
            (vec![(EntryType::Regular, "/x", "")], "entry \"/x\": leads out of the folder"),
            (vec![(EntryType::Symlink, "l", ".."), (EntryType::Regular, "l/x", "")], "entry \"l/x\": lies below a file or link"),
            (vec![(EntryType::Link, "h", "../x")], "entry \"h\": leads out of the folder"),
            (vec![(EntryType::Fifo, "f", "")], "entry \"f\": neither file, folder nor link"),
        ] {
            let outer = TempDir::new().unwrap();
            let root = outer.path().join("root");
            fs::create_dir(&root).unwrap();
            assert_eq!(unpack(&archive(&entries)[..], &root), Err(message.to_owned()));
            assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_file_takes_the_place_of_a_link_and_not_of_its_target() {
        let outer = TempDir::new().unwrap();
        let root = outer.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(outer.path().join("x"), "safe").unwrap();
        let bytes = archive(&[(EntryType::Symlink, "l", "../x"), (EntryType::Regular, "l", "new")]);
        unpack(&bytes[..], &root).unwrap();
        assert_eq!(fs::read_to_string(outer.path().join("x")).unwrap(), "safe");
        assert_eq!(fs::read_to_string(root.join("l")).unwrap(), "new");
    }

    #[test]
    fn what_is_cut_or_no_gzip_is_refused() {
        let root = TempDir::new().unwrap();
        let bytes = archive(&[(EntryType::Regular, "a", "hello")]);
        assert!(unpack(&bytes[..bytes.len() - 4], root.path()).is_err());
        assert!(unpack(&b"no gzip"[..], root.path()).is_err());
    }
}
