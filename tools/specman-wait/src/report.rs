//! How it stands, in words: for progress, and for the end of a wait that did not succeed.

use std::time::{Duration, Instant};

use scar_tool::{Exit, Failure};

use crate::follow;
use crate::line::Cause;
use crate::verdict::{Reason, Replica};
use crate::wait::{State, Wait};

/// For how long the cluster may have been silent at the deadline for the wait to be one that timed out.
const SILENT: Duration = Duration::from_secs(15);

/// One line for progress: how many are done, and what the first that is not was last heard to say.
pub(crate) fn standing(state: &State, tag: &str) -> String {
    let replicas = state.watch.replicas();
    if let Some((_, error)) = &state.silent {
        return format!("the cluster does not answer: {error}");
    }
    let done = replicas.iter().filter(|(_, replica)| replica.persisted.is_some()).count();
    let head = format!("{done} of {} persisted '{tag}'", replicas.len());
    match replicas.iter().find(|(_, replica)| replica.persisted.is_none()) {
        None => head,
        Some((name, replica)) => {
            let message = state.last_message(name);
            let words = if message.is_empty() { words(replica) } else { message };
            format!("{head}; {name}: {words}")
        }
    }
}

fn words(replica: &Replica) -> String {
    match &replica.pod {
        None => "there is no such pod".to_owned(),
        Some(pod) => pod.health.words().to_owned(),
    }
}

/// Time is over.
pub(crate) async fn timed_out(wait: &Wait<'_>, state: &State) -> Failure {
    let tag = &wait.aim.tag;
    let act = format!("wait for Specman to persist '{tag}'");
    if let Some((_, error)) = state.silent.as_ref().filter(|(from, _)| Instant::now().duration_since(*from) >= SILENT) {
        return wait.cluster.failure(&act, error);
    }
    let limit = wait.options.timeout;
    let limit = if limit.as_secs() > 0 { format!("{} s", limit.as_secs()) } else { format!("{} ms", limit.as_millis()) };
    let replicas = state.watch.replicas();
    if !state.watch.ever_a_pod() {
        let failure = Failure::new(
            Exit::Absent,
            format!("{act}: no pod of StatefulSet '{}' appeared within {limit}", wait.options.statefulset),
        );
        return failure.hint(describe_set(wait));
    }
    let missing: Vec<&str> = replicas.iter().filter(|(_, replica)| replica.persisted.is_none()).map(|(name, _)| *name).collect();
    let missing =
        if missing.is_empty() { "no replica is ready".to_owned() } else { format!("not said by {}", missing.join(", ")) };
    let mut failure = Failure::new(Exit::TimedOut, format!("{act}: {missing} within {limit}"));
    for (name, replica) in &replicas {
        failure = failure.detail(format!("{name}: {}", standing_of(state, name, replica)));
    }
    match hint(wait, &replicas).await {
        Some(hint) => failure.hint(hint),
        None => failure.hint(match replicas.iter().find(|(_, replica)| replica.persisted.is_none()) {
            Some((_, Replica { pod: None, .. })) => describe_set(wait),
            missing => format!(
                "see its log: kubectl logs --namespace {} {}; wait on with a longer --timeout",
                wait.cluster.namespace(),
                missing.map_or("specman-0", |(name, _)| name)
            ),
        }),
    }
}

fn describe_set(wait: &Wait<'_>) -> String {
    let (set, namespace) = (&wait.options.statefulset, wait.cluster.namespace());
    format!("see what keeps it: kubectl describe statefulset {set} --namespace {namespace}")
}

async fn hint(wait: &Wait<'_>, replicas: &[(&str, &Replica)]) -> Option<String> {
    let tag = &wait.aim.tag;
    let waiting = || replicas.iter().filter(|(_, replica)| replica.persisted.is_none());
    let mut stale = waiting().find_map(|(_, replica)| replica.stale);
    if let (None, Some((name, pod))) = (stale, waiting().find_map(|(name, replica)| Some((name, replica.pod.as_ref()?)))) {
        // What is older than the push was not asked for till now.
        stale = follow::marker(&wait.cluster, name, &pod.container, &wait.aim).await;
    }
    if let Some(stale) = stale {
        return Some(format!(
            "its last '{tag}' is of {stale:.0}, before the push; if nothing was pushed since, --since {stale:.0} lets it count"
        ));
    }
    waiting().any(|(_, replica)| replica.has_tag == Some(false)).then(|| {
        format!("the tags that Specman sees lack '{tag}': is the flag set on the registry that was pushed to, and the base path the same?")
    })
}

fn standing_of(state: &State, name: &str, replica: &Replica) -> String {
    if let Some(at) = replica.persisted {
        return format!("persisted at {at:.0}");
    }
    let mut out = words(replica);
    if let Some(restarts) = replica.pod.as_ref().map(|pod| pod.restarts).filter(|restarts| *restarts > 0) {
        out.push_str(&format!(", {restarts} restarts"));
    }
    match state.last_line(name) {
        line if line.is_empty() => out.push_str(", no log line"),
        line => out.push_str(&format!(", last line {line}")),
    }
    if let Some(trouble) = state.log_trouble(name) {
        out.push_str(&format!("; its log cannot be read: {trouble}"));
    }
    out
}

/// Waiting will not help.
pub(crate) async fn given_up(wait: &Wait<'_>, state: &State, reason: &Reason) -> Failure {
    let act = format!("wait for Specman to persist '{}'", wait.aim.tag);
    let (set, namespace) = (&wait.options.statefulset, wait.cluster.namespace());
    match reason {
        Reason::NoSet => Failure::new(Exit::Absent, format!("{act}: there is no StatefulSet '{set}' in namespace '{namespace}'"))
            .hint("Specman comes with VerteX 4.5.15; upgrade first, or name the right cluster with --kubeconfig and --context"),
        Reason::NoReplicas => Failure::new(Exit::Absent, format!("{act}: StatefulSet '{set}' is scaled to no replicas"))
            .hint(format!("kubectl scale statefulset {set} --namespace {namespace} --replicas=1")),
        Reason::Pod { pod, reason, message } => {
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            let mut failure = Failure::new(Exit::Absent, format!("{act}: pod '{pod}' does not run: {reason}{message}"));
            if let Some(seen) = state.pod(pod) {
                let crashed = matches!(reason.as_str(), "CrashLoopBackOff" | "OOMKilled");
                let lines = match crashed {
                    true => follow::tail(&wait.cluster, pod, &seen.container, seen.restarts > 0).await,
                    false => Vec::new(),
                };
                for line in lines {
                    failure = failure.detail(line);
                }
            }
            let hint = match message.contains("PersistentVolumeClaim") {
                true => format!(
                    "Specman needs a claim of 10 GB that a CSI driver binds: kubectl get pvc,storageclass --namespace {namespace}"
                ),
                false => format!("see kubectl describe pod {pod} --namespace {namespace}; --keep-waiting waits on nevertheless"),
            };
            failure.hint(hint)
        }
        Reason::Specman { pod, cause, text } => {
            let (exit, hint) = match cause {
                Cause::Unauthorized => (
                    Exit::Refused,
                    "its pack registry entry has wrong credentials: edit it in the VerteX console, and validate it",
                ),
                Cause::Denied => (
                    Exit::Refused,
                    "the user of its pack registry entry may not read the repository: grant it, or edit the entry",
                ),
                Cause::Untrusted => {
                    (Exit::Unsafe, "it does not trust the registry's certificate: give the CA in its pack registry entry")
                }
                Cause::NotFound => (
                    Exit::Absent,
                    "it looks into another repository: compare the entry's endpoint and base path with where was pushed",
                ),
                Cause::NoSpace => (Exit::Failed, "its volume is full: enlarge Specman's claim"),
            };
            Failure::new(exit, format!("{act}: pod '{pod}' says: {text}"))
                .hint(format!("{hint}; --keep-waiting waits on nevertheless"))
        }
    }
}
