//! Authentication and permissions.
//!
//! A client is identified by a bearer token, or by the common name of its verified certificate. Its permissions are rules
//! over verb, resource, namespace and name, with `*` for any; a refusal is worded as by RBAC.

use std::collections::HashMap;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::resource::{Resource, Target};
use super::status::{Refusal, forbidden, unauthorized};

/// One permission. Each part is a word or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// The plural, with its subresource: `secrets`, `pods/log`.
    pub resource: String,
    /// The namespace; a cluster resource and a list over all namespaces need `*`.
    pub namespace: String,
    /// The object's name; a list and a create have none, and need `*`.
    pub name: String,
}

impl Rule {
    /// Allows `verb` on every `resource` of every namespace.
    pub fn new(verb: &str, resource: &str) -> Self {
        let any = || "*".to_owned();
        Self { verb: verb.into(), resource: resource.into(), namespace: any(), name: any() }
    }

    /// Allows it in one namespace only.
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Allows it for one object only.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    fn covers(&self, asked: &Rule) -> bool {
        let fits = |ours: &str, theirs: &str| ours == "*" || ours == theirs;
        fits(&self.verb, &asked.verb)
            && fits(&self.resource, &asked.resource)
            && fits(&self.namespace, &asked.namespace)
            && fits(&self.name, &asked.name)
    }
}

/// What the users of the cluster may do.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// Everything, as with the guide's admin kubeconfig.
    #[default]
    Everything,
    /// Only what one of the rules allows.
    Only(Vec<Rule>),
    /// Everything except what one of the rules names.
    AllBut(Vec<Rule>),
}

impl Access {
    pub(super) fn allows(&self, asked: &Rule) -> bool {
        match self {
            Self::Everything => true,
            Self::Only(rules) => rules.iter().any(|r| r.covers(asked)),
            Self::AllBut(rules) => !rules.iter().any(|r| r.covers(asked)),
        }
    }
}

/// The credentials that the cluster knows.
#[derive(Default)]
pub(super) struct Users {
    /// Tokens and their users.
    pub(super) tokens: HashMap<String, String>,
    pub(super) certificates_refused: bool,
    /// Requests without credentials are `system:anonymous` instead of a 401.
    pub(super) anonymous: bool,
}

impl Users {
    /// The user of a request.
    pub(super) fn identify(&self, headers: &HeaderMap, certificate: Option<&CertificateDer<'_>>) -> Result<String, Refusal> {
        if let Some(certificate) = certificate
            && !self.certificates_refused
            && let Some(user) = common_name(certificate)
        {
            return Ok(user);
        }
        let Some(header) = headers.get(AUTHORIZATION) else {
            return match self.anonymous {
                true => Ok("system:anonymous".into()),
                false => Err(unauthorized()),
            };
        };
        let token = header.to_str().ok().and_then(|h| h.strip_prefix("Bearer "));
        let user = token.and_then(|t| self.tokens.get(t)).cloned();
        user.ok_or_else(unauthorized)
    }
}

fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

/// Refuses what the rules do not allow.
pub(super) fn check(access: &Access, user: &str, verb: &str, target: &Target<'_>) -> Result<(), Refusal> {
    let resource = target.access_name();
    let asked = Rule {
        verb: verb.into(),
        resource: resource.clone(),
        namespace: target.namespace.to_string(),
        name: target.name.as_deref().unwrap_or_default().into(),
    };
    if access.allows(&asked) || target.resource.group.starts_with("auth") {
        return Ok(());
    }
    let group = target.resource.group;
    let place = match &*target.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let what = format!("User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}");
    Err(forbidden(target, &what))
}

/// The answer to a self review: the object that was sent, with its status.
pub(super) fn review(access: &Access, user: &str, resource: &Resource, sent: &Value) -> Value {
    let status = match resource.plural {
        "selfsubjectaccessreviews" => {
            let asked = &sent["spec"]["resourceAttributes"];
            let word = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
            let subresource = word("subresource");
            let rule = Rule {
                verb: word("verb"),
                resource: match subresource.as_str() {
                    "" => word("resource"),
                    sub => format!("{}/{sub}", word("resource")),
                },
                namespace: word("namespace"),
                name: word("name"),
            };
            json!({"allowed": access.allows(&rule)})
        }
        "selfsubjectrulesreviews" => {
            let rules = match access {
                Access::Only(rules) => {
                    let asked = sent["spec"]["namespace"].as_str().unwrap_or_default();
                    let here = |r: &&Rule| r.namespace == "*" || r.namespace == asked;
                    rules.iter().filter(here).map(in_review).collect()
                }
                _ => vec![in_review(&Rule::new("*", "*"))],
            };
            json!({"incomplete": false, "nonResourceRules": [], "resourceRules": rules})
        }
        _ => json!({"userInfo": {"username": user, "groups": ["system:authenticated"]}}),
    };
    let mut answer = sent.clone();
    answer["apiVersion"] = json!(resource.api_version());
    answer["kind"] = json!(resource.kind);
    answer["status"] = status;
    answer
}

fn in_review(rule: &Rule) -> Value {
    let mut out = json!({"verbs": [rule.verb], "apiGroups": ["*"], "resources": [rule.resource]});
    if rule.name != "*" {
        out["resourceNames"] = json!([rule.name]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_with_a_name_covers_that_object_and_no_list() {
        let one = Rule::new("*", "secrets").within("a").named("s");
        let access = Access::Only(vec![one, Rule::new("get", "pods/log")]);
        let asked = |verb: &str, resource: &str, namespace: &str, name: &str| Rule {
            verb: verb.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        };
        let cases = [
            (asked("delete", "secrets", "a", "s"), true),
            (asked("delete", "secrets", "a", "t"), false),
            (asked("delete", "secrets", "b", "s"), false),
            (asked("list", "secrets", "a", ""), false),
            (asked("get", "pods/log", "b", "p"), true),
            (asked("get", "pods", "b", "p"), false),
        ];
        for (asked, allowed) in cases {
            assert_eq!(access.allows(&asked), allowed, "{asked:?}");
        }
    }

    #[test]
    fn a_refusal_is_worded_as_rbac_words_it() {
        let target = Target::parse("/apis/apps/v1/namespaces/z/statefulsets/x").unwrap();
        let refusal = check(&Access::Only(vec![]), "y", "get", &target).unwrap_err();
        assert_eq!(refusal.status(), 403);
        let target = Target::parse("/api/v1/namespaces/z/secrets").unwrap();
        assert!(check(&Access::Everything, "y", "list", &target).is_ok());
    }
}
