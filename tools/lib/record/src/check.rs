//! Checks the whole record before any tool uses it: each section has the form in which its tool writes it, and no two fields
//! contradict each other. So a record that was edited by hand, or combined from two runs, is refused.

use scar_tool::Failure;
use serde_json::Value;

use crate::input::cause;
use crate::sections::{Archive, Artifact, PackRegistry, Preflight, Scar, Secret, Specman, Verified};
use crate::{Record, Section, Session};

impl Record {
    /// Checks everything that this version knows. Exit 2, naming the field, or both fields of a contradiction.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.raw("dry_run").is_some_and(|value| value.get() != "true") {
            return Err(Failure::misuse("read the record: field 'dry_run' must be true or absent"));
        }
        self.exact::<Preflight>()?;
        let entry = self.exact::<PackRegistry>()?;
        let (secret, session, scar) = (self.exact::<Secret>()?, self.exact::<Session>()?, self.exact::<Scar>()?);
        let (archive, artifact) = (self.exact::<Archive>()?, self.exact::<Artifact>()?);
        let (specman, verified) = (self.exact::<Specman>()?, self.exact::<Verified>()?);

        let secrets = |rule: fn(&Secret) -> bool| secret.as_ref().is_some_and(rule);
        let pushed = |rule: fn(&Artifact) -> bool| artifact.as_ref().is_some_and(rule);
        let compared = |rule: fn(&Verified) -> bool| verified.as_ref().is_some_and(rule);
        let both = archive.as_ref().zip(artifact.as_ref());
        let layer = verified.as_ref().and_then(|verified| verified.layer.as_ref());
        let contradictions = [
            (secrets(|s| s.deleted && !s.found), "secret.deleted", "secret.found"),
            (secrets(|s| s.uid.is_some() && !s.found), "secret.uid", "secret.found"),
            (
                pushed(|a| a.registry.contains('/') || !a.reference.starts_with(&format!("{}/", a.registry))),
                "artifact.reference",
                "artifact.registry",
            ),
            (
                pushed(|a| a.tag.contains(['/', ':']) || !a.reference.ends_with(&format!(":{}", a.tag))),
                "artifact.reference",
                "artifact.tag",
            ),
            (
                pushed(|a| a.reference != format!("{}/{}:{}", a.registry, a.repository, a.tag)),
                "artifact.reference",
                "artifact.repository",
            ),
            (pushed(|a| a.pushed_at.is_some() && !a.uploaded), "artifact.pushed_at", "artifact.uploaded"),
            (pushed(|a| a.replaced.is_some() && a.pushed_at.is_none()), "artifact.replaced", "artifact.pushed_at"),
            (pushed(|a| a.replaced.as_ref() == Some(&a.digest)), "artifact.replaced", "artifact.digest"),
            (both.is_some_and(|(archive, artifact)| archive.digest != artifact.layer), "archive.digest", "artifact.layer"),
            (both.is_some_and(|(archive, artifact)| archive.size != artifact.size), "archive.size", "artifact.size"),
            (layer.zip(artifact.as_ref()).is_some_and(|(layer, a)| *layer != a.layer), "verified.layer", "artifact.layer"),
            (layer.zip(archive.as_ref()).is_some_and(|(layer, a)| *layer != a.digest), "verified.layer", "archive.digest"),
            (specman.as_ref().zip(artifact.as_ref()).is_some_and(|(s, a)| s.tag != a.tag), "specman.tag", "artifact.tag"),
            (compared(|v| v.missing > v.compared), "verified.missing", "verified.compared"),
            (compared(|v| v.different > v.compared), "verified.different", "verified.compared"),
            (compared(|v| v.unreadable > v.compared), "verified.unreadable", "verified.compared"),
        ];
        if let Some((_, first, second)) = contradictions.into_iter().find(|(found, ..)| *found) {
            return Err(Failure::misuse(format!("read the record: '{first}' and '{second}' contradict each other"))
                .hint("it was changed, or put together from two runs; go on from a record that one run wrote"));
        }
        let relative = |path: Option<&String>| path.is_some_and(|path| !path.starts_with('/'));
        let (path, origin) = ("is not an absolute path", "is not the origin of a server, https://HOST[:PORT]");
        let faults = [
            (relative(secret.as_ref().and_then(|secret| secret.backup.as_ref())), "secret.backup", path),
            (relative(archive.as_ref().map(|archive| &archive.path)), "archive.path", path),
            (relative(archive.as_ref().map(|archive| &archive.source)), "archive.source", path),
            (pushed(|a| !is_tag(&a.tag)), "artifact.tag", "is not a tag"),
            (relative(session.as_ref().and_then(|session| session.ca_file.as_ref())), "session.ca_file", path),
            (session.is_some_and(|session| !is_origin(&session.endpoint)), "session.endpoint", origin),
            (entry.as_ref().is_some_and(|e| !is_origin(&e.vertex)), "pack_registry.vertex", origin),
            (entry.is_some_and(|e| e.kind != "basic" && e.kind != "ecr"), "pack_registry.kind", "is not basic or ecr"),
            (specman.is_some_and(|specman| specman.pods.is_empty()), "specman.pods", "is empty"),
            (relative(scar.as_ref().and_then(|scar| scar.backup.as_ref())), "scar.backup", path),
            (scar.is_some_and(|scar| !is_origin(&scar.vertex)), "scar.vertex", origin),
        ];
        match faults.into_iter().find(|(found, ..)| *found) {
            Some((_, field, fault)) => Err(Failure::misuse(format!("read the record: '{field}' {fault}"))),
            None => Ok(()),
        }
    }

    /// Checks that a section is exactly as its tool writes it: serde would also accept a list for an object, null for an
    /// absent field, and a time with an offset.
    fn exact<S: Section>(&self) -> Result<Option<S>, Failure> {
        let (Some(section), Some(raw)) = (self.section::<S>()?, self.raw(S::NAME)) else { return Ok(None) };
        let read: Value = serde_json::from_str(raw.get())
            .map_err(|error| Failure::misuse(format!("read the record: section '{}': {}", S::NAME, cause(&error))))?;
        match unlike(S::NAME, &read, &serde_json::to_value(&section).unwrap_or_default()) {
            None => Ok(Some(section)),
            Some(field) => Err(Failure::misuse(format!("read the record: '{field}' is not written as {} writes it", S::WRITER))
                .hint("scar-record(5) describes each field; run the step again whose record was changed")),
        }
    }
}

/// The first field with another form, or null; fields that `written` does not know pass.
fn unlike(path: &str, read: &Value, written: &Value) -> Option<String> {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => read.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match written.get(name) {
                Some(written) => unlike(&path, value, written),
                None => value.is_null().then_some(path),
            }
        }),
        (Value::Array(read), Value::Array(written)) => {
            read.iter().zip(written).enumerate().find_map(|(at, (read, written))| unlike(&format!("{path}[{at}]"), read, written))
        }
        _ => (read != written || (read == "" && !may_be_empty(path))).then(|| path.to_owned()),
    }
}

/// Fields that may be empty, because they are in VerteX; all others have a value.
fn may_be_empty(path: &str) -> bool {
    ["preflight.", "scar.previous.", "scar.endpoint", "scar.spectro_version", "pack_registry.name", "pack_registry.endpoint"]
        .iter()
        .any(|may| path.starts_with(may))
}

/// Whether it is a tag (OCI distribution specification, "Pulling manifests").
fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(word) && text.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

/// Whether it only has host and port; the crate that sends requests parses them.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    !host.is_empty() && !host.contains(['/', '?', '#', '@', '\\', ' ']) && !host.chars().any(char::is_control)
}
