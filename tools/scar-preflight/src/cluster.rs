//! Checks of Specman's cluster: address, login, permissions, Specman itself, and the secret.

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use scar_cluster::specman::replicas;
use scar_cluster::{Cluster, Opened};
use scar_record::{Check, CheckResult, Preflight};
use scar_tool::Failure;

use crate::check::{blocked, failed, ok, skipped};
use crate::findings::Findings;
use crate::network::Server;
use crate::options::Options;
use crate::{access, claim, specman};

const REACHED: &str = "cluster.reached";
const IDENTITY: &str = "cluster.identity";
const NAMESPACE: &str = "cluster.namespace";
/// The line of the secret.
pub(crate) const SECRET: &str = Preflight::SECRET;

/// The lines of this part.
pub(crate) fn names() -> Vec<&'static str> {
    [&[REACHED, IDENTITY, NAMESPACE][..], &access::NAMES, &specman::NAMES, &claim::NAMES, &[SECRET]].concat()
}

/// Checks the part.
///
/// # Errors
/// The line that blocks the rest.
pub(crate) async fn look(opened: Result<Opened, Failure>, options: &Options, found: &mut Findings) -> Result<(), Check> {
    let cluster = opened.map_err(|failure| failed(REACHED, failure))?.client();
    found.checks.push(reach(&cluster, options).await.map_err(|failure| failed(REACHED, failure))?);
    found.server = Some(Server {
        name: cluster.server().replace("https://", ""),
        proxy: cluster.proxy().map(str::to_owned),
        skew: cluster.skew(),
        until: cluster.certificate_until(),
    });
    let specman = options.specman.at(cluster, options.container.clone());
    let cluster = &specman.cluster;
    let (identity, namespace, set, (secret, made)) = tokio::join!(
        identity(cluster, options),
        namespace(cluster, options),
        specman.set(options.deadline()),
        secret(cluster, options)
    );
    // Permissions and pods are asked for by name, as the tools ask: RBAC may allow these names alone.
    let names = set.as_ref().ok().and_then(Option::as_ref).map(replicas).unwrap_or_default();
    let is_absent = secret.result == CheckResult::Ok && made.is_none();
    let pods = async {
        match &set {
            Ok(Some(set)) if !names.is_empty() => Some(specman.pods(set, options.deadline()).await),
            _ => None,
        }
    };
    let (read, access, service) =
        tokio::join!(pods, access::look(cluster, &names, is_absent, options), specman::service_line(cluster, options));
    let pods = read.as_ref().and_then(|read| read.as_ref().ok());
    let (claims, size) = claim::look(cluster, &set, pods, options).await;
    found.without_identity =
        pods.map(|pods| pods.iter().filter(|(_, pod)| !pod.has_pod_identity).map(|(name, _)| name.clone()).collect());
    (found.secret, found.claim) = (made, size);
    found.checks.extend([identity, namespace, secret, service, specman::set_line(cluster, &set, options)]);
    found.checks.extend(read.as_ref().map(|read| specman::pods_line(cluster, &names, read)));
    found.checks.extend(access);
    found.checks.extend(claims);
    Ok(())
}

/// Reads the version, which any user may (Kubernetes documentation, "Using RBAC Authorization", role
/// `system:public-info-viewer`): so a refusal is about the login.
async fn reach(cluster: &Cluster, options: &Options) -> Result<Check, Failure> {
    let act = format!("connect to the cluster '{}'", cluster.server());
    let (server, place) = (cluster.server(), cluster.place());
    match cluster.read(options.deadline(), || cluster.client().apiserver_version()).await {
        Ok(version) => Ok(ok(REACHED, format!("'{server}', Kubernetes {}, {place}", version.git_version))),
        // A site may have removed that role: the tools do not need the version.
        Err(error) if error.is_denied() => Ok(ok(REACHED, format!("'{server}', {place}; its version may not be read"))),
        Err(error) => Err(cluster.failure(&act, &error)),
    }
}

/// Our user there. Clusters before 1.28 cannot report it (Kubernetes KEP-3325), and some forbid the request: neither blocks.
async fn identity(cluster: &Cluster, options: &Options) -> Check {
    let api = Api::<SelfSubjectReview>::all(cluster.client().clone());
    let (parameters, question) = (PostParams::default(), SelfSubjectReview::default());
    match cluster.read(options.deadline(), || api.create(&parameters, &question)).await {
        Ok(answer) => {
            let user = answer.status.and_then(|status| status.user_info).unwrap_or_default();
            let groups = user.groups.unwrap_or_default();
            // Every user is in this group.
            let groups: Vec<_> = groups.iter().filter(|group| *group != "system:authenticated").map(String::as_str).collect();
            let groups = if groups.is_empty() { String::new() } else { format!(", of {}", groups.join(", ")) };
            ok(IDENTITY, format!("'{}'{groups}", user.username.unwrap_or_default()))
        }
        Err(error) if error.status() == Some(404) => skipped(IDENTITY, "a cluster before Kubernetes 1.28 does not say"),
        Err(error) if error.is_denied() => skipped(IDENTITY, "it may not be asked"),
        Err(error) => failed(IDENTITY, cluster.failure("ask who we are", &error)),
    }
}

async fn namespace(cluster: &Cluster, options: &Options) -> Check {
    let name = cluster.namespace();
    match cluster.check_namespace(options.deadline()).await {
        Ok(true) => ok(NAMESPACE, format!("'{name}' is there")),
        // The tools continue without it, too.
        Ok(false) => skipped(NAMESPACE, format!("whether '{name}' exists may not be asked")),
        Err(failure) => failed(NAMESPACE, failure),
    }
}

/// Whether the secret exists, and since when. Only its metadata is read, never its content.
async fn secret(cluster: &Cluster, options: &Options) -> (Check, Option<Timestamp>) {
    let api = Api::<Secret>::namespaced(cluster.client().clone(), cluster.namespace());
    let name = access::SECRET;
    // The server itself leaves out the content (Kubernetes documentation, "API Concepts", PartialObjectMetadata).
    let secret = match cluster.find(options.deadline(), || api.get_metadata(name)).await {
        Ok(Some(secret)) => secret,
        Ok(None) => return (ok(SECRET, format!("'{name}' is not there: nothing to delete")), None),
        Err(error) => {
            return (access::unread(SECRET, access::SECRET_ACCESS, cluster, &format!("read the secret '{name}'"), &error), None);
        }
    };
    let made = secret.metadata.creation_timestamp.map(|time| time.0);
    let since = made.map(|made| format!(", made at {made:.0}")).unwrap_or_default();
    // The object stays until the last finalizer is gone (Kubernetes documentation, "Finalizers").
    let line = match secret.metadata.finalizers.unwrap_or_default().as_slice() {
        [] => ok(SECRET, format!("'{name}'{since}: the first step deletes it")),
        finalizers => blocked(
            SECRET,
            format!("'{name}'{since}, held by the finalizers {}", finalizers.join(", ")),
            "who put the finalizers there must let go of it: the delete would wait for them",
        ),
    };
    (line, made)
}
