//! The four kinds of PATCH, as functions of an object and a patch.
//!
//! Strategic merge follows the merge keys of the types that the lab has: containers, volumes and
//! environment by `name`, finalizers as a set; any other list is replaced whole.

use serde_json::{Map, Value};

/// The kind of a patch, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Kind {
    pub(super) fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }
}

/// Applies a patch.
///
/// # Errors
/// The reason why a JSON patch does not fit the object.
pub(super) fn patch(kind: Kind, object: &mut Value, patch: &Value) -> Result<(), String> {
    match kind {
        Kind::Json => json_patch(object, patch),
        Kind::Merge => {
            merge(object, patch);
            Ok(())
        }
        Kind::Strategic | Kind::Apply => {
            strategic(object, patch, "");
            Ok(())
        }
    }
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Some(fields) = object.as_object_mut() else { return };
    for (name, value) in patch {
        match value {
            Value::Null => drop(fields.shift_remove(name)),
            _ => merge(fields.entry(name.clone()).or_insert(Value::Null), value),
        }
    }
}

fn strategic(object: &mut Value, patch: &Value, field: &str) {
    match patch {
        Value::Object(patch) => {
            if patch.get("$patch").is_some_and(|p| p == "replace") || !object.is_object() {
                *object = Value::Object(Map::new());
            }
            let Some(fields) = object.as_object_mut() else { return };
            for (name, value) in patch {
                if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
                    let (gone, kept) = (value.as_array(), fields.get_mut(list));
                    if let (Some(gone), Some(Value::Array(kept))) = (gone, kept) {
                        kept.retain(|item| !gone.contains(item));
                    }
                } else if name.starts_with('$') {
                    continue;
                } else if value.is_null() {
                    fields.shift_remove(name);
                } else {
                    strategic(fields.entry(name.clone()).or_insert(Value::Null), value, name);
                }
            }
        }
        Value::Array(items) if object.is_array() => {
            let Some(list) = object.as_array_mut() else { return };
            match field {
                "containers" | "initContainers" | "volumes" | "env" => by_name(list, items),
                "finalizers" => {
                    let new: Vec<_> = items.iter().filter(|i| !list.contains(i)).cloned().collect();
                    list.extend(new);
                }
                _ => list.clone_from(items),
            }
        }
        other => *object = other.clone(),
    }
}

fn by_name(list: &mut Vec<Value>, items: &[Value]) {
    for item in items {
        let place = list.iter().position(|have| have["name"] == item["name"]);
        match place {
            Some(place) if item["$patch"] == "delete" => drop(list.remove(place)),
            Some(place) => strategic(&mut list[place], item, ""),
            None => list.push(item.clone()),
        }
    }
}

/// RFC 6902 without `move` and `copy`, which nobody sends.
fn json_patch(object: &mut Value, patch: &Value) -> Result<(), String> {
    let steps = patch.as_array().ok_or("a JSON patch is a list")?;
    for step in steps {
        let path = step["path"].as_str().unwrap_or_default();
        let (parent, key) = path.rsplit_once('/').ok_or("a path starts with a slash")?;
        let key = key.replace("~1", "/").replace("~0", "~");
        let missing = || format!("the server rejected our request: doc is missing path: {path}");
        let parent = object.pointer_mut(parent).ok_or_else(missing)?;
        let value = step["value"].clone();
        match (step["op"].as_str().unwrap_or_default(), parent) {
            ("add" | "replace", Value::Object(fields)) => drop(fields.insert(key, value)),
            ("add", Value::Array(items)) if key == "-" => items.push(value),
            ("remove", Value::Object(fields)) => {
                fields.shift_remove(&key).ok_or_else(missing)?;
            }
            ("remove", Value::Array(items)) => {
                let place = key.parse::<usize>().ok().filter(|p| *p < items.len());
                items.remove(place.ok_or_else(missing)?);
            }
            ("test", parent) if parent.get(&key).unwrap_or(&Value::Null) == &value => {}
            ("test", _) => return Err(format!("testing path {path} failed")),
            (op, _) => return Err(format!("operation {op} on {path} is not understood")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_kind_of_patch_changes_the_object_its_way() {
        let object = json!({
            "metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}},
            "containers": [{"name": "c", "image": "i"}]
        });
        let cases = [
            (
                Kind::Merge,
                json!({"metadata": {"finalizers": ["c"], "labels": {"x": null}}}),
                json!({"metadata": {"finalizers": ["c"], "labels": {"y": "2"}}, "containers": [{"name": "c", "image": "i"}]}),
            ),
            (
                Kind::Strategic,
                json!({"metadata": {"finalizers": ["c"], "labels": {"y": null}}, "containers": [{"name": "c", "tty": true}]}),
                json!({"metadata": {"finalizers": ["a", "b", "c"], "labels": {"x": "1"}}, "containers": [{"name": "c", "image": "i", "tty": true}]}),
            ),
            (
                Kind::Strategic,
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b"]}}),
                json!({"metadata": {"finalizers": ["b"], "labels": {"x": "1", "y": "2"}}, "containers": [{"name": "c", "image": "i"}]}),
            ),
            (
                Kind::Json,
                json!([{"op": "test", "path": "/containers", "value": [{"name": "c", "image": "i"}]}, {"op": "remove", "path": "/metadata/finalizers"}]),
                json!({"metadata": {"labels": {"x": "1", "y": "2"}}, "containers": [{"name": "c", "image": "i"}]}),
            ),
            (
                Kind::Apply,
                json!({"metadata": {"labels": {"z": "3"}}}),
                json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2", "z": "3"}}, "containers": [{"name": "c", "image": "i"}]}),
            ),
        ];
        for (kind, step, expected) in cases {
            let mut seen = object.clone();
            patch(kind, &mut seen, &step).unwrap();
            assert_eq!(seen, expected, "{kind:?} {step}");
        }
        let step = json!([{"op": "remove", "path": "/metadata/nothing"}]);
        assert!(patch(Kind::Json, &mut object.clone(), &step).is_err());
    }
}
