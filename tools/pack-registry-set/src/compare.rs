//! Compares an entry with what was sent: equal, changed by VerteX itself, or another entry.
//!
//! VerteX adds defaults, omits empty fields, adds slashes to addresses and hides secrets; such differences do not count.

use scar_vertex::{Change, Object, differences, entry, is_mask};

/// The fields of an entry's login and location, from the description of VerteX's API. A difference there means that VerteX has
/// another entry than was sent.
const ENTRY: &[&str] = &[
    "spec.endpoint",
    "spec.baseContentPath",
    "spec.basePath",
    "spec.providerType",
    "spec.defaultRegion",
    "spec.auth",
    "spec.credentials",
    "spec.tls",
];

/// The differences of `now` from `sent`, except at the paths in `without`: first those that make it another entry, then the
/// others.
pub(crate) fn classify(sent: &Object, now: &Object, without: &[&str]) -> (Vec<Change>, Vec<Change>) {
    let differs = |change: &Change| {
        let path: Vec<&str> = change.path.split('.').collect();
        !means_the_same(&path, &sent.text_or_empty(&path), &now.text_or_empty(&path))
    };
    let is_added = |change: &Change| ["(absent)", "(empty)", "null"].contains(&change.before.as_str());
    let all = differences(sent, now, without).into_iter().filter(|change| !is_added(change) && differs(change));
    all.partition(|change| {
        ENTRY
            .iter()
            .any(|field| change.path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])))
    })
}

/// Whether two values of a string field are equal.
fn means_the_same(path: &[&str], sent: &str, now: &str) -> bool {
    let name = path.last().copied().unwrap_or_default();
    let lines = |text: &str| text.split_whitespace().map(str::to_owned).collect::<String>();
    match name {
        "endpoint" => entry::same_endpoint(sent, now),
        "baseContentPath" | "basePath" => sent.trim_matches('/') == now.trim_matches('/'),
        // PEM may have any line ends (RFC 7468, 2).
        "ca" | "certificate" | "cert" if !sent.is_empty() => lines(sent) == lines(now),
        // A hidden value cannot be compared (FAULTS R7).
        name if scar_vertex::names_a_secret(name) => now.is_empty() || is_mask(now) || lines(sent) == lines(now),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(sent: &str, now: &str) -> (Vec<String>, Vec<String>) {
        let object = |text: &str| Object::parse(text).unwrap();
        let (wrong, other) = classify(&object(sent), &object(now), &["status"]);
        let words = |changes: Vec<Change>| changes.iter().map(ToString::to_string).collect();
        (words(wrong), words(other))
    }

    const SENT: &str = r#"{"spec":{"endpoint":"harbor.example","baseContentPath":"packs","auth":{"username":"u","password":"canary",
        "tls":{"ca":"A\nB","enabled":false}},"later":{"n":1.50},"revision":4},"status":1}"#;

    #[test]
    fn the_same_value_in_another_form_is_not_a_change() {
        let now = r#"{"status":2,"spec":{"revision":4.0,"later":{"n":1.5},"auth":{"tls":{"ca":"A\r\nB\r\n","insecureSkipVerify":false},"token":"",
            "password":"***","username":"u","type":"basic"},"isSyncSupported":true,"baseContentPath":"/packs/","endpoint":"https://Harbor.example:443/"}}"#;
        assert_eq!(changes(SENT, now), (vec![], vec![]));
        assert_eq!(changes(SENT, &SENT.replace("canary", "")), (vec![], vec![]));
    }

    #[test]
    fn another_login_or_place_is_another_entry_and_the_rest_is_reported() {
        for (from, to, says) in [
            ("harbor.example", "other.example", "spec.endpoint: 'harbor.example' -> 'other.example'"),
            ("harbor.example", "harbor.example/x", "spec.endpoint: 'harbor.example' -> 'harbor.example/x'"),
            (":\"packs\"", ":\"other\"", "spec.baseContentPath: 'packs' -> 'other'"),
            (":\"packs\"", ":null", "spec.baseContentPath: 'packs' -> null"),
            ("\"u\"", "\"v\"", "spec.auth.username: 'u' -> 'v'"),
            ("canary", "canary-2", "spec.auth.password: (not shown) -> (not shown)"),
            ("false", "true", "spec.auth.tls.enabled: false -> true"),
        ] {
            assert_eq!(changes(SENT, &SENT.replace(from, to)), (vec![says.to_owned()], vec![]), "{to}");
        }
        let now = SENT.replace(":4", ":5").replace("\"later\"", "\"gone\"");
        assert_eq!(changes(SENT, &now).1, ["spec.later: {…} -> (absent)", "spec.revision: 4 -> 5"]);
    }
}
