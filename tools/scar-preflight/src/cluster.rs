//! Checks of Specman's cluster: address, login, permissions, Specman itself, and the secret.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use scar_cluster::{Cluster, Error, Opened};
use scar_record::{Check, CheckResult, Preflight};
use scar_tool::{Deadline, Failure};

use crate::check::{Side, blocked, failed, line, needs, ok, skipped};
use crate::network::Server;
use crate::options::Options;
use crate::{access, claim, specman};

const REACHED: &str = "cluster.reached";
const IDENTITY: &str = "cluster.identity";
const NAMESPACE: &str = "cluster.namespace";
/// The line of the secret.
pub(crate) const SECRET: &str = Preflight::SECRET;

/// The results.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) checks: Vec<Check>,
    pub(crate) server: Option<Server>,
    /// When the secret was created, if there is one.
    pub(crate) secret: Option<Timestamp>,
    /// Specman's pods without a pod identity, if they could be read.
    pub(crate) without_identity: Option<Vec<String>>,
    /// The size of Specman's smallest claim, in bytes.
    pub(crate) room: Option<u64>,
}

/// The inputs of the checks.
pub(crate) struct Manner<'a> {
    pub(crate) time: Duration,
    pub(crate) options: &'a Options,
}

impl Manner<'_> {
    /// The deadline of a check that begins now.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.time)
    }
}

/// The lines of this side.
pub(crate) fn names() -> Vec<&'static str> {
    [vec![REACHED], after()].concat()
}

/// All lines after the first.
fn after() -> Vec<&'static str> {
    [&[IDENTITY, NAMESPACE][..], &access::NAMES, &specman::NAMES, &claim::NAMES, &[SECRET]].concat()
}

/// Checks the side.
pub(crate) async fn look(opened: Result<Opened, Failure>, manner: &Manner<'_>) -> Found {
    let mut found = Found::default();
    let cluster = match opened {
        Ok(opened) => opened.client(),
        Err(failure) => {
            found.checks = [vec![failed(REACHED, failure, Side::Own)], needs(after(), REACHED)].concat();
            return found;
        }
    };
    match reach(&cluster, manner).await {
        Ok(line) => found.checks.push(line),
        Err(failure) => {
            found.checks = [vec![failed(REACHED, failure, Side::Own)], needs(after(), REACHED)].concat();
            return found;
        }
    }
    let name = cluster.server().replace("https://", "");
    found.server = Some(Server::with_skew(name, cluster.proxy(), cluster.skew(), cluster.certificate_until()));
    let (identity, namespace, set, (secret, made)) = tokio::join!(
        identity(&cluster, manner),
        namespace(&cluster, manner),
        statefulset(&cluster, manner),
        secret(&cluster, manner)
    );
    let pods = match &set {
        Ok(Some(set)) => scar_cluster::specman::replicas(set),
        _ => Vec::new(),
    };
    let is_absent = secret.result == CheckResult::Ok && made.is_none();
    let (access, (specman, without_identity), (claim, room)) = tokio::join!(
        access::look(&cluster, &pods, is_absent, manner),
        specman::look(&cluster, &set, &pods, manner),
        claim::look(&cluster, &set, &pods, manner)
    );
    found.checks.extend([identity, namespace]);
    found.checks.extend([access, specman, claim, vec![secret]].concat());
    (found.secret, found.room, found.without_identity) = (made, room, without_identity);
    found
}

/// Everyone may read the version.
async fn reach(cluster: &Cluster, manner: &Manner<'_>) -> Result<Check, Failure> {
    let act = format!("connect to the cluster '{}'", cluster.server());
    match cluster.read(manner.deadline(), || cluster.client().apiserver_version()).await {
        Ok(version) => {
            Ok(ok(REACHED, format!("'{}', Kubernetes {}, {}", cluster.server(), version.git_version, cluster.place())))
        }
        Err(error) if error.is_denied() => {
            Ok(ok(REACHED, format!("'{}', {}; its version may not be read", cluster.server(), cluster.place())))
        }
        Err(error) => Err(cluster.failure(&act, &error)),
    }
}

/// Our user there. Clusters before 1.28 cannot report it, and some forbid the request: neither blocks.
async fn identity(cluster: &Cluster, manner: &Manner<'_>) -> Check {
    let api = Api::<SelfSubjectReview>::all(cluster.client().clone());
    let (parameters, question) = (PostParams::default(), SelfSubjectReview::default());
    match cluster.read(manner.deadline(), || api.create(&parameters, &question)).await {
        Ok(answer) => {
            let user = answer.status.and_then(|status| status.user_info);
            let name = user.as_ref().and_then(|user| user.username.clone()).unwrap_or_default();
            let groups = user.and_then(|user| user.groups).unwrap_or_default();
            let groups: Vec<_> = groups.iter().filter(|group| *group != "system:authenticated").map(String::as_str).collect();
            let groups = if groups.is_empty() { String::new() } else { format!(", of {}", groups.join(", ")) };
            ok(IDENTITY, format!("'{name}'{groups}"))
        }
        Err(error) if error.status() == Some(404) => skipped(IDENTITY, "a cluster before Kubernetes 1.28 does not say"),
        Err(error) if error.is_denied() => skipped(IDENTITY, "it may not be asked"),
        Err(error) => failed(IDENTITY, cluster.failure("ask who we are", &error), Side::Own),
    }
}

async fn namespace(cluster: &Cluster, manner: &Manner<'_>) -> Check {
    let name = cluster.namespace();
    let api = Api::<k8s_openapi::api::core::v1::Namespace>::all(cluster.client().clone());
    match cluster.find(manner.deadline(), || api.get_metadata(name)).await {
        Ok(Some(_)) => ok(NAMESPACE, format!("'{name}' is there")),
        Ok(None) => match cluster.check_namespace(manner.deadline()).await {
            Ok(()) => ok(NAMESPACE, format!("'{name}' is there")),
            Err(failure) => failed(NAMESPACE, failure, Side::Own),
        },
        // The tools continue without it, too.
        Err(error) if error.is_denied() => skipped(NAMESPACE, format!("whether '{name}' exists may not be asked")),
        Err(error) => failed(NAMESPACE, cluster.failure(&format!("look for namespace '{name}'"), &error), Side::Own),
    }
}

async fn statefulset(cluster: &Cluster, manner: &Manner<'_>) -> Result<Option<StatefulSet>, Error> {
    let sets = Api::<StatefulSet>::namespaced(cluster.client().clone(), cluster.namespace());
    cluster.find(manner.deadline(), || sets.get(&manner.options.statefulset)).await
}

/// Whether the secret exists, and since when. Only its metadata is read, never its content.
async fn secret(cluster: &Cluster, manner: &Manner<'_>) -> (Check, Option<Timestamp>) {
    let api = Api::<Secret>::namespaced(cluster.client().clone(), cluster.namespace());
    let name = access::SECRET;
    match cluster.find(manner.deadline(), || api.get_metadata(name)).await {
        Ok(None) => (ok(SECRET, format!("'{name}' is not there: nothing to delete")), None),
        Ok(Some(secret)) => {
            let made = secret.metadata.creation_timestamp.map(|time| time.0);
            let finalizers = secret.metadata.finalizers.unwrap_or_default();
            let since = made.map(|made| format!(", made at {made:.0}")).unwrap_or_default();
            if !finalizers.is_empty() {
                let found = format!("'{name}'{since}, held by the finalizers {}", finalizers.join(", "));
                return (
                    blocked(SECRET, found, "who put the finalizers there must let go of it: the delete would wait for them"),
                    made,
                );
            }
            (ok(SECRET, format!("'{name}'{since}: the first step deletes it")), made)
        }
        Err(error) if error.is_denied() => (denied(SECRET, access::SECRET_ACCESS), None),
        Err(error) => (failed(SECRET, cluster.failure(&format!("read the secret '{name}'"), &error), Side::Own), None),
    }
}

/// What may not be read, if another line reports that.
pub(crate) fn denied(name: &str, told_by: &str) -> Check {
    line(name, CheckResult::Skipped, format!("it may not be read, see {told_by}"))
}
