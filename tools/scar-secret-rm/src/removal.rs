//! Removes the secret: reads it, backs it up, deletes exactly what was read, and checks that it is gone.
//!
//! Invariant: a delete has the uid and resource version of the object that was read as preconditions, so that another object
//! of the same name is never deleted. After a lost answer, reading again shows whether it was deleted.

use std::time::Duration;

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Preconditions};
use scar_cluster::{Cluster, Refusal};
use scar_http::{Attempt as _, Retry};
use scar_record::Secret;
use scar_tool::{Console, Deadline, Exit, Failure};

use crate::backup::Backup;
use crate::secret::{SecretObject, resource};

/// The longest interval between two checks of a secret that waits for a finalizer.
const LOOK: Duration = Duration::from_secs(2);

pub(crate) struct Removal {
    pub(crate) cluster: Cluster,
    pub(crate) api: Api<DynamicObject>,
    name: String,
    /// scar-preflight found the flag set, so the platform has made this secret for it, and it must stay.
    stays: bool,
    pub(crate) deadline: Deadline,
    pub(crate) console: Console,
}

/// What has the secret's name now.
enum Now {
    Gone,
    /// Another object: its uid differs from the one that was read.
    Another(SecretObject),
    /// The object that was read, perhaps changed since.
    Same(SecretObject),
}

impl Removal {
    pub(crate) fn new(cluster: Cluster, name: &str, stays: bool, deadline: Deadline, console: &Console) -> Self {
        let api = Api::namespaced_with(cluster.client().clone(), cluster.namespace(), &resource());
        Self { cluster, api, name: name.to_owned(), stays, deadline, console: console.clone() }
    }

    /// The secret, for messages.
    pub(crate) fn what(&self) -> String {
        format!("secret '{}' in namespace '{}'", self.name, self.cluster.namespace())
    }

    fn result(&self, found: bool, deleted: bool) -> Secret {
        Secret {
            namespace: self.cluster.namespace().to_owned(),
            name: self.name.clone(),
            found,
            deleted,
            uid: None,
            backup: None,
        }
    }

    /// Prints what [`Self::run`] would do.
    ///
    /// # Errors
    /// Errors of reading; exit 3 if `must_exist` requires it.
    pub(crate) async fn plan(&self, backup: Option<&Backup>, must_exist: bool) -> Result<(), Failure> {
        let Some(held) = self.look().await? else {
            self.absent(must_exist).await?;
            self.console.plan(format!("delete nothing: {} is absent", self.what()));
            return Ok(());
        };
        if let Some(why) = self.reason_to_keep(&held, backup) {
            self.console.plan(format!("leave {why}"));
            return Ok(());
        }
        if let Some(backup) = backup {
            self.console.plan(format!("save {} in '{}'", self.what(), backup.path()));
        }
        self.console.plan(format!("delete {} (uid {}, made {})", self.what(), held.uid(), held.created()));
        Ok(())
    }

    /// Backs up the secret and deletes it. A secret that is newer than its backup stays: the platform recreates it after the
    /// pack registry's flag is set, and a second run of the pipe must not delete that one.
    ///
    /// # Errors
    /// By exit status: 3 absent although it must exist, 4 no permission, 6 unreachable, 7 replaced or changed, 8 held by a
    /// finalizer.
    pub(crate) async fn run(&self, backup: Option<&Backup>, must_exist: bool) -> Result<Secret, Failure> {
        let Some(held) = self.look().await? else {
            self.absent(must_exist).await?;
            self.console.note(format!("{} is absent: nothing to delete", self.what()));
            return Ok(Secret { backup: backup.and_then(Backup::existing), ..self.result(false, false) });
        };
        if let Some(why) = self.reason_to_keep(&held, backup) {
            self.console.note(why);
            let (uid, backup) = (Some(held.uid().to_owned()), backup.and_then(Backup::existing));
            return Ok(Secret { uid, backup, ..self.result(true, false) });
        }
        if let Some(backup) = backup {
            backup.save(&held, &self.console)?;
        }
        let backup = backup.map(Backup::path);
        let deleted = match held.is_going() {
            true => false,
            false => self.delete(&held).await?,
        };
        let saved = backup.as_ref().map(|path| format!("; its backup is '{path}'")).unwrap_or_default();
        let gone = self.wait_until_gone(&held).await;
        gone.map_err(|failure| failure.detail(format!("the API server accepted the delete of uid {}{saved}", held.uid())))?;
        let done = if deleted { "deleted" } else { "was already being deleted, and is gone now:" };
        self.console.note(format!("{done} {}{saved}", self.what()));
        Ok(Secret { uid: Some(held.uid().to_owned()), backup, ..self.result(true, deleted) })
    }

    /// Why the secret is the platform's new one, if it is.
    fn reason_to_keep(&self, held: &SecretObject, backup: Option<&Backup>) -> Option<String> {
        let (what, uid, created) = (self.what(), held.uid(), held.created());
        if let Some(path) = backup.filter(|backup| backup.is_older(held)).map(Backup::path) {
            return Some(format!(
                "{what} stays: it was made after the backup '{path}' (uid {uid}, {created}), by the platform; to delete it too, \
                 remove '{path}' and run this step again"
            ));
        }
        self.stays.then(|| {
            format!(
                "{what} stays: the flag of the pack registry is set, and the platform made the secret for it (uid {uid}, {created}; \
                 scar-preflight)"
            )
        })
    }

    /// Checks that an absent secret is a success: a missing namespace means that this is the wrong cluster.
    pub(crate) async fn absent(&self, must_exist: bool) -> Result<(), Failure> {
        self.cluster.check_namespace(self.deadline).await?;
        match must_exist {
            true => Err(Failure::new(Exit::Absent, format!("delete {}: it does not exist", self.what()))),
            false => Ok(()),
        }
    }

    pub(crate) async fn look(&self) -> Result<Option<SecretObject>, Failure> {
        let read = self.cluster.find(self.deadline, || self.api.get(&self.name)).await;
        read.map(|object| object.map(SecretObject::new))
            .map_err(|error| self.cluster.failure(&format!("read {}", self.what()), &error))
    }

    async fn now(&self, held: &SecretObject) -> Result<Now, Failure> {
        Ok(match self.look().await? {
            None => Now::Gone,
            Some(now) if now.uid() != held.uid() => Now::Another(now),
            Some(now) => Now::Same(now),
        })
    }

    /// Sends the delete until its result is known; returns whether this run deleted the object.
    async fn delete(&self, held: &SecretObject) -> Result<bool, Failure> {
        // The API server compares both in the transaction that deletes (apiserver pkg/storage/interfaces.go,
        // `Preconditions.Check`), so that nothing can come between look and delete (FAULTS S4).
        let preconditions =
            Preconditions { uid: Some(held.uid().to_owned()), resource_version: Some(held.resource_version().to_owned()) };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        // Whether an earlier try may have deleted it: its answer was lost.
        let mut lost = false;
        let mut last_answer: Option<Failure> = None;
        let retry = Retry::until(self.deadline);
        // Our own loop instead of kube's retries, which are on by default (kube-client src/client/builder.rs, `default_retry`):
        // after each failure the secret is read again before it may be deleted.
        for tried in 1.. {
            let sent = self.cluster.once(self.deadline, self.api.delete(&self.name, &parameters)).await;
            let Err(error) = sent else { return Ok(true) };
            // If the last try got no answer, report what the API server said before.
            let failure = last_answer.filter(|_| error.status().is_none());
            let failure = failure.unwrap_or_else(|| self.cluster.failure(&format!("delete {}", self.what()), &error));
            last_answer = Some(failure.clone());
            match error.status() {
                // 404: gone. If an earlier try's answer was lost, that try did it.
                _ if error.is_absent() => return Ok(lost),
                // 409: a precondition failed, or the object was written while it was being deleted. Only a look shows which.
                _ if error.is_conflict() => {}
                // It was rejected or never arrived, so it did not happen: the API server answers 429 before it handles the
                // request (apiserver pkg/server/filters/priority-and-fairness.go).
                Some(429) => {}
                _ if matches!(error.refusal(), Some(Refusal::Unasked { .. })) => {}
                _ if error.is_transient() => lost |= !error.is_before_send(),
                _ => return Err(failure),
            }
            let wait = retry.wait(tried, error.asked());
            if !error.is_conflict() {
                self.console.verbose(|| format!("{error}; checking whether it was deleted"));
                tokio::time::sleep(wait.unwrap_or(retry.first_wait)).await;
            }
            // If the check fails too, report the error of the delete: it says more.
            let Ok(now) = self.now(held).await else { return Err(failure) };
            match now {
                Now::Gone | Now::Another(_) if lost => return Ok(true),
                Now::Gone => return Ok(false),
                Now::Another(other) => return Err(self.replaced(held, &other)),
                // A finalizer delays the deletion: the server accepts the delete, and the object stays with a deletionTimestamp
                // (Kubernetes, "Finalizers").
                Now::Same(now) if now.is_going() => return Ok(lost),
                Now::Same(now) if now.resource_version() != held.resource_version() => return Err(self.changed(held, &now)),
                Now::Same(_) => match wait {
                    None => return Err(failure),
                    // A conflict although the object is unchanged: wait, and try again.
                    Some(wait) if error.is_conflict() => tokio::time::sleep(wait).await,
                    Some(_) => {}
                },
            }
        }
        Ok(false)
    }

    fn replaced(&self, held: &SecretObject, now: &SecretObject) -> Failure {
        Failure::new(
            Exit::Mismatch,
            format!(
                "delete {}: it was replaced after it was read (uid {} is now {}); the new one was not touched",
                self.what(),
                held.uid(),
                now.uid()
            ),
        )
        .hint("find out who created it; run this step again only if the new one may be deleted as well")
    }

    fn changed(&self, held: &SecretObject, now: &SecretObject) -> Failure {
        Failure::new(
            Exit::Mismatch,
            format!(
                "delete {}: it was changed after it was read (resource version {} is now {}); it was not touched",
                self.what(),
                held.resource_version(),
                now.resource_version()
            ),
        )
        .hint("something else writes to it; run this step again to delete it as it is now")
    }

    /// Waits until it is gone; finalizers may delay that.
    pub(crate) async fn wait_until_gone(&self, held: &SecretObject) -> Result<(), Failure> {
        let progress = self.console.progress_waiting("waiting until the secret is deleted");
        let mut wait = Duration::from_millis(100);
        let mut holders: Option<String> = None;
        loop {
            match self.now(held).await {
                Ok(Now::Gone) => return Ok(()),
                Ok(Now::Another(other)) => {
                    self.console.note(format!("{} was recreated (uid {}); the new one stays", self.what(), other.uid()));
                    return Ok(());
                }
                Ok(Now::Same(now)) => {
                    let by = now.finalizers().join(", ");
                    progress.message(if by.is_empty() { "it is still there".to_owned() } else { format!("held by {by}") });
                    holders = Some(by);
                }
                // The delete was accepted: only the time limit ends the wait for an API server that restarts.
                Err(failure) if failure.exit == Exit::Unreachable && wait < self.deadline.remaining() => {
                    progress.message(failure.message);
                }
                // If the deadline ended this check, report the finalizers (exit 8), not an unreachable cluster (exit 6).
                Err(failure) => match &holders {
                    Some(holders) if self.deadline.is_over() => return Err(self.held(holders)),
                    _ => return Err(failure),
                },
            }
            if wait >= self.deadline.remaining() {
                return Err(self.held(holders.as_deref().unwrap_or_default()));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LOOK);
        }
    }

    fn held(&self, holders: &str) -> Failure {
        let what = self.what();
        match holders {
            "" => Failure::new(Exit::TimedOut, format!("delete {what}: it is still there")),
            _ => Failure::new(Exit::TimedOut, format!("delete {what}: its deletion waits for the finalizers {holders}"))
                .hint("the controller that set them must remove them; then run this step again, or use a longer --timeout"),
        }
    }
}
