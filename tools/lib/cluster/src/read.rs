//! Requests with a time limit; reads are retried. kube's own retry layer is not used: it is on by default, with 15 tries and no
//! limit for `Retry-After` (kube-client src/client/retry.rs, `server_retry`).

use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::ListParams;
use scar_http::Retry;
use scar_tool::{Deadline, Exit, Failure};

use crate::kubeconfig::listed;
use crate::sender::ANSWER;
use crate::{Cluster, Error};

impl Cluster {
    /// One try, given up after some time or at the deadline. A timeout is [`scar_http::Cause::Broken`].
    pub async fn once<T>(&self, deadline: Deadline, work: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        // One second more than the sender's own limit, whose failure names the request.
        let limit = deadline.remaining().min(ANSWER + Duration::from_secs(1));
        let mut work = pin!(work);
        match tokio::time::timeout(limit, &mut work).await {
            Ok(result) => result.map_err(Error::of),
            Err(_) => Err(match self.overdue(limit) {
                Some(failure) => failure.into(),
                None => Error::silent(self.console().pending().unwrap_or_else(|| format!("ask '{}'", self.server())), limit),
            }),
        }
    }

    /// A read, tried again if that may help, never past the deadline.
    pub async fn read<T>(&self, deadline: Deadline, mut work: impl AsyncFnMut() -> kube::Result<T>) -> Result<T, Error> {
        Retry::until(deadline).run(self.console(), async || self.once(deadline, work()).await).await
    }

    /// A read of an object that may not exist; `None` if the API server itself says so.
    pub async fn find<T>(&self, deadline: Deadline, work: impl AsyncFnMut() -> kube::Result<T>) -> Result<Option<T>, Error> {
        match self.read(deadline, work).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that the namespace exists; else an empty answer of the wrong cluster would look like a finished step.
    /// Returns whether the credentials allow to ask. Exit 2 if it does not exist, listing at most ten that do; exit 1 if it is
    /// being deleted.
    pub async fn check_namespace(&self, deadline: Deadline) -> Result<bool, Failure> {
        let api = Api::<Namespace>::all(self.client().clone());
        match self.find(deadline, || api.get_metadata(self.namespace())).await {
            Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => {
                let failure = format!("look for namespace '{}': it is being deleted", self.namespace());
                return Err(Failure::new(Exit::Failed, failure).hint(self.terminating_hint()));
            }
            Ok(Some(_)) => return Ok(true),
            Err(error) if error.is_denied() => {
                self.console().verbose(|| format!("whether namespace '{}' exists may not be asked", self.namespace()));
                return Ok(false);
            }
            Err(error) => return Err(self.failure(&format!("look for namespace '{}'", self.namespace()), &error)),
            Ok(None) => {}
        }
        let failure =
            Failure::misuse(format!("look for namespace '{}': {} has no such namespace", self.namespace(), self.place()));
        let first = ListParams::default().limit(50);
        match self.once(deadline, api.list_metadata(&first)).await {
            Ok(list) => {
                let names = list.items.iter().filter_map(|namespace| namespace.metadata.name.as_deref());
                Err(failure.hint(format!("is this the right cluster? there is {}", listed(names))))
            }
            Err(_) => Err(failure.hint("is this the right cluster? choose it with --kubeconfig and --context")),
        }
    }
}
