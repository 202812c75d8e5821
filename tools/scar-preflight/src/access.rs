//! Whether the cluster allows what the tools do, by access reviews: POSTs that the API server answers and does not store.

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use scar_cluster::{Access, Cluster, Error};
use scar_record::{Check, CheckResult};

use crate::check::{blocked, failed, line, ok, skipped, warning};
use crate::cluster::Manner;

/// The old secret (guide, step 1).
pub(crate) const SECRET: &str = "spectro-manifest-registry-secrets";

/// The permissions that a tool needs.
struct Needs {
    /// The line.
    name: &'static str,
    /// Who needs it.
    tool: &'static str,
    access: Vec<Access>,
    /// Whether the migration ends without it.
    blocks: bool,
    /// The way round, if there is one.
    otherwise: Option<&'static str>,
}

pub(crate) const SECRET_ACCESS: &str = "cluster.secret-access";
pub(crate) const WAIT_ACCESS: &str = "cluster.wait-access";
const UNDO_ACCESS: &str = "cluster.undo-access";
const RESTART_ACCESS: &str = "cluster.restart-access";
const VERIFY_ACCESS: &str = "cluster.verify-access";

/// The lines, in the order of the guide.
pub(crate) const NAMES: [&str; 5] = [SECRET_ACCESS, WAIT_ACCESS, VERIFY_ACCESS, RESTART_ACCESS, UNDO_ACCESS];

/// `pods` are Specman's, any pod if there are none; a secret that `is_absent` is not deleted.
fn needs(namespace: &str, set: &str, pods: &[String], is_absent: bool) -> [Needs; 5] {
    let any = [String::new()];
    let pods = if pods.is_empty() { &any } else { pods };
    let one = |verb: &str, group: &str, resource: &str, name: &str| Access {
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let of_pods = |verb: &str, resource: &str| pods.iter().map(|pod| one(verb, "", resource, pod)).collect::<Vec<_>>();
    let get_set = one("get", "apps", "statefulsets", set);
    let verbs = if is_absent { &["get"][..] } else { &["get", "delete"] };
    let needs = |name, tool, access| Needs { name, tool, access, blocks: true, otherwise: None };
    [
        needs(SECRET_ACCESS, "scar-secret-rm", verbs.iter().map(|verb| one(verb, "", "secrets", SECRET)).collect()),
        needs(WAIT_ACCESS, "specman-wait", [vec![get_set.clone()], of_pods("get", "pods"), of_pods("get", "pods/log")].concat()),
        Needs {
            otherwise: Some("if Specman is reached another way, --specman-url URL"),
            ..needs(
                VERIFY_ACCESS,
                "specman-verify",
                [vec![get_set], of_pods("get", "pods/portforward"), of_pods("create", "pods/portforward")].concat(),
            )
        },
        Needs {
            blocks: false,
            otherwise: Some("only --restart needs it"),
            ..needs(RESTART_ACCESS, "specman-wait --restart", vec![one("patch", "apps", "statefulsets", set)])
        },
        Needs {
            blocks: false,
            otherwise: Some("only the way back needs it"),
            ..needs(UNDO_ACCESS, "scar-secret-rm --undo", vec![one("create", "", "secrets", SECRET)])
        },
    ]
}

/// Asks for every verb that the tools use, and for no other.
pub(crate) async fn look(cluster: &Cluster, pods: &[String], is_absent: bool, manner: &Manner<'_>) -> Vec<Check> {
    let lines = needs(cluster.namespace(), &manner.options.statefulset, pods, is_absent);
    join_all(lines.iter().map(async |needs| match &manner.options.specman_url {
        _ if needs.name == VERIFY_ACCESS && manner.options.unverified => skipped(VERIFY_ACCESS, "left out by --unverified"),
        Some(url) if needs.name == VERIFY_ACCESS => skipped(VERIFY_ACCESS, format!("specman-verify goes to '{url}' instead")),
        _ => asked(cluster, needs, manner).await,
    }))
    .await
}

async fn asked(cluster: &Cluster, needs: &Needs, manner: &Manner<'_>) -> Check {
    let answers = join_all(needs.access.iter().map(|access| review(cluster, access, manner))).await;
    let mut denied = Vec::new();
    for (access, answer) in needs.access.iter().zip(answers) {
        match answer {
            Ok(true) => {}
            Ok(false) => denied.push(access),
            Err(error) => return unknown(cluster, needs, &error),
        }
    }
    if denied.is_empty() {
        return ok(needs.name, format!("{} may {}", needs.tool, listed(&needs.access.iter().collect::<Vec<_>>())));
    }
    let found = format!("{} may not {}", needs.tool, listed(&denied));
    let rules = Access::rules(denied);
    let hint = needs.otherwise.map_or_else(|| rules.clone(), |otherwise| format!("{otherwise}; else {rules}"));
    if needs.blocks { blocked(needs.name, found, hint) } else { warning(needs.name, found, hint) }
}

/// A review that is refused, or unknown to the cluster, says nothing about the permission.
fn unknown(cluster: &Cluster, needs: &Needs, error: &Error) -> Check {
    let failure = cluster.failure(&format!("ask what {} may do", needs.tool), error);
    match error.status() {
        Some(_) => warning(
            needs.name,
            failure.message,
            format!(
                "ask another way: kubectl auth can-i {} {} -n {}",
                needs.access[0].verb,
                needs.access[0].resource,
                cluster.namespace()
            ),
        ),
        None => {
            let check = failed(needs.name, failure, crate::check::Side::Own);
            if needs.blocks { check } else { line(needs.name, CheckResult::Warning, check.found) }
        }
    }
}

async fn review(cluster: &Cluster, access: &Access, manner: &Manner<'_>) -> Result<bool, Error> {
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
    let answer = cluster.read(manner.deadline(), || api.create(&parameters, &question)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// `get, delete secrets; get pods`: verbs of a resource together, however many objects there are.
fn listed(access: &[&Access]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_of_a_resource_are_reported_together() {
        let [secret, wait, verify, ..] = needs("hubble-system", "specman", &["specman-0".into(), "specman-1".into()], false);
        let told = |needs: &Needs| listed(&needs.access.iter().collect::<Vec<_>>());
        assert_eq!(told(&secret), "get, delete secrets");
        assert_eq!(told(&wait), "get statefulsets; get pods; get pods/log");
        assert_eq!(told(&verify), "get statefulsets; get, create pods/portforward");
    }
}
