//! Which of VerteX's pack registries is meant: from the list and what was asked for to the one entry, or to the reason
//! why there is not exactly one.

use std::fmt;

use scar_http::StatusCode;
use scar_record::Artifact;
use scar_tool::{Exit, Failure};

use crate::{Api, Object};

/// The field that the console's box "Contains Spectro Manifests" stands for.
pub const FLAG: &[&str] = &["spec", "containsSpectroManifest"];
/// Where below an entry's base content path Specman looks (guide step 5).
const MANIFESTS: &str = "spectro-manifests/manifest";

/// How VerteX logs in to a registry; the API has a path for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// User and password: Harbor and its like.
    Basic,
    /// AWS keys or a role: Amazon ECR.
    Ecr,
}

impl Kind {
    /// The word of the kind in paths and in the record.
    pub fn word(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Ecr => "ecr",
        }
    }
}

/// An entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its uid, fit for a path.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its address as it was typed in.
    pub endpoint: String,
    /// `None` where the list does not tell.
    pub kind: Option<Kind>,
    /// What VerteX takes from it: `pack`, `helm` or `zarf`; empty where the list does not tell.
    pub provider: String,
}

impl Entry {
    /// Whether VerteX takes packs from it, as far as the list tells: Specman's manifests go the same way.
    pub fn has_packs(&self) -> bool {
        self.provider.is_empty() || self.provider.eq_ignore_ascii_case("pack")
    }

    /// The whole object. A list that does not tell its kind is helped by asking for both.
    ///
    /// # Errors
    /// As [`Api::failure`] tells them; exit 7 where the answer is something else.
    pub async fn read(&self, api: &Api) -> Result<(Kind, Object), Failure> {
        let kinds: &[Kind] = match self.kind {
            Some(Kind::Basic) => &[Kind::Basic],
            Some(Kind::Ecr) => &[Kind::Ecr],
            None => &[Kind::Basic, Kind::Ecr],
        };
        let act = format!("read the pack registry '{}'", self.name);
        let mut last = None;
        for kind in kinds {
            match api.get(&path(&self.uid, *kind)).await {
                Ok(object) if object.object(&["spec"]).is_some() => return Ok((*kind, object)),
                Ok(_) => return Err(Failure::new(Exit::Mismatch, format!("{act}: the answer is no pack registry"))),
                Err(error) => {
                    let absent = error.status() == Some(StatusCode::NOT_FOUND);
                    last = Some(api.failure(&act, &error));
                    if !absent {
                        break;
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| Failure::new(Exit::Absent, act)))
    }
}

/// Where the API has an entry.
pub fn path(uid: &str, kind: Kind) -> String {
    format!("/v1/registries/oci/{uid}/{}", kind.word())
}

/// The repository that Specman fetches from, for an entry's object.
pub fn expected_repository(object: &Object) -> String {
    below(&object.text_or_empty(&["spec", "baseContentPath"]))
}

fn below(base: &str) -> String {
    match base.trim_matches('/') {
        "" => MANIFESTS.to_owned(),
        base => format!("{base}/{MANIFESTS}"),
    }
}

/// VerteX's list of OCI pack registries.
///
/// # Errors
/// As [`Api::failure`] tells them; exit 7 where the answer is something else.
pub async fn list(api: &Api) -> Result<Vec<Entry>, Failure> {
    let list = api.get("/v1/registries/oci/summary").await;
    let list = list.map_err(|error| api.failure("list the pack registries", &error))?;
    entries(&list)
        .ok_or_else(|| Failure::new(Exit::Mismatch, "list the pack registries: the answer is no list of pack registries"))
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--uid {} (name '{}', endpoint '{}', provider '{}')", self.uid, self.name, self.endpoint, self.provider)
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The entry with this uid.
    Uid(String),
    /// The entry with this name.
    Name(String),
    /// The entry whose endpoint is this registry: `HOST[:PORT]`.
    Host(String),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "with the uid '{uid}'"),
            Self::Name(name) => write!(f, "with the name '{name}'"),
            Self::Host(host) => write!(f, "at '{host}'"),
        }
    }
}

/// What the options and the record ask for; `None` where neither says anything.
pub fn wanted(uid: Option<&str>, name: Option<&str>, artifact: Option<&Artifact>) -> Option<Wanted> {
    let own = str::to_owned;
    uid.map(|uid| Wanted::Uid(own(uid)))
        .or_else(|| name.map(|name| Wanted::Name(own(name))))
        .or_else(|| artifact.map(|artifact| Wanted::Host(own(&artifact.registry))))
}

/// The entries of a list; `None` where it is none.
fn entries(list: &Object) -> Option<Vec<Entry>> {
    if list.raw(&["items"]).is_some_and(|items| items.get() == "null") {
        return Some(Vec::new());
    }
    let entry = |item: &Object| {
        let text = |path: &[&str]| item.text_or_empty(path);
        let uid = text(&["metadata", "uid"]);
        // The uid becomes a part of paths.
        let fit = !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let kind = match text(&["spec", "registryType"]).to_ascii_lowercase().as_str() {
            "basic" => Some(Kind::Basic),
            "ecr" => Some(Kind::Ecr),
            _ => None,
        };
        fit.then(|| Entry {
            uid,
            name: text(&["metadata", "name"]),
            endpoint: text(&["spec", "endpoint"]),
            kind,
            provider: text(&["spec", "providerType"]),
        })
    };
    list.objects(&["items"])?.iter().map(entry).collect()
}

/// The one entry that is meant.
///
/// # Errors
/// Exit 3 where there is none, exit 2 where there are several; each lists the candidates.
pub fn pick<'e>(entries: &'e [Entry], wanted: &Wanted) -> Result<&'e Entry, Failure> {
    let is_meant = |entry: &&Entry| match wanted {
        Wanted::Uid(uid) => entry.uid == *uid,
        Wanted::Name(name) => entry.name == *name,
        Wanted::Host(host) => same_host(&entry.endpoint, host),
    };
    let mut found: Vec<_> = entries.iter().filter(is_meant).collect();
    // One registry may have an entry for its charts beside the one for its packs.
    if matches!(wanted, Wanted::Host(_)) && found.iter().filter(|entry| entry.has_packs()).count() == 1 {
        found.retain(|entry| entry.has_packs());
    }
    let listed = |failure: Failure, entries: &[&Entry]| entries.iter().fold(failure, |failure, entry| failure.detail(entry));
    match found.as_slice() {
        [entry] => Ok(entry),
        [] if entries.is_empty() => {
            Err(Failure::new(Exit::Absent, format!("find the pack registry {wanted}: VerteX has no OCI pack registry"))
                .hint("add it in the system console, under Administration, Pack Registries"))
        }
        [] => {
            let failure = Failure::new(Exit::Absent, format!("find the pack registry {wanted}: there is none; VerteX has:"));
            Err(listed(failure, &entries.iter().collect::<Vec<_>>()).hint("choose one with --uid or --name"))
        }
        several => {
            let count = several.len();
            Err(listed(Failure::misuse(format!("find the pack registry {wanted}: {count} match:")), several)
                .hint("choose one with --uid"))
        }
    }
}

/// Whether two addresses are the same registry: case, scheme, default port and what follows the host aside.
pub fn same_host(a: &str, b: &str) -> bool {
    host(a) == host(b)
}

fn host(address: &str) -> String {
    let rest = address.trim().split_once("://").map_or(address.trim(), |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let bare = [":443", ":80"].iter().find_map(|port| authority.strip_suffix(port)).unwrap_or(&authority);
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

    #[test]
    fn specman_looks_below_the_base_content_path() {
        for (base, repository) in [
            ("spectro-packs", "spectro-packs/spectro-manifests/manifest"),
            ("/a/b/", "a/b/spectro-manifests/manifest"),
            ("", "spectro-manifests/manifest"),
        ] {
            assert_eq!(below(base), repository);
        }
    }

    #[test]
    fn one_match_is_the_entry_none_is_absent_and_two_are_for_a_person_to_choose() {
        let entries =
            list(&[("a1", "harbor", "https://h.example"), ("a2", "dup", "x.example"), ("a3", "dup", "https://H.example:443")]);
        let pick = |wanted: Wanted| pick(&entries, &wanted);
        assert_eq!(pick(Wanted::Uid("a2".into())).unwrap().name, "dup");
        assert_eq!(pick(Wanted::Host("x.example".into())).unwrap().uid, "a2");
        let none = pick(Wanted::Name("none".into())).unwrap_err();
        assert_eq!((none.exit, none.details.len()), (Exit::Absent, 3));
        for wanted in [Wanted::Name("dup".into()), Wanted::Host("h.example".into())] {
            let several = pick(wanted).unwrap_err();
            assert_eq!((several.exit, several.details.len()), (Exit::Misuse, 2));
            assert!(several.details[1].contains("--uid a3 (name 'dup'"), "{:?}", several.details);
        }
    }

    #[test]
    fn the_entry_for_packs_is_meant_where_a_registry_has_others_beside_it() {
        let mut entries = list(&[("a1", "charts", "h.example"), ("a2", "packs", "h.example"), ("a3", "zarf", "h.example")]);
        (entries[0].provider, entries[2].provider) = ("helm".into(), "zarf".into());
        let at_host = Wanted::Host("h.example".into());
        assert_eq!(pick(&entries, &at_host).unwrap().uid, "a2");
        assert_eq!(pick(&entries, &Wanted::Uid("a1".into())).unwrap().uid, "a1");
        entries[1].provider = "helm".into();
        assert_eq!(pick(&entries, &at_host).unwrap_err().details.len(), 3);
        assert_eq!(pick(&entries[..1], &at_host).unwrap().uid, "a1");
    }

    #[test]
    fn a_list_that_is_none_is_told_apart_from_an_empty_one() {
        let read = |text: &str| entries(&Object::parse(text).unwrap());
        assert_eq!(read(r#"{"items":null}"#), Some(Vec::new()));
        assert_eq!(read(r#"{"items":[]}"#), Some(Vec::new()));
        for text in ["{}", r#"{"items":[1]}"#, r#"{"items":[{}]}"#, r#"{"items":[{"metadata":{"uid":"../../x"}}]}"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
