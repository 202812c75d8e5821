//! Checks every record that a tool writes against the schema.

use std::sync::OnceLock;

use serde_json::Value;

/// The violations of `man/scar-record.schema.json` in a record.
///
/// # Panics
/// If the schema itself is missing or malformed.
pub fn complaints(record: &Value) -> Vec<String> {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let path = crate::workspace().join("man/scar-record.schema.json");
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let schema = serde_json::from_slice(&text).expect("the schema is JSON");
        jsonschema::options().should_validate_formats(true).build(&schema).expect("the schema is one")
    });
    schema.iter_errors(record).map(|error| format!("{}: {error}", error.instance_path())).collect()
}
