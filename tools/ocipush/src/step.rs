//! The step with a clock and a signal around it: push, adopt, or a layout.

use std::path::PathBuf;

use scar_record::{Archive, Artifact, Record, Time};
use scar_tool::{Console, Failure};

use crate::kept::{Backup, Kept};
use crate::manifest::Layer;
use crate::push::Wanted;
use crate::source::{Source, Unhashed};
use scar_registry::Fault;
use scar_registry::Reference;

use crate::target::Target;

/// What is to be done, but for the archive and the login.
#[derive(Debug)]
pub(crate) struct Step {
    /// Where the artifact goes.
    pub(crate) reference: Reference,
    /// The layer's title.
    pub(crate) title: String,
    /// The manifest's time.
    pub(crate) created: Time,
    /// The directory of a layout.
    pub(crate) layout: Option<PathBuf>,
    /// Where what the tag holds is kept.
    pub(crate) backup: Option<Backup>,
}

impl Step {
    fn wanted(&self, source: &Source) -> Result<Wanted, Failure> {
        let content = &source.content;
        Wanted::new(Layer { digest: content.digest.clone(), size: content.size, title: self.title.clone() }, self.created)
    }

    /// Pushes, or says what would be pushed; what the tag held goes into the backup first.
    ///
    /// # Errors
    /// Every way in which the artifact is not there afterwards.
    pub(crate) fn push(&self, target: Target, source: Option<&Source>, dry_run: bool) -> Result<Option<Artifact>, Failure> {
        let wanted = source.map(|source| Ok((source, self.wanted(source)?))).transpose()?;
        self.run(target, async |target| match &wanted {
            Some((source, wanted)) if !dry_run => target.push(source, wanted, None, self.backup.as_ref()).await.map(Some),
            wanted => target.plan(wanted.as_ref().map(|(source, wanted)| (*source, wanted))).await.map(|()| None),
        })
    }

    /// Pushes an archive ahead of its digest.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(crate) fn push_ahead(&self, target: Target, archive: &Unhashed) -> Result<Option<Artifact>, Failure> {
        self.run(target, async |target| {
            let (source, received) = target.send_ahead(archive).await?;
            let wanted = self.wanted(&source)?;
            target.push(&source, &wanted, received, self.backup.as_ref()).await.map(Some)
        })
    }

    /// Takes what is there into the record; in a dry run too, since it changes nothing.
    ///
    /// # Errors
    /// Exit 3 or 7 where it is not there or not what is meant.
    pub(crate) fn adopt(&self, target: Target, record: &Record, source: Option<&Source>) -> Result<Option<Artifact>, Failure> {
        let told = match source {
            Some(source) => Some(source.content.digest.clone()),
            None => match record.section::<Archive>()? {
                Some(archive) => Some(archive.digest),
                None => record
                    .section::<Artifact>()?
                    .filter(|artifact| artifact.reference == self.reference.to_string())
                    .map(|artifact| artifact.layer),
            },
        };
        self.run(target, async |target| target.adopt(&self.title, told.as_ref()).await.map(Some))
    }

    /// Brings the tag back to what it held before the push, or says so.
    ///
    /// # Errors
    /// Exit 7 where it holds something else meanwhile; else why it is not back.
    pub(crate) fn restore(&self, target: Target, kept: &Kept, dry_run: bool) -> Result<(), Failure> {
        self.run(target, async |target| target.restore(kept, dry_run).await)
    }

    /// Writes a layout, or says so.
    ///
    /// # Errors
    /// Exit 1 where it cannot be written.
    pub(crate) fn write_layout(&self, source: &Source, dry_run: bool, console: &Console) -> Result<Option<Artifact>, Failure> {
        let Some(directory) = &self.layout else { return Ok(None) };
        let wanted = self.wanted(source)?;
        if dry_run {
            console.plan(format!("write the manifest '{}' and its layer to '{}'", wanted.digest, directory.display()));
            return Ok(None);
        }
        crate::layout::write(directory, &source.content, &wanted, &self.reference)?;
        source.unchanged()?;
        let (directory, reference) = (directory.display(), &self.reference);
        console.note(format!(
            "wrote '{directory}'; where the registry is: skopeo copy oci:{directory}:{} docker://{reference}",
            reference.tag
        ));
        Ok(None)
    }

    /// Runs `work` with the registry, bounded by the user's time and by a signal; an upload that is open is cancelled.
    fn run<T>(&self, target: Target, work: impl AsyncFnOnce(&Target) -> Result<T, Fault>) -> Result<T, Failure> {
        let (deadline, console) = (target.registry.terms.retry.deadline, target.registry.console.clone());
        let work = async |target: &mut Target| {
            let done = match target.registry.connect().await {
                Ok(()) => work(target).await,
                Err(fault) => Err(fault),
            };
            let act = format!("push to '{}'", self.reference);
            done.map_err(|fault| target.registry.failure(&act, fault))
        };
        let act = format!("push to '{}'", self.reference);
        scar_http::run_or_undo(deadline, &console, &act, target, work, async |target: &Target| target.abandon().await)
    }
}
