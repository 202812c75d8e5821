//! The resources of the lab's cluster, and how paths name them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// One resource of the API.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resource {
    /// Empty for the core group.
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) namespaced: bool,
    /// Only `create` for reviews.
    pub(super) verbs: &'static [&'static str],
}

const ALL: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const CREATE: &[&str] = &["create"];

const fn resource(
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
    verbs: &'static [&'static str],
) -> Resource {
    Resource { group, version: "v1", plural, kind, short, namespaced, verbs }
}

/// All resources.
pub(super) const RESOURCES: &[Resource] = &[
    resource("", "namespaces", "Namespace", &["ns"], false, ALL),
    resource("", "nodes", "Node", &["no"], false, ALL),
    resource("", "secrets", "Secret", &[], true, ALL),
    resource("", "pods", "Pod", &["po"], true, ALL),
    resource("", "services", "Service", &["svc"], true, ALL),
    resource("", "events", "Event", &["ev"], true, ALL),
    resource("", "persistentvolumeclaims", "PersistentVolumeClaim", &["pvc"], true, ALL),
    resource("apps", "statefulsets", "StatefulSet", &["sts"], true, ALL),
    resource("storage.k8s.io", "storageclasses", "StorageClass", &["sc"], false, ALL),
    resource("storage.k8s.io", "csidrivers", "CSIDriver", &[], false, ALL),
    resource("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", &[], false, CREATE),
    resource("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", &[], false, CREATE),
    resource("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", &[], false, CREATE),
];

impl Resource {
    /// The resource of a known kind or plural.
    pub(super) fn named(plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|r| r.plural == plural)
    }

    /// `v1` or `apps/v1`.
    pub(super) fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `secrets` or `statefulsets.apps`, as messages name it.
    pub(super) fn group_resource(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }
}

/// A path's collection, object or subresource.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) resource: &'static Resource,
    /// Empty for a cluster resource, and for a list over all namespaces.
    pub(super) namespace: Cow<'a, str>,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) subresource: Option<Cow<'a, str>>,
}

impl<'a> Target<'a> {
    /// Parses `/api/v1/…` and `/apis/GROUP/VERSION/…`; `None` if the path names no resource.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/').map(|p| percent_decode_str(p).decode_utf8_lossy());
        let (group, version) = match &*parts.next()? {
            "api" => (Cow::Borrowed(""), parts.next()?),
            "apis" => (parts.next()?, parts.next()?),
            _ => return None,
        };
        let rest: Vec<Cow<'a, str>> = parts.collect();
        let find = |plural: &str| {
            let mut all = RESOURCES.iter().filter(|r| r.plural == plural);
            all.find(|r| r.group == group && r.version == version)
        };
        let mut rest = rest.into_iter();
        let first = rest.next()?;
        let mut namespace = Cow::Borrowed("");
        let mut plural = first;
        // `namespaces/NAME` is an object; `namespaces/NAME/PLURAL` is a path inside.
        if plural == "namespaces" && rest.len() >= 2 {
            namespace = rest.next()?;
            plural = rest.next()?;
        }
        let resource = find(&plural)?;
        let name = rest.next();
        let subresource = rest.next();
        let fits = match (resource.namespaced, namespace.is_empty(), &name) {
            (true, true, name) => name.is_none(),
            (true, false, _) => true,
            (false, inside, _) => inside,
        };
        (fits && rest.next().is_none()).then_some(Self { resource, namespace, name, subresource })
    }

    /// `pods/log`, as access rules name it.
    pub(super) fn access_name(&self) -> String {
        match &self.subresource {
            Some(sub) => format!("{}/{sub}", self.resource.plural),
            None => self.resource.plural.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_collection_an_object_or_a_subresource() {
        let cases = [
            ("/api/v1/namespaces", Some("namespaces  - -")),
            ("/api/v1/namespaces/a", Some("namespaces  a -")),
            ("/api/v1/pods", Some("pods  - -")),
            ("/api/v1/namespaces/a/pods", Some("pods a - -")),
            ("/api/v1/namespaces/a/pods/p/log", Some("pods a p log")),
            ("/apis/apps/v1/namespaces/a/statefulsets/s", Some("statefulsets a s -")),
            ("/api/v1/namespaces/a/secrets/x%20y", Some("secrets a x y -")),
            ("/api/v1/pods/p", None),
            ("/api/v1/namespaces/a/statefulsets/s", None),
            ("/apis/apps/v1beta1/statefulsets", None),
            ("/api/v1/namespaces/a/nodes/n", None),
            ("/api/v1/namespaces/a/pods/p/log/more", None),
        ];
        for (path, expected) in cases {
            let seen = Target::parse(path).map(|t| {
                let or = |o: &Option<Cow<'_, str>>| o.as_deref().unwrap_or("-").to_owned();
                format!("{} {} {} {}", t.resource.plural, t.namespace, or(&t.name), or(&t.subresource))
            });
            assert_eq!(seen.as_deref(), expected, "{path}");
        }
    }
}
