//! What the registry has of a push, as it tells itself: manifest, blobs and tag.

use scar_http::header::{ACCEPT, RANGE};
use scar_http::{Method, StatusCode};
use scar_record::Digest;
use scar_registry::Fault;
use scar_tool::{Exit, Failure};

use crate::manifest::{self, Held, Parts};
use crate::push::{self, Wanted};
use crate::target::Target;
use crate::upload::Presence;

/// The most bytes of a manifest, Distribution's own limit; and of a blob that is fetched to learn its length.
const MANIFEST: usize = 4 << 20;

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

impl Target {
    /// The manifest of a tag or digest; `None` where the registry knows none.
    ///
    /// # Errors
    /// What the network or the login is to blame for; exit 7 where the registry contradicts itself.
    pub(crate) async fn held(&self, reference: &str) -> Result<Option<(Vec<u8>, Held)>, Fault> {
        let url = self.registry.in_repository(&format!("manifests/{reference}"))?;
        self.registry
            .retry(|| async {
                let answer = self.registry.exchange(Method::GET, &url, &[(ACCEPT, manifest::ACCEPT)], None).await?;
                if answer.status() == StatusCode::NOT_FOUND {
                    return Ok(None);
                }
                let answer = answer.success().await?;
                let said = answer.header("docker-content-digest").map(scar_tool::escape);
                let bytes = answer.bytes(MANIFEST).await?;
                let held = manifest::held(&bytes);
                match said.filter(|said| said != held.digest.as_str()) {
                    Some(said) => {
                        let cause = format!("the registry calls its manifest '{said}'; what it sent is '{}'", held.digest);
                        Err(self.mismatch(&cause).into())
                    }
                    None => Ok(Some((bytes, held))),
                }
            })
            .await
    }

    /// What is there of an artifact whose manifest is.
    ///
    /// # Errors
    /// As [`Self::found`].
    pub(crate) async fn lacks(&self, parts: &Parts) -> Result<Lacks, Fault> {
        if self.found(&parts.layer.digest, parts.layer.size).await? != Presence::Here {
            return Ok(Lacks::More);
        }
        let (config, size) = &parts.config;
        Ok(match self.found(config, *size).await? {
            Presence::Here => Lacks::Nothing,
            presence if *config == push::config().digest => Lacks::Config(presence),
            _ => Lacks::More,
        })
    }

    /// Whether the registry has a blob, asked until it tells: by HEAD, or by the first byte where it does not answer that.
    ///
    /// # Errors
    /// What stops every question; exit 7 where it never tells.
    pub(crate) async fn found(&self, digest: &Digest, size: u64) -> Result<Presence, Fault> {
        let told = self
            .registry
            .retry(|| async {
                match self.presence(digest, size).await? {
                    Presence::Unknown => {}
                    told => return Ok(told),
                }
                match self.length(digest, size).await? {
                    Presence::Unknown => Err(Fault::Lost(format!("the registry does not tell the size of '{digest}'"))),
                    told => Ok(told),
                }
            })
            .await;
        told.map_err(|fault| match fault {
            Fault::Lost(cause) => self.mismatch(&cause).into(),
            fault => fault,
        })
    }

    /// What a GET tells of a blob: by its headers, or, where it is small and comes whole, by itself.
    async fn length(&self, digest: &Digest, size: u64) -> Result<Presence, Fault> {
        let url = self.registry.in_repository(&format!("blobs/{digest}"))?;
        let answer = self.registry.exchange(Method::GET, &url, &[(RANGE, "bytes=0-0")], None).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(Presence::Absent);
        }
        let answer = answer.success().await?;
        let whole = answer.status() == StatusCode::OK;
        let told = match whole {
            true => answer.header("content-length").and_then(|length| length.parse::<u64>().ok()),
            false => answer.header("content-range").and_then(|range| range.rsplit_once('/')?.1.parse().ok()),
        };
        let length = match told {
            None if whole && size <= MANIFEST as u64 => Some(answer.bytes(MANIFEST).await?.len() as u64),
            told => told,
        };
        Ok(match length {
            Some(length) if length == size => Presence::Here,
            Some(length) => Presence::Wrong(length),
            None => Presence::Unknown,
        })
    }

    /// Makes sure that the registry has a blob.
    ///
    /// # Errors
    /// As [`Self::found`]; exit 7 where it has it not, or another.
    pub(crate) async fn confirm(&self, digest: &Digest, size: u64) -> Result<(), Fault> {
        match self.found(digest, size).await? {
            Presence::Here => Ok(()),
            Presence::Wrong(length) => Err(self.wrong_size(digest, size, length).into()),
            Presence::Absent | Presence::Unknown => {
                Err(self.mismatch(&format!("the registry took '{digest}' and does not have it")).into())
            }
        }
    }

    /// Asks the registry for all that was pushed, and gives what the tag holds: that, or what another push of the same
    /// archive made of it at the same time.
    ///
    /// # Errors
    /// Exit 7 where anything is not as it was sent.
    pub(crate) async fn verify(&self, wanted: &Wanted) -> Result<(Digest, Parts), Fault> {
        match self.held(wanted.digest.as_str()).await? {
            Some((bytes, _)) if bytes == wanted.manifest => {}
            Some(_) => return Err(self.mismatch("the registry holds another manifest than it was sent").into()),
            None => return Err(self.mismatch("the registry took the manifest and does not have it").into()),
        }
        let config = push::config();
        for (digest, size) in [(&wanted.layer.digest, wanted.layer.size), (&config.digest, config.size)] {
            self.confirm(digest, size).await?;
        }
        let Some((_, held)) = self.held(&self.registry.reference.tag).await? else {
            return Err(self.mismatch("the registry took the manifest and does not have its tag").into());
        };
        let Some(parts) = held.of(&wanted.layer) else {
            return Err(self
                .mismatch(&format!("the tag holds '{}' afterwards, not '{}'", held.digest, wanted.digest))
                .hint("did something else push to this tag at the same time?")
                .into());
        };
        if parts.config.0 != config.digest {
            self.confirm(&parts.config.0, parts.config.1).await?;
        }
        let parts = parts.clone();
        Ok((held.digest, parts))
    }

    /// A registry that has something else than it was sent.
    pub(crate) fn mismatch(&self, cause: &str) -> Failure {
        Failure::new(Exit::Mismatch, format!("push to '{}': {cause}", self.registry.reference))
            .hint("look at the registry's log and storage, and at what stands before it; then run this step again")
    }
}
