//! The part of JSON Schema that the swagger uses (Swagger 2.0, "Schema Object").
//!
//! An unknown keyword is an error when the swagger is parsed, so that no rule is silently skipped. The complete validator
//! crates would cost forty more crates and half a minute of build time.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

/// The schema of one value.
pub(super) struct Schema {
    rules: Value,
    definitions: Arc<Value>,
}

/// Keywords without rules.
const COMMENTS: [&str; 4] = ["description", "title", "default", "x-omitempty"];

impl Schema {
    /// Parses a schema, which may refer to `definitions`.
    ///
    /// # Errors
    /// Names the unknown keyword, type, format or reference.
    pub(super) fn new(rules: &Value, definitions: &Arc<Value>) -> Result<Self, String> {
        for schema in definitions.as_object().into_iter().flat_map(|all| all.values()).chain([rules]) {
            is_known(schema, definitions)?;
        }
        Ok(Self { rules: rules.clone(), definitions: Arc::clone(definitions) })
    }

    /// The violations of a value, with their paths. Values are not shown, because they may be passwords.
    pub(super) fn faults(&self, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(&self.rules, value, "", &mut faults);
        faults
    }

    fn check(&self, rules: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
        if let Some(name) = rules["$ref"].as_str() {
            return self.check(definition(&self.definitions, name), value, place, faults);
        }
        let mut fault = |text: String| faults.push(format!("{text} at '{place}'"));
        if let Some(kind) = rules["type"].as_str()
            && !is_of(value, kind)
        {
            return fault(format!("not of type {kind}"));
        }
        if let Some(allowed) = rules["enum"].as_array()
            && !allowed.contains(value)
        {
            fault("none of the values that are allowed".to_owned());
        }
        if rules["format"] == "date-time" && value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_err()) {
            fault("no date and time".to_owned());
        }
        if rules["uniqueItems"] == true && value.as_array().is_some_and(|items| has_twins(items)) {
            fault("the same item twice".to_owned());
        }
        for name in rules["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(name).is_none() {
                fault(format!("'{name}' is missing"));
            }
        }
        for (name, field) in value.as_object().into_iter().flatten() {
            let rules = rules["properties"].get(name).unwrap_or(&rules["additionalProperties"]);
            self.check(rules, field, &format!("{place}/{name}"), faults);
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&rules["items"], item, &format!("{place}/{index}"), faults);
        }
    }
}

fn definition<'a>(definitions: &'a Value, reference: &str) -> &'a Value {
    &definitions[reference.trim_start_matches("#/definitions/")]
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => value.is_number(),
    }
}

fn has_twins(items: &[Value]) -> bool {
    items.iter().enumerate().any(|(index, item)| items[..index].contains(item))
}

/// Whether [`Schema::check`] knows every keyword of these rules.
fn is_known(rules: &Value, definitions: &Value) -> Result<(), String> {
    let Some(fields) = rules.as_object() else { return Err(format!("no schema: {rules}")) };
    for (keyword, value) in fields {
        let known = match keyword.as_str() {
            "$ref" => value.as_str().is_some_and(|name| definition(definitions, name).is_object()),
            "type" => ["object", "array", "string", "boolean", "integer", "number"].iter().any(|kind| value == kind),
            // The format `password` only affects forms.
            "format" => ["date-time", "password", "int32", "int64"].iter().any(|format| value == format),
            "enum" | "required" => value.is_array(),
            "uniqueItems" => value.is_boolean(),
            "items" | "additionalProperties" => is_known(value, definitions).map(|()| true)?,
            "properties" => {
                value.as_object().into_iter().flat_map(|all| all.values()).try_for_each(|rules| is_known(rules, definitions))?;
                value.is_object()
            }
            other => COMMENTS.contains(&other),
        };
        if !known {
            return Err(format!("the schema's {keyword} is not known: {value}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_rule_names_the_place_of_its_fault_and_no_value() {
        let definitions = json!({"word": {"type": "string", "enum": ["a", "b"]}});
        let rules = json!({
            "type": "object",
            "required": ["word"],
            "properties": {
                "word": {"$ref": "#/definitions/word"},
                "count": {"type": "integer"},
                "at": {"type": "string", "format": "date-time"},
                "list": {"type": "array", "uniqueItems": true, "items": {"type": "string"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}}
            }
        });
        let schema = Schema::new(&rules, &Arc::new(definitions)).unwrap();
        for (value, fault) in [
            (json!({"word": "a", "count": 1, "at": "2024-12-06T12:49:54.000Z", "list": ["x", "y"], "other": [1]}), ""),
            (json!("canary"), "not of type object at ''"),
            (json!({}), "'word' is missing at ''"),
            (json!({"word": "canary"}), "none of the values that are allowed at '/word'"),
            (json!({"word": "b", "count": 1.5}), "not of type integer at '/count'"),
            (json!({"word": "b", "at": "canary"}), "no date and time at '/at'"),
            (json!({"word": "b", "list": ["x", "x"]}), "the same item twice at '/list'"),
            (json!({"word": "b", "list": ["x", 1]}), "not of type string at '/list/1'"),
            (json!({"word": "b", "labels": {"x": true}}), "not of type string at '/labels/x'"),
        ] {
            assert_eq!(schema.faults(&value).join("; "), fault, "{value}");
        }
    }

    #[test]
    fn a_rule_that_is_not_known_is_refused_wherever_it_is() {
        for rules in [
            json!({"pattern": "x"}),
            json!({"type": "file"}),
            json!({"format": "uuid"}),
            json!({"$ref": "#/definitions/none"}),
            json!({"properties": {"a": {"items": {"minLength": 1}}}}),
            json!({"additionalProperties": false}),
        ] {
            assert!(Schema::new(&rules, &Arc::new(json!({}))).is_err(), "{rules}");
        }
        assert!(Schema::new(&json!({}), &Arc::new(json!({"a": {"maximum": 1}}))).is_err());
    }
}
