//! Requests with a time limit; reads are retried. kube's own retry layer is not used.

use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::ListParams;
use scar_tool::{Deadline, Failure};

use crate::kubeconfig::listed;
use crate::sender::ANSWER;
use crate::{Cluster, Error};

/// The number of tries of a read.
const TRIES: u32 = 6;
/// The wait after the first try; doubled after each.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait, even if the server asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

impl Cluster {
    /// One try, given up after some time or at the deadline.
    ///
    /// # Errors
    /// The error; a timeout is [`Error::Broken`].
    pub async fn once<T>(&self, deadline: Deadline, work: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        let limit = deadline.remaining().min(ANSWER + Duration::from_secs(1));
        let mut work = pin!(work);
        match tokio::time::timeout(limit, &mut work).await {
            Ok(result) => result.map_err(Error::of),
            Err(_) => Err(match self.overdue(limit) {
                Some(failure) => Error::Credential(Box::new(failure)),
                None => Error::silent(self.console().pending().unwrap_or_else(|| format!("ask '{}'", self.server())), limit),
            }),
        }
    }

    /// A read, with up to six tries if a retry may help, never past the deadline.
    ///
    /// # Errors
    /// The last try's error.
    pub async fn read<T, F, W>(&self, deadline: Deadline, mut work: F) -> Result<T, Error>
    where
        F: FnMut() -> W,
        W: Future<Output = kube::Result<T>>,
    {
        let mut tried = 1;
        loop {
            let error = match self.once(deadline, work()).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let wait = pause(tried, error.retry_after());
            if tried >= TRIES || !error.is_transient() || wait >= deadline.remaining() {
                return Err(error);
            }
            self.console().verbose(|| format!("{error}; trying again in {:.1} s", wait.as_secs_f64()));
            tokio::time::sleep(wait).await;
            tried += 1;
        }
    }

    /// A read of an object that may not exist; `None` if the API server itself says so.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn find<T, F, W>(&self, deadline: Deadline, work: F) -> Result<Option<T>, Error>
    where
        F: FnMut() -> W,
        W: Future<Output = kube::Result<T>>,
    {
        match self.read(deadline, work).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same in one try.
    ///
    /// # Errors
    /// As [`Self::once`].
    pub async fn find_once<T>(
        &self,
        deadline: Deadline,
        work: impl Future<Output = kube::Result<T>>,
    ) -> Result<Option<T>, Error> {
        match self.once(deadline, work).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that the namespace exists; else an empty answer of the wrong cluster would look like a finished step.
    /// Returns whether the credentials allow to ask.
    ///
    /// # Errors
    /// Exit 2 if it does not exist, listing at most ten that do; the cluster's errors.
    pub async fn check_namespace(&self, deadline: Deadline) -> Result<bool, Failure> {
        let api = Api::<Namespace>::all(self.client().clone());
        match self.find(deadline, || api.get_metadata(self.namespace())).await {
            Ok(Some(_)) => return Ok(true),
            Err(error) if error.is_denied() => {
                self.console().verbose(|| format!("whether namespace '{}' exists may not be asked", self.namespace()));
                return Ok(false);
            }
            Err(error) => return Err(self.failure(&format!("look for namespace '{}'", self.namespace()), &error)),
            Ok(None) => {}
        }
        let failure =
            Failure::misuse(format!("look for namespace '{}': {} has none of that name", self.namespace(), self.place()));
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

/// The wait before the next try: the requested one if longer, but never longer than the longest.
pub fn pause(tried: u32, asked: Option<Duration>) -> Duration {
    let ours = FIRST_WAIT.saturating_mul(1 << tried.saturating_sub(1).min(10));
    ours.max(asked.unwrap_or_default()).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_grows_and_what_the_server_asks_for_is_capped() {
        assert_eq!(pause(1, None), Duration::from_millis(250));
        assert_eq!(pause(4, None), Duration::from_secs(2));
        assert_eq!(pause(1, Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(pause(1, Some(Duration::from_secs(99_999))), LONGEST_WAIT);
        assert_eq!(pause(60, None), LONGEST_WAIT);
    }
}
