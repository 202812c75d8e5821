//! The stored OCI pack registries: the object in its two kinds, its login, its flag.
//!
//! An object is stored exactly as sent, with unknown fields. What a tool must never send is refused: a mask or a blank
//! instead of a secret, and a private key if the entry has none. It is not public whether VerteX would replace a mask by the
//! secret; if it does not, the login would be lost.

use serde_json::{Value, json};

use super::{Masking, Vertex};

/// The two kinds of an OCI pack registry; the API has a path for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryKind {
    /// With user and password, as for Harbor.
    Basic,
    /// Amazon ECR, with AWS keys or a role.
    Ecr,
}

impl RegistryKind {
    /// Its name in paths and lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Ecr => "ecr",
        }
    }

    /// The path of the login in `spec`.
    pub(super) fn login(self) -> &'static str {
        match self {
            Self::Basic => "auth",
            Self::Ecr => "credentials",
        }
    }
}

/// A stored registry.
pub(super) struct Registry {
    pub(super) kind: RegistryKind,
    pub(super) object: Value,
    /// The login that the registry really accepts.
    pub(super) login: Value,
    /// How many more times the sync status says that a sync is running.
    pub(super) polls_left: u32,
    pub(super) syncs: u32,
    pub(super) writes: u32,
    /// When the last sync was started.
    pub(super) synced_at: Option<String>,
}

impl Registry {
    /// Starts a sync, which is running for `polls` requests.
    pub(super) fn sync(&mut self, polls: u32) {
        self.syncs += 1;
        self.polls_left = polls;
        self.synced_at = Some(format!("{:.3}", jiff::Timestamp::now()));
    }
}

/// The fields of a login that a GET may hide.
pub(super) const SECRETS: [&str; 4] = ["password", "token", "secretKey", "secretToken"];

/// The default CA of a self-signed registry.
const CA: &str = "-----BEGIN CERTIFICATE-----\nbGFiIENB\n-----END CERTIFICATE-----\n";

/// An object of the kind `Basic` after an OVA installation: `tls.certificate` is the self-signed registry's CA, without a
/// key. Some of its fields are not in the swagger.
pub fn basic_registry(uid: &str, name: &str, endpoint: &str, user: &str, password: &str) -> Value {
    json!({
        "kind": "basic",
        "metadata": metadata(uid, name),
        "spec": {
            "auth": {
                "password": password,
                "tls": {"certificate": CA, "enabled": true, "insecureSkipVerify": false},
                "type": "basic",
                "username": user
            },
            "baseContentPath": "spectro-packs",
            "basePath": "",
            "containsSpectroManifest": false,
            "endpoint": endpoint,
            "isSyncSupported": true,
            "providerType": "pack",
            "scope": "system",
            "mirrorPolicy": {"retries": 3, "ratio": 1.50, "hosts": ["one.example", "two.example"]}
        },
        "status": {"syncStatus": synced()}
    })
}

/// An object of the kind `Ecr` with AWS keys, and fields that are not in the swagger.
pub fn ecr_registry(uid: &str, name: &str, endpoint: &str, key: &str, secret: &str) -> Value {
    json!({
        "kind": "ecr",
        "metadata": metadata(uid, name),
        "spec": {
            "baseContentPath": "spectro-packs",
            "containsSpectroManifest": false,
            "credentials": {
                "accessKey": key,
                "credentialType": "secret",
                "partition": "aws-us-gov",
                "secretKey": secret
            },
            "defaultRegion": "us-gov-west-1",
            "endpoint": endpoint,
            "isPrivate": true,
            "isSyncSupported": true,
            "providerType": "pack",
            "scope": "system",
            "tls": {"ca": "", "enabled": false, "insecureSkipVerify": false},
            "replication": {"destination": null, "window": 9_007_199_254_740_993_u64}
        },
        "status": {"syncStatus": synced()}
    })
}

fn metadata(uid: &str, name: &str) -> Value {
    json!({
        "annotations": {"scope": "system"},
        "creationTimestamp": "2024-03-05T08:12:44.431Z",
        "labels": {},
        "lastModifiedTimestamp": "2024-11-20T17:00:02.100Z",
        "name": name,
        "uid": uid
    })
}

pub(super) fn synced() -> Value {
    json!({
        "isSyncSupported": true,
        "lastRunTime": "2024-11-20T17:00:02.100Z",
        "lastSyncedTime": "2024-11-20T17:00:09.300Z",
        "message": "",
        "status": "Success"
    })
}

impl Vertex {
    /// Adds a pack registry, whose login becomes the accepted one; returns its uid.
    pub fn add_registry(&self, kind: RegistryKind, object: Value) -> String {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let login = object["spec"][kind.login()].clone();
        let registry = Registry { kind, object, login, polls_left: 0, syncs: 0, writes: 0, synced_at: None };
        self.lock().registries.insert(uid.clone(), registry);
        uid
    }

    /// A stored registry, with secrets in clear.
    pub fn registry(&self, uid: &str) -> Option<Value> {
        self.lock().registries.get(uid).map(|r| r.object.clone())
    }

    /// How often a registry was written, and how many syncs were started.
    pub fn registry_writes(&self, uid: &str) -> (u32, u32) {
        let state = self.lock();
        state.registries.get(uid).map_or((0, 0), |r| (r.writes, r.syncs))
    }

    /// Changes a registry behind the client's back; the platform acts on its flag.
    pub fn edit_registry(&self, uid: &str, edit: impl FnOnce(&mut Value)) {
        let mut state = self.lock();
        let on_flag = state.on_flag.clone();
        let Some(registry) = state.registries.get_mut(uid) else { return };
        let before = flag(&registry.object);
        edit(&mut registry.object);
        let after = flag(&registry.object);
        drop(state);
        if let Some(on_flag) = on_flag.filter(|_| before != after) {
            on_flag(after);
        }
    }

    /// Whether the stored login of a registry is still accepted.
    pub fn registry_login_works(&self, uid: &str) -> bool {
        let state = self.lock();
        state.registries.get(uid).is_some_and(|r| same_login(&r.object["spec"][r.kind.login()], &r.login))
    }

    /// Sets a callback for when a PUT changes "Contains Spectro Manifests" of any registry.
    pub fn on_flag(&self, flag: crate::OnFlag) {
        self.lock().on_flag = Some(flag);
    }
}

/// The registries by uid.
pub(super) type Registries = std::collections::BTreeMap<String, Registry>;

pub(super) fn flag(object: &Value) -> bool {
    object["spec"]["containsSpectroManifest"] == true
}

pub(super) fn same_login(given: &Value, real: &Value) -> bool {
    let names = ["type", "username", "credentialType", "accessKey", "sts", "podIdentity"];
    let empty = |v: &Value| v.is_null() || v == "" || *v == json!({});
    names.iter().chain(&SECRETS).all(|name| {
        let (given, real) = (&given[*name], &real[*name]);
        given == real || (empty(given) && empty(real))
    })
}

pub(super) fn in_summary(registry: &Registry) -> Value {
    let object = &registry.object;
    let mut spec = json!({
        "containsSpectroManifest": flag(object),
        "isPrivate": true,
        "registryType": registry.kind.word()
    });
    for field in ["defaultRegion", "endpoint", "providerType", "scope"] {
        if let Some(value) = object["spec"].get(field) {
            spec[field] = value.clone();
        }
    }
    let sync = object["status"].get("syncStatus").cloned().unwrap_or_else(synced);
    json!({"metadata": object["metadata"], "spec": spec, "status": {"sync": sync}})
}

/// An object as a GET shows it, with its secrets hidden as the site does.
pub(super) fn shown(registry: &Registry, secrets: Masking) -> Value {
    let mut object = registry.object.clone();
    hide(&mut object["spec"], secrets);
    object
}

fn hide(value: &mut Value, secrets: Masking) {
    let Some(fields) = value.as_object_mut() else { return };
    fields.values_mut().for_each(|below| hide(below, secrets));
    let hidden: Vec<String> =
        fields.iter().filter(|(name, value)| is_secret(name) && !is_blank(value)).map(|(name, _)| name.clone()).collect();
    for name in hidden {
        match secrets {
            Masking::Shown => {}
            Masking::Blank => fields[&name] = json!(""),
            Masking::Masked => fields[&name] = json!(mask(&name, &fields[&name])),
            Masking::Absent => drop(fields.shift_remove(&name)),
        }
    }
}

/// Both forms are in public clients of the platform: `********`, and `abc***def` for an ECR secret key.
pub(super) fn mask(name: &str, secret: &Value) -> String {
    match secret.as_str().filter(|text| name == "secretKey" && text.len() > 6 && text.is_ascii()) {
        Some(text) => format!("{}***{}", &text[..3], &text[text.len() - 3..]),
        None => "********".to_owned(),
    }
}

/// Whether a field of an entry is secret: the login's, and a client certificate's private key.
fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name) || name == "key"
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value == ""
}

/// What no tool may send in `spec`: a mask, a blank instead of a secret of `stored`, or a private key that `stored` does not
/// have. Only names the field.
pub(super) fn forbidden(spec: &Value, stored: &Value) -> Option<String> {
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (sent, stored) = (fields(spec), fields(stored));
    for name in sent.keys().chain(stored.keys()) {
        let at = |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
        let (new, old) = (at(&sent), at(&stored));
        if new.as_str().is_some_and(|text| text.contains("***")) {
            return Some(format!("a mask in the place of '{name}'"));
        }
        if is_secret(name) && is_blank(&new) && !is_blank(&old) {
            return Some(format!("a blank in the place of '{name}'"));
        }
        if name == "key" && !is_blank(&new) && is_blank(&old) {
            return Some("a private key, and the entry has none".to_owned());
        }
        if let Some(below) = forbidden_below(&new, &old) {
            return Some(below);
        }
    }
    None
}

fn forbidden_below(new: &Value, old: &Value) -> Option<String> {
    (new.is_object() || old.is_object()).then(|| forbidden(new, old)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_is_blank_or_masked_is_another_login() {
        let real = json!({"type": "basic", "username": "u", "password": "p", "tls": {"enabled": true}});
        let with = |password: &str| json!({"type": "basic", "username": "u", "password": password});
        assert!(same_login(&with("p"), &real));
        assert!(!same_login(&with(""), &real));
        assert!(!same_login(&with("***"), &real));
    }

    #[test]
    fn every_kind_of_hiding_leaves_the_stored_object_alone() {
        let vertex = Vertex::start();
        let object = ecr_registry("e1", "ecr", "1.dkr.ecr.us-gov-west-1.amazonaws.com", "AK", "SK");
        vertex.add_registry(RegistryKind::Ecr, object.clone());
        let state = vertex.lock();
        let registry = &state.registries["e1"];
        let secret = |secrets| shown(registry, secrets)["spec"]["credentials"].get("secretKey").cloned();
        assert_eq!(secret(Masking::Shown), Some(json!("SK")));
        assert_eq!(secret(Masking::Blank), Some(json!("")));
        assert_eq!(secret(Masking::Masked), Some(json!("********")), "too short to show its ends");
        assert_eq!(secret(Masking::Absent), None);
        assert_eq!(registry.object, object);
    }

    #[test]
    fn masks_have_the_forms_of_real_sites() {
        assert_eq!(mask("secretKey", &json!("abc0123456def")), "abc***def");
        assert_eq!(mask("password", &json!("abc0123456def")), "********");
    }

    #[test]
    fn a_mask_a_blank_and_a_new_key_are_forbidden_and_a_new_login_is_not() {
        let stored = json!({"auth": {"username": "u", "password": "p", "tls": {"certificate": "CA"}}});
        let says = |auth: Value| forbidden(&json!({"auth": auth}), &stored).unwrap_or_default();
        assert_eq!(says(json!({"username": "v", "password": "q", "tls": {"certificate": "CA", "key": ""}})), "");
        assert!(says(json!({"username": "u", "password": "********"})).contains("a mask"));
        for blank in [json!({"username": "u", "password": ""}), json!({"username": "u"}), json!({"password": null}), json!(null)]
        {
            assert!(says(blank).contains("a blank in the place of 'password'"));
        }
        assert!(says(json!({"password": "p", "tls": {"certificate": "CA", "key": "K"}})).contains("a private key"));
    }
}
