//! The differences between two objects, value by value, in a form that may be shown.

use std::fmt;

use serde_json::value::RawValue;

use crate::{Object, names_a_secret};

/// How many characters of a value are shown.
const SHOWN: usize = 120;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path, such as `spec.auth.password`.
    pub path: String,
    /// Whether the value is a secret, which is not shown.
    pub secret: bool,
    /// The old value, as it may be shown.
    pub before: String,
    /// The new value, as it may be shown.
    pub after: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.path, self.before, self.after)
    }
}

/// The differences from `before` to `after`, in the order of the fields, except at the paths in `without` and below. A
/// missing field equals an empty one, because servers write one for the other.
pub fn differences(before: &Object, after: &Object, without: &[&str]) -> Vec<Change> {
    let mut changes = Vec::new();
    in_objects("", before, after, without, &mut changes);
    changes
}

fn in_objects(at: &str, before: &Object, after: &Object, without: &[&str], changes: &mut Vec<Change>) {
    let path = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    let of = |object: &Object, name: &str| object.raw(&[name]);
    for (name, value) in before.fields() {
        in_values(&path(name), Some(value), of(after, name).as_deref(), without, changes);
    }
    for (name, value) in after.fields().filter(|(name, _)| of(before, name).is_none()) {
        in_values(&path(name), None, Some(value), without, changes);
    }
}

fn in_values(path: &str, before: Option<&RawValue>, after: Option<&RawValue>, without: &[&str], changes: &mut Vec<Change>) {
    // Go omits empty fields of some types and writes those of others (encoding/json, `omitempty`); a field that came and went
    // so was not changed.
    if without.contains(&path) || is_nothing(before) && is_nothing(after) {
        return;
    }
    if let (Some(before), Some(after)) = (before, after) {
        if let (Ok(before), Ok(after)) = (serde_json::from_str(before.get()), serde_json::from_str(after.get())) {
            return in_objects(path, &before, &after, without, changes);
        }
        let list = |value: &RawValue| serde_json::from_str::<Vec<Box<RawValue>>>(value.get());
        if let (Ok(before), Ok(after)) = (list(before), list(after))
            && before.len() == after.len()
        {
            for (index, (before, after)) in before.iter().zip(&after).enumerate() {
                in_values(&format!("{path}[{index}]"), Some(before), Some(after), without, changes);
            }
            return;
        }
        if same(before, after) {
            return;
        }
    }
    let name = path.rsplit('.').next().unwrap_or(path);
    let secret = names_a_secret(name.split('[').next().unwrap_or(name));
    changes.push(Change { path: path.to_owned(), secret, before: shown(before, secret), after: shown(after, secret) });
}

/// Whether a field is missing, or has a value that servers may omit.
fn is_nothing(value: Option<&RawValue>) -> bool {
    let bare = |value: &RawValue| value.get().split_ascii_whitespace().collect::<String>();
    value.is_none_or(|value| value.get().len() < 32 && matches!(bare(value).as_str(), "null" | "\"\"" | "false" | "{}" | "[]"))
}

/// Whether two values, not both objects, are equal. Digits beyond a float's precision count.
fn same(a: &RawValue, b: &RawValue) -> bool {
    let (a, b) = (a.get(), b.get());
    if a == b {
        return true;
    }
    let text = |value: &str| serde_json::from_str::<String>(value).ok();
    if let (Some(a), Some(b)) = (text(a), text(b)) {
        return a == b;
    }
    // 1.0 and 1 are one number, and so are 1e3 and 1000. Two long integers that a float cannot tell apart are not.
    let whole = |value: &str| value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) => x == y && x.is_finite() && !(whole(a) && whole(b)),
        _ => false,
    }
}

/// A value as it may be shown: no secret, shortened, without the content of objects and lists.
fn shown(value: Option<&RawValue>, secret: bool) -> String {
    let Some(value) = value.map(RawValue::get) else { return "(absent)".to_owned() };
    let text = serde_json::from_str::<String>(value);
    match (value.chars().next(), &text) {
        (_, Ok(text)) if text.is_empty() => "(empty)".to_owned(),
        _ if secret => "(not shown)".to_owned(),
        (Some('{'), _) => "{…}".to_owned(),
        (Some('['), _) => "[…]".to_owned(),
        (_, Ok(text)) if text.contains("-----BEGIN") => format!("(PEM, {} bytes)", text.len()),
        (_, Ok(text)) => format!("'{}'", cut(&without_userinfo(text))),
        _ => cut(value),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Removes the login from a URL.
pub(crate) fn without_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    // The last one: a login may contain others (WHATWG URL, authority state).
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(before: &str, after: &str) -> Vec<String> {
        let object = |text: &str| Object::parse(text).unwrap();
        differences(&object(before), &object(after), &["status"]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn says_each_value_that_differs_and_no_secret() {
        let before = r#"{"a":{"flag":false,"password":"canary","gone":{"token":"canary"},"l":[1,{"key":"canary"}]},"status":1}"#;
        let after = r#"{"status":2,"a":{"password":"canary2","l":[1,{"key":"c"}],"flag":true,"url":"https://u:canary@h/x"}}"#;
        assert_eq!(
            lines(before, after),
            [
                "a.flag: false -> true",
                "a.password: (not shown) -> (not shown)",
                "a.gone: {…} -> (absent)",
                "a.l[1].key: (not shown) -> (not shown)",
                "a.url: (absent) -> 'https://h/x'",
            ]
        );
    }

    #[test]
    fn nothing_is_nothing_however_it_is_written() {
        for (a, b) in [("{}", r#"{"a":null,"b":"","c":false,"d":{ },"e":[]}"#), (r#"{"a":null}"#, r#"{"a":""}"#)] {
            assert_eq!(lines(a, b), [""; 0]);
            assert_eq!(lines(b, a), [""; 0]);
        }
        assert_eq!(lines("{}", r#"{"a":0}"#), ["a: (absent) -> 0"]);
        assert_eq!(lines(r#"{"a":{"b":1}}"#, r#"{"a":{}}"#), ["a.b: 1 -> (absent)"]);
        assert_eq!(lines(r#"{"a":true}"#, r#"{}"#), ["a: true -> (absent)"]);
    }

    #[test]
    fn the_same_value_written_differently_is_not_a_difference() {
        assert_eq!(lines(r#"{"a":1.50,"b":"\u0041","c":{"x":1,"y":2}}"#, r#"{"b":"A","c":{"y":2,"x":1},"a":1.5}"#), [""; 0]);
        assert_eq!(lines(r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992}"#).len(), 1);
        assert_eq!(lines(r#"{"a":1}"#, r#"{"a":"1"}"#).len(), 1);
    }
}
