//! The backup of an entry: what VerteX showed before the change.

use std::path::Path;

use scar_record::Time;
use scar_tool::backup::{self, Backup};
use scar_tool::{Console, Failure};
use scar_vertex::entry::{EntryObject, FLAG};
use scar_vertex::{Object, differences};

use crate::write::OWN;

const FORMAT: &str = "scar-tools/1 pack-registry";

/// What `--undo` needs from a backup.
#[derive(Debug)]
pub(crate) struct EntryBackup {
    /// The origin of its VerteX: `https://HOST[:PORT]`.
    pub(crate) vertex: String,
    pub(crate) uid: String,
    pub(crate) endpoint: String,
    /// The old flag.
    pub(crate) flag: bool,
    /// The old entry, as VerteX showed it.
    pub(crate) entry: Object,
}

impl EntryBackup {
    /// Reads a backup.
    ///
    /// # Errors
    /// Exit 2 if the file is not a backup.
    pub(crate) fn read(path: &Path, console: &Console) -> Result<Self, Failure> {
        let text = backup::read(path, console)?;
        Self::parse(&String::from_utf8_lossy(&text)).map_err(|cause| {
            Failure::misuse(format!("read the backup '{}': {cause}", path.display()))
                .hint("give the file that pack-registry-set --backup FILE wrote")
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let object = Object::parse(text.trim())?;
        if object.text_or_empty(&["backup"]) != FORMAT {
            return Err(format!("it has no field \"backup\": \"{FORMAT}\""));
        }
        object.never_show_secrets();
        // Undo only needs the old flag. The rest shows what has changed since; secrets in it are masks, which never go back
        // (FAULTS R7).
        let entry = object.object(&["entry"]).ok_or("it holds no entry")?;
        let text = |path: &[&str]| entry.text(path).filter(|text| !text.is_empty());
        Ok(Self {
            vertex: object.text_or_empty(&["vertex"]),
            uid: text(&["metadata", "uid"]).ok_or("its entry has no uid")?,
            endpoint: text(&["spec", "endpoint"]).ok_or("its entry has no endpoint")?,
            flag: entry.flag(FLAG),
            entry,
        })
    }
}

/// Saves the entry and syncs it to disk before the change; an earlier run's backup is kept.
pub(crate) fn keep(backup: Backup, vertex: &str, before: &EntryObject, console: &Console) -> Result<(), Failure> {
    let mut object = Object::default();
    object.set(&["backup"], &FORMAT);
    object.set(&["vertex"], &vertex);
    object.set(&["saved_at"], &Time::now());
    object.set(&["entry"], &before.object);
    let is_same = |kept: &str| {
        EntryBackup::parse(kept)
            .is_ok_and(|kept| kept.vertex == vertex && differences(&kept.entry, &before.object, OWN).is_empty())
    };
    let saved = backup.save_beside(&(object.to_json() + "\n"), is_same, console)?;
    console.note(format!("the old entry is saved in '{}'", saved.path.display()));
    Ok(())
}
