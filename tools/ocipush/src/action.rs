//! What is to be done, and how it is run: with a deadline, a signal and the registry around it.

use std::path::PathBuf;

use scar_record::{self as record, Artifact, Digest, Record, Time};
use scar_registry::{Fault, Reference};
use scar_tool::{Console, Failure};

use crate::archive::Archive;
use crate::layout;
use crate::manifest::{Layer, Wanted};
use crate::supply::Supply;
use crate::tag_backup::{BackupFile, TagBackup};
use crate::unhashed::Unhashed;
use crate::upload::Pusher;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send the archive and move the tag to it; what the tag held goes into the backup first.
    Push(Archive, Option<BackupFile>),
    /// The same before the archive's digest is known.
    PushUnhashed(Unhashed, Option<BackupFile>),
    /// Take what another tool pushed into the record, if its layer is this one.
    Adopt(Option<Digest>),
    /// Bring the tag back to what it held; in a dry run, say so.
    Undo(TagBackup, bool),
    /// Say what a push would do.
    Plan(Option<Archive>),
    /// Write an OCI layout to this directory; in a dry run, say so.
    Layout(PathBuf, Archive, bool),
}

impl Action {
    /// The digest that the layer must have to be adopted: the archive's, else the record's, whose artifact counts only if it
    /// is of this reference.
    ///
    /// # Errors
    /// Exit 2 for a malformed section.
    pub(crate) fn adopt(supply: &Supply, record: &Record, reference: &Reference) -> Result<Self, Failure> {
        let expected = match supply.archive() {
            Some(archive) => Some(archive.content.digest.clone()),
            None => match record.section::<record::Archive>()? {
                Some(archive) => Some(archive.digest),
                None => {
                    let artifact = record.section::<Artifact>()?;
                    artifact.filter(|artifact| artifact.reference == reference.to_string()).map(|artifact| artifact.layer)
                }
            },
        };
        Ok(Self::Adopt(expected))
    }

    /// Does it; the artifact, if there is one, is for the record. `pusher` logs in, and may ask for the password.
    ///
    /// # Errors
    /// Every way in which it is not done afterwards.
    pub(crate) fn run(
        self,
        pusher: impl FnOnce() -> Result<Pusher, Failure>,
        (reference, title, created): (&Reference, &str, Time),
        console: &Console,
    ) -> Result<Option<Artifact>, Failure> {
        let wanted = |archive: &Archive| {
            let content = &archive.content;
            Wanted::new(Layer { digest: content.digest.clone(), size: content.size, title: title.to_owned() }, created)
        };
        match self {
            Self::Layout(directory, archive, dry_run) => {
                let wanted = wanted(&archive)?;
                layout::write(&directory, &archive, &wanted, reference, dry_run, console).map(|()| None)
            }
            Self::Push(archive, backup) => {
                online(pusher()?, async |pusher| pusher.push(&archive, &wanted(&archive)?, None, backup.as_ref()).await.map(Some))
            }
            Self::PushUnhashed(unhashed, backup) => online(pusher()?, async |pusher| {
                let (archive, session) = pusher.send_ahead(&unhashed).await?;
                pusher.push(&archive, &wanted(&archive)?, session, backup.as_ref()).await.map(Some)
            }),
            Self::Adopt(expected) => online(pusher()?, async |pusher| pusher.adopt(title, expected.as_ref()).await.map(Some)),
            Self::Undo(kept, dry_run) => online(pusher()?, async |pusher| pusher.restore(&kept, dry_run).await.map(|()| None)),
            Self::Plan(archive) => online(pusher()?, async |pusher| {
                let wanted = archive.as_ref().map(|archive| Ok::<_, Failure>((archive, wanted(archive)?))).transpose()?;
                pusher.plan(wanted.as_ref().map(|(archive, wanted)| (*archive, wanted))).await.map(|()| None)
            }),
        }
    }
}

/// Runs `work` with the registry until the deadline or a signal; an upload that is then open is cancelled.
fn online<T>(pusher: Pusher, work: impl AsyncFnOnce(&Pusher) -> Result<T, Fault>) -> Result<T, Failure> {
    let act = format!("push to '{}'", pusher.registry.reference);
    let (deadline, console) = (pusher.registry.terms.retry.deadline, pusher.registry.console.clone());
    let work = async |pusher: &mut Pusher| {
        let done = match pusher.registry.connect().await {
            Ok(()) => work(pusher).await,
            Err(fault) => Err(fault),
        };
        done.map_err(|fault| pusher.registry.failure(&act, fault))
    };
    scar_http::run_or_undo(deadline, &console, &act, pusher, work, async |pusher: &Pusher| pusher.abandon().await)
}
