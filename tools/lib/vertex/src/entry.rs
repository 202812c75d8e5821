//! Selects the pack registry entry that is meant, or says why not exactly one is. Preflight and pack-registry-set use the
//! same function.

use std::fmt;

use scar_http::StatusCode;
use scar_tool::{Exit, Failure, Spelling};

use crate::difference::without_userinfo;
use crate::{Api, Object};

/// The field of the console's box "Contains Spectro Manifests" (guide, step 8).
pub const FLAG: &[&str] = &["spec", "containsSpectroManifest"];
/// The path below an entry's base content path at which Specman looks (guide, step 5).
const MANIFESTS: &str = "spectro-manifests/manifest";

/// How VerteX logs in to a registry. The API has a path for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With user and password, as for Harbor.
    Basic,
    /// With AWS keys or a role, for Amazon ECR.
    Ecr,
}

impl Kind {
    /// Its name in paths and in the record.
    pub fn word(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Ecr => "ecr",
        }
    }
}

/// An entry, as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The uid, which is safe in a URL's path.
    pub uid: String,
    /// As the console shows it.
    pub name: String,
    /// The registry's address as the administrator typed it: with or without `https://` and a path.
    pub endpoint: String,
    /// `None` if the list does not say.
    pub kind: Option<Kind>,
    /// What VerteX reads from it: `pack`, `helm` or `zarf`; empty if the list does not say.
    pub provider: String,
}

/// An entry with its whole object.
#[derive(Debug, Clone)]
pub struct EntryObject {
    /// As the list shows it.
    pub entry: Entry,
    /// The kind by its path in the API.
    pub kind: Kind,
    /// The object with all fields; VerteX masks the secrets.
    pub object: Object,
}

impl Entry {
    /// Whether VerteX reads packs from it, as far as the list says; Specman uses the same entries.
    pub fn has_packs(&self) -> bool {
        self.provider.is_empty() || self.provider.eq_ignore_ascii_case("pack")
    }

    /// Reads the whole object. If the list does not say its kind, tries both. Exit 7 if the answer is another entry, because
    /// a later write would overwrite the wrong one.
    pub async fn read(&self, api: &Api) -> Result<(Kind, Object), Failure> {
        // `registryType` is not a required field of the list (v1OciRegistrySpec in the API's description).
        let kinds = self.kind.map_or(vec![Kind::Basic, Kind::Ecr], |kind| vec![kind]);
        let act = format!("read the pack registry '{}'", self.name);
        let mut last = Failure::new(Exit::Absent, act.clone());
        for kind in kinds {
            match api.get(&path(&self.uid, kind)).await {
                Ok(object) => return self.check(&object).map(|()| (kind, object)).map_err(|cause| mismatch(&act, &cause)),
                Err(error) => {
                    last = api.failure(&act, &error);
                    if error.status() != Some(StatusCode::NOT_FOUND) {
                        break;
                    }
                }
            }
        }
        Err(last)
    }

    fn check(&self, object: &Object) -> Result<(), String> {
        let (uid, endpoint) = (object.text_or_empty(&["metadata", "uid"]), object.text_or_empty(&["spec", "endpoint"]));
        match () {
            () if object.object(&["spec"]).is_none() => Err("the answer is not a pack registry".to_owned()),
            // A stale list or a caching proxy (FAULTS Q10).
            () if uid != self.uid => Err(format!("the answer has the uid '{uid}', not '{}'", self.uid)),
            () if !same_endpoint(&endpoint, &self.endpoint) => {
                Err(format!("the answer has the endpoint '{}', not '{}'", without_userinfo(&endpoint), self.endpoint))
            }
            () => Ok(()),
        }
    }
}

impl EntryObject {
    /// The repository that Specman reads: below the endpoint's path and the base content path.
    pub fn expected_repository(&self) -> String {
        // The guide pushes to `spectro-packs/spectro-manifests/manifest` (step 5), where `spectro-packs` is the entry's base
        // content path.
        let base = self.object.text_or_empty(&["spec", "baseContentPath"]);
        let parts = [path_below_host(&self.entry.endpoint), base.trim_matches('/'), MANIFESTS];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }

    /// The way out if Specman will not look for the artifact in `repository` of `registry`.
    pub fn misplaced(&self, registry: &str, repository: &str) -> Option<String> {
        let (expected, base) = (self.expected_repository(), self.object.text_or_empty(&["spec", "baseContentPath"]));
        (repository != expected).then(|| {
            format!("push it there: ocipush {registry}/{expected}:0.0.0; or correct the entry's base content path, now '{base}'")
        })
    }

    /// Whether Specman's pods get the registry's login from AWS themselves (pod identity); their service account then needs
    /// an association.
    pub fn uses_pod_identity(&self) -> bool {
        let credentials = self.object.object(&["spec", "credentials"]).unwrap_or_default();
        let role = credentials.object(&["podIdentity"]).is_some_and(|role| role.fields().next().is_some());
        match credentials.text_or_empty(&["credentialType"]).as_str() {
            "" => self.kind == Kind::Ecr && role,
            named => named == "pod-identity",
        }
    }
}

/// Has VerteX try what is to be written in the place of an entry, as the console's Validate does; nothing is stored. Exit 1
/// if VerteX cannot use the registry so.
pub async fn validate(api: &Api, entry: &EntryObject, after: &Object) -> Result<(), Failure> {
    // The body is the `spec` alone, unlike that of the PUT (v1BasicOciRegistriesValidate in the API's description).
    let spec = after.object(&["spec"]).unwrap_or_default().to_json();
    let path = format!("/v1/registries/oci/{}/validate", entry.kind.word());
    api.check(&path, &spec).await.map_err(|error| {
        let failure = api.failure(&format!("validate the pack registry '{}'", entry.entry.name), &error);
        match error.status() {
            Some(status) if matches!(status.as_u16(), 400 | 404 | 409 | 422) => Failure { exit: Exit::Failed, ..failure }
                .hint("VerteX cannot use the registry with this login; nothing was changed"),
            _ => failure.detail("nothing was changed"),
        }
    })
}

fn mismatch(act: &str, cause: &str) -> Failure {
    Failure::new(Exit::Mismatch, format!("{act}: {cause}"))
}

/// The API's path of an entry.
pub fn path(uid: &str, kind: Kind) -> String {
    format!("/v1/registries/oci/{uid}/{}", kind.word())
}

/// Reads the list of OCI pack registries. Exit 7 if the answer is not a list.
pub async fn list(api: &Api) -> Result<Vec<Entry>, Failure> {
    let act = "list the pack registries";
    let list = api.get("/v1/registries/oci/summary").await.map_err(|error| api.failure(act, &error))?;
    entries(&list).ok_or_else(|| mismatch(act, "the answer is not a list of pack registries"))
}

impl Entry {
    /// The option that chooses it, and what it is.
    fn shown(&self, spelling: Spelling) -> String {
        let Self { uid, name, endpoint, provider, .. } = self;
        format!("{} {uid} (name '{name}', endpoint '{endpoint}', provider '{provider}')", spelling.option("uid"))
    }
}

/// How the user selects an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// By uid.
    Uid(String),
    /// By name.
    Name(String),
    /// By its registry: `HOST[:PORT]`.
    Host(String),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "with the uid '{uid}'"),
            Self::Name(name) => write!(f, "with the name '{name}'"),
            Self::Host(host) => write!(f, "at '{host}'"),
        }
    }
}

impl Selector {
    fn selects(&self, entry: &Entry) -> bool {
        match self {
            Self::Uid(uid) => entry.uid == *uid,
            Self::Name(name) => entry.name == *name,
            Self::Host(host) => same_host(&entry.endpoint, host),
        }
    }
}

/// Parses a list; `None` if it is not one.
fn entries(list: &Object) -> Option<Vec<Entry>> {
    // Go writes a list that was never made as null (encoding/json, `Marshal`).
    if list.raw(&["items"]).is_some_and(|items| items.get() == "null") {
        return Some(Vec::new());
    }
    let entry = |item: &Object| {
        let text = |path: &[&str]| item.text_or_empty(path);
        let uid = text(&["metadata", "uid"]);
        // Only accept a uid that is safe in a URL's path.
        let fit = !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let kind = match text(&["spec", "registryType"]).to_ascii_lowercase().as_str() {
            "basic" => Some(Kind::Basic),
            "ecr" => Some(Kind::Ecr),
            _ => None,
        };
        fit.then(|| Entry {
            uid,
            name: text(&["metadata", "name"]),
            endpoint: without_userinfo(&text(&["spec", "endpoint"])),
            kind,
            provider: text(&["spec", "providerType"]),
        })
    };
    list.objects(&["items"])?.iter().map(entry).collect()
}

/// Selects one entry. Several may share a host (`spectro-packs`, `our-packs`): then it is the one where Specman looks for
/// `repository`, the artifact's. `spelling` is of the options that choose an entry. Exit 3 if it does not exist; exit 2 if
/// several fit; exit 7 if there are several and none fits. Each lists the candidates.
pub async fn choose(api: &Api, wanted: &Selector, spelling: Spelling, repository: Option<&str>) -> Result<EntryObject, Failure> {
    let entries = list(api).await?;
    let candidates = candidates(&entries, wanted, spelling)?;
    // A site may have an entry for its packs and one for its own charts on one Harbor (FAULTS Q42).
    let [_, _, ..] = candidates.as_slice() else {
        return read_all(api, &candidates).await?.pop().ok_or_else(|| absent(wanted));
    };
    let Some(repository) = repository else { return Err(ambiguous(wanted, spelling, &candidates)) };
    let mut all = read_all(api, &candidates).await?;
    let fit: Vec<usize> = (0..all.len()).filter(|&at| all[at].expected_repository() == repository).collect();
    match fit.as_slice() {
        [at] => Ok(all.swap_remove(*at)),
        [] => {
            let cause = format!("no entry has the artifact's repository '{repository}':");
            let failure = mismatch(&format!("find the pack registry {wanted}"), &cause);
            let line =
                |chosen: &EntryObject| format!("{}: looks in '{}'", chosen.entry.shown(spelling), chosen.expected_repository());
            Err(all
                .iter()
                .fold(failure, |failure, chosen| failure.detail(line(chosen)))
                .hint("push the archive to one of these repositories, or correct an entry's base content path in the console"))
        }
        several => Err(ambiguous(wanted, spelling, &several.iter().map(|&at| &all[at].entry).collect::<Vec<_>>())),
    }
}

async fn read_all(api: &Api, entries: &[&Entry]) -> Result<Vec<EntryObject>, Failure> {
    let mut all = Vec::new();
    for entry in entries {
        let (kind, object) = entry.read(api).await?;
        all.push(EntryObject { entry: (*entry).clone(), kind, object });
    }
    Ok(all)
}

/// The candidates, at least one.
fn candidates<'e>(entries: &'e [Entry], wanted: &Selector, spelling: Spelling) -> Result<Vec<&'e Entry>, Failure> {
    let mut found: Vec<_> = entries.iter().filter(|entry| wanted.selects(entry)).collect();
    // A registry may have separate entries for charts and packs (`providerType` of v1BasicOciRegistrySpec in the API's
    // description; FAULTS R1).
    if matches!(wanted, Selector::Host(_)) && found.iter().any(|entry| entry.has_packs()) {
        found.retain(|entry| entry.has_packs());
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let hint = match wanted {
        Selector::Host(host) => format!("add the pack registry for '{host}' in VerteX, under Administration, Pack Registries"),
        _ => format!("choose another with {} or {}", spelling.option("uid"), spelling.option("name")),
    };
    Err(entries.iter().fold(absent(wanted), |failure, entry| failure.detail(entry.shown(spelling))).hint(hint))
}

fn absent(wanted: &Selector) -> Failure {
    Failure::new(Exit::Absent, format!("find the pack registry {wanted}: VerteX has no such OCI pack registry"))
}

fn ambiguous(wanted: &Selector, spelling: Spelling, entries: &[&Entry]) -> Failure {
    let failure = Failure::misuse(format!("find the pack registry {wanted}: {} entries match:", entries.len()));
    let listed = entries.iter().fold(failure, |failure, entry| failure.detail(entry.shown(spelling)));
    listed.hint(format!("choose one with {}", spelling.option("uid")))
}

/// Whether two addresses mean the same registry and path.
pub fn same_endpoint(a: &str, b: &str) -> bool {
    same_host(a, b) && path_below_host(a) == path_below_host(b)
}

/// Whether two addresses mean the same registry, ignoring case, scheme, default port and path.
pub fn same_host(a: &str, b: &str) -> bool {
    host(a) == host(b)
}

fn without_scheme(address: &str) -> &str {
    address.trim().split_once("://").map_or(address.trim(), |(_, rest)| rest)
}

/// The path of an address without its outer slashes, such as `ALIAS` in `public.ecr.aws/ALIAS`.
fn path_below_host(address: &str) -> &str {
    without_scheme(address).split_once('/').map_or("", |(_, path)| path).trim_matches('/')
}

fn host(address: &str) -> String {
    let authority = without_scheme(address).split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    // An entry's endpoint may lack its scheme, so the port cannot be compared with the scheme's default.
    let bare = [":443", ":80"].iter().find_map(|port| authority.strip_suffix(port)).unwrap_or(&authority);
    // With a final dot it is the same name (RFC 1034, 3.1).
    bare.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[(&str, &str, &str)]) -> Vec<Entry> {
        let item = |(uid, name, endpoint): &(&str, &str, &str)| {
            format!(
                r#"{{"metadata":{{"uid":"{uid}","name":"{name}"}},"spec":{{"endpoint":"{endpoint}","registryType":"basic","providerType":"pack"}}}}"#
            )
        };
        let items: Vec<_> = items.iter().map(item).collect();
        entries(&Object::parse(&format!(r#"{{"items":[{}]}}"#, items.join(","))).unwrap()).unwrap()
    }

    #[test]
    fn registries_are_compared_as_hosts() {
        for (a, b, same) in [
            ("https://Harbor.example", "harbor.example", true),
            ("harbor.example:443", "https://harbor.example/", true),
            ("http://harbor.example:80/x", "harbor.example", true),
            ("harbor.example:5000", "harbor.example", false),
            ("harbor.example:8443", "harbor.example:443", false),
            ("harbor.example.evil.example", "harbor.example", false),
            ("[::1]:5000", "https://[::1]:5000", true),
            ("127.0.0.1:4430", "127.0.0.1:443", false),
        ] {
            assert_eq!(same_host(a, b), same, "{a} {b}");
        }
    }

    fn chosen(endpoint: &str, spec: &str) -> EntryObject {
        let entry = list(&[("a1", "harbor", endpoint)]).remove(0);
        EntryObject { entry, kind: Kind::Ecr, object: Object::parse(&format!(r#"{{"spec":{spec}}}"#)).unwrap() }
    }

    #[test]
    fn specman_looks_below_the_endpoints_path_and_the_base_content_path() {
        for (endpoint, base, repository) in [
            ("https://h.example", "spectro-packs", "spectro-packs/spectro-manifests/manifest"),
            ("h.example/", "/a/b/", "a/b/spectro-manifests/manifest"),
            ("h.example", "", "spectro-manifests/manifest"),
            ("public.ecr.aws/alias", "packs", "alias/packs/spectro-manifests/manifest"),
            ("https://public.ecr.aws/alias/", "", "alias/spectro-manifests/manifest"),
        ] {
            let chosen = chosen(endpoint, &format!(r#"{{"baseContentPath":"{base}"}}"#));
            assert_eq!(chosen.expected_repository(), repository);
        }
    }

    #[test]
    fn pod_identity_is_the_word_or_a_role_without_one() {
        let uses = |credentials: &str| chosen("h", &format!(r#"{{"credentials":{credentials}}}"#)).uses_pod_identity();
        assert!(uses(r#"{"credentialType":"pod-identity"}"#));
        assert!(uses(r#"{"podIdentity":{"roleArn":"r"}}"#));
        assert!(!uses(r#"{"credentialType":"secret","podIdentity":{"roleArn":"r"}}"#));
        assert!(!uses(r#"{"podIdentity":{}}"#) && !uses("null"));
    }

    #[test]
    fn the_candidates_are_those_of_the_host_that_have_packs() {
        let mut entries =
            list(&[("a1", "charts", "h.example"), ("a2", "dup", "https://H.example:443"), ("a3", "dup", "x.example")]);
        entries[0].provider = "helm".into();
        let found = |entries: &[Entry], wanted: Selector| -> Vec<String> {
            candidates(entries, &wanted, Spelling::default()).unwrap().iter().map(|entry| entry.uid.clone()).collect()
        };
        let at_host = Selector::Host("h.example".into());
        assert_eq!(found(&entries, at_host.clone()), ["a2"]);
        assert_eq!(found(&entries[..1], at_host), ["a1"]);
        assert_eq!(found(&entries, Selector::Uid("a1".into())), ["a1"]);
        assert_eq!(found(&entries, Selector::Name("dup".into())), ["a2", "a3"]);
        let none = candidates(&entries, &Selector::Host("other.example".into()), Spelling::default()).unwrap_err();
        assert_eq!((none.exit, none.details.len()), (Exit::Absent, 3));
        assert!(none.hint.unwrap().contains("add the pack registry for 'other.example'"));
    }

    #[test]
    fn what_is_not_a_list_is_distinguished_from_an_empty_one() {
        let read = |text: &str| entries(&Object::parse(text).unwrap());
        assert_eq!(read(r#"{"items":null}"#), Some(Vec::new()));
        assert_eq!(read(r#"{"items":[]}"#), Some(Vec::new()));
        for text in ["{}", r#"{"items":[1]}"#, r#"{"items":[{}]}"#, r#"{"items":[{"metadata":{"uid":"../../x"}}]}"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
