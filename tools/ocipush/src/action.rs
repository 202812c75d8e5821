//! The actions: push, adopt, undo, plan or layout, and how to run one until the deadline or a signal.

use std::path::PathBuf;

use scar_record::{self as record, Artifact, Digest, Record, Time};
use scar_registry::{Fault, Reference};
use scar_tool::{Console, Failure};

use crate::archive::Archive;
use crate::layout;
use crate::manifest::{Layer, LocalManifest};
use crate::session::Pusher;
use crate::supply::Supply;
use crate::tag_backup::{BackupFile, TagBackup};
use crate::unhashed::Unhashed;

/// What a run does.
#[derive(Debug)]
pub(crate) enum Action {
    /// Back up what the tag holds, send the archive, and move the tag to it.
    Push(Archive, Option<BackupFile>),
    /// The same, while the archive's digest is still computed.
    PushUnhashed(Unhashed, Option<BackupFile>),
    /// Record what another tool pushed, if its layer has this digest.
    Adopt(Option<Digest>),
    /// Move the tag back to what the backup holds; in a dry run, print the plan.
    Undo(TagBackup, bool),
    /// Print what a push would do.
    Plan(Option<Archive>),
    /// Write an OCI image layout to this directory; in a dry run, print the plan.
    Layout(PathBuf, Archive, bool),
}

impl Action {
    /// Plans to adopt a layer with the digest of the archive; else of the record's archive; else of the record's artifact, if
    /// that has the same reference.
    ///
    /// # Errors
    /// Exit 2 for a malformed section.
    pub(crate) fn adopt(supply: &Supply, record: &Record, reference: &Reference) -> Result<Self, Failure> {
        let expected = match supply.archive() {
            Some(archive) => Some(archive.content.digest.clone()),
            None => match record.section::<record::Archive>()? {
                Some(archive) => Some(archive.digest),
                None => {
                    // A section about another reference says nothing about what this tag should hold (FAULTS Q9).
                    let artifact = record.section::<Artifact>()?;
                    artifact.filter(|artifact| artifact.reference == reference.to_string()).map(|artifact| artifact.layer)
                }
            },
        };
        Ok(Self::Adopt(expected))
    }

    /// Runs it, and returns the artifact for the record. `pusher` logs in, and may ask for the password.
    ///
    /// # Errors
    /// Any reason why it was not done.
    pub(crate) fn run(
        self,
        pusher: impl FnOnce() -> Result<Pusher, Failure>,
        (reference, title, created): (&Reference, &str, Time),
        console: &Console,
    ) -> Result<Option<Artifact>, Failure> {
        let local = |archive: &Archive| {
            let content = &archive.content;
            LocalManifest::new(Layer { digest: content.digest.clone(), size: content.size, title: title.to_owned() }, created)
        };
        match self {
            Self::Layout(directory, archive, dry_run) => {
                let local = local(&archive)?;
                layout::write(&directory, &archive, &local, reference, dry_run, console).map(|()| None)
            }
            Self::Push(archive, backup) => {
                online(pusher()?, async |pusher| pusher.push(&archive, &local(&archive)?, None, backup.as_ref()).await.map(Some))
            }
            Self::PushUnhashed(unhashed, backup) => online(pusher()?, async |pusher| {
                let (archive, session) = pusher.send_ahead(&unhashed).await?;
                pusher.push(&archive, &local(&archive)?, session, backup.as_ref()).await.map(Some)
            }),
            Self::Adopt(expected) => online(pusher()?, async |pusher| pusher.adopt(title, expected.as_ref()).await.map(Some)),
            Self::Undo(backup, dry_run) => {
                online(pusher()?, async |pusher| pusher.restore(&backup, dry_run).await.map(|()| None))
            }
            Self::Plan(archive) => online(pusher()?, async |pusher| {
                let local = archive.as_ref().map(|archive| Ok::<_, Failure>((archive, local(archive)?))).transpose()?;
                pusher.plan(local.as_ref().map(|(archive, local)| (*archive, local))).await.map(|()| None)
            }),
        }
    }
}

/// Runs `work` until the deadline or a signal, which cancel an open upload.
fn online<T>(pusher: Pusher, work: impl AsyncFnOnce(&Pusher) -> Result<T, Fault>) -> Result<T, Failure> {
    let act = format!("{} '{}'", pusher.registry.config.scope.act(), pusher.registry.reference);
    let (deadline, console) = (pusher.registry.config.retry.deadline, pusher.registry.console.clone());
    let work = async |pusher: &mut Pusher| {
        // First find out whether the registry speaks TLS, and log in.
        let done = match pusher.registry.connect().await {
            Ok(()) => work(pusher).await,
            Err(fault) => Err(fault),
        };
        done.map_err(|fault| pusher.registry.failure(&act, fault))
    };
    // Else an interrupted push would leave its data in the registry for days (FAULTS P40).
    scar_http::run_or_undo(deadline, &console, &act, pusher, work, async |pusher: &Pusher| pusher.cancel_open_session().await)
}
