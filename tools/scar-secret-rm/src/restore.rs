//! Restores the secret from its backup, unless a secret of that name exists.
//!
//! Invariant: an existing secret is never touched, because the platform may have created it.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::core::{GroupVersion, GroupVersionKind};
use kube::discovery::{Scope, pinned_kind};
use scar_http::{Attempt as _, Retry};
use scar_tool::{Exit, Failure};
use serde_json::Value;

use crate::backup::Saved;
use crate::removal::Removal;
use crate::secret::SecretObject;

/// When to check the restored secret again: by then the garbage collector has deleted it if its owner is missing (kubernetes
/// pkg/controller/garbagecollector/garbagecollector.go, attemptToDeleteItem).
const LATER: Duration = Duration::from_secs(2);

/// The cluster's secret, compared with the backup.
enum Now {
    /// The same content.
    Restored,
    /// Another secret, which stays.
    Another(Box<SecretObject>),
    Absent,
}

impl Removal {
    /// Restores the secret from the backup.
    ///
    /// # Errors
    /// Exit statuses as for removing; exit 7 if something changes or deletes it again.
    pub(crate) async fn restore(&self, saved: &Saved, dry_run: bool) -> Result<(), Failure> {
        let path = saved.path();
        let mut lost = false;
        let retry = Retry::until(self.deadline);
        for tried in 1.. {
            match self.compare(saved).await? {
                Now::Restored if lost => break,
                Now::Restored => self.console.note(format!("{} has the content of its backup already", self.what())),
                Now::Another(now) => self.console.note(format!(
                    "{} stays: the platform has made it since (uid {}, {}); the old one is in '{path}'",
                    self.what(),
                    now.uid(),
                    now.created()
                )),
                Now::Absent if dry_run => self.console.plan(format!("restore {} from '{path}'", self.what())),
                Now::Absent => match self.create(saved).await {
                    Ok(()) => break,
                    Err(error) => {
                        // The secret may exist all the same: the answer was lost, or someone else created it. The next check
                        // decides.
                        let exists = error.is_conflict();
                        let wait = retry.wait(tried, error.asked()).filter(|_| exists || error.is_transient());
                        let Some(wait) = wait else {
                            return Err(self.cluster.failure(&format!("restore {}", self.what()), &error));
                        };
                        lost = true;
                        tokio::time::sleep(wait).await;
                        continue;
                    }
                },
            }
            return Ok(());
        }
        // Twice: at once for what was written, later for what a controller made of it (FAULTS Q73).
        self.check(saved).await?;
        tokio::time::sleep(LATER).await;
        self.check(saved).await?;
        self.console.note(format!("restored {} from '{path}'", self.what()));
        Ok(())
    }

    async fn compare(&self, saved: &Saved) -> Result<Now, Failure> {
        Ok(match self.look().await? {
            None => {
                self.absent(false).await?;
                Now::Absent
            }
            Some(now) if now.is_going() => {
                self.wait_until_gone(&now).await?;
                Now::Absent
            }
            Some(now) if saved.is(&now) => Now::Restored,
            Some(now) => Now::Another(Box::new(now)),
        })
    }

    async fn create(&self, saved: &Saved) -> Result<(), scar_cluster::Error> {
        let mut object = saved.object();
        let mut owners = Vec::new();
        for owner in object.metadata.owner_references.take().into_iter().flatten() {
            match self.exists(&owner).await {
                true => owners.push(owner),
                false => self.console.warn(format!(
                    "the owner of {}, {} '{}', no longer exists or cannot be read; the secret is restored without it, because the \
                     cluster deletes an object whose owners are all missing",
                    self.what(),
                    owner.kind,
                    owner.name
                )),
            }
        }
        // An object whose owners are all missing is deleted again (kubernetes
        // pkg/controller/garbagecollector/garbagecollector.go, `attemptToDeleteItem`; FAULTS Q73).
        object.metadata.owner_references = Some(owners).filter(|owners| !owners.is_empty());
        // A POST, not an apply: it fails with 409 if a secret of that name has appeared, instead of changing it.
        let parameters = PostParams::default();
        self.cluster.once(self.deadline, self.api.create(&parameters, &object)).await.map(|_: DynamicObject| ())
    }

    /// Whether the owner exists, with the same uid: the garbage collector takes any other object for a missing owner
    /// (kubernetes pkg/controller/garbagecollector/garbagecollector.go, isDangling).
    async fn exists(&self, owner: &OwnerReference) -> bool {
        let Ok(version) = owner.api_version.parse::<GroupVersion>() else { return false };
        let kind = GroupVersionKind::gvk(&version.group, &version.version, &owner.kind);
        let client = self.cluster.client();
        let Ok((resource, about)) = self.cluster.read(self.deadline, || pinned_kind(client, &kind)).await else { return false };
        let api: Api<DynamicObject> = match about.scope {
            Scope::Namespaced => Api::namespaced_with(client.clone(), self.cluster.namespace(), &resource),
            Scope::Cluster => Api::all_with(client.clone(), &resource),
        };
        let found = self.cluster.find(self.deadline, || api.get_metadata(&owner.name)).await;
        found.is_ok_and(|found| found.is_some_and(|found| found.metadata.uid.as_deref() == Some(owner.uid.as_str())))
    }

    /// Checks that the restored secret is still there.
    async fn check(&self, saved: &Saved) -> Result<(), Failure> {
        let now = match self.look().await? {
            Some(now) if saved.is(&now) => return Ok(()),
            Some(_) => "holds something else",
            None => "is gone again",
        };
        Err(Failure::new(Exit::Mismatch, format!("restore {}: it was written, and now it {now}", self.what()))
            .hint("find out what writes to it or deletes it, then run this step again"))
    }
}

/// Whether two secrets have the same content, whoever created them.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    // Metadata differs after every restore: uid, times, managed fields.
    let content = |secret: &Value| {
        let mut content = secret.clone();
        content.as_object_mut().map(|fields| fields.remove("metadata"));
        content
    };
    content(a) == content(b)
}
