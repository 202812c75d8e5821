//! What a request asks the cluster's permission for, read from its path as the API server reads it
//! (Kubernetes documentation, "Authorization", "Determine the Request Verb").

use std::fmt;

/// Verb and object of one request, in the words of an RBAC rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `get`, `list`, `delete`, ….
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The plural, with its subresource: `pods/log`.
    pub resource: String,
    /// The namespace; empty for a resource of the whole cluster.
    pub namespace: String,
    /// The object's name; empty for a list.
    pub name: String,
}

impl Access {
    /// What `method` on `path` needs; `None` for a path that is no object's.
    pub fn of(method: &str, path: &str) -> Option<Self> {
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

    /// The same with what the server's refusal names in its place: it may have asked for more than the path tells, as
    /// for `create` where a `GET` forwards a port, or for another object, as for the user of an impersonation. `None` for
    /// a refusal that is none of permissions: an admission webhook's, a policy's, a quota's.
    pub fn refused(&self, words: &str) -> Option<Self> {
        let Some((_, told)) = words.split_once(" cannot ") else {
            let by_policy = ["admission", "denied the request", "denied request", "quota", "terminated"];
            return (!by_policy.iter().any(|part| words.contains(part))).then(|| self.clone());
        };
        let read = || {
            let (verb, rest) = told.split_once(" resource \"")?;
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
        };
        Some(read().unwrap_or_else(|| self.clone()))
    }

    /// The RBAC rule that allows it.
    pub fn rule(&self) -> String {
        let kind = if self.namespace.is_empty() { "a ClusterRole".to_owned() } else { format!("a Role in '{}'", self.namespace) };
        // A list has no name that a rule could be narrowed to.
        let names = if self.name.is_empty() { String::new() } else { format!(", resourceNames: [\"{}\"]", self.name) };
        format!(
            "ask the cluster's administrator for {kind} with the rule {{apiGroups: [\"{}\"], resources: [\"{}\"]{names}, verbs: [\"{}\"]}}",
            self.group, self.resource, self.verb
        )
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
        ] {
            assert_eq!(Access::of(method, path).unwrap().to_string(), says);
        }
        assert_eq!(Access::of("GET", "/version"), None);
    }

    #[test]
    fn a_refusal_is_believed_about_what_it_asked_for() {
        let asked = Access::of("GET", "/api/v1/namespaces/a/pods/p/portforward").unwrap();
        for (words, says) in [
            (
                r#"pods "p" is forbidden: User "u" cannot create resource "pods/portforward" in API group "" in the namespace "a""#,
                "create pods/portforward 'p' in namespace 'a'",
            ),
            (
                r#"users "root" is forbidden: User "u" cannot impersonate resource "users" in API group "" at the cluster scope"#,
                "impersonate users",
            ),
            ("no", "get pods/portforward 'p' in namespace 'a'"),
            ("User \"u\" cannot do that", "get pods/portforward 'p' in namespace 'a'"),
        ] {
            assert_eq!(asked.refused(words).unwrap().to_string(), says, "{words}");
        }
        for words in [
            r#"admission webhook "keep.example" denied the request: secrets stay"#,
            r#"ValidatingAdmissionPolicy 'keep' with binding 'all' denied request: secrets stay"#,
            r#"pods "p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"#,
        ] {
            assert_eq!(asked.refused(words), None, "{words}");
        }
    }

    #[test]
    fn states_the_rule_to_ask_for() {
        let access = Access::of("GET", "/apis/apps/v1/namespaces/a/statefulsets/x").unwrap();
        assert!(access.rule().ends_with(
            r#"a Role in 'a' with the rule {apiGroups: ["apps"], resources: ["statefulsets"], resourceNames: ["x"], verbs: ["get"]}"#
        ));
        assert!(!Access::of("GET", "/api/v1/namespaces/a/pods").unwrap().rule().contains("resourceNames"));
    }
}
