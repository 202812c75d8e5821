//! What the registry has of an artifact: manifest, blobs and tag.

use scar_record::Digest;
use scar_registry::{Fault, Presence};

use crate::manifest::{self, LocalManifest, Parts, RemoteManifest};
use crate::session::Pusher;

/// Which of an artifact's blobs the registry does not have, although it has the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Nothing,
    /// The configuration that every push sends: it is lost or damaged.
    Config(Presence),
    /// The layer, or another tool's configuration.
    More,
}

impl Pusher {
    /// The manifest of a tag or digest: its bytes and what they say. `None` if the registry has none.
    ///
    /// # Errors
    /// As [`Registry::manifest`](scar_registry::Registry::manifest).
    pub(crate) async fn remote_manifest(&self, reference: &str) -> Result<Option<(Vec<u8>, RemoteManifest)>, Fault> {
        let found = self.registry.manifest(reference).await?;
        Ok(found.map(|(bytes, digest)| {
            let held = manifest::parse(&bytes, digest);
            (bytes, held)
        }))
    }

    /// Which blobs are missing, given that the manifest exists.
    ///
    /// # Errors
    /// As [`Registry::find_blob`](scar_registry::Registry::find_blob).
    pub(crate) async fn missing(&self, parts: &Parts) -> Result<Missing, Fault> {
        if self.registry.find_blob(&parts.layer.digest, parts.layer.size).await? != Presence::Here {
            return Ok(Missing::More);
        }
        let (config, size) = &parts.config;
        Ok(match self.registry.find_blob(config, *size).await? {
            Presence::Here => Missing::Nothing,
            presence if *config == manifest::config().digest => Missing::Config(presence),
            _ => Missing::More,
        })
    }

    /// Reads back everything that was pushed, and returns what the tag holds: the pushed manifest, or that of another push
    /// of the same archive at the same time.
    ///
    /// # Errors
    /// Exit 7 if anything differs from what was sent.
    pub(crate) async fn verify(&self, local: &LocalManifest) -> Result<(Digest, Parts), Fault> {
        // Read by digest first: a difference means damage. A difference of the tag may only mean that someone else moved it
        // (FAULTS P38).
        match self.remote_manifest(local.digest.as_str()).await? {
            Some((bytes, _)) if bytes == local.manifest => {}
            Some(_) => return Err(self.registry.mismatch("the registry returns another manifest than was sent").into()),
            None => return Err(self.registry.mismatch("the registry accepted the manifest, but does not have it").into()),
        }
        let config = manifest::config();
        for (digest, size) in [(&local.layer.digest, local.layer.size), (&config.digest, config.size)] {
            self.registry.confirm(digest, size).await?;
        }
        // The manifest is right by its digest, but the tag may hold another run's: two pushes of one archive at the same time
        // differ only in the creation time, and either will do.
        let Some((_, held)) = self.remote_manifest(&self.registry.reference.tag).await? else {
            return Err(self.registry.mismatch("the registry accepted the manifest, but does not have its tag").into());
        };
        let Some(parts) = held.of(&local.layer) else {
            return Err(self
                .registry
                .mismatch(&format!("the tag holds '{}' afterwards, not '{}'", held.digest, local.digest))
                .hint("something else may have pushed to this tag at the same time: check the tag, then run this step again")
                .into());
        };
        if parts.config.0 != config.digest {
            self.registry.confirm(&parts.config.0, parts.config.1).await?;
        }
        let parts = parts.clone();
        Ok((held.digest, parts))
    }
}
