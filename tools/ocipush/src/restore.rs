//! The way back: the manifest that the tag held before the push, on the tag again.

use bytes::Bytes;
use scar_record::Digest;
use scar_registry::Fault;
use scar_tool::{Exit, Failure};

use crate::kept::{Kept, media_type};
use crate::manifest::{self, Held};
use crate::target::Target;

/// What is to be done.
#[derive(Debug, PartialEq)]
enum Way {
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
fn way(kept: &Kept, now: Option<&Held>) -> Result<Way, Digest> {
    let ours = |held: &Held| matches!(&held.artifact, Ok(parts) if kept.replaced_by.contains(&parts.layer.digest));
    let old = kept.manifest.as_ref().map(|manifest| manifest::digest(manifest.as_bytes()));
    match (old, now) {
        (None, None) => Ok(Way::Nothing),
        (Some(old), Some(now)) if now.digest == old => Ok(Way::There),
        (_, Some(now)) if !ours(now) => Err(now.digest.clone()),
        (None, Some(_)) => Ok(Way::Stays),
        (Some(_), _) => Ok(Way::Back),
    }
}

impl Target {
    /// Brings the tag back to what it held.
    ///
    /// # Errors
    /// Exit 7 where someone else has moved it since; else why the registry does not take the manifest.
    pub(crate) async fn restore(&self, kept: &Kept, dry_run: bool) -> Result<(), Fault> {
        let (console, reference) = (&self.registry.console, &kept.reference);
        let now = self.held(&reference.tag).await?.map(|(_, held)| held);
        let way = way(kept, now.as_ref()).map_err(|now| {
            Failure::new(
                Exit::Mismatch,
                format!("restore '{reference}': the tag holds '{now}', which is not what was pushed; it was left alone"),
            )
            .hint("something else was pushed since; look at the repository, and move the tag by hand if that is wanted")
        })?;
        let manifest = kept.manifest.clone().unwrap_or_default();
        let digest = manifest::digest(manifest.as_bytes());
        match way {
            Way::Nothing => console.note(format!("'{reference}' was not there before, and is not there now")),
            Way::Stays => {
                console.warn(format!("'{reference}' was not there before; it stays, delete it in the registry if it must go"));
            }
            Way::There => console.note(format!("'{reference}' holds '{digest}' already, as before")),
            Way::Back if dry_run => console.plan(format!("move the tag '{reference}' back to '{digest}'")),
            Way::Back => {
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
        let kept = |manifest: Option<&str>| Kept {
            reference: Reference::parse("r.example/a:1", None).unwrap(),
            manifest: manifest.map(str::to_owned),
            replaced_by: vec![layer.digest.clone()],
        };
        for (before, now, expected) in [
            (None, None, Ok(Way::Nothing)),
            (None, Some(&ours), Ok(Way::Stays)),
            (None, Some(&foreign), Err(foreign.digest.clone())),
            (Some("old"), Some(&old), Ok(Way::There)),
            (Some("old"), Some(&ours), Ok(Way::Back)),
            (Some("old"), None, Ok(Way::Back)),
            (Some("old"), Some(&foreign), Err(foreign.digest.clone())),
        ] {
            assert_eq!(way(&kept(before), now), expected, "{before:?} {now:?}");
        }
    }
}
