//! Checks all sides at the same time, and what only two of them together can show.

use jiff::{SignedDuration, Timestamp};
use scar_record::{Check, CheckResult};
use scar_tool::{Console, Failure};

use crate::check::{line, skipped, warning};
use crate::goal::{Goals, LEFT_OUT, Side};
use crate::options::Options;
use crate::pack::{FLAG, Flag};
use crate::{cluster, content, network, platform, registry, room};

/// How much older than the flag the secret of the platform may be, because two clocks differ.
const TOGETHER: SignedDuration = SignedDuration::from_secs(60);

/// Checks everything. A failure of one side does not stop the others.
///
/// # Errors
/// Only internal ones.
pub(crate) async fn all(goals: Goals, options: &Options, console: &Console) -> Result<Vec<Check>, Failure> {
    let Goals { platform, cluster, content, registry, reference } = goals;
    let of_platform = platform::Manner { time: options.timeout, options, console };
    let of_cluster = cluster::Manner { time: options.timeout, options };
    let (platform, cluster, content, registry) = tokio::join!(
        side(platform, |goal| platform::look(goal, reference.as_ref(), &of_platform)),
        side(cluster, |goal| cluster::look(goal, &of_cluster)),
        side(content, |goal| walked(goal, console)),
        side(registry, |goal| registry::look(goal, options.timeout, console)),
    );
    let mut servers = Vec::new();
    let mut checks = Vec::new();
    let mut flag = None;
    match platform {
        Ok(found) => {
            servers.extend(found.server);
            checks.extend(found.checks);
            flag = found.flag;
        }
        Err(why) => checks.extend(left_out(&platform::names(), &why)),
    }
    let (mut room, mut without_identity) = (None, None);
    match cluster {
        Ok(mut found) => {
            without_identity = found.without_identity;
            servers.extend(found.server);
            if let Some(secret) = found.checks.iter_mut().find(|check| check.name == cluster::SECRET) {
                beside_the_flag(secret, found.secret, flag.as_ref());
            }
            checks.extend(found.checks);
            room = found.room;
        }
        Err(why) => checks.extend(left_out(&cluster::names(), &why)),
    }
    if flag.as_ref().is_some_and(|flag| flag.uses_pod_identity)
        && let Some(check) = checks.iter_mut().find(|check| check.name == FLAG)
    {
        beside_the_pods(check, without_identity.as_deref());
    }
    match content {
        Ok(found) => {
            let walked = found.bytes.is_some();
            checks.extend(found.checks);
            if walked {
                checks.push(room::claim(found.bytes, room));
            }
        }
        Err(why) => checks.extend(left_out(&content::NAMES, &why)),
    }
    match registry {
        Ok(found) => {
            servers.extend(found.server);
            checks.extend(found.checks);
        }
        Err(why) => checks.extend(left_out(&registry::NAMES, &why)),
    }
    if !options.only.iter().all(|only| *only == crate::options::Only::Content) || options.only.is_empty() {
        checks.extend(network::look(&servers));
    }
    Ok(checks)
}

async fn side<T, F, W>(goal: Side<T>, look: impl FnOnce(T) -> W) -> Result<F, String>
where
    W: Future<Output = F>,
{
    match goal {
        Ok(goal) => Ok(look(goal).await),
        Err(why) => Err(why),
    }
}

/// The walk has its own thread, so that it does not block the network.
async fn walked(goal: crate::goal::Content, console: &Console) -> content::Found {
    let console = console.clone();
    let walk = tokio::task::spawn_blocking(move || content::look(&goal, &console));
    walk.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Every check of a side without its settings is a skipped line, so that nobody mistakes its absence for success; a side
/// that `--only` leaves out has none.
fn left_out(names: &[&str], why: &str) -> Vec<Check> {
    let names = if why == LEFT_OUT { &[] } else { names };
    names.iter().map(|name| skipped(name, why)).collect()
}

/// A secret that the platform created for the flag must stay; an older one is deleted.
fn beside_the_flag(check: &mut Check, made: Option<Timestamp>, flag: Option<&Flag>) {
    let (Some(made), Some(flag), CheckResult::Ok) = (made, flag, check.result) else { return };
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
        let result = |made: &str, flag: Option<Flag>| {
            let mut check = line(cluster::SECRET, CheckResult::Ok, "x: the first step deletes it");
            beside_the_flag(&mut check, Some(time(made)), flag.as_ref());
            (check.result, check.found)
        };
        let flag = |is_set: bool, at: Option<&str>| Some(Flag { is_set, uses_pod_identity: false, changed: at.map(time) });
        let (day, next) = ("2024-12-06T12:00:00Z", "2024-12-07T12:00:00Z");
        assert_eq!(result(next, flag(true, Some(day))).0, CheckResult::Warning);
        assert_eq!(result(day, flag(true, Some(day))).0, CheckResult::Warning);
        assert_eq!(result(day, flag(true, None)).0, CheckResult::Warning);
        assert_eq!(result(day, flag(true, Some(next))).0, CheckResult::Ok);
        assert_eq!(result(next, flag(false, Some(day))), (CheckResult::Ok, "x: the first step deletes it".to_owned()));
        assert_eq!(result(next, None).0, CheckResult::Ok);
    }
}
