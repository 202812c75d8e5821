//! The whole push: look at the tag, send the blobs and the manifest, read everything back.
//!
//! Invariants: the manifest is sent only after all blobs that it names are in the registry; success is reported only after
//! manifest, blobs and tag were read back and are as intended.

use bytes::Bytes;
use scar_http::Method;
use scar_http::header::CONTENT_TYPE;
use scar_record::{Artifact, Digest, Time};
use scar_registry::{Fault, Presence, Refusal};
use scar_tool::{Exit, Failure};

use crate::archive::Archive;
use crate::body::Content;
use crate::manifest::{self, Layer, LocalManifest, Parts, RemoteManifest, config};
use crate::remote::Missing;
use crate::session::{Pusher, Session};
use crate::tag_backup::BackupFile;

impl Pusher {
    /// The record's section for an artifact.
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

    /// Pushes the archive, unless the tag already holds it; `session` may already have bytes of it. If the tag holds it and
    /// only the configuration is missing, sends only that.
    ///
    /// # Errors
    /// Any reason why the artifact is not in the registry afterwards.
    pub(crate) async fn push(
        &self,
        archive: &Archive,
        local: &LocalManifest,
        session: Option<Session>,
        backup: Option<&BackupFile>,
    ) -> Result<Artifact, Fault> {
        // The tag decides, not the digest: two pushes of the same archive differ in their creation time, so their manifests have
        // different digests.
        let (bytes, before) = self.remote_manifest(&self.registry.reference.tag).await?.unzip();
        if let Some((held, parts)) = before.as_ref().and_then(|held| Some((held, held.of(&local.layer)?))) {
            let missing = self.missing(parts).await?;
            if missing != Missing::More {
                return self.leave_tag(held, parts, missing, session.is_some()).await;
            }
        }
        // The backup is on disk before the first request that changes anything (FAULTS F5).
        if let Some(backup) = backup {
            backup.save(&self.registry.reference, bytes, &local.layer.digest)?;
        }
        let pushed_at = self.blobs_and_manifest(archive, local, session).await?;
        let (digest, parts) = self.verify(local).await.map_err(|fault| self.read_back_failed(fault))?;
        let replaced = before.map(|held| held.digest).filter(|before| *before != digest);
        match &replaced {
            Some(replaced) => {
                self.registry.console.note(format!("pushed '{}'; the tag held '{replaced}' before", self.registry.reference))
            }
            None => self.registry.console.note(format!("pushed '{}'", self.registry.reference)),
        }
        Ok(Artifact { pushed_at: Some(pushed_at), uploaded: true, replaced, ..self.artifact(&digest, &parts) })
    }

    /// Says that the tag was moved, when only reading it back failed.
    fn read_back_failed(&self, fault: Fault) -> Fault {
        let act = format!("push to '{}': the tag was moved; reading it back failed", self.registry.reference);
        Fault::Fatal(self.registry.failure(&act, fault))
    }

    /// Leaves a tag that already holds the archive as it is, but sends a missing configuration.
    async fn leave_tag(
        &self,
        held: &RemoteManifest,
        parts: &Parts,
        missing: Missing,
        has_session: bool,
    ) -> Result<Artifact, Fault> {
        self.cancel_open_session().await;
        let (console, reference) = (&self.registry.console, &self.registry.reference);
        if let Missing::Config(presence) = missing {
            self.send(&config(), || Ok(()), presence != Presence::Absent, None, None).await?;
            self.registry.confirm(&parts.config.0, parts.config.1).await?;
            console.note(format!("'{reference}' holds this archive already; its configuration was lost, and was sent again"));
        } else {
            let end = if has_session { "the upload was cancelled" } else { "nothing was sent" };
            console.note(format!("'{reference}' holds this archive already; {end}"));
        }
        Ok(Artifact { uploaded: missing != Missing::Nothing, ..self.artifact(&held.digest, parts) })
    }

    /// Sends the blobs, then the manifest. If the registry then says that a blob is unknown, sends that blob once more.
    async fn blobs_and_manifest(
        &self,
        archive: &Archive,
        local: &LocalManifest,
        mut session: Option<Session>,
    ) -> Result<Time, Fault> {
        let config = config();
        let mut resent = false;
        let (mut layer_again, mut config_again) = (false, false);
        loop {
            let progress = self.registry.console.progress_bytes("pushing", Some(archive.content.size));
            let check = || archive.unchanged();
            let sent = self.send(&archive.content, check, layer_again, session.take(), Some(&progress)).await?;
            drop(progress);
            if !sent && !resent {
                self.registry.console.note(format!("the registry has the layer '{}' already", local.layer.digest));
            }
            // Distribution refuses a manifest with 400 if one of its blobs is missing (registry/storage/ocimanifesthandler.go,
            // `verifyManifest`); the specification allows that ("Push"). So both are there before it.
            self.send(&config, || Ok(()), config_again, None, None).await?;
            archive.unchanged()?;
            match self.put_manifest(&local.manifest, &local.digest, manifest::MEDIA_TYPE).await {
                // After a garbage collection Distribution's cache still has the blobs: HEAD finds them, the manifest is refused,
                // and only sending them again helps (distribution/distribution#1803).
                Err(Fault::Refused(refusal)) if refusal.lacks_blob() => {
                    if resent {
                        let cause = format!("the registry accepted the blobs twice, but still calls them unknown: {refusal}");
                        return Err(self.registry.mismatch(&cause).into());
                    }
                    resent = true;
                    (layer_again, config_again) = self.blobs_to_resend([&archive.content, &config], &refusal).await?;
                }
                answer => return answer,
            }
        }
    }

    /// Which blobs to force the next [`Self::send`] to send, after the manifest was refused for a missing blob: those that the
    /// refusal names. If it names none, and the registry claims to have both blobs, then both; a blob that the registry says is
    /// missing needs no force.
    async fn blobs_to_resend(&self, blobs: [&Content; 2], refusal: &Refusal) -> Result<(bool, bool), Fault> {
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

    /// Puts the manifest, and returns the time by the registry's clock, or this host's if the registry sends no `Date`.
    /// specman-wait searches Specman's log from this time on.
    pub(crate) async fn put_manifest(&self, manifest: &Bytes, digest: &Digest, media_type: &str) -> Result<Time, Fault> {
        // By this tag alone: Specman syncs every tag of the repository (guide, step 9).
        let url = self.registry.in_repository(&format!("manifests/{}", self.registry.reference.tag))?;
        self.registry
            .retry(|| async {
                let headers = [(CONTENT_TYPE, media_type)];
                let answer = self.registry.exchange(Method::PUT, &url, &headers, Some(manifest)).await?;
                // This host's clock may be wrong by minutes, and Specman's log is compared with this time (FAULTS Q5).
                let time = answer.date().and_then(|date| jiff::Timestamp::try_from(date).ok()).map_or_else(Time::now, Time::from);
                match self.registry.success(answer).await {
                    // If the tag is immutable but holds exactly this manifest, an earlier try succeeded and its answer was lost.
                    // Registries refuse even if nothing would change: ECR with 400 (aws/containers-roadmap#2179), Quay with 409
                    // (endpoints/v2/errors.py, `TagImmutable`), Harbor with 412 (src/server/middleware/immutable/pushmf.go).
                    Err(Fault::Refused(refusal)) if matches!(refusal.status.as_u16(), 400 | 409 | 412) => {
                        match self.remote_manifest(&self.registry.reference.tag).await? {
                            Some((_, held)) if held.digest == *digest => Ok(time),
                            _ => Err(Fault::Refused(refusal)),
                        }
                    }
                    Err(fault) => Err(fault),
                    // The header is optional (OCI distribution specification, "Pushing Manifests"): ECR sends none. The tag is
                    // read back anyway.
                    Ok(answer) => match answer.header("docker-content-digest").filter(|reported| *reported != digest.as_str()) {
                        Some(reported) => {
                            let cause =
                                format!("the registry stored the manifest '{digest}' as '{}'", scar_tool::escape(reported));
                            Err(self.registry.mismatch(&cause).into())
                        }
                        None => Ok(time),
                    },
                }
            })
            .await
    }

    /// Returns the record's section for what another tool pushed to the reference.
    ///
    /// # Errors
    /// Exit 3 if nothing is there; exit 7 if Specman would not accept it, or it is not `expected`.
    pub(crate) async fn adopt(&self, title: &str, expected: Option<&Digest>) -> Result<Artifact, Fault> {
        let refuse = |exit: Exit, cause: String| Failure::new(exit, format!("adopt '{}': {cause}", self.registry.reference));
        let Some((_, held)) = self.remote_manifest(&self.registry.reference.tag).await? else {
            return Err(refuse(Exit::Absent, "the registry has no such tag".to_owned())
                .hint("push it: run this again without --adopt")
                .into());
        };
        let parts = held.artifact.map_err(|cause| refuse(Exit::Mismatch, cause))?;
        let Parts { layer, config: (config, size), created } = &parts;
        if layer.title != title {
            let cause = format!("its layer's title is '{}'", scar_tool::escape(&layer.title));
            return Err(refuse(Exit::Mismatch, cause)
                .hint(format!("Specman expects '{title}': push it again without --adopt"))
                .into());
        }
        if let Some(expected) = expected.filter(|expected| **expected != layer.digest) {
            let cause = format!("its layer is '{}', the archive is '{expected}'", layer.digest);
            return Err(refuse(Exit::Mismatch, cause)
                .hint("push the archive without --adopt, or adopt with --new-record")
                .into());
        }
        for (digest, size) in [(&layer.digest, layer.size), (config, *size)] {
            // A tag proves nothing of its blobs: a garbage collection may have removed them (distribution/distribution#1803).
            match self.registry.find_blob(digest, size).await? {
                Presence::Here => {}
                Presence::Wrong(length) => return Err(self.registry.wrong_size(digest, size, length).into()),
                Presence::Absent | Presence::Unknown => {
                    let cause = format!("the registry does not have its blob '{digest}'");
                    return Err(refuse(Exit::Mismatch, cause)
                        .hint("push the archive without --adopt: only what is missing is sent")
                        .into());
                }
            }
        }
        self.registry.console.note(format!("adopted '{}', created {created}", self.registry.reference));
        Ok(self.artifact(&held.digest, &parts))
    }

    /// Prints what a push would do; makes only reading requests.
    ///
    /// # Errors
    /// Those of a push before it sends anything.
    pub(crate) async fn plan(&self, local: Option<(&Archive, &LocalManifest)>) -> Result<(), Fault> {
        let before = self.remote_manifest(&self.registry.reference.tag).await?.map(|(_, held)| held);
        let Some((archive, local)) = local else {
            self.registry.console.plan(format!("push the archive that mkmanifests would write to '{}'", self.registry.reference));
            return Ok(());
        };
        let (console, reference) = (&self.registry.console, &self.registry.reference);
        let Layer { digest, size, title } = &local.layer;
        let name = &archive.file.name;
        if let Some(parts) = before.as_ref().and_then(|held| held.of(&local.layer)) {
            match self.missing(parts).await? {
                Missing::Nothing => {
                    console.plan(format!("send nothing: '{reference}' holds {name} already"));
                    return Ok(());
                }
                Missing::Config(_) => {
                    let (config, size) = &parts.config;
                    console.plan(format!("send the configuration '{config}' again, {size} bytes, and nothing else: '{reference}' holds {name} already"));
                    return Ok(());
                }
                Missing::More => {}
            }
        }
        match self.registry.find_blob(digest, *size).await? {
            Presence::Here => console.plan(format!("not send the layer '{digest}': the registry has it")),
            Presence::Wrong(length) => return Err(self.registry.wrong_size(digest, *size, length).into()),
            Presence::Absent | Presence::Unknown => {
                console.plan(format!("send {name} as the layer '{digest}', {size} bytes, titled '{title}'"));
            }
        }
        console.plan(format!("push the manifest '{}': {}", local.digest, String::from_utf8_lossy(&local.manifest)));
        if let Some(held) = before.filter(|held| held.digest != local.digest) {
            console.plan(format!("move the tag '{reference}' from '{}'", held.digest));
        }
        Ok(())
    }
}
