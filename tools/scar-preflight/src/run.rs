//! Checks all parts at the same time, and what only two of them together can show.

use jiff::{SignedDuration, Timestamp};
use scar_record::{Check, CheckResult};
use scar_tool::{Console, Failure};

use crate::check::{line, skipped, warning};
use crate::findings::{Findings, Flag};
use crate::options::{Options, Part};
use crate::pack::FLAG;
use crate::plan::{self, LEFT_OUT, Plan, Planned};
use crate::{cluster, content, network, platform, registry, room};

/// How much older than the flag the secret of the platform may be, because two clocks differ.
const TOGETHER: SignedDuration = SignedDuration::from_secs(60);

/// Checks everything. A failure of one part does not stop the others.
///
/// # Errors
/// Only internal ones.
pub(crate) async fn all(plan: Plan, options: &Options, console: &Console) -> Result<Vec<Check>, Failure> {
    let (reference, of_cluster) = (plan.reference.as_ref(), cluster::names());
    let (mut platform, mut cluster, mut content, registry) = tokio::join!(
        part(plan.platform, &platform::NAMES, |plan| platform::look(plan, reference, options, console)),
        part(plan.cluster, &of_cluster, |opened| cluster::look(opened, options)),
        part(plan.content, &content::NAMES, |plan| walked(plan, console)),
        part(plan.registry, &registry::NAMES, |plan| registry::look(plan, options.timeout, console)),
    );
    if let Some(flag) = &platform.flag {
        for secret in cluster.checks.iter_mut().filter(|check| check.name == cluster::SECRET) {
            beside_the_flag(secret, cluster.secret, flag);
        }
        for line in platform.checks.iter_mut().filter(|check| check.name == FLAG && flag.uses_pod_identity) {
            beside_the_pods(line, cluster.without_identity.as_deref());
        }
    }
    if content.content.is_some() {
        content.checks.push(room::claim(content.content, cluster.claim));
    }
    let parts = [platform, cluster, content, registry];
    let servers: Vec<_> = parts.iter().filter_map(|part| part.server.clone()).collect();
    let mut checks: Vec<_> = parts.into_iter().flat_map(|part| part.checks).collect();
    if options.only.is_empty() || options.only.iter().any(|only| *only != Part::Content) {
        checks.extend(network::look(&servers));
    }
    Ok(checks)
}

/// Checks a part. Without its settings each of its lines is skipped, so that nobody mistakes its absence for success; a part
/// that `--only` leaves out has none.
async fn part<T, W>(planned: Planned<T>, names: &[&str], look: impl FnOnce(T) -> W) -> Findings
where
    W: Future<Output = Findings>,
{
    match planned {
        Ok(plan) => look(plan).await,
        Err(why) if why == LEFT_OUT => Findings::default(),
        Err(why) => Findings { checks: names.iter().map(|name| skipped(name, &*why)).collect(), ..Findings::default() },
    }
}

/// The walk has its own thread, so that it does not block the network.
async fn walked(plan: plan::Content, console: &Console) -> Findings {
    let console = console.clone();
    let walk = tokio::task::spawn_blocking(move || content::look(&plan, &console));
    walk.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// A secret that the platform created for the flag must stay; an older one is deleted.
fn beside_the_flag(check: &mut Check, made: Option<Timestamp>, flag: &Flag) {
    let (Some(made), CheckResult::Ok) = (made, check.result) else { return };
    if !flag.is_set {
        return;
    }
    let told = check.found.trim_end_matches(": the first step deletes it").to_owned();
    *check = match flag.changed {
        Some(changed) if made.duration_since(changed) < -TOGETHER => {
            line(cluster::SECRET, CheckResult::Ok, format!("{told}, before the flag was set: it may be deleted"))
        }
        _ => warning(
            cluster::SECRET,
            format!("{told}, and the flag is set: the platform made it for Specman"),
            "it must stay: scar-secret-rm leaves it, given this record",
        ),
    };
}

/// An entry with pod identity has no login: Specman's pods need the identity.
fn beside_the_pods(check: &mut Check, without: Option<&[String]>) {
    if check.result != CheckResult::Ok {
        return;
    }
    let found = match without {
        Some([]) => {
            check.found.push_str("; Specman's pods have the pod identity that the entry uses");
            return;
        }
        Some(names) => format!("{}; the entry uses pod identity, which {} lacks", check.found, names.join(", ")),
        None => format!("{}; the entry uses pod identity, and Specman's pods could not be looked at", check.found),
    };
    let hint = "associate a role with the service account spectro-specman in hubble-system, then restart Specman";
    *check = warning(FLAG, found, hint);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_made_for_the_flag_must_stay() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let result = |made: &str, flag: Flag| {
            let mut check = line(cluster::SECRET, CheckResult::Ok, "x: the first step deletes it");
            beside_the_flag(&mut check, Some(time(made)), &flag);
            (check.result, check.found)
        };
        let flag = |is_set: bool, at: Option<&str>| Flag { is_set, uses_pod_identity: false, changed: at.map(time) };
        let (day, next) = ("2024-12-06T12:00:00Z", "2024-12-07T12:00:00Z");
        assert_eq!(result(next, flag(true, Some(day))).0, CheckResult::Warning);
        assert_eq!(result(day, flag(true, Some(day))).0, CheckResult::Warning);
        assert_eq!(result(day, flag(true, None)).0, CheckResult::Warning);
        assert_eq!(result(day, flag(true, Some(next))).0, CheckResult::Ok);
        assert_eq!(result(next, flag(false, Some(day))), (CheckResult::Ok, "x: the first step deletes it".to_owned()));
    }
}
