//! The way back: the manifest that the tag held before the push, on the tag again.

use bytes::Bytes;
use scar_record::Digest;
use scar_registry::Fault;
use scar_tool::{Exit, Failure};

use crate::manifest::{self, Held};
use crate::tag_backup::{TagBackup, media_type};
use crate::upload::Pusher;

/// What an undo has to do.
#[derive(Debug, PartialEq)]
enum Need {
    /// There was no such tag, and there is none.
    Nothing,
    /// There was no such tag; the one that is there stays.
    Stays,
    /// The tag holds it again already.
    There,
    /// The manifest goes back.
    Back,
}

/// Compares what was with what is.
///
/// # Errors
/// What the tag holds now, where that is not what was pushed in the place of the old.
fn need(kept: &TagBackup, now: Option<&Held>) -> Result<Need, Digest> {
    let ours = |held: &Held| matches!(&held.artifact, Ok(parts) if kept.replaced_by.contains(&parts.layer.digest));
    let old = kept.manifest.as_ref().map(|manifest| manifest::digest(manifest.as_bytes()));
    match (old, now) {
        (None, None) => Ok(Need::Nothing),
        (Some(old), Some(now)) if now.digest == old => Ok(Need::There),
        (_, Some(now)) if !ours(now) => Err(now.digest.clone()),
        (None, Some(_)) => Ok(Need::Stays),
        (Some(_), _) => Ok(Need::Back),
    }
}

impl Pusher {
    /// Brings the tag back to what it held.
    ///
    /// # Errors
    /// Exit 7 where someone else has moved it since; else why the registry does not take the manifest.
    pub(crate) async fn restore(&self, kept: &TagBackup, dry_run: bool) -> Result<(), Fault> {
        let (console, reference) = (&self.registry.console, &kept.reference);
        let now = self.held(&reference.tag).await?.map(|(_, held)| held);
        let need = need(kept, now.as_ref()).map_err(|now| {
            Failure::new(
                Exit::Mismatch,
                format!("restore '{reference}': the tag holds '{now}', which is not what was pushed; it was left alone"),
            )
            .hint("something else was pushed since; look at the repository, and move the tag by hand if that is wanted")
        })?;
        let manifest = kept.manifest.clone().unwrap_or_default();
        let digest = manifest::digest(manifest.as_bytes());
        match need {
            Need::Nothing => console.note(format!("'{reference}' was not there before, and is not there now")),
            Need::Stays => {
                console.warn(format!("'{reference}' was not there before; it stays, delete it in the registry if it must go"));
            }
            Need::There => console.note(format!("'{reference}' holds '{digest}' already, as before")),
            Need::Back if dry_run => console.plan(format!("move the tag '{reference}' back to '{digest}'")),
            Need::Back => {
                self.put_manifest(&Bytes::from(manifest.clone()), &digest, &media_type(&manifest)).await?;
                match self.held(&reference.tag).await? {
                    Some((_, held)) if held.digest == digest => console.note(format!("'{reference}' holds '{digest}' again")),
                    _ => {
                        let cause = "the registry took the old manifest, and the tag holds another";
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
    fn only_what_was_pushed_gives_way_to_what_was() {
        let layer = manifest::Layer { digest: manifest::digest(b"l"), size: 1, title: "manifests.tgz".into() };
        let created = Time::from_epoch(1).unwrap();
        let config = (manifest::digest(manifest::CONFIG), 2);
        let parts = |layer| manifest::Parts { layer, config: config.clone(), created };
        let held = |digest: &Digest, layer: manifest::Layer| Held { digest: digest.clone(), artifact: Ok(parts(layer)) };
        let ours = held(&manifest::digest(b"ours"), layer.clone());
        let foreign = held(&manifest::digest(b"other"), manifest::Layer { digest: manifest::digest(b"o"), ..layer.clone() });
        let old = held(&manifest::digest(b"old"), layer.clone());
        let kept = |manifest: Option<&str>| TagBackup {
            reference: Reference::parse("r.example/a:1", None).unwrap(),
            manifest: manifest.map(str::to_owned),
            replaced_by: vec![layer.digest.clone()],
        };
        for (before, now, expected) in [
            (None, None, Ok(Need::Nothing)),
            (None, Some(&ours), Ok(Need::Stays)),
            (None, Some(&foreign), Err(foreign.digest.clone())),
            (Some("old"), Some(&old), Ok(Need::There)),
            (Some("old"), Some(&ours), Ok(Need::Back)),
            (Some("old"), None, Ok(Need::Back)),
            (Some("old"), Some(&foreign), Err(foreign.digest.clone())),
        ] {
            assert_eq!(need(&kept(before), now), expected, "{before:?} {now:?}");
        }
    }
}
