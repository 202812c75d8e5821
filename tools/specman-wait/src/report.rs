//! Describes the state: for progress, and for the end of a failed wait.

use std::time::Duration;

use scar_cluster::specman::SpecmanPod;
use scar_tool::{Exit, Failure};

use crate::follow;
use crate::message::Cause;
use crate::verdict::{Reason, Replica};
use crate::wait::{State, Wait};

/// If the cluster was silent for this long before the deadline, it is unreachable, not slow.
const SILENT: Duration = Duration::from_secs(15);

/// A pod, and Specman's container in it.
pub(crate) fn label(name: &str, pod: Option<&SpecmanPod>) -> String {
    match pod.and_then(|pod| pod.container.as_ref()) {
        Some(container) => format!("{name} (container {container})"),
        None => name.to_owned(),
    }
}

/// The progress line: how many replicas are done, and the last message of the first one that is not.
pub(crate) fn progress(state: &State, tag: &str) -> String {
    if let Some(error) = &state.last_error {
        return format!("the cluster does not answer: {error}");
    }
    let replicas = state.watch.replicas();
    let done = replicas.values().filter(|replica| replica.persisted().is_some()).count();
    let head = format!("{done} of {} persisted '{tag}'", replicas.len());
    match replicas.iter().find(|(_, replica)| replica.persisted().is_none()) {
        None => head,
        Some((name, replica)) => {
            let message = state.last(name).message();
            let words = if message.is_empty() { health(replica) } else { message };
            format!("{head}; {}: {words}", label(name, replica.pod.as_ref()))
        }
    }
}

fn health(replica: &Replica) -> String {
    replica.pod.as_ref().map_or_else(|| "there is no such pod".to_owned(), |pod| pod.health.words().to_owned())
}

/// The failure when the time is over.
pub(crate) fn timed_out(wait: &Wait<'_>, state: &State) -> Failure {
    let act = wait.act();
    // An API server that was down at the end would otherwise be reported as a slow Specman (exit 8 instead of 6).
    if let Some(error) = state.last_error.as_ref().filter(|_| state.answered.elapsed() >= SILENT) {
        return wait.cluster().failure(&act, error);
    }
    let limit = wait.options.timeout;
    let limit = if limit.as_secs() > 0 { format!("{} s", limit.as_secs()) } else { format!("{} ms", limit.as_millis()) };
    if !state.watch.ever_a_pod() {
        let set = &wait.options.specman.statefulset;
        return Failure::new(Exit::Absent, format!("{act}: no pod of StatefulSet '{set}' appeared within {limit}"))
            .hint(describe(wait, "statefulset", set));
    }
    let replicas = state.watch.replicas();
    let missing: Vec<_> = replicas.iter().filter(|(_, replica)| replica.persisted().is_none()).collect();
    let names = missing.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let what = if names.is_empty() { "no replica is ready".to_owned() } else { format!("not logged by {names}") };
    let failure = Failure::new(Exit::TimedOut, format!("{act}: {what} within {limit}")).hint(hint(wait, state, &missing));
    replicas.iter().fold(failure, |failure, (name, replica)| failure.detail(detail(state, name, replica)))
}

fn describe(wait: &Wait<'_>, kind: &str, names: &str) -> String {
    format!("see why: kubectl describe {kind} --namespace {} {names}", wait.cluster().namespace())
}

/// The hint about the replicas without a marker.
fn hint(wait: &Wait<'_>, state: &State, missing: &[(&String, &Replica)]) -> String {
    let (tag, namespace) = (&wait.plan.tag, wait.cluster().namespace());
    // From the most to the least certain cause.
    if let Some((name, stale)) = missing.iter().find_map(|(name, replica)| Some((name, replica.too_early()?))) {
        return format!(
            "{name} persisted '{tag}' at {stale:.0}, which is too early; if it was this archive, accept it with --since {stale:.0}"
        );
    }
    if missing.iter().any(|(_, replica)| replica.has_tag == Some(false)) {
        return format!(
            "the tags that Specman sees do not include '{tag}': is the flag set on the registry that was pushed to, and is the \
             base path the same?"
        );
    }
    if let Some(hint) = missing.iter().find_map(|(name, _)| state.last(name).trouble?.hint) {
        return hint;
    }
    let pods_that = |wanted: &dyn Fn(Option<&SpecmanPod>) -> bool| {
        let names = missing.iter().filter(|(_, replica)| wanted(replica.pod.as_ref())).map(|(name, _)| name.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    if !pods_that(&|pod| pod.is_none()).is_empty() {
        return describe(wait, "statefulset", &wait.options.specman.statefulset);
    }
    // A pod's events show what its log cannot: a volume that cannot be mounted, an image that cannot be pulled.
    let idle = pods_that(&|pod| pod.is_some_and(|pod| !pod.is_running));
    if !idle.is_empty() {
        return describe(wait, "pod", &idle);
    }
    let logs = missing.iter().filter_map(|(name, replica)| Some((name, replica.pod.as_ref()?.container.as_ref()?)));
    let logs = logs.map(|(name, container)| format!("kubectl logs --namespace {namespace} {name} --container {container}"));
    format!("see the log: {}; or wait longer with --timeout", logs.collect::<Vec<_>>().join("; "))
}

fn detail(state: &State, name: &str, replica: &Replica) -> String {
    let label = label(name, replica.pod.as_ref());
    if let Some(at) = replica.persisted() {
        return format!("{label}: persisted at {at:.0}");
    }
    let mut out = format!("{label}: {}", health(replica));
    if let Some(restarts) = replica.pod.as_ref().map(|pod| pod.restarts).filter(|restarts| *restarts > 0) {
        out.push_str(&format!(", {restarts} restarts"));
    }
    let last = state.last(name);
    match last.words() {
        line if line.is_empty() => out.push_str(", no log line"),
        line => out.push_str(&format!(", last line {line}")),
    }
    if let Some(trouble) = last.trouble {
        out.push_str(&format!("; its log cannot be read: {}", trouble.words));
    }
    out
}

/// The failure when waiting will not help.
pub(crate) async fn given_up(wait: &Wait<'_>, state: &State, reason: &Reason) -> Failure {
    let act = wait.act();
    let (set, namespace) = (&wait.options.specman.statefulset, wait.cluster().namespace());
    let pod_of = |name: &String| state.watch.replicas().get(name).and_then(|replica| replica.pod.as_ref());
    match reason {
        Reason::NoSet => Failure::new(Exit::Absent, format!("{act}: there is no StatefulSet '{set}' in namespace '{namespace}'"))
            .hint("scar-preflight says whether this platform's version has Specman; --kubeconfig and --context name another cluster"),
        Reason::NoReplicas => Failure::new(Exit::Absent, format!("{act}: StatefulSet '{set}' is scaled to no replicas"))
            .hint(format!("kubectl scale statefulset {set} --namespace {namespace} --replicas=1")),
        Reason::Pod { pod, reason, message } => {
            let colon = if message.is_empty() { "" } else { ": " };
            let label = label(pod, pod_of(pod));
            let mut failure = Failure::new(Exit::Absent, format!("{act}: pod {label} does not run: {reason}{colon}{message}"));
            if let Some(container) = pod_of(pod).and_then(|pod| pod.container.as_ref()) {
                let lines = follow::tail(wait.cluster(), pod, container).await;
                failure = lines.into_iter().fold(failure, Failure::detail);
            }
            let describe = describe(wait, "pod", pod);
            failure.hint(match reason.as_str() {
                // The scheduler's reason for any cause (k8s.io/api/core/v1 types.go, PodReasonUnschedulable); for a fresh Specman
                // most likely its claim (guide, section "Prerequisites").
                "Unschedulable" => format!(
                    "Specman needs a claim of 10 GB that a CSI driver binds: kubectl get pvc,storageclass --namespace {namespace}; \
                     if it is bound, {describe}"
                ),
                _ => format!("{describe}; --keep-waiting waits anyway"),
            })
        }
        Reason::Specman { pod, cause, text } => {
            let (exit, hint) = remedy(*cause);
            Failure::new(exit, format!("{act}: pod {} says: {text}", label(pod, pod_of(pod))))
                .hint(format!("{hint}; --keep-waiting waits anyway"))
        }
    }
}

fn remedy(cause: Cause) -> (Exit, &'static str) {
    match cause {
        Cause::Unauthorized => {
            (Exit::Refused, "its pack registry entry has wrong credentials: edit it in the VerteX console, and validate it")
        }
        Cause::Denied => {
            (Exit::Refused, "the user of its pack registry entry may not read the repository: grant it, or edit the entry")
        }
        Cause::Untrusted => {
            (Exit::Unsafe, "it does not trust the registry's certificate: give the CA in its pack registry entry")
        }
        Cause::NotFound => (
            Exit::Absent,
            "it looks into another repository: compare the entry's endpoint and base path with the pushed reference",
        ),
        Cause::NoSpace => (Exit::Failed, "its volume is full: enlarge Specman's claim"),
    }
}
