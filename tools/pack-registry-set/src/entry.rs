//! Which of VerteX's pack registries is meant: from the list and what was asked for to the one entry, or to the reason
//! why there is not exactly one.

use std::fmt;

use scar_record::Artifact;
use scar_tool::{Exit, Failure};
use scar_vertex::Object;

/// How VerteX logs in to a registry; the API has a path for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// User and password: Harbor and its like.
    Basic,
    /// AWS keys or a role: Amazon ECR.
    Ecr,
}

impl Kind {
    /// The word of the kind in paths and in the record.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Ecr => "ecr",
        }
    }
}

/// An entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) endpoint: String,
    /// `None` where the list does not tell.
    pub(crate) kind: Option<Kind>,
    provider: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--uid {} (name '{}', endpoint '{}', provider '{}')", self.uid, self.name, self.endpoint, self.provider)
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
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
pub(crate) fn wanted(uid: Option<&str>, name: Option<&str>, artifact: Option<&Artifact>) -> Option<Wanted> {
    let own = str::to_owned;
    uid.map(|uid| Wanted::Uid(own(uid)))
        .or_else(|| name.map(|name| Wanted::Name(own(name))))
        .or_else(|| artifact.map(|artifact| Wanted::Host(own(&artifact.registry))))
}

/// The entries of a list; `None` where it is none.
pub(crate) fn entries(list: &Object) -> Option<Vec<Entry>> {
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
pub(crate) fn pick<'e>(entries: &'e [Entry], wanted: &Wanted) -> Result<&'e Entry, Failure> {
    let is_meant = |entry: &&Entry| match wanted {
        Wanted::Uid(uid) => entry.uid == *uid,
        Wanted::Name(name) => entry.name == *name,
        Wanted::Host(host) => same_host(&entry.endpoint, host),
    };
    let found: Vec<_> = entries.iter().filter(is_meant).collect();
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
pub(crate) fn same_host(a: &str, b: &str) -> bool {
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
    fn a_list_that_is_none_is_told_apart_from_an_empty_one() {
        let read = |text: &str| entries(&Object::parse(text).unwrap());
        assert_eq!(read(r#"{"items":null}"#), Some(Vec::new()));
        assert_eq!(read(r#"{"items":[]}"#), Some(Vec::new()));
        for text in ["{}", r#"{"items":[1]}"#, r#"{"items":[{}]}"#, r#"{"items":[{"metadata":{"uid":"../../x"}}]}"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
