//! What must be shown before the setting may be changed: the steps before this one, and a session that lasts.

use std::time::Duration;

use scar_record::{Artifact, PackRegistry, Record, Section, Session, Specman, Time};
use scar_tool::{Console, Exit, Failure};

/// Time that the requests take beside the settling.
const MARGIN: Duration = Duration::from_secs(120);

/// How far the cluster's clock may be behind, in seconds, before a marker counts as one from before the push.
const SKEW: i64 = 3600;

/// Makes sure that the record shows artifact pushed, flag set and tag persisted.
///
/// # Errors
/// Exit 2 naming the first step that it does not show; with `force`, or in a dry run, it is only said.
pub(crate) fn check(record: &Record, force: bool, console: &Console) -> Result<(), Failure> {
    let missing = missing(
        record.section::<Artifact>()?.as_ref(),
        record.section::<PackRegistry>()?.as_ref(),
        record.section::<Specman>()?.as_ref(),
    );
    let Some((what, tool)) = missing else { return Ok(()) };
    if record.is_dry_run() {
        console.plan(format!("first want the record to show {what} ({tool})"));
        return Ok(());
    }
    if force {
        console.warn(format!("the record does not show {what} ({tool}); going on (--force)"));
        return Ok(());
    }
    Err(Failure::misuse(format!("set SCAR: the record does not show {what}"))
        .hint(format!("run {tool} before this step and pass its record on; --force goes on without")))
}

/// The first step that is not shown, in the order of the guide, and the tool that does it.
fn missing(
    artifact: Option<&Artifact>,
    registry: Option<&PackRegistry>,
    specman: Option<&Specman>,
) -> Option<(String, &'static str)> {
    let Some(artifact) = artifact else {
        return Some(("that the manifests are pushed".to_owned(), Artifact::WRITER));
    };
    if !registry.is_some_and(|registry| registry.contains_spectro_manifest) {
        return Some(("that the pack registry's flag is set".to_owned(), PackRegistry::WRITER));
    }
    match specman {
        None => Some(("that Specman has persisted the manifests".to_owned(), Specman::WRITER)),
        Some(specman) if specman.tag != artifact.tag => {
            Some((format!("that Specman has persisted '{}' (it tells of '{}')", artifact.tag, specman.tag), Specman::WRITER))
        }
        Some(specman) if artifact.pushed_at.is_some_and(|pushed| before(specman.persisted_at, pushed)) => Some((
            format!("that Specman has persisted this push (Specman's word, from {}, is older)", specman.persisted_at),
            Specman::WRITER,
        )),
        Some(_) => None,
    }
}

/// Whether Specman's word is from before the push, as in a record that was pushed anew and not waited for.
fn before(persisted: Time, pushed: Time) -> bool {
    persisted.timestamp().as_second() + SKEW < pushed.timestamp().as_second()
}

/// Makes sure that the session does not end in the middle of the step.
///
/// # Errors
/// Exit 4; with `force` the server decides.
pub(crate) fn lasts(session: &Session, settle: Duration, force: bool) -> Result<(), Failure> {
    let Some(end) = session.expires_at.filter(|_| !force) else { return Ok(()) };
    let left = end.timestamp().as_second() - Time::now().timestamp().as_second();
    let needed = (settle + MARGIN).as_secs();
    if left >= i64::try_from(needed).unwrap_or(i64::MAX) {
        return Ok(());
    }
    let when = if left <= 0 { format!("it ended at {end}") } else { format!("it ends at {end}, in {left} s") };
    Err(Failure::new(Exit::Refused, format!("use the session: {when}, and this step may need {needed} s"))
        .hint(format!("log in again: {}; where this host's clock is wrong, --force", scar_vertex::login_command(session))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sections: &str) -> Record {
        Record::parse(format!(r#"{{"record":"scar-tools/1"{sections}}}"#).as_bytes()).unwrap()
    }

    const ARTIFACT: &str = r#","artifact":{"reference":"h/r:0.0.0","registry":"h","repository":"r","tag":"0.0.0","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","layer":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":1,"created":"2024-12-06T12:43:14Z","pushed_at":"2024-12-06T12:43:14Z","uploaded":true}"#;

    fn registry(flag: bool) -> String {
        format!(
            r#","pack_registry":{{"uid":"u","name":"n","kind":"basic","endpoint":"h","vertex":"https://v.example","contains_spectro_manifest":{flag},"changed":true}}"#
        )
    }

    fn specman(tag: &str) -> String {
        format!(
            r#","specman":{{"namespace":"hubble-system","tag":"{tag}","persisted_at":"2024-12-06T12:50:00Z","pods":["specman-0"]}}"#
        )
    }

    #[test]
    fn c12_each_missing_step_is_named_with_its_tool() {
        let console = Console::new("test");
        for (sections, step, tool) in [
            (String::new(), "manifests are pushed", "ocipush"),
            (ARTIFACT.to_owned(), "flag is set", "pack-registry-set"),
            (ARTIFACT.to_owned() + &registry(false) + &specman("0.0.0"), "flag is set", "pack-registry-set"),
            (ARTIFACT.to_owned() + &registry(true), "persisted the manifests", "specman-wait"),
            (
                ARTIFACT.to_owned() + &registry(true) + &specman("4.5.15"),
                "persisted '0.0.0' (it tells of '4.5.15')",
                "specman-wait",
            ),
            (
                ARTIFACT.replace("12:43:14Z\",\"uploaded", "14:43:14Z\",\"uploaded") + &registry(true) + &specman("0.0.0"),
                "Specman's word, from 2024-12-06T12:50:00Z, is older",
                "specman-wait",
            ),
        ] {
            let failure = check(&record(&sections), false, &console).unwrap_err();
            assert!(failure.message.contains(step) && failure.hint.unwrap().contains(tool), "{}", failure.message);
            assert!(check(&record(&sections), true, &console).is_ok());
        }
        assert!(check(&record(&(ARTIFACT.to_owned() + &registry(true) + &specman("0.0.0"))), false, &console).is_ok());
    }

    #[test]
    fn a_session_that_would_end_in_between_is_refused() {
        let session = |seconds: i64| Session {
            endpoint: "https://v.example".into(),
            authorization: "a.b.c".to_owned().into(),
            expires_at: Time::from_epoch(Time::now().timestamp().as_second() + seconds).ok(),
            ca_file: None,
            insecure: false,
        };
        let minute = Duration::from_secs(60);
        assert!(lasts(&session(3600), minute, false).is_ok());
        assert!(lasts(&session(60), minute, true).is_ok());
        for seconds in [60, 0, -5] {
            assert_eq!(lasts(&session(seconds), minute, false).unwrap_err().exit, Exit::Refused);
        }
        assert!(lasts(&Session { expires_at: None, ..session(0) }, minute, false).is_ok());
    }
}
