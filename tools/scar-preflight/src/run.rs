//! Checks all parts at the same time, and what only two of them together can show.

use jiff::{SignedDuration, Timestamp};
use scar_record::{Check, CheckResult};
use scar_tool::{Console, Failure};

use crate::check::{complete, line, named, warning};
use crate::content::Content;
use crate::findings::{Findings, Flag};
use crate::options::{Options, Part};
use crate::pack::FLAG;
use crate::plan::{Plan, Planned};
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
        part(plan.platform, &platform::NAMES, async |plan, found| {
            platform::look(plan, reference, options, console, found).await
        }),
        part(plan.cluster, &of_cluster, async |opened, found| cluster::look(opened, options, found).await),
        part(plan.content, &content::NAMES, async |content, found| walk(content, console, found).await),
        part(plan.registry, &registry::NAMES, async |plan, found| registry::look(plan, options.timeout, console, found).await),
    );
    if let Some(flag) = &platform.flag {
        if let Some(secret) = named(&mut cluster.checks, cluster::SECRET) {
            beside_the_flag(secret, cluster.secret, flag);
        }
        if let Some(line) = named(&mut platform.checks, FLAG).filter(|_| flag.uses_pod_identity) {
            beside_the_pods(line, cluster.without_identity.as_deref());
        }
    }
    if let Some(sizes) = content.content
        && let Some(line) = named(&mut content.checks, room::CLAIM)
    {
        *line = room::claim(sizes, cluster.claim);
    }
    let parts = [platform, cluster, content, registry];
    let servers: Vec<_> = parts.iter().filter_map(|part| part.server.clone()).collect();
    let mut checks: Vec<_> = parts.into_iter().flat_map(|part| part.checks).collect();
    // The folder has no server.
    if options.only.is_empty() || options.only.iter().any(|only| *only != Part::Content) {
        checks.extend(network::look(&servers));
    }
    Ok(checks)
}

/// Checks a part up to the line that blocks the rest. Without its settings each of its lines is skipped, so that nobody
/// mistakes its absence for success; a part that `--only` leaves out has none.
async fn part<T>(planned: Planned<T>, names: &[&str], look: impl AsyncFnOnce(T, &mut Findings) -> Result<(), Check>) -> Findings {
    let mut found = Findings::default();
    let why = match planned {
        None => return found,
        Some(Err(why)) => why,
        Some(Ok(plan)) => {
            let blocking = look(plan, &mut found).await.err();
            found.checks.extend(blocking);
            ""
        }
    };
    found.checks = complete(names, found.checks, why.to_owned());
    found
}

/// The walk has its own thread, so that it does not block the network.
async fn walk(content: Content, console: &Console, found: &mut Findings) -> Result<(), Check> {
    let console = console.clone();
    let walk = tokio::task::spawn_blocking(move || content::look(&content, &console));
    let (checks, sizes) = walk.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    found.checks = checks;
    found.content = Some(sizes);
    Ok(())
}

/// A secret that the platform created for the flag must stay; an older one is deleted.
fn beside_the_flag(check: &mut Check, made: Option<Timestamp>, flag: &Flag) {
    let (Some(made), CheckResult::Ok) = (made, check.result) else { return };
    if !flag.is_set {
        return;
    }
    // VerteX stamps the entry, the cluster the secret: a minute between them proves nothing.
    let said = check.found.trim_end_matches(": the first step deletes it").to_owned();
    *check = match flag.changed {
        Some(changed) if made.duration_since(changed) < -TOGETHER => {
            line(cluster::SECRET, CheckResult::Ok, format!("{said}, before the flag was set: it may be deleted"))
        }
        _ => warning(
            cluster::SECRET,
            format!("{said}, and the flag is set: the platform made it for Specman"),
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
