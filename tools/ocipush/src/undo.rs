//! Undo: move the tag back to the manifest that it held before the push.

use bytes::Bytes;
use scar_record::Digest;
use scar_registry::Fault;
use scar_tool::{Exit, Failure};

use crate::manifest::{self, RemoteManifest};
use crate::session::Pusher;
use crate::tag_backup::{TagBackup, media_type};

/// What an undo has to do.
#[derive(Debug, PartialEq)]
enum TagChange {
    /// The tag did not exist before, and does not exist now.
    Nothing,
    /// The tag did not exist before; the present one stays.
    Keep,
    /// The tag already holds the old manifest again.
    Done,
    /// The tag must move back.
    Restore,
}

/// Compares the backup with what the tag holds now.
///
/// # Errors
/// The digest that the tag holds, if that was not pushed by us.
fn change(backup: &TagBackup, now: Option<&RemoteManifest>) -> Result<TagChange, Digest> {
    // By the layer: two pushes of one archive differ in their creation time, and so in the digest of their manifest.
    let ours = |held: &RemoteManifest| matches!(&held.artifact, Ok(parts) if backup.replaced_by.contains(&parts.layer.digest));
    let old = backup.manifest.as_ref().map(|manifest| manifest::digest(manifest.as_bytes()));
    match (old, now) {
        (None, None) => Ok(TagChange::Nothing),
        (Some(old), Some(now)) if now.digest == old => Ok(TagChange::Done),
        (_, Some(now)) if !ours(now) => Err(now.digest.clone()),
        // A tag is not deleted: Distribution allows that only with `storage.delete.enabled`, and a manifest deleted by its digest
        // loses all of its tags (registry/handlers/manifests.go, `DeleteManifest`).
        (None, Some(_)) => Ok(TagChange::Keep),
        (Some(_), _) => Ok(TagChange::Restore),
    }
}

impl Pusher {
    /// Moves the tag back.
    ///
    /// # Errors
    /// Exit 7 if someone else has moved it since; else the reason why the registry refuses the manifest.
    pub(crate) async fn restore(&self, backup: &TagBackup, dry_run: bool) -> Result<(), Fault> {
        let (console, reference) = (&self.registry.console, &backup.reference);
        let now = self.remote_manifest(&reference.tag).await?.map(|(_, held)| held);
        let change = change(backup, now.as_ref()).map_err(|now| {
            Failure::new(
                Exit::Mismatch,
                format!("restore '{reference}': the tag holds '{now}', which is not what was pushed; it was left alone"),
            )
            .hint("something else was pushed since: check the repository, and move the tag by hand if you want that")
        })?;
        let manifest = backup.manifest.clone().unwrap_or_default();
        let digest = manifest::digest(manifest.as_bytes());
        match change {
            TagChange::Nothing => console.note(format!("'{reference}' did not exist before, and does not exist now")),
            TagChange::Keep => {
                console
                    .warn(format!("'{reference}' did not exist before; it stays: delete it in the registry if you want it gone"));
            }
            TagChange::Done => console.note(format!("'{reference}' holds '{digest}' already, as before")),
            TagChange::Restore if dry_run => console.plan(format!("move the tag '{reference}' back to '{digest}'")),
            TagChange::Restore => {
                self.put_manifest(&Bytes::from(manifest.clone()), &digest, &media_type(&manifest)).await?;
                match self.remote_manifest(&reference.tag).await? {
                    Some((_, held)) if held.digest == digest => console.note(format!("'{reference}' holds '{digest}' again")),
                    _ => {
                        let cause = "the registry accepted the old manifest, but the tag holds another";
                        return Err(Failure::new(Exit::Mismatch, format!("restore '{reference}': {cause}")).into());
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scar_record::Time;
    use scar_registry::Reference;

    #[test]
    fn only_what_was_pushed_is_replaced_by_the_backup() {
        let layer = manifest::Layer { digest: manifest::digest(b"l"), size: 1, title: "manifests.tgz".into() };
        let created = Time::from_epoch(1).unwrap();
        let config = (manifest::digest(manifest::CONFIG), 2);
        let parts = |layer| manifest::Parts { layer, config: config.clone(), created };
        let held =
            |digest: &Digest, layer: manifest::Layer| RemoteManifest { digest: digest.clone(), artifact: Ok(parts(layer)) };
        let ours = held(&manifest::digest(b"ours"), layer.clone());
        let foreign = held(&manifest::digest(b"other"), manifest::Layer { digest: manifest::digest(b"o"), ..layer.clone() });
        let old = held(&manifest::digest(b"old"), layer.clone());
        let backup = |manifest: Option<&str>| TagBackup {
            reference: Reference::parse("r.example/a:1", None).unwrap(),
            manifest: manifest.map(str::to_owned),
            replaced_by: vec![layer.digest.clone()],
        };
        for (before, now, expected) in [
            (None, None, Ok(TagChange::Nothing)),
            (None, Some(&ours), Ok(TagChange::Keep)),
            (None, Some(&foreign), Err(foreign.digest.clone())),
            (Some("old"), Some(&old), Ok(TagChange::Done)),
            (Some("old"), Some(&ours), Ok(TagChange::Restore)),
            (Some("old"), None, Ok(TagChange::Restore)),
            (Some("old"), Some(&foreign), Err(foreign.digest.clone())),
        ] {
            assert_eq!(change(&backup(before), now), expected, "{before:?} {now:?}");
        }
    }
}
