//! Whether the cluster allows what the tools do, by access reviews: POSTs that the API server answers and does not store.

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use scar_cluster::{Access, Cluster, Error};
use scar_record::Check;
use scar_record::CheckResult::{self, Blocked, Warning};

use crate::check::{failed, line, ok, skipped, warning};
use crate::options::Options;

/// The old secret (guide, step 1).
pub(crate) const SECRET: &str = "spectro-manifest-registry-secrets";

pub(crate) const SECRET_ACCESS: &str = "cluster.secret-access";
pub(crate) const WAIT_ACCESS: &str = "cluster.wait-access";
const VERIFY_ACCESS: &str = "cluster.verify-access";
const RESTART_ACCESS: &str = "cluster.restart-access";
const UNDO_ACCESS: &str = "cluster.undo-access";

/// The lines.
pub(crate) const NAMES: [&str; 5] = [SECRET_ACCESS, WAIT_ACCESS, VERIFY_ACCESS, RESTART_ACCESS, UNDO_ACCESS];

/// The permissions that a tool needs.
struct Need {
    /// The line.
    name: &'static str,
    tool: &'static str,
    /// The line's result without it.
    result: CheckResult,
    /// What to do without the right; empty if nothing helps.
    otherwise: &'static str,
    access: Vec<Access>,
}

/// Every verb that the tools use and no other, in the order of the guide. `pods` are Specman's; if it has no pods, the rule is
/// for any pod. A secret that `is_absent` is not deleted.
fn needs(namespace: &str, set: &str, pods: &[String], is_absent: bool) -> [Need; 5] {
    let access = |verb: &str, group: &str, resource: &str, name: &str| Access {
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let secrets = |verbs: &[&str]| verbs.iter().map(|verb| access(verb, "", "secrets", SECRET)).collect::<Vec<_>>();
    let sets = |verb| vec![access(verb, "apps", "statefulsets", set)];
    let any = [String::new()];
    let pods = if pods.is_empty() { &any } else { pods };
    let each_pod = |verb, resource| pods.iter().map(|pod| access(verb, "", resource, pod)).collect::<Vec<_>>();
    // Since Kubernetes 1.35 a port-forward over a WebSocket needs both verbs.
    let forward = [each_pod("get", "pods/portforward"), each_pod("create", "pods/portforward")].concat();
    let elsewhere = "if Specman is reached another way, --specman-url URL";
    let need = |name, tool, result, otherwise, access| Need { name, tool, result, otherwise, access };
    [
        need(SECRET_ACCESS, "scar-secret-rm", Blocked, "", secrets(if is_absent { &["get"] } else { &["get", "delete"] })),
        need(
            WAIT_ACCESS,
            "specman-wait",
            Blocked,
            "",
            [sets("get"), each_pod("get", "pods"), each_pod("get", "pods/log")].concat(),
        ),
        need(VERIFY_ACCESS, "specman-verify", Blocked, elsewhere, [sets("get"), forward].concat()),
        need(RESTART_ACCESS, "specman-wait --restart", Warning, "only --restart needs it", sets("patch")),
        need(UNDO_ACCESS, "scar-secret-rm --undo", Warning, "only the way back needs it", secrets(&["create"])),
    ]
}

/// Asks for every permission.
pub(crate) async fn look(cluster: &Cluster, pods: &[String], is_absent: bool, options: &Options) -> Vec<Check> {
    let needs = needs(cluster.namespace(), &options.specman.statefulset, pods, is_absent);
    join_all(needs.iter().map(async |need| match &options.specman_url {
        _ if need.name == VERIFY_ACCESS && options.unverified => skipped(VERIFY_ACCESS, "left out by --unverified"),
        Some(url) if need.name == VERIFY_ACCESS => skipped(VERIFY_ACCESS, format!("specman-verify goes to '{url}' instead")),
        _ => asked(cluster, need, options).await,
    }))
    .await
}

async fn asked(cluster: &Cluster, need: &Need, options: &Options) -> Check {
    // Every user may ask about itself (Kubernetes documentation, "Using RBAC Authorization", role `system:basic-user`).
    let answers = join_all(need.access.iter().map(|access| review(cluster, access, options))).await;
    let mut denied = Vec::new();
    for (access, answer) in need.access.iter().zip(answers) {
        match answer {
            Ok(true) => {}
            Ok(false) => denied.push(access),
            Err(error) => return unknown(cluster, need, access, &error),
        }
    }
    if denied.is_empty() {
        return ok(need.name, format!("{} may {}", need.tool, listed(&need.access)));
    }
    let found = format!("{} may not {}", need.tool, listed(denied.iter().copied()));
    let rules = Access::rules(denied);
    let hint = if need.otherwise.is_empty() { rules } else { format!("{}; else {rules}", need.otherwise) };
    Check { hint: Some(hint), ..line(need.name, need.result, found) }
}

/// A review that is refused, or unknown to the cluster, says nothing about the permission.
fn unknown(cluster: &Cluster, need: &Need, Access { verb, resource, namespace, .. }: &Access, error: &Error) -> Check {
    let failure = cluster.failure(&format!("ask what {} may do", need.tool), error);
    if error.status().is_some() {
        let hint = format!("ask another way: kubectl auth can-i {verb} {resource} -n {namespace}");
        return warning(need.name, failure.message, hint);
    }
    Check { result: need.result, ..failed(need.name, failure) }
}

async fn review(cluster: &Cluster, access: &Access, options: &Options) -> Result<bool, Error> {
    let (resource, subresource) = match access.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (access.resource.as_str(), None),
    };
    let attributes = ResourceAttributes {
        group: Some(access.group.clone()),
        name: access.named().map(str::to_owned),
        namespace: Some(access.namespace.clone()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(access.verb.clone()),
        ..ResourceAttributes::default()
    };
    let question = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..SelfSubjectAccessReviewSpec::default() },
        ..SelfSubjectAccessReview::default()
    };
    let api = Api::<SelfSubjectAccessReview>::all(cluster.client().clone());
    let parameters = PostParams::default();
    let answer = cluster.read(options.deadline(), || api.create(&parameters, &question)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// `get, delete secrets; get pods`: verbs of a resource together, however many objects there are.
fn listed<'a>(access: impl IntoIterator<Item = &'a Access>) -> String {
    let mut resources: Vec<(&str, Vec<&str>)> = Vec::new();
    for access in access {
        match resources.iter_mut().find(|(resource, _)| *resource == access.resource) {
            Some((_, verbs)) if verbs.contains(&access.verb.as_str()) => {}
            Some((_, verbs)) => verbs.push(&access.verb),
            None => resources.push((&access.resource, vec![&access.verb])),
        }
    }
    resources.iter().map(|(resource, verbs)| format!("{} {resource}", verbs.join(", "))).collect::<Vec<_>>().join("; ")
}

/// What could not be read; if it may not be, the line `access` reports that.
pub(crate) fn unread(name: &str, access: &str, cluster: &Cluster, act: &str, error: &Error) -> Check {
    match error.is_denied() {
        true => skipped(name, format!("it may not be read, see {access}")),
        false => failed(name, cluster.failure(act, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_of_a_resource_are_reported_together() {
        let pods = ["specman-0".to_owned(), "specman-1".to_owned()];
        let asked = |is_absent| needs("hubble-system", "specman", &pods, is_absent).map(|need| listed(&need.access));
        let [secret, wait, verify, ..] = asked(false);
        assert_eq!(secret, "get, delete secrets");
        assert_eq!(asked(true)[0], "get secrets");
        assert_eq!(wait, "get statefulsets; get pods; get pods/log");
        assert_eq!(verify, "get statefulsets; get, create pods/portforward");
    }
}
