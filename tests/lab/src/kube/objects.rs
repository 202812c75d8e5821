//! The stored objects, their changes, and the selectors of lists.
//!
//! Every write assigns the next resource version and stores an event; events are kept forever, so that a watch from any
//! version is complete.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::resource::Resource;

/// A change of an object.
pub(super) struct Event {
    pub(super) revision: u64,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(super) word: &'static str,
    pub(super) plural: &'static str,
    pub(super) object: Value,
}

type Key = (&'static str, String, String);

/// All objects of the cluster.
pub(super) struct Objects {
    all: BTreeMap<Key, Value>,
    pub(super) revision: u64,
    pub(super) events: Vec<Event>,
}

impl Objects {
    pub(super) fn new() -> Self {
        Self { all: BTreeMap::new(), revision: 1000, events: Vec::new() }
    }

    pub(super) fn get(&self, plural: &'static str, namespace: &str, name: &str) -> Option<&Value> {
        self.all.get(&(plural, namespace.to_owned(), name.to_owned()))
    }

    /// The objects of a resource, in one namespace or (empty) in all.
    pub(super) fn list(&self, plural: &str, namespace: &str) -> impl Iterator<Item = &Value> {
        let here = move |key: &Key| key.0 == plural && (namespace.is_empty() || key.1 == namespace);
        self.all.iter().filter(move |(key, _)| here(key)).map(|(_, object)| object)
    }

    /// Stores or replaces an object under its resource, namespace and name, with the fields that the server sets, and
    /// returns it.
    pub(super) fn put(&mut self, resource: &'static Resource, namespace: &str, name: &str, mut object: Value) -> Value {
        let key = (resource.plural, namespace.to_owned(), name.to_owned());
        let old = self.all.get(&key);
        self.revision += 1;
        object["apiVersion"] = json!(resource.api_version());
        object["kind"] = json!(resource.kind);
        let meta = &mut object["metadata"];
        meta["name"] = json!(name);
        if resource.namespaced {
            meta["namespace"] = json!(namespace);
        }
        if meta["uid"].is_null() {
            meta["uid"] = json!(super::uid());
        }
        if meta["creationTimestamp"].is_null() {
            meta["creationTimestamp"] = json!(now());
        }
        meta["resourceVersion"] = json!(self.revision.to_string());
        let word = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.record(word, resource.plural, &object);
        self.all.insert(key, object.clone());
        object
    }

    pub(super) fn remove(&mut self, plural: &'static str, namespace: &str, name: &str) -> Option<Value> {
        let key = (plural, namespace.to_owned(), name.to_owned());
        let mut object = self.all.remove(&key)?;
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.record("DELETED", plural, &object);
        Some(object)
    }

    fn record(&mut self, word: &'static str, plural: &'static str, object: &Value) {
        let (revision, object) = (self.revision, object.clone());
        self.events.push(Event { revision, word, plural, object });
    }
}

/// The time for metadata, in whole seconds.
pub(super) fn now() -> String {
    format!("{:.0}", Timestamp::now())
}

/// The selectors of a list or a watch.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    labels: Vec<(String, Test)>,
    fields: Vec<(String, Test)>,
}

#[derive(Clone, Debug)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    There,
    Absent,
}

impl Selection {
    /// Parses `labelSelector` and `fieldSelector`.
    ///
    /// # Errors
    /// A real server's message if a field cannot be selected by.
    pub(super) fn read(labels: &str, fields: &str) -> Result<Self, String> {
        let fields = terms(fields);
        for (name, _) in &fields {
            let known = ["metadata.name", "metadata.namespace", "status.phase", "type", "spec.nodeName"];
            if !known.contains(&name.as_str()) {
                return Err(format!("field label not supported: {name}"));
            }
        }
        Ok(Self { labels: terms(labels), fields })
    }

    pub(super) fn selects(&self, object: &Value) -> bool {
        let label = |name: &str| object["metadata"]["labels"][name].as_str().map(str::to_owned);
        let field = |name: &str| {
            let path = format!("/{}", name.replace('.', "/"));
            object.pointer(&path).and_then(Value::as_str).map(str::to_owned)
        };
        self.labels.iter().all(|(name, test)| test.holds(label(name)))
            && self.fields.iter().all(|(name, test)| test.holds(field(name)))
    }
}

impl Test {
    fn holds(&self, value: Option<String>) -> bool {
        match self {
            Self::In(words) => value.is_some_and(|v| words.contains(&v)),
            Self::NotIn(words) => value.is_none_or(|v| !words.contains(&v)),
            Self::There => value.is_some(),
            Self::Absent => value.is_none(),
        }
    }
}

/// `a=b,c!=d,e in (f,g),h,!i`
fn terms(text: &str) -> Vec<(String, Test)> {
    let mut depth = 0;
    let parts = text.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    let words = |list: &str| {
        let list = list.trim().trim_start_matches('(').trim_end_matches(')');
        list.split(',').map(|w| w.trim().to_owned()).collect::<Vec<_>>()
    };
    let term = |part: &str| {
        let (name, test) = if let Some((name, list)) = part.split_once(" notin ") {
            (name, Test::NotIn(words(list)))
        } else if let Some((name, list)) = part.split_once(" in ") {
            (name, Test::In(words(list)))
        } else if let Some((name, word)) = part.split_once("!=") {
            (name, Test::NotIn(words(word)))
        } else if let Some((name, word)) = part.split_once('=') {
            (name, Test::In(words(word.trim_start_matches('='))))
        } else if let Some(name) = part.strip_prefix('!') {
            (name, Test::Absent)
        } else {
            (part, Test::There)
        };
        (name.trim().to_owned(), test)
    };
    parts.map(str::trim).filter(|p| !p.is_empty()).map(term).collect()
}

/// A list as the API gives it: the items of a typed list do not say their kind.
pub(super) fn in_list(object: &Value) -> Value {
    let fields = object.as_object().into_iter().flatten();
    let kept = fields.filter(|(name, _)| *name != "kind" && *name != "apiVersion");
    Value::Object(kept.map(|(n, v)| (n.clone(), v.clone())).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_narrows_by_labels_and_fields() {
        let pod = json!({"metadata": {"name": "specman-0", "labels": {"app": "specman", "tier": "x"}}});
        let cases = [
            ("app=specman", "", true),
            ("app==specman,tier!=y", "", true),
            ("app in (a,specman),tier", "", true),
            ("app notin (a,specman)", "", false),
            ("!gone", "metadata.name=specman-0", true),
            ("gone", "", false),
            ("", "metadata.name=specman-1", false),
        ];
        for (labels, fields, expected) in cases {
            let selection = Selection::read(labels, fields).unwrap();
            assert_eq!(selection.selects(&pod), expected, "{labels} {fields}");
        }
        assert!(Selection::read("", "spec.colour=red").is_err());
    }

    #[test]
    fn every_write_has_a_version_of_its_own_and_an_event() {
        let mut objects = Objects::new();
        let secrets = Resource::named("secrets").unwrap();
        let first = objects.put(secrets, "a", "s", json!({}));
        let second = objects.put(secrets, "a", "s", first.clone());
        assert_eq!(first["metadata"]["uid"], second["metadata"]["uid"]);
        assert_ne!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
        objects.remove("secrets", "a", "s");
        let words: Vec<_> = objects.events.iter().map(|e| e.word).collect();
        assert_eq!(words, ["ADDED", "MODIFIED", "DELETED"]);
    }
}
