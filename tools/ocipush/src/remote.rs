//! What the registry has of a push, as it says itself: manifest, blobs and tag.

use scar_record::Digest;
use scar_registry::{Fault, Presence};

use crate::manifest::{self, Held, Parts, Wanted};
use crate::upload::Pusher;

/// What an artifact lacks in the registry that holds its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lacks {
    /// Nothing.
    Nothing,
    /// The configuration, which is always the same: it is lost, or not as it should be.
    Config(Presence),
    /// Its layer, or a configuration that another tool made.
    More,
}

impl Pusher {
    /// The manifest of a tag or digest, its bytes and what they say; `None` if the registry knows none.
    ///
    /// # Errors
    /// As [`Registry::manifest`](scar_registry::Registry::manifest).
    pub(crate) async fn held(&self, reference: &str) -> Result<Option<(Vec<u8>, Held)>, Fault> {
        let found = self.registry.manifest(reference).await?;
        Ok(found.map(|(bytes, digest)| {
            let held = manifest::held(&bytes, digest);
            (bytes, held)
        }))
    }

    /// Which blobs are missing, given that the manifest is there.
    ///
    /// # Errors
    /// As [`Registry::found`](scar_registry::Registry::found).
    pub(crate) async fn lacks(&self, parts: &Parts) -> Result<Lacks, Fault> {
        if self.registry.found(&parts.layer.digest, parts.layer.size).await? != Presence::Here {
            return Ok(Lacks::More);
        }
        let (config, size) = &parts.config;
        Ok(match self.registry.found(config, *size).await? {
            Presence::Here => Lacks::Nothing,
            presence if *config == manifest::config().digest => Lacks::Config(presence),
            _ => Lacks::More,
        })
    }

    /// Asks the registry for all that was pushed, and gives what the tag holds: that, or what another push of the same
    /// archive made of it at the same time.
    ///
    /// # Errors
    /// Exit 7 where anything is not as it was sent.
    pub(crate) async fn verify(&self, wanted: &Wanted) -> Result<(Digest, Parts), Fault> {
        match self.held(wanted.digest.as_str()).await? {
            Some((bytes, _)) if bytes == wanted.manifest => {}
            Some(_) => return Err(self.registry.mismatch("the registry holds another manifest than it was sent").into()),
            None => return Err(self.registry.mismatch("the registry took the manifest and does not have it").into()),
        }
        let config = manifest::config();
        for (digest, size) in [(&wanted.layer.digest, wanted.layer.size), (&config.digest, config.size)] {
            self.registry.confirm(digest, size).await?;
        }
        let Some((_, held)) = self.held(&self.registry.reference.tag).await? else {
            return Err(self.registry.mismatch("the registry took the manifest and does not have its tag").into());
        };
        let Some(parts) = held.of(&wanted.layer) else {
            return Err(self
                .registry
                .mismatch(&format!("the tag holds '{}' afterwards, not '{}'", held.digest, wanted.digest))
                .hint("did something else push to this tag at the same time?")
                .into());
        };
        if parts.config.0 != config.digest {
            self.registry.confirm(&parts.config.0, parts.config.1).await?;
        }
        let parts = parts.clone();
        Ok((held.digest, parts))
    }
}
