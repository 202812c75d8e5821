//! Specman's StatefulSet and its pods, as the API server shows them, brought down to what the wait needs.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodSeen {
    /// Which pod of that name it is.
    pub(crate) uid: String,
    /// The container whose log counts.
    pub(crate) container: String,
    /// Whether the pod is ready.
    pub(crate) is_ready: bool,
    /// How many times that container was started anew.
    pub(crate) restarts: u32,
    /// How it is.
    pub(crate) health: Health,
}

/// How a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// It runs, or is about to: in these words.
    Well(String),
    /// It will not run unless somebody does something; a moment may be all it takes.
    Stuck {
        /// `Unschedulable` and the like.
        reason: String,
        /// The cluster's own words.
        message: String,
    },
    /// It was tried again already, and will not run.
    Broken {
        /// `CrashLoopBackOff` and the like.
        reason: String,
        /// The cluster's own words.
        message: String,
    },
}

impl Health {
    /// In a few words.
    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Well(words) => words,
            Self::Stuck { reason, .. } | Self::Broken { reason, .. } => reason,
        }
    }
}

/// Reads a pod. Without an asked container: `specman`, else the first.
pub(crate) fn seen(pod: &Pod, asked: Option<&str>) -> PodSeen {
    let names: Vec<&str> = pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| container.name.as_str()).collect();
    let named = names.iter().find(|name| **name == "specman").or(names.first());
    let container = asked.or(named.copied()).unwrap_or_default().to_owned();
    let status = pod.status.as_ref();
    let condition = |kind: &str| status.and_then(|status| status.conditions.as_ref()?.iter().find(|c| c.type_ == kind));
    let statuses: Vec<&ContainerStatus> = status.iter().flat_map(|status| status.container_statuses.iter().flatten()).collect();
    let own = statuses.iter().find(|status| status.name == container);
    let init = status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    let trouble = init.chain(statuses.iter().copied()).find_map(trouble);
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Unknown");
    let health = trouble.or_else(|| {
        let scheduled = condition("PodScheduled").filter(|condition| condition.status == "False")?;
        Some(Health::Stuck {
            reason: scheduled.reason.clone().unwrap_or_else(|| "not scheduled".to_owned()),
            message: scheduled.message.clone().unwrap_or_default(),
        })
    });
    let is_ready = condition("Ready").is_some_and(|condition| condition.status == "True");
    PodSeen {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        container,
        is_ready,
        restarts: own.and_then(|status| u32::try_from(status.restart_count).ok()).unwrap_or(0),
        health: health.unwrap_or_else(|| Health::Well(words(pod, phase, is_ready, own.copied()))),
    }
}

/// What is wrong with a container that does not come up.
fn trouble(status: &ContainerStatus) -> Option<Health> {
    let state = status.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.clone().unwrap_or_default();
        let message = waiting.message.clone().unwrap_or_default();
        let ended = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        return match reason.as_str() {
            "CrashLoopBackOff" => {
                let why = ended.and_then(|ended| ended.reason.clone());
                let code = ended.map(|ended| ended.exit_code);
                let ended = match (why, code) {
                    (Some(why), Some(code)) => format!("it ended with {code} ({why}); {message}"),
                    _ => message,
                };
                Some(Health::Broken { reason, message: ended })
            }
            "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => Some(Health::Broken { reason, message }),
            "ErrImagePull" | "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                Some(Health::Stuck { reason, message })
            }
            _ => None,
        };
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.reason.as_deref() == Some("OOMKilled"))?;
    Some(Health::Broken {
        reason: "OOMKilled".to_owned(),
        message: format!("container '{}' was killed for its memory (exit {})", status.name, ended.exit_code),
    })
}

fn words(pod: &Pod, phase: &str, is_ready: bool, own: Option<&ContainerStatus>) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    if let Some(reason) = pod.status.as_ref().and_then(|status| status.reason.clone()) {
        return reason;
    }
    let waiting = own.and_then(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone());
    match waiting {
        Some(reason) => reason,
        None if phase == "Running" && !is_ready => "Running, not ready".to_owned(),
        None => phase.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn health(status: &Value) -> Health {
        let pod = json!({
            "metadata": {"uid": "u"}, "spec": {"containers": [{"name": "side"}, {"name": "specman"}]}, "status": status
        });
        let seen = seen(&serde_json::from_value(pod).unwrap(), None);
        assert_eq!(seen.container, "specman");
        seen.health
    }

    fn container(state: &Value, last: &Value) -> Value {
        json!({"phase": "Running", "containerStatuses": [{
            "name": "specman", "image": "i", "imageID": "", "ready": false, "restartCount": 3, "state": state, "lastState": last
        }]})
    }

    #[test]
    fn w9_tells_what_will_not_run_from_what_is_about_to() {
        let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "m"}});
        let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let broken = |reason: &str, message: &str| Health::Broken { reason: reason.into(), message: message.into() };
        for (status, expected) in [
            (container(&waiting("ContainerCreating"), &json!({})), Health::Well("ContainerCreating".into())),
            (container(&json!({"running": {}}), &killed), Health::Well("Running, not ready".into())),
            (container(&waiting("ImagePullBackOff"), &json!({})), broken("ImagePullBackOff", "m")),
            (container(&waiting("CrashLoopBackOff"), &killed), broken("CrashLoopBackOff", "it ended with 137 (OOMKilled); m")),
            (container(&killed, &json!({})), broken("OOMKilled", "container 'specman' was killed for its memory (exit 137)")),
            (json!({"phase": "Failed", "reason": "Evicted"}), Health::Well("Evicted".into())),
            (
                json!({"phase": "Pending", "conditions": [{
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "unbound claims"
                }]}),
                Health::Stuck { reason: "Unschedulable".into(), message: "unbound claims".into() },
            ),
        ] {
            assert_eq!(health(&status), expected, "{status}");
        }
    }
}
