//! A JSON object whose fields stay exactly as they were written: unknown fields, trailing zeros and numbers with more digits
//! than any type holds go back to the server unchanged.

use scar_record::Fields;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{is_mask, names_a_secret};

/// The deepest nesting that is accepted; real answers have about ten levels.
// serde_json has a limit of its own, but not for values that stay raw (src/de.rs, `ignore_value`), and the functions here call
// themselves at each level (FAULTS R9).
const DEEPEST: usize = 64;

/// Shorter secrets are not scrubbed from messages, because they would match in every word.
const SHORTEST: usize = 4;

/// An object; see [`Fields`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Object(Fields);

impl Object {
    /// Parses an object. The error describes the text without any value.
    pub fn parse(text: &str) -> Result<Self, String> {
        if nests_deeper(text, DEEPEST) {
            return Err(format!("JSON that nests deeper than {DEEPEST} levels"));
        }
        serde_json::from_str(text).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            match error.is_data() {
                true => "JSON, but not an object, or with a field twice".to_owned(),
                false => format!("no JSON (at {place})"),
            }
        })
    }

    /// The fields' names and values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter()
    }

    /// The value at a path, as it is written; `None` if a part of the path is missing.
    pub fn raw(&self, path: &[&str]) -> Option<Box<RawValue>> {
        let (first, rest) = path.split_first()?;
        let value = self.0.get(first)?;
        if rest.is_empty() { Some(value.to_owned()) } else { serde_json::from_str::<Self>(value.get()).ok()?.raw(rest) }
    }

    /// The object at a path.
    pub fn object(&self, path: &[&str]) -> Option<Self> {
        serde_json::from_str(self.raw(path)?.get()).ok()
    }

    /// The objects in the list at a path; `None` if the value is missing or is not a list of objects.
    pub fn objects(&self, path: &[&str]) -> Option<Vec<Self>> {
        serde_json::from_str(self.raw(path)?.get()).ok()
    }

    /// The string at a path.
    pub fn text(&self, path: &[&str]) -> Option<String> {
        serde_json::from_str(self.raw(path)?.get()).ok()
    }

    /// The string at a path; empty if it is missing.
    pub fn text_or_empty(&self, path: &[&str]) -> String {
        self.text(path).unwrap_or_default()
    }

    /// The boolean at a path; false if it is missing.
    pub fn flag(&self, path: &[&str]) -> bool {
        self.raw(path).is_some_and(|value| value.get() == "true")
    }

    /// Sets the value at a path, creating missing objects on the way, and leaves everything else unchanged.
    pub fn set(&mut self, path: &[&str], value: &impl Serialize) {
        match path {
            [] => {}
            [name] => self.0.set(name, value),
            [first, rest @ ..] => {
                let mut below = self.object(&[first]).unwrap_or_default();
                below.set(rest, value);
                self.0.set(first, &below);
            }
        }
    }

    /// Registers its secrets to be scrubbed from messages, should a server repeat one.
    pub fn never_show_secrets(&self) {
        for (name, value) in self.fields() {
            if let Some(below) = self.object(&[name]) {
                below.never_show_secrets();
            }
            let text = serde_json::from_str::<String>(value.get()).unwrap_or_default();
            if names_a_secret(name) && text.len() >= SHORTEST && !is_mask(&text) {
                scar_tool::never_show(&text);
            }
        }
    }

    /// The object as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Whether brackets outside strings are nested deeper than `most`.
fn nests_deeper(text: &str, most: usize) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_field_changes_and_all_others_stay_as_they_were_written() {
        let text = r#"{"z":{"n":1.50,"big":123456789012345678901234567890,"e":1e400},"spec":{"a":[ 1, 2 ],"flag":false}}"#;
        let mut object = Object::parse(text).unwrap();
        object.set(&["spec", "flag"], &true);
        assert_eq!(object.to_json(), text.replace("false", "true"));
        object.set(&["spec", "auth", "password"], &"p\"w");
        assert_eq!(object.text(&["spec", "auth", "password"]).as_deref(), Some("p\"w"));
        assert!(object.flag(&["spec", "flag"]) && !object.flag(&["spec", "a"]) && !object.flag(&["none"]));
    }

    #[test]
    fn refuses_other_json_than_an_object_without_quoting_it() {
        for (text, says) in [
            ("[]", "not an object"),
            ("\"canary\"", "not an object"),
            (r#"{"a":1,"a":"canary"}"#, "not an object, or with a field twice"),
            ("{\"canary", "no JSON"),
        ] {
            let error = Object::parse(text).unwrap_err();
            assert!(error.contains(says) && !error.contains("canary"), "{text}: {error}");
        }
    }

    #[test]
    fn a_deep_answer_is_refused_and_brackets_in_texts_do_not_count() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(Object::parse(&deep).unwrap_err().contains("deeper than 64"));
        let text = format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(1000));
        assert!(Object::parse(&text).is_ok());
    }
}
