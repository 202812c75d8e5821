//! The SCAR setting: `GET` and `PUT /v1/system/config/scar`, and its validation.
//!
//! A PUT replaces the whole object, so omitted fields are lost; a GET omits empty fields, as the output in the guide's
//! section "Validate" shows.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{Behaviour, Masking, SPECMAN, Vertex, answer, violation};

impl Vertex {
    /// The stored SCAR setting, with secrets in clear.
    pub fn scar(&self) -> Value {
        self.lock().scar.clone()
    }

    /// Sets the SCAR setting of an earlier installation, without a request.
    pub fn set_scar(&self, setting: Value) {
        self.lock().scar = setting;
    }

    /// How often the setting was written.
    pub fn scar_writes(&self) -> u32 {
        self.lock().scar_writes
    }

    /// Sets whether Specman serves content at its address in the cluster.
    pub fn set_persisted(&self, persisted: bool) {
        self.lock().persisted = persisted;
    }

    /// Uses `served` instead of the lab's own list to validate a setting: the version that it serves, or why not.
    pub fn on_validate(&self, served: impl Fn(&Value) -> Result<String, String> + Send + Sync + 'static) {
        self.lock().served = Some(Arc::new(served));
    }
}

/// `GET /v1/system/config/scar`.
pub(super) async fn get(State(vertex): State<Arc<Vertex>>) -> Response<Body> {
    answer::ok(&shown(&vertex.scar(), vertex.behaviour().scar_masking))
}

/// `PUT /v1/system/config/scar`.
pub(super) async fn put(State(vertex): State<Arc<Vertex>>, body: Bytes) -> Response<Body> {
    let setting: Value = serde_json::from_slice(&body).unwrap_or_default();
    if setting["endpoint"].as_str().is_none_or(str::is_empty) {
        let words = "endpoint is required";
        return answer::error(StatusCode::UNPROCESSABLE_ENTITY, "ValidationFailed", words);
    }
    let blank = |name: &str| setting[name].as_str().is_none_or(str::is_empty);
    if setting["password"].as_str().is_some_and(|text| text.contains("***")) || blank("password") && !blank("username") {
        return violation(&vertex, "PUT /v1/system/config/scar", "a mask or a blank in the place of the password");
    }
    let failing = vertex.behaviour().scar_invalid_for;
    let mut state = vertex.lock();
    state.scar = setting;
    state.scar_writes += 1;
    state.invalid_for = failing;
    answer::empty(StatusCode::NO_CONTENT)
}

/// `GET /v1/system/config/scar/validate`.
pub(super) async fn validate(State(vertex): State<Arc<Vertex>>) -> Response<Body> {
    let behaviour = vertex.behaviour();
    let (scar, persisted, served, early) = {
        let mut state = vertex.lock();
        let early = state.invalid_for > 0;
        state.invalid_for = state.invalid_for.saturating_sub(1);
        (state.scar.clone(), state.persisted, state.served.clone(), early)
    };
    let verdict = match served {
        _ if early => Err("connection refused".to_owned()),
        Some(served) => served(&scar),
        None => serves(&scar, persisted, &behaviour),
    };
    match verdict {
        Ok(version) => answer::ok(&json!({"spectroVersion": version})),
        Err(cause) => {
            let endpoint = scar["endpoint"].as_str().unwrap_or_default();
            let words = format!("Failed to validate SCAR endpoint '{endpoint}': {cause}");
            answer::error(StatusCode::UNPROCESSABLE_ENTITY, "ScarValidationFailed", &words)
        }
    }
}

/// Whether the setting's endpoint serves content with the setting's login.
fn serves(scar: &Value, persisted: bool, behaviour: &Behaviour) -> Result<String, String> {
    let endpoint = scar["endpoint"].as_str().unwrap_or_default();
    if endpoint == SPECMAN {
        return match persisted {
            true => Ok(behaviour.version.clone()),
            false => Err("404 Not Found".into()),
        };
    }
    let mut servers = behaviour.content_servers.iter();
    let server = servers.find(|s| s.endpoint == endpoint).ok_or("no such host")?;
    match &server.login {
        Some((user, password)) if scar["username"] != **user || scar["password"] != **password => Err("401 Unauthorized".into()),
        _ => Ok(behaviour.version.clone()),
    }
}

/// A setting as a GET shows it.
fn shown(scar: &Value, secrets: Masking) -> Value {
    let empty = |v: &Value| v == "" || *v == json!(false) || v.is_null();
    let mut out: Map<String, Value> = scar
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !empty(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if out.contains_key("password") {
        match secrets {
            Masking::Shown => {}
            Masking::Blank => drop(out.insert("password".into(), json!(""))),
            Masking::Masked => drop(out.insert("password".into(), json!("********"))),
            Masking::Absent => drop(out.remove("password")),
        }
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vertex::ContentServer;

    #[test]
    fn a_get_shows_the_password_as_the_kind_of_site_has_it() {
        let scar = json!({"endpoint": "https://a", "username": "", "password": "s", "insecureVerify": false});
        let cases = [
            (Masking::Shown, json!({"endpoint": "https://a", "password": "s"})),
            (Masking::Blank, json!({"endpoint": "https://a", "password": ""})),
            (Masking::Masked, json!({"endpoint": "https://a", "password": "********"})),
            (Masking::Absent, json!({"endpoint": "https://a"})),
        ];
        for (secrets, expected) in cases {
            assert_eq!(shown(&scar, secrets), expected, "{secrets:?}");
        }
    }

    #[test]
    fn specman_serves_once_the_content_is_there_and_the_old_scar_wants_its_login() {
        let behaviour = Behaviour {
            content_servers: vec![ContentServer {
                endpoint: "https://old.example".into(),
                login: Some(("scar".into(), "pw".into())),
            }],
            ..Behaviour::default()
        };
        let specman = json!({"endpoint": SPECMAN});
        assert!(serves(&specman, false, &behaviour).is_err());
        assert_eq!(serves(&specman, true, &behaviour).as_deref(), Ok("4.5.15"));
        let old = |password: &str| json!({"endpoint": "https://old.example", "username": "scar", "password": password});
        assert!(serves(&old("pw"), false, &behaviour).is_ok());
        assert!(serves(&old("***"), false, &behaviour).is_err());
        assert!(serves(&json!({"endpoint": "https://other"}), true, &behaviour).is_err());
    }
}
