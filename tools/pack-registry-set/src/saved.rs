//! The saved entry: what VerteX showed before the change, for the way back.

use std::path::Path;

use scar_record::Time;
use scar_tool::backup::{self, Backup};
use scar_tool::{Console, Failure};
use scar_vertex::entry::{Chosen, FLAG};
use scar_vertex::{Object, differences};

use crate::write::OWN;

/// Name and version of the file's format.
const FORMAT: &str = "scar-tools/1 pack-registry";

/// What `--undo` needs of a saved entry.
#[derive(Debug)]
pub(crate) struct Saved {
    /// The VerteX that it is of: `https://HOST[:PORT]`.
    pub(crate) vertex: String,
    pub(crate) uid: String,
    pub(crate) endpoint: String,
    /// The flag as it was.
    pub(crate) flag: bool,
    /// The entry as VerteX showed it.
    pub(crate) entry: Object,
}

impl Saved {
    /// Reads a saved entry.
    ///
    /// # Errors
    /// Exit 2 if the file is not one.
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

/// Saves the entry, synced, before it is changed; what another run saved is kept.
pub(crate) fn keep(backup: Backup, vertex: &str, before: &Chosen, console: &Console) -> Result<(), Failure> {
    let mut object = Object::default();
    object.set(&["backup"], &FORMAT);
    object.set(&["vertex"], &vertex);
    object.set(&["saved_at"], &Time::now());
    object.set(&["entry"], &before.object);
    let is_same = |kept: &str| {
        Saved::parse(kept).is_ok_and(|kept| kept.vertex == vertex && differences(&kept.entry, &before.object, OWN).is_empty())
    };
    let saved = backup.save_beside(&(object.to_json() + "\n"), is_same, console)?;
    console.note(format!("what the entry was is saved in '{}'", saved.path.display()));
    Ok(())
}
