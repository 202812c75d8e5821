//! The checks before the setting may be changed: the record must show all earlier steps.

use scar_record::{Artifact, PackRegistry, Record, Section, Session, Specman, Verified};
use scar_tool::{Console, Failure};

use crate::options::Options;

/// Checks that the record shows each earlier step, for this VerteX and for the pushed layer.
///
/// # Errors
/// Exit 2 naming the first missing step; with --force or in a dry run only a warning.
pub(crate) fn check(record: &Record, session: Option<&Session>, options: &Options, console: &Console) -> Result<(), Failure> {
    let Some((what, tool)) = missing(record, session, options.unverified)? else { return Ok(()) };
    if options.force {
        console.warn(format!("the record does not show {what} ({tool}); continuing (--force)"));
        return Ok(());
    }
    if record.is_dry_run() {
        console.plan(format!("require that the record shows {what} ({tool})"));
        return Ok(());
    }
    let option = if tool == Verified::WRITER { "--unverified" } else { "--force" };
    Err(Failure::misuse(format!("set SCAR: the record does not show {what}"))
        .hint(format!("run {tool} before this step and pass its record on; to continue without it, add {option}")))
}

/// The first missing step in the guide's order, and its tool.
fn missing(
    record: &Record,
    session: Option<&Session>,
    unverified: bool,
) -> Result<Option<(&'static str, &'static str)>, Failure> {
    // A flag that was set in another VerteX does not count (FAULTS Q9).
    let of_this = |vertex: &str| session.is_none_or(|session| session.endpoint == vertex);
    let registry = record.section::<PackRegistry>()?.filter(|registry| of_this(&registry.vertex));
    let Some(artifact) = record.section::<Artifact>()? else {
        return Ok(Some(("that the manifests are pushed", Artifact::WRITER)));
    };
    if !registry.is_some_and(|registry| registry.contains_spectro_manifest) {
        return Ok(Some(("that the pack registry's flag is set in this VerteX", PackRegistry::WRITER)));
    }
    // The marker's time is not compared with the push: registry, cluster and this host have three clocks (FAULTS Q4). Whether
    // Specman has this push and not an earlier one of the same tag is shown only by the content, which specman-verify has
    // compared.
    if record.section::<Specman>()?.is_none() {
        return Ok(Some(("that Specman has persisted the manifests", Specman::WRITER)));
    }
    Ok(match record.section::<Verified>()? {
        _ if unverified => None,
        None => Some(("that Specman serves the manifests", Verified::WRITER)),
        Some(verified) if verified.layer.as_ref() != Some(&artifact.layer) => {
            Some(("that Specman serves the layer that was pushed: what was compared is a folder", Verified::WRITER))
        }
        Some(Verified { compared: 1.., missing: 0, different: 0, unreadable: 0, .. }) => None,
        Some(_) => Some(("that Specman serves every file of the manifests", Verified::WRITER)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn record(sections: &str) -> Record {
        Record::parse(format!(r#"{{"record":"scar-tools/1"{sections}}}"#).as_bytes()).unwrap()
    }

    const ARTIFACT: &str = r#","artifact":{"reference":"h/r:0.0.0","registry":"h","repository":"r","tag":"0.0.0","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","layer":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":1,"created":"2024-12-06T12:43:14Z","pushed_at":"2024-12-06T12:43:14Z","uploaded":true}"#;

    fn registry(flag: bool, vertex: &str) -> String {
        format!(
            r#","pack_registry":{{"uid":"u","name":"n","kind":"basic","endpoint":"h","vertex":"{vertex}","contains_spectro_manifest":{flag},"changed":true}}"#
        )
    }

    const SPECMAN: &str =
        r#","specman":{"namespace":"n","tag":"0.0.0","persisted_at":"2024-12-06T12:50:00Z","pods":["specman-0"]}"#;
    const VERIFIED: &str = r#","verified":{"layer":"sha256:0000000000000000000000000000000000000000000000000000000000000000","compared":3,"missing":0,"different":0,"unreadable":0,"bytes":1,"source":"/m.tgz"}"#;

    #[test]
    fn c12_each_missing_step_is_named_with_its_tool() {
        let (console, here) = (Console::new("test"), "https://v.example");
        let session = Session {
            endpoint: here.into(),
            authorization: "a.b.c".to_owned().into(),
            expires_at: None,
            ca_file: None,
            insecure: false,
        };
        let options = |more: &[&str]| Options::try_parse_from([&["scar-set"], more].concat()).unwrap();
        let pushed = ARTIFACT.to_owned() + &registry(true, here);
        let other_layer =
            VERIFIED.replacen("\"layer\":\"sha256:0000000000000000000000000000000000000000000000000000000000000000\",", "", 1);
        for (sections, step, tool) in [
            (String::new(), "manifests are pushed", "ocipush"),
            (ARTIFACT.to_owned(), "flag is set", "pack-registry-set"),
            (ARTIFACT.to_owned() + &registry(false, here) + SPECMAN, "flag is set", "pack-registry-set"),
            (ARTIFACT.to_owned() + &registry(true, "https://w.example") + SPECMAN, "flag is set in this", "pack-registry-set"),
            (pushed.clone(), "persisted the manifests", "specman-wait"),
            (pushed.clone() + SPECMAN, "serves the manifests", "specman-verify"),
            (pushed.clone() + SPECMAN + &other_layer, "what was compared is a folder", "specman-verify"),
            (pushed.clone() + SPECMAN + &VERIFIED.replace("\"missing\":0", "\"missing\":1"), "every file", "specman-verify"),
            (pushed.clone() + SPECMAN + &VERIFIED.replace("\"compared\":3", "\"compared\":0"), "every file", "specman-verify"),
        ] {
            let record = record(&sections);
            let failure = check(&record, Some(&session), &options(&[]), &console).unwrap_err();
            assert!(failure.message.contains(step) && failure.hint.unwrap().contains(tool), "{}", failure.message);
            assert!(check(&record, Some(&session), &options(&["--force"]), &console).is_ok());
            let unverified = check(&record, Some(&session), &options(&["--unverified"]), &console);
            assert_eq!(unverified.is_ok(), tool == "specman-verify", "{step}");
        }
        assert!(check(&record(&(pushed + SPECMAN + VERIFIED)), Some(&session), &options(&[]), &console).is_ok());
    }
}
