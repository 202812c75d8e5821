//! Whether the cluster allows what the tools do, by access reviews: POSTs that the API server answers and does not store.

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use scar_cluster::{Access, Cluster, Error};
use scar_record::{Check, CheckResult};

use crate::check::{blocked, failed, line, ok, skipped, warning};
use crate::options::Options;

/// The old secret (guide, step 1).
pub(crate) const SECRET: &str = "spectro-manifest-registry-secrets";

pub(crate) const SECRET_ACCESS: &str = "cluster.secret-access";
pub(crate) const WAIT_ACCESS: &str = "cluster.wait-access";
const VERIFY_ACCESS: &str = "cluster.verify-access";

/// The permissions that a tool needs.
struct Need {
    /// The line.
    name: &'static str,
    tool: &'static str,
    /// Whether the migration ends without it.
    blocks: bool,
    /// What to do without the right; empty if nothing helps.
    otherwise: &'static str,
    /// Verb, group, resource, and the objects.
    rules: &'static [(&'static str, &'static str, &'static str, Objects)],
}

/// The objects that a rule is about.
#[derive(Clone, Copy)]
enum Objects {
    /// The secret; a create has no name when RBAC decides, which [`Access::named`] knows.
    Secret,
    /// The secret, which need not be deleted if it is absent.
    PresentSecret,
    /// Specman's StatefulSet.
    Set,
    /// Each of its pods.
    Pods,
}
use Objects::{Pods, PresentSecret, Secret, Set};

/// Every verb that the tools use and no other, in the order of the guide.
const NEEDS: [Need; 5] = [
    Need {
        name: SECRET_ACCESS,
        tool: "scar-secret-rm",
        blocks: true,
        otherwise: "",
        rules: &[("get", "", "secrets", Secret), ("delete", "", "secrets", PresentSecret)],
    },
    Need {
        name: WAIT_ACCESS,
        tool: "specman-wait",
        blocks: true,
        otherwise: "",
        rules: &[("get", "apps", "statefulsets", Set), ("get", "", "pods", Pods), ("get", "", "pods/log", Pods)],
    },
    Need {
        name: VERIFY_ACCESS,
        tool: "specman-verify",
        blocks: true,
        otherwise: "if Specman is reached another way, --specman-url URL",
        rules: &[
            ("get", "apps", "statefulsets", Set),
            ("get", "", "pods/portforward", Pods),
            ("create", "", "pods/portforward", Pods),
        ],
    },
    Need {
        name: "cluster.restart-access",
        tool: "specman-wait --restart",
        blocks: false,
        otherwise: "only --restart needs it",
        rules: &[("patch", "apps", "statefulsets", Set)],
    },
    Need {
        name: "cluster.undo-access",
        tool: "scar-secret-rm --undo",
        blocks: false,
        otherwise: "only the way back needs it",
        rules: &[("create", "", "secrets", Secret)],
    },
];

/// The lines.
pub(crate) fn names() -> [&'static str; 5] {
    NEEDS.map(|need| need.name)
}

impl Need {
    /// What to ask for. `pods` are Specman's, any pod if there are none; a secret that `is_absent` is not deleted.
    fn access(&self, namespace: &str, set: &str, pods: &[String], is_absent: bool) -> Vec<Access> {
        let any = [String::new()];
        let pods = if pods.is_empty() { &any } else { pods };
        let mut all = Vec::new();
        for (verb, group, resource, objects) in self.rules {
            let names = match objects {
                PresentSecret if is_absent => continue,
                Secret | PresentSecret => vec![SECRET.to_owned()],
                Set => vec![set.to_owned()],
                Pods => pods.to_vec(),
            };
            all.extend(names.into_iter().map(|name| Access {
                verb: (*verb).to_owned(),
                group: (*group).to_owned(),
                resource: (*resource).to_owned(),
                namespace: namespace.to_owned(),
                name,
            }));
        }
        all
    }
}

/// Asks for every permission.
pub(crate) async fn look(cluster: &Cluster, pods: &[String], is_absent: bool, options: &Options) -> Vec<Check> {
    join_all(NEEDS.iter().map(async |need| match &options.specman_url {
        _ if need.name == VERIFY_ACCESS && options.unverified => skipped(VERIFY_ACCESS, "left out by --unverified"),
        Some(url) if need.name == VERIFY_ACCESS => skipped(VERIFY_ACCESS, format!("specman-verify goes to '{url}' instead")),
        _ => {
            let access = need.access(cluster.namespace(), &options.specman.statefulset, pods, is_absent);
            asked(cluster, need, &access, options).await
        }
    }))
    .await
}

async fn asked(cluster: &Cluster, need: &Need, access: &[Access], options: &Options) -> Check {
    let answers = join_all(access.iter().map(|access| review(cluster, access, options))).await;
    let mut denied = Vec::new();
    for (access, answer) in access.iter().zip(answers) {
        match answer {
            Ok(true) => {}
            Ok(false) => denied.push(access),
            Err(error) => return unknown(cluster, need, access, &error),
        }
    }
    if denied.is_empty() {
        return ok(need.name, format!("{} may {}", need.tool, listed(&access.iter().collect::<Vec<_>>())));
    }
    let found = format!("{} may not {}", need.tool, listed(&denied));
    let rules = Access::rules(denied);
    let hint = if need.otherwise.is_empty() { rules } else { format!("{}; else {rules}", need.otherwise) };
    if need.blocks { blocked(need.name, found, hint) } else { warning(need.name, found, hint) }
}

/// A review that is refused, or unknown to the cluster, says nothing about the permission.
fn unknown(cluster: &Cluster, need: &Need, Access { verb, resource, namespace, .. }: &Access, error: &Error) -> Check {
    let failure = cluster.failure(&format!("ask what {} may do", need.tool), error);
    if error.status().is_some() {
        let hint = format!("ask another way: kubectl auth can-i {verb} {resource} -n {namespace}");
        return warning(need.name, failure.message, hint);
    }
    let check = failed(need.name, failure);
    if need.blocks { check } else { line(need.name, CheckResult::Warning, check.found) }
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
        let asked = |need: &Need, is_absent| {
            listed(&need.access("hubble-system", "specman", &pods, is_absent).iter().collect::<Vec<_>>())
        };
        let [secret, wait, verify, ..] = &NEEDS;
        assert_eq!(asked(secret, false), "get, delete secrets");
        assert_eq!(asked(secret, true), "get secrets");
        assert_eq!(asked(wait, false), "get statefulsets; get pods; get pods/log");
        assert_eq!(asked(verify, false), "get statefulsets; get, create pods/portforward");
    }
}
