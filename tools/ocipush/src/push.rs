//! The push as a whole: what the tag holds, the blobs, the manifest, and what the registry then has.
//!
//! Invariants: the manifest is sent only after all that it names is there; success is told only after the registry was
//! asked for manifest, blobs and tag and said what was meant.

use bytes::Bytes;
use scar_http::header::{ACCEPT, CONTENT_TYPE, RANGE};
use scar_http::{Error, Method, StatusCode};
use scar_record::{Artifact, Digest, Time};
use scar_tool::{Exit, Failure};

use crate::body::{Bits, Content};
use crate::kept::Backup;
use crate::manifest::{self, Held, Layer};
use crate::source::Source;
use crate::upload::{Presence, Session};
use scar_registry::Fault;

use crate::target::Target;

/// The most bytes of a manifest; Distribution's own limit.
const MANIFEST: usize = 4 << 20;

/// What is to stand in the registry.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The layer.
    pub(crate) layer: Layer,
    /// The manifest's time.
    pub(crate) created: Time,
    /// The manifest.
    pub(crate) manifest: Bytes,
    /// Its digest.
    pub(crate) digest: Digest,
}

impl Wanted {
    /// The artifact of this layer.
    ///
    /// # Errors
    /// None that an input can cause.
    pub(crate) fn new(layer: Layer, created: Time) -> Result<Self, Failure> {
        let manifest = manifest::bytes(&layer, created)
            .map_err(|error| Failure::new(Exit::Failed, format!("write the manifest: {error}")))?;
        Ok(Self { digest: manifest::digest(&manifest), manifest: manifest.into(), layer, created })
    }
}

/// The configuration blob.
pub(crate) fn config() -> Content {
    let size = manifest::CONFIG.len() as u64;
    Content { bits: Bits::Memory(manifest::CONFIG), size, digest: manifest::digest(manifest::CONFIG) }
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

    fn mismatch(&self, cause: &str) -> Failure {
        Failure::new(Exit::Mismatch, format!("push to '{}': {cause}", self.registry.reference))
            .hint("look at the registry's log and storage, and at what stands before it; then run this step again")
    }

    /// The artifact's section of the record.
    fn artifact(&self, digest: &Digest, layer: &Layer, created: Time) -> Artifact {
        Artifact {
            reference: self.registry.reference.to_string(),
            registry: self.registry.reference.registry.clone(),
            repository: self.registry.reference.repository.clone(),
            tag: self.registry.reference.tag.clone(),
            digest: digest.clone(),
            layer: layer.digest.clone(),
            size: layer.size,
            created,
            pushed_at: created,
            uploaded: false,
            replaced: None,
        }
    }

    /// Pushes the archive, unless the tag holds it already; `session` has got bytes of it already.
    ///
    /// # Errors
    /// Every way in which it is not there afterwards.
    pub(crate) async fn push(
        &self,
        source: &Source,
        wanted: &Wanted,
        session: Option<Session>,
        backup: Option<&Backup>,
    ) -> Result<Artifact, Fault> {
        let (bytes, before) = self.held(&self.registry.reference.tag).await?.unzip();
        if let Some(Held { digest, artifact: Ok((layer, created)) }) = &before
            && *layer == wanted.layer
            && self.presence(&layer.digest, layer.size).await? == Presence::Here
        {
            let end = if session.is_some() { "the upload was cancelled" } else { "nothing was sent" };
            self.abandon().await;
            self.registry.console.note(format!("'{}' holds this archive already; {end}", self.registry.reference));
            return Ok(self.artifact(digest, layer, *created));
        }
        if let Some(backup) = backup {
            backup.keep(&self.registry.reference, bytes, &wanted.layer.digest)?;
        }
        let replaced = before.map(|held| held.digest).filter(|digest| *digest != wanted.digest);
        let pushed_at = self.send(source, wanted, session).await?;
        self.verify(wanted).await?;
        match &replaced {
            Some(replaced) => {
                self.registry.console.note(format!("pushed '{}'; the tag held '{replaced}' before", self.registry.reference))
            }
            None => self.registry.console.note(format!("pushed '{}'", self.registry.reference)),
        }
        Ok(Artifact { pushed_at, uploaded: true, replaced, ..self.artifact(&wanted.digest, &wanted.layer, wanted.created) })
    }

    /// Blobs, then the manifest; once more where the registry says that it misses a blob which it had taken.
    async fn send(&self, source: &Source, wanted: &Wanted, mut session: Option<Session>) -> Result<Time, Fault> {
        let mut missed = false;
        loop {
            let progress = self.registry.console.progress_bytes("pushing", Some(source.content.size));
            let sent = self.push_blob(&source.content, || source.unchanged(), missed, session.take(), Some(&progress)).await?;
            drop(progress);
            if !sent {
                self.registry.console.note(format!("the registry has the layer '{}' already", wanted.layer.digest));
            }
            self.push_blob(&config(), || Ok(()), missed, None, None).await?;
            source.unchanged()?;
            match self.put_manifest(&wanted.manifest, &wanted.digest, manifest::MEDIA_TYPE).await {
                Err(Fault::Http(Error::Status { words, .. })) if words.contains("BLOB_UNKNOWN") => {
                    if missed {
                        let cause = format!("the registry took the blobs twice and does not know them: {words}");
                        return Err(self.mismatch(&cause).into());
                    }
                    missed = true;
                }
                answer => return answer,
            }
        }
    }

    /// Sends the manifest; the time is that of the try that was taken.
    pub(crate) async fn put_manifest(&self, manifest: &Bytes, digest: &Digest, media_type: &str) -> Result<Time, Fault> {
        let url = self.registry.in_repository(&format!("manifests/{}", self.registry.reference.tag))?;
        self.registry
            .retry(|| async {
                let begun = Time::now();
                let headers = [(CONTENT_TYPE, media_type)];
                let answer = self.registry.exchange(Method::PUT, &url, &headers, Some(manifest)).await?;
                if !answer.status().is_success() {
                    let error = answer.into_error().await;
                    // A tag that may not move but holds this very manifest: an earlier try whose answer was lost.
                    let protected = matches!(error.status().map(|status| status.as_u16()), Some(400 | 409 | 412));
                    if protected && self.held(&self.registry.reference.tag).await?.is_some_and(|(_, held)| held.digest == *digest)
                    {
                        return Ok(begun);
                    }
                    return Err(error.into());
                }
                match answer.header("docker-content-digest").filter(|said| *said != digest.as_str()) {
                    Some(said) => {
                        let cause = format!("the registry stored the manifest '{digest}' as '{}'", scar_tool::escape(said));
                        Err(self.mismatch(&cause).into())
                    }
                    None => Ok(begun),
                }
            })
            .await
    }

    /// Asks the registry for all that was pushed.
    async fn verify(&self, wanted: &Wanted) -> Result<(), Fault> {
        match self.held(wanted.digest.as_str()).await? {
            Some((bytes, _)) if bytes == wanted.manifest => {}
            Some(_) => return Err(self.mismatch("the registry holds another manifest than it was sent").into()),
            None => return Err(self.mismatch("the registry took the manifest and does not have it").into()),
        }
        for (digest, size) in [(&wanted.layer.digest, wanted.layer.size), (&config().digest, config().size)] {
            self.confirm(digest, size).await?;
        }
        match self.held(&self.registry.reference.tag).await? {
            Some((_, held)) if held.digest == wanted.digest => Ok(()),
            Some((_, held)) => Err(self
                .mismatch(&format!("the tag holds '{}' afterwards, not '{}'", held.digest, wanted.digest))
                .hint("did something else push to this tag at the same time?")
                .into()),
            None => Err(self.mismatch("the registry took the manifest and does not have its tag").into()),
        }
    }

    /// Makes sure that the registry has a blob, by HEAD, or by the first byte where it does not answer HEAD.
    async fn confirm(&self, digest: &Digest, size: u64) -> Result<(), Fault> {
        let length = match self.presence(digest, size).await? {
            Presence::Here => return Ok(()),
            Presence::Wrong(length) => return Err(self.wrong_size(digest, size, length).into()),
            Presence::Absent => return Err(self.mismatch(&format!("the registry took '{digest}' and does not have it")).into()),
            Presence::Unknown => {
                let url = self.registry.in_repository(&format!("blobs/{digest}"))?;
                self.registry
                    .retry(|| async {
                        let answer =
                            self.registry.exchange(Method::GET, &url, &[(RANGE, "bytes=0-0")], None).await?.success().await?;
                        Ok(answer
                            .header("content-range")
                            .and_then(|range| range.rsplit_once('/')?.1.parse().ok())
                            .or_else(|| answer.header("content-length")?.parse::<u64>().ok()))
                    })
                    .await?
            }
        };
        match length {
            Some(length) if length == size => Ok(()),
            Some(length) => Err(self.wrong_size(digest, size, length).into()),
            None => Err(self.mismatch(&format!("the registry does not tell the size of '{digest}'")).into()),
        }
    }

    /// What another tool pushed to the reference, as the record has it.
    ///
    /// # Errors
    /// Exit 3 where nothing is there; exit 7 where it is not what Specman takes, or not `expected`.
    pub(crate) async fn adopt(&self, title: &str, expected: Option<&Digest>) -> Result<Artifact, Fault> {
        let refuse = |exit: Exit, cause: String| Failure::new(exit, format!("adopt '{}': {cause}", self.registry.reference));
        let Some((_, held)) = self.held(&self.registry.reference.tag).await? else {
            return Err(refuse(Exit::Absent, "the registry has no such tag".to_owned())
                .hint("push it: leave out --adopt")
                .into());
        };
        let (layer, created) = held.artifact.map_err(|cause| refuse(Exit::Mismatch, cause))?;
        if layer.title != title {
            let cause = format!("its layer's title is '{}'", scar_tool::escape(&layer.title));
            return Err(refuse(Exit::Mismatch, cause)
                .hint(format!("Specman expects '{title}': push it anew, without --adopt"))
                .into());
        }
        if let Some(expected) = expected.filter(|expected| **expected != layer.digest) {
            let cause = format!("its layer is '{}', the archive is '{expected}'", layer.digest);
            return Err(refuse(Exit::Mismatch, cause)
                .hint("push the archive, without --adopt; or adopt with --new-record")
                .into());
        }
        self.confirm(&layer.digest, layer.size).await?;
        self.registry.console.note(format!("adopted '{}', created {created}", self.registry.reference));
        Ok(self.artifact(&held.digest, &layer, created))
    }

    /// Says what a push would do; nothing but questions is sent.
    ///
    /// # Errors
    /// As a push would have before it sends anything.
    pub(crate) async fn plan(&self, wanted: Option<(&Source, &Wanted)>) -> Result<(), Fault> {
        let before = self.held(&self.registry.reference.tag).await?.map(|(_, held)| held);
        let Some((source, wanted)) = wanted else {
            self.registry.console.plan(format!("push the archive that mkmanifests would write to '{}'", self.registry.reference));
            return Ok(());
        };
        let Layer { digest, size, title } = &wanted.layer;
        if let Some(Held { artifact: Ok((layer, _)), .. }) = &before
            && *layer == wanted.layer
        {
            self.registry
                .console
                .plan(format!("send nothing: '{}' holds {} already", self.registry.reference, source.place.name));
            return Ok(());
        }
        match self.presence(digest, *size).await? {
            Presence::Here => self.registry.console.plan(format!("not send the layer '{digest}': the registry has it")),
            _ => self
                .registry
                .console
                .plan(format!("send {} as the layer '{digest}', {size} bytes, titled '{title}'", source.place.name)),
        }
        self.registry.console.plan(format!(
            "push the manifest '{}': {}",
            wanted.digest,
            String::from_utf8_lossy(&wanted.manifest)
        ));
        if let Some(held) = before {
            self.registry.console.plan(format!("move the tag '{}' from '{}'", self.registry.reference, held.digest));
        }
        Ok(())
    }
}
