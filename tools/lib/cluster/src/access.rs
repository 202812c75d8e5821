//! The permission that a request needs, derived from its path as the API server does (Kubernetes documentation,
//! "Authorization", "Determine the Request Verb").

use std::collections::BTreeMap;
use std::fmt;

/// Verb and object of a request, as in an RBAC rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `get`, `list`, `delete`, ….
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The plural, with its subresource: `pods/log`; or a path outside the objects: `/version`.
    pub resource: String,
    /// The namespace; empty for a resource of the whole cluster.
    pub namespace: String,
    /// The object's name; empty for a list.
    pub name: String,
}

impl Access {
    /// What `method` on `path` needs.
    pub fn of(method: &str, path: &str) -> Self {
        Self::of_object(method, path).unwrap_or_else(|| Self {
            verb: method.to_ascii_lowercase(),
            group: String::new(),
            resource: path.to_owned(),
            namespace: String::new(),
            name: String::new(),
        })
    }

    fn of_object(method: &str, path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let group = match parts.next()? {
            "api" => String::new(),
            "apis" => parts.next()?.to_owned(),
            _ => return None,
        };
        parts.next()?;
        let rest: Vec<&str> = parts.collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name) = match rest {
            [resource] => ((*resource).to_owned(), ""),
            [resource, name] => ((*resource).to_owned(), *name),
            [resource, name, sub, ..] => (format!("{resource}/{sub}"), *name),
            [] => return None,
        };
        let verb = match (method, name.is_empty()) {
            ("GET" | "HEAD", false) => "get",
            ("GET" | "HEAD", true) => "list",
            ("DELETE", false) => "delete",
            ("PATCH", _) => "patch",
            ("PUT", _) => "update",
            _ => "create",
        };
        Some(Self { verb: verb.to_owned(), group, resource, namespace: namespace.into(), name: name.into() })
    }

    /// What RBAC's refusal of this request says is missing: the server may have asked for more than the path shows, as for
    /// `create` where a `GET` forwards a port, or for another object, as for the user of an impersonation. `None` for words
    /// that are not RBAC's.
    pub(crate) fn denied(&self, message: &str) -> Option<Self> {
        // Behind the GET that forwards a port, Kubernetes 1.35 and later also ask for `create` (feature gate
        // AuthorizePodWebsocketUpgradeCreatePermission, kubernetes/kubernetes#134577), and pass on RBAC's reason, which is
        // empty.
        if self.resource == "pods/portforward" && message.trim_end().ends_with("is forbidden:") {
            return Some(Self { verb: "create".to_owned(), ..self.clone() });
        }
        // The Status has neither verb nor subresource, so the sentence is parsed
        // (apiserver/pkg/endpoints/handlers/responsewriters/errors.go, `forbiddenMessage`).
        let (_, asked) = message.split_once(" cannot ")?;
        if asked.contains(" path \"") && self.resource.starts_with('/') {
            return Some(self.clone());
        }
        let (verb, rest) = asked.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once("\" in API group \"")?;
        let (group, place) = rest.split_once('"')?;
        let is_own = (resource, group) == (self.resource.as_str(), self.group.as_str());
        let everywhere = place.starts_with(" at the cluster scope");
        Some(Self {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: if everywhere { String::new() } else { self.namespace.clone() },
            name: if is_own { self.name.clone() } else { String::new() },
        })
    }

    /// What to ask for where all of `missing` is: the rules, each with every verb and every object that it can take
    /// together. All of it lies in one namespace.
    pub fn rules<'a>(missing: impl IntoIterator<Item = &'a Self>) -> String {
        let (mut objects, mut namespace) = (BTreeMap::<_, Vec<&str>>::new(), "");
        for access in missing {
            namespace = &access.namespace;
            objects.entry((&access.resource, &access.group, access.named())).or_default().push(&access.verb);
        }
        let mut rules = BTreeMap::<_, Vec<&str>>::new();
        for ((resource, group, name), verbs) in objects {
            rules.entry((resource, group, name.is_some(), verbs)).or_default().extend(name);
        }
        let list = |words: &[&str]| words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let rule = |((resource, group, is_named, verbs), names): (&(&String, &String, bool, Vec<&str>), &Vec<&str>)| {
            let (verbs, names) = (list(verbs), list(names));
            if resource.starts_with('/') {
                return format!("{{nonResourceURLs: [\"{resource}\"], verbs: [{verbs}]}}");
            }
            let names = if *is_named { format!(", resourceNames: [{names}]") } else { String::new() };
            format!("{{apiGroups: [\"{group}\"], resources: [\"{resource}\"]{names}, verbs: [{verbs}]}}")
        };
        // Only a ClusterRole grants a path (kubernetes/api rbac/v1/types.go, PolicyRule.NonResourceURLs).
        let kind = if namespace.is_empty() { "a ClusterRole".to_owned() } else { format!("a Role in '{namespace}'") };
        let word = if rules.len() == 1 { "rule" } else { "rules" };
        let rules = rules.iter().map(rule).collect::<Vec<_>>().join(", ");
        format!("ask the cluster's administrator for {kind} with the {word} {rules}")
    }

    /// The name that a rule can be narrowed to. A list has none, and at a create RBAC does not know it yet (Kubernetes
    /// documentation, "Using RBAC Authorization", "Referring to resources").
    pub fn named(&self) -> Option<&str> {
        Some(&*self.name).filter(|name| !name.is_empty() && (self.verb != "create" || self.resource.contains('/')))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.name.is_empty() {
            write!(f, " '{}'", self.name)?;
        }
        if !self.namespace.is_empty() {
            write!(f, " in namespace '{}'", self.namespace)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_verb_resource_namespace_and_name() {
        for (method, path, says) in [
            ("GET", "/api/v1/namespaces/a/secrets/s", "get secrets 's' in namespace 'a'"),
            ("DELETE", "/api/v1/namespaces/a/secrets/s", "delete secrets 's' in namespace 'a'"),
            ("GET", "/api/v1/namespaces/a/pods", "list pods in namespace 'a'"),
            ("GET", "/api/v1/namespaces/a/pods/p/log", "get pods/log 'p' in namespace 'a'"),
            ("GET", "/apis/apps/v1/namespaces/a/statefulsets/x", "get statefulsets 'x' in namespace 'a'"),
            ("GET", "/api/v1/namespaces/a", "get namespaces 'a'"),
            ("GET", "/version", "get /version"),
            ("GET", "/apis/apps/v1", "get /apis/apps/v1"),
        ] {
            assert_eq!(Access::of(method, path).to_string(), says);
        }
    }

    #[test]
    fn a_refusal_is_believed_about_what_it_asked_for() {
        let asked = Access::of("GET", "/api/v1/namespaces/a/pods/p/portforward");
        for (words, says) in [
            (
                r#"pods "p" is forbidden: User "u" cannot create resource "pods/portforward" in API group "" in the namespace "a""#,
                Some("create pods/portforward 'p' in namespace 'a'"),
            ),
            (
                r#"users "root" is forbidden: User "u" cannot impersonate resource "users" in API group "" at the cluster scope"#,
                Some("impersonate users"),
            ),
            (r#"pods "p" is forbidden: "#, Some("create pods/portforward 'p' in namespace 'a'")),
            ("User \"u\" cannot do that", None),
            (r#"pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"#, None),
        ] {
            assert_eq!(asked.denied(words).map(|access| access.to_string()).as_deref(), says, "{words}");
        }
        let version = Access::of("GET", "/version");
        assert_eq!(version.denied(r#"forbidden: User "u" cannot get path "/version""#), Some(version.clone()));
        assert!(
            Access::rules([&version]).contains(r#"a ClusterRole with the rule {nonResourceURLs: ["/version"], verbs: ["get"]}"#)
        );
    }

    #[test]
    fn q55_a_rule_has_every_verb_and_every_object_that_it_can_take() {
        let of = |method: &str, path: &str| Access::of(method, &format!("/api/v1/namespaces/a/{path}"));
        let missing = [
            of("GET", "secrets/s"),
            of("DELETE", "secrets/s"),
            Access { name: "s".into(), ..of("POST", "secrets") },
            of("GET", "pods/p-0"),
            of("GET", "pods/p-1"),
        ];
        assert_eq!(
            Access::rules(&missing),
            "ask the cluster's administrator for a Role in 'a' with the rules \
             {apiGroups: [\"\"], resources: [\"pods\"], resourceNames: [\"p-0\", \"p-1\"], verbs: [\"get\"]}, \
             {apiGroups: [\"\"], resources: [\"secrets\"], verbs: [\"create\"]}, \
             {apiGroups: [\"\"], resources: [\"secrets\"], resourceNames: [\"s\"], verbs: [\"get\", \"delete\"]}"
        );
        let list = of("GET", "pods");
        let any_log = Access { name: String::new(), ..of("GET", "pods/p-0/log") };
        assert!(!Access::rules([&list, &any_log]).contains("resourceNames"));
        assert!(Access::rules([&Access { namespace: String::new(), ..list }]).contains("a ClusterRole with the rule {"));
    }
}
