//! The push as a whole: what the tag holds, the blobs, the manifest, and what the registry then has.
//!
//! Invariants: the manifest is sent only after all that it names is there; success is told only after the registry was
//! asked for manifest, blobs and tag and said what was meant.

use bytes::Bytes;
use scar_http::Method;
use scar_http::header::CONTENT_TYPE;
use scar_record::{Artifact, Digest, Time};
use scar_registry::{Fault, Presence, Refusal};
use scar_tool::{Exit, Failure};

use crate::archive::Archive;
use crate::body::Content;
use crate::manifest::{self, Held, Layer, Parts, Wanted, config};
use crate::remote::Lacks;
use crate::tag_backup::BackupFile;
use crate::upload::{Pusher, Session};

impl Pusher {
    /// The artifact's section of the record.
    fn artifact(&self, digest: &Digest, parts: &Parts) -> Artifact {
        let Parts { layer, created, .. } = parts;
        Artifact {
            reference: self.registry.reference.to_string(),
            registry: self.registry.reference.registry.clone(),
            repository: self.registry.reference.repository.clone(),
            tag: self.registry.reference.tag.clone(),
            digest: digest.clone(),
            layer: layer.digest.clone(),
            size: layer.size,
            created: *created,
            pushed_at: None,
            uploaded: false,
            replaced: None,
        }
    }

    /// Pushes the archive, unless the tag holds it already; `session` has got bytes of it already. Where the tag holds it and
    /// only the configuration is lost, that alone is sent: the manifest is as good as it was.
    ///
    /// # Errors
    /// Every way in which it is not there afterwards.
    pub(crate) async fn push(
        &self,
        archive: &Archive,
        wanted: &Wanted,
        session: Option<Session>,
        backup: Option<&BackupFile>,
    ) -> Result<Artifact, Fault> {
        let (bytes, before) = self.held(&self.registry.reference.tag).await?.unzip();
        if let Some((held, parts)) = before.as_ref().and_then(|held| Some((held, held.of(&wanted.layer)?))) {
            let lacks = self.lacks(parts).await?;
            if lacks != Lacks::More {
                return self.complete(held, parts, lacks, session.is_some()).await;
            }
        }
        if let Some(backup) = backup {
            backup.keep(&self.registry.reference, bytes, &wanted.layer.digest)?;
        }
        let pushed_at = self.blobs_and_manifest(archive, wanted, session).await?;
        let (digest, parts) = self.verify(wanted).await.map_err(|fault| self.unread(fault))?;
        let replaced = before.map(|held| held.digest).filter(|before| *before != digest);
        match &replaced {
            Some(replaced) => {
                self.registry.console.note(format!("pushed '{}'; the tag held '{replaced}' before", self.registry.reference))
            }
            None => self.registry.console.note(format!("pushed '{}'", self.registry.reference)),
        }
        Ok(Artifact { pushed_at: Some(pushed_at), uploaded: true, replaced, ..self.artifact(&digest, &parts) })
    }

    /// A fault after the tag was moved: what is done is said, too.
    fn unread(&self, fault: Fault) -> Fault {
        let act = format!("push to '{}': the tag was moved; reading it back failed", self.registry.reference);
        Fault::Fatal(self.registry.failure(&act, fault))
    }

    /// Leaves a tag that holds the archive as it is, but for a configuration that it lacks.
    async fn complete(&self, held: &Held, parts: &Parts, lacks: Lacks, begun: bool) -> Result<Artifact, Fault> {
        self.abandon().await;
        let (console, reference) = (&self.registry.console, &self.registry.reference);
        if let Lacks::Config(presence) = lacks {
            self.send(&config(), || Ok(()), presence != Presence::Absent, None, None).await?;
            self.registry.confirm(&parts.config.0, parts.config.1).await?;
            console.note(format!("'{reference}' holds this archive already; its configuration was lost, and was sent again"));
        } else {
            let end = if begun { "the upload was cancelled" } else { "nothing was sent" };
            console.note(format!("'{reference}' holds this archive already; {end}"));
        }
        Ok(Artifact { uploaded: lacks != Lacks::Nothing, ..self.artifact(&held.digest, parts) })
    }

    /// Blobs, then the manifest; once more the blob that the registry says it misses, though it had taken it.
    async fn blobs_and_manifest(&self, archive: &Archive, wanted: &Wanted, mut session: Option<Session>) -> Result<Time, Fault> {
        let config = config();
        let mut missed = false;
        let (mut layer_again, mut config_again) = (false, false);
        loop {
            let progress = self.registry.console.progress_bytes("pushing", Some(archive.content.size));
            let check = || archive.unchanged();
            let sent = self.send(&archive.content, check, layer_again, session.take(), Some(&progress)).await?;
            drop(progress);
            if !sent && !missed {
                self.registry.console.note(format!("the registry has the layer '{}' already", wanted.layer.digest));
            }
            self.send(&config, || Ok(()), config_again, None, None).await?;
            archive.unchanged()?;
            match self.put_manifest(&wanted.manifest, &wanted.digest, manifest::MEDIA_TYPE).await {
                Err(Fault::Refused(refusal)) if refusal.lacks_blob() => {
                    if missed {
                        let cause = format!("the registry took the blobs twice and does not know them: {refusal}");
                        return Err(self.registry.mismatch(&cause).into());
                    }
                    missed = true;
                    (layer_again, config_again) = self.again([&archive.content, &config], &refusal).await?;
                }
                answer => return answer,
            }
        }
    }

    /// Which of layer and configuration are to be sent again whatever the registry says: those that it names; both where it
    /// names none and says that it has both. What it says it lacks is sent again anyway.
    async fn again(&self, blobs: [&Content; 2], refusal: &Refusal) -> Result<(bool, bool), Fault> {
        let [layer, config] = blobs.map(|blob| refusal.names(blob.digest.as_str()));
        if layer || config {
            return Ok((layer, config));
        }
        let mut both = true;
        for blob in blobs {
            both &= self.registry.presence(&blob.digest, blob.size).await? == Presence::Here;
        }
        Ok((both, both))
    }

    /// Sends the manifest. The time is the registry's, by which Specman's log is searched; this host's if it gives none.
    pub(crate) async fn put_manifest(&self, manifest: &Bytes, digest: &Digest, media_type: &str) -> Result<Time, Fault> {
        let url = self.registry.in_repository(&format!("manifests/{}", self.registry.reference.tag))?;
        self.registry
            .retry(|| async {
                let headers = [(CONTENT_TYPE, media_type)];
                let answer = self.registry.exchange(Method::PUT, &url, &headers, Some(manifest)).await?;
                let time = answer.date().and_then(|date| jiff::Timestamp::try_from(date).ok()).map_or_else(Time::now, Time::from);
                match self.registry.success(answer).await {
                    // A tag that may not move but holds this very manifest: an earlier try whose answer was lost.
                    Err(Fault::Refused(refusal)) if matches!(refusal.status.as_u16(), 400 | 409 | 412) => {
                        match self.held(&self.registry.reference.tag).await? {
                            Some((_, held)) if held.digest == *digest => Ok(time),
                            _ => Err(Fault::Refused(refusal)),
                        }
                    }
                    Err(fault) => Err(fault),
                    Ok(answer) => match answer.header("docker-content-digest").filter(|said| *said != digest.as_str()) {
                        Some(said) => {
                            let cause = format!("the registry stored the manifest '{digest}' as '{}'", scar_tool::escape(said));
                            Err(self.registry.mismatch(&cause).into())
                        }
                        None => Ok(time),
                    },
                }
            })
            .await
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
        let parts = held.artifact.map_err(|cause| refuse(Exit::Mismatch, cause))?;
        let Parts { layer, config: (config, size), created } = &parts;
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
        for (digest, size) in [(&layer.digest, layer.size), (config, *size)] {
            match self.registry.found(digest, size).await? {
                Presence::Here => {}
                Presence::Wrong(length) => return Err(self.registry.wrong_size(digest, size, length).into()),
                Presence::Absent | Presence::Unknown => {
                    let cause = format!("the registry does not have its blob '{digest}'");
                    return Err(refuse(Exit::Mismatch, cause)
                        .hint("push the archive, without --adopt: what is missing is sent")
                        .into());
                }
            }
        }
        self.registry.console.note(format!("adopted '{}', created {created}", self.registry.reference));
        Ok(self.artifact(&held.digest, &parts))
    }

    /// Says what a push would do; nothing but questions is sent.
    ///
    /// # Errors
    /// As a push would have before it sends anything.
    pub(crate) async fn plan(&self, wanted: Option<(&Archive, &Wanted)>) -> Result<(), Fault> {
        let before = self.held(&self.registry.reference.tag).await?.map(|(_, held)| held);
        let Some((archive, wanted)) = wanted else {
            self.registry.console.plan(format!("push the archive that mkmanifests would write to '{}'", self.registry.reference));
            return Ok(());
        };
        let (console, reference) = (&self.registry.console, &self.registry.reference);
        let Layer { digest, size, title } = &wanted.layer;
        let name = &archive.file.name;
        if let Some(parts) = before.as_ref().and_then(|held| held.of(&wanted.layer)) {
            match self.lacks(parts).await? {
                Lacks::Nothing => {
                    console.plan(format!("send nothing: '{reference}' holds {name} already"));
                    return Ok(());
                }
                Lacks::Config(_) => {
                    let (config, size) = &parts.config;
                    console.plan(format!("send the configuration '{config}' again, {size} bytes, and nothing else: '{reference}' holds {name} already"));
                    return Ok(());
                }
                Lacks::More => {}
            }
        }
        match self.registry.found(digest, *size).await? {
            Presence::Here => console.plan(format!("not send the layer '{digest}': the registry has it")),
            Presence::Wrong(length) => return Err(self.registry.wrong_size(digest, *size, length).into()),
            Presence::Absent | Presence::Unknown => {
                console.plan(format!("send {name} as the layer '{digest}', {size} bytes, titled '{title}'"));
            }
        }
        console.plan(format!("push the manifest '{}': {}", wanted.digest, String::from_utf8_lossy(&wanted.manifest)));
        if let Some(held) = before.filter(|held| held.digest != wanted.digest) {
            console.plan(format!("move the tag '{reference}' from '{}'", held.digest));
        }
        Ok(())
    }
}
