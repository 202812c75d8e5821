//! Checks every request and answer against the public description of the API.
//!
//! `reference/scar-migration.swagger.json` is parsed once. The login and the two jobs, which only the guide describes, are
//! added here, so that other paths do not exist. Unknown fields are allowed, as in the swagger.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};

use super::schema::Schema;

const SWAGGER: &str = include_str!("../../reference/scar-migration.swagger.json");

/// The operations of the API.
pub(super) struct Swagger {
    operations: Vec<Operation>,
    error: Schema,
}

/// One method of one path.
pub(super) struct Operation {
    method: Method,
    path: Vec<String>,
    request: Option<Schema>,
    answers: BTreeMap<u16, Option<Schema>>,
}

impl Swagger {
    /// Parses the compiled-in swagger.
    ///
    /// # Errors
    /// Describes what in the swagger is not understood.
    pub(super) fn load() -> Result<Self, String> {
        let mut swagger: Value = serde_json::from_str(SWAGGER).map_err(|e| e.to_string())?;
        add_the_guides_own(&mut swagger);
        let definitions = Arc::new(swagger["definitions"].clone());
        let schema = |rules: &Value| Schema::new(rules, &definitions);
        let mut operations = Vec::new();
        for (path, methods) in swagger["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                if method == "parameters" {
                    continue;
                }
                let body = operation["parameters"].as_array().into_iter().flatten();
                let body = body.filter(|p| p["in"] == "body").map(|p| &p["schema"]);
                let mut answers = BTreeMap::new();
                for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
                    let status = status.parse::<u16>().map_err(|e| e.to_string())?;
                    answers.insert(status, answer.get("schema").map(schema).transpose()?);
                }
                operations.push(Operation {
                    method: method.to_uppercase().parse().map_err(|_| format!("no method: {method}"))?,
                    path: segments(path),
                    request: body.map(schema).next().transpose()?,
                    answers,
                });
            }
        }
        let error = schema(&json!({"$ref": "#/definitions/v1Error"}))?;
        Ok(Self { operations, error })
    }

    /// The operation of a request; a literal path takes precedence over one with a parameter.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<&Operation> {
        let path = segments(path);
        self.operations
            .iter()
            .filter(|o| o.method == *method && o.path.len() == path.len())
            .filter(|o| {
                let mut pairs = o.path.iter().zip(&path);
                pairs.all(|(ours, theirs)| ours.starts_with('{') || ours == theirs)
            })
            .min_by_key(|o| o.path.iter().filter(|s| s.starts_with('{')).count())
    }

    /// A violation in the lab's own answer.
    pub(super) fn judge_answer(&self, operation: &Operation, status: u16, body: &[u8]) -> Option<String> {
        let schema = match operation.answers.get(&status) {
            // The swagger has a schema for a 204 in one place, although it has no body.
            Some(_) if status == 204 => None,
            Some(schema) => schema.as_ref(),
            None if status >= 400 => Some(&self.error),
            None => return Some(format!("status {status} is not in the swagger")),
        };
        match schema {
            Some(schema) => judge(schema, body).map(|e| format!("answer {status}: {e}")),
            None if body.is_empty() => None,
            None => Some(format!("answer {status}: has a body of {} bytes", body.len())),
        }
    }
}

impl Operation {
    /// A violation in a request's body.
    pub(super) fn judge_request(&self, body: &[u8]) -> Option<String> {
        match &self.request {
            Some(schema) => judge(schema, body).map(|e| format!("request: {e}")),
            None if body.is_empty() => None,
            None => Some(format!("request: has a body of {} bytes", body.len())),
        }
    }

    /// Whether the operation has a body.
    pub(super) fn takes_a_body(&self) -> bool {
        self.request.is_some()
    }
}

fn judge(schema: &Schema, body: &[u8]) -> Option<String> {
    let value = match serde_json::from_slice::<Value>(body) {
        Ok(value) => value,
        Err(error) => return Some(format!("no JSON: {error}")),
    };
    let faults = schema.faults(&value);
    (!faults.is_empty()).then(|| faults.join("; "))
}

fn segments(path: &str) -> Vec<String> {
    path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

/// The guide's script: the login posts name and password; both jobs are a plain GET.
fn add_the_guides_own(swagger: &mut Value) {
    let login = json!({
        "type": "object",
        "required": ["username", "password"],
        "properties": {"username": {"type": "string"}, "password": {"type": "string"}}
    });
    swagger["paths"]["/v1/auth/syslogin"] = json!({"post": {
        "parameters": [{"in": "body", "name": "body", "schema": login}],
        "responses": {"200": {"schema": {"$ref": "#/definitions/v1UserToken"}}}
    }});
    for job in super::jobs::NAMES {
        swagger["paths"][format!("/v1/jobs/internal/{job}/run")] =
            json!({"get": {"responses": {"204": {"description": "started"}}}});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_path_goes_before_a_parameter() {
        let swagger = Swagger::load().unwrap();
        let validate = swagger.find(&Method::POST, "/v1/registries/oci/basic/validate");
        assert!(validate.unwrap().takes_a_body());
        assert!(swagger.find(&Method::GET, "/v1/registries/oci/abc/basic").is_some());
        assert!(swagger.find(&Method::GET, "/v1/registries/oci/abc/helm").is_none());
        assert!(swagger.find(&Method::POST, "/v1/jobs/internal/syncCloudStorageTypesData/run").is_none());
    }

    #[test]
    fn a_request_is_held_against_the_definition_and_its_values_are_not_reported() {
        let swagger = Swagger::load().unwrap();
        let put = swagger.find(&Method::PUT, "/v1/system/config/scar").unwrap();
        assert_eq!(put.judge_request(br#"{"endpoint":"https://a","extra":1}"#), None);
        let wrong = put.judge_request(br#"{"endpoint":["canary"]}"#).unwrap();
        assert!(wrong.contains("/endpoint"), "{wrong}");
        assert!(!wrong.contains("canary"), "{wrong}");
        assert!(put.judge_request(b"<html>").unwrap().contains("no JSON"));
    }

    #[test]
    fn an_answer_outside_the_swagger_is_reported() {
        let swagger = Swagger::load().unwrap();
        let get = swagger.find(&Method::GET, "/v1/system/version/installed").unwrap();
        assert_eq!(swagger.judge_answer(get, 200, br#"{"version":"4.5.15"}"#), None);
        assert!(swagger.judge_answer(get, 200, br#"{"version":4}"#).is_some());
        assert!(swagger.judge_answer(get, 202, b"").is_some());
        assert_eq!(swagger.judge_answer(get, 404, br#"{"code":"x"}"#), None);
        assert!(swagger.judge_answer(get, 404, br#"{"code":1}"#).is_some());
    }
}
