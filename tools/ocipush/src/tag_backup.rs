//! The backup of a tag: synced to disk before the tag moves.
//!
//! Invariant: the manifest that the tag held first is never overwritten; each later push only adds its layer to `replaced_by`.

use std::path::Path;

use scar_record::{Digest, Time};
use scar_registry::Reference;
use scar_tool::{Console, Exit, Failure, backup};
use serde_json::{Value, json};

use crate::manifest;

const FORMAT: &str = "scar-tools/1 tag";
/// The media type of a manifest that lists others.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a tag held.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TagBackup {
    pub(crate) reference: Reference,
    /// The manifest, byte for byte; `None` if the tag did not exist.
    pub(crate) manifest: Option<String>,
    /// The layers that were pushed since.
    pub(crate) replaced_by: Vec<Digest>,
}

/// The file that `--backup` names.
#[derive(Debug)]
pub(crate) struct BackupFile {
    file: backup::Backup,
    existing: Option<TagBackup>,
}

impl BackupFile {
    /// Reads the file, if it exists.
    ///
    /// # Errors
    /// Exit 2 if it exists and is not a backup of this tag.
    pub(crate) fn find(path: &Path, reference: &Reference, console: &Console) -> Result<Self, Failure> {
        let file = backup::Backup::find(path, console)?;
        let kept = file.existing().map(|text| TagBackup::parse(text, path)).transpose()?;
        match kept.as_ref().filter(|kept| kept.reference != *reference) {
            Some(kept) => Err(Failure::misuse(format!(
                "keep a backup in '{}': it is a backup of '{}', not of '{reference}'",
                path.display(),
                kept.reference
            ))
            .hint("name another file; an existing one is never overwritten")),
            None => Ok(Self { file, existing: kept }),
        }
    }

    /// Saves what the tag holds now, unless an earlier run saved it already, and the layer that will replace it.
    ///
    /// # Errors
    /// Exit 1 if the file cannot be written and synced; exit 7 if the manifest is not text.
    pub(crate) fn save(&self, reference: &Reference, held: Option<Vec<u8>>, layer: &Digest) -> Result<(), Failure> {
        let mut kept = match &self.existing {
            Some(kept) => kept.clone(),
            None => {
                let manifest = held.map(String::from_utf8).transpose();
                // JSON between systems is UTF-8 (RFC 8259, 8.1), so no registry's manifest fails here.
                let manifest = manifest.map_err(|_| {
                    Failure::new(Exit::Mismatch, format!("save what '{reference}' holds: its manifest is not UTF-8 text"))
                })?;
                TagBackup { reference: reference.clone(), manifest, replaced_by: Vec::new() }
            }
        };
        if !kept.replaced_by.contains(layer) {
            kept.replaced_by.push(layer.clone());
        }
        match &self.existing {
            Some(before) if *before == kept => self.file.sync(),
            Some(_) => self.file.extend(kept.to_json().as_bytes()),
            None => self.file.save(kept.to_json().as_bytes()),
        }
    }
}

impl TagBackup {
    /// Reads a backup.
    ///
    /// # Errors
    /// Exit 2 if the file is not a backup.
    pub(crate) fn read(path: &Path, console: &Console) -> Result<Self, Failure> {
        Self::parse(&backup::read(path, console)?, path)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self, Failure> {
        Self::from_json(text).map_err(|cause| {
            Failure::misuse(format!("read the backup '{}': {cause}", path.display()))
                .hint("give the file that ocipush --backup wrote")
        })
    }

    fn from_json(text: &[u8]) -> Result<Self, String> {
        let object: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if object["backup"] != FORMAT {
            return Err(format!("it has no field \"backup\": \"{FORMAT}\""));
        }
        let manifest = object["manifest"].as_str().map(str::to_owned);
        let digest = manifest.as_ref().map(|text| manifest::digest(text.as_bytes()).to_string());
        // The manifest goes back byte for byte, or it gets another digest. An editor that adds a line end would be enough.
        if object["digest"].as_str() != digest.as_deref() {
            return Err("the manifest in it is not the one of its digest".to_owned());
        }
        let reference = object["reference"].as_str().ok_or("it names no reference")?;
        let layers = object["replaced_by"].as_array().ok_or("it does not say what replaced it")?;
        Ok(Self {
            reference: Reference::parse(reference, None).map_err(|failure| failure.message)?,
            manifest,
            replaced_by: layers
                .iter()
                .map(|layer| Digest::parse(layer.as_str().unwrap_or_default()))
                .collect::<Result<_, _>>()?,
        })
    }

    fn to_json(&self) -> String {
        let layers: Vec<_> = self.replaced_by.iter().map(Digest::as_str).collect();
        let mut object = json!({
            "backup": FORMAT, "reference": self.reference.to_string(), "saved_at": Time::now().to_string(), "replaced_by": layers,
        });
        // The manifest is a string and not a JSON object: another order or spacing would have another digest.
        if let Some(manifest) = &self.manifest {
            object["digest"] = json!(manifest::digest(manifest.as_bytes()).as_str());
            object["manifest"] = json!(manifest);
        }
        format!("{object:#}\n")
    }
}

/// The media type to restore a manifest with: its own, else a guess by its fields.
pub(crate) fn media_type(manifest: &str) -> String {
    let object: Value = serde_json::from_str(manifest).unwrap_or_default();
    // Content-Type must be the manifest's own `mediaType`, which may be absent (OCI distribution specification, "Pushing
    // Manifests").
    match object["mediaType"].as_str() {
        Some(own) => own.to_owned(),
        None if object["manifests"].is_array() => INDEX.to_owned(),
        None => manifest::MEDIA_TYPE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> Reference {
        Reference::parse("r.example/a/b:0.0.0", None).unwrap()
    }

    #[test]
    fn the_first_manifest_is_kept_and_each_replacing_layer_added() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tag.json");
        let layers = [manifest::digest(b"1"), manifest::digest(b"2")];
        for (held, layer) in [("{\"schemaVersion\": 2}\n", 0), ("other", 1), ("third", 1)] {
            let backup = BackupFile::find(&path, &reference(), &Console::new("test")).unwrap();
            backup.save(&reference(), Some(held.into()), &layers[layer]).unwrap();
        }
        let kept = TagBackup::read(&path, &Console::new("test")).unwrap();
        assert_eq!(kept.manifest.as_deref(), Some("{\"schemaVersion\": 2}\n"));
        assert_eq!(kept.replaced_by, layers);
        let other = Reference::parse("r.example/a/c:0.0.0", None).unwrap();
        assert_eq!(BackupFile::find(&path, &other, &Console::new("test")).unwrap_err().exit, Exit::Misuse);
    }

    #[test]
    fn a_tag_that_did_not_exist_stays_absent_in_the_backup() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tag.json");
        for held in [None, Some(b"ours".to_vec())] {
            BackupFile::find(&path, &reference(), &Console::new("test"))
                .unwrap()
                .save(&reference(), held, &manifest::digest(b"1"))
                .unwrap();
        }
        assert_eq!(TagBackup::read(&path, &Console::new("test")).unwrap().manifest, None);
    }

    #[test]
    fn another_file_is_not_a_backup() {
        let good = TagBackup { reference: reference(), manifest: Some("{}".into()), replaced_by: vec![manifest::digest(b"1")] };
        assert_eq!(TagBackup::from_json(good.to_json().as_bytes()).unwrap(), good);
        for text in
            [String::new(), "{}".into(), good.to_json().replace("\"{}\"", "\"{ }\""), good.to_json().replace("r.example/", "")]
        {
            assert!(TagBackup::from_json(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_manifest_goes_back_as_what_it_was() {
        assert_eq!(media_type(r#"{"mediaType":"x/y"}"#), "x/y");
        assert_eq!(media_type(r#"{"manifests":[]}"#), INDEX);
        assert_eq!(media_type(r#"{"layers":[]}"#), manifest::MEDIA_TYPE);
    }
}
