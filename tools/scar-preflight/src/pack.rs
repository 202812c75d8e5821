//! VerteX's entry for the registry that the artifact goes to, and its flag.

use scar_record::{Check, CheckResult};
use scar_registry::{Reference, ecr};
use scar_tool::{Exit, Failure};
use scar_vertex::entry::{self, Kind, Wanted};
use scar_vertex::{Api, Object, is_mask};

use crate::check::{Side, blocked, failed, line, needs, ok, skipped, warning, within};
use crate::platform::Manner;

/// The line of the entry.
pub(crate) const ENTRY: &str = "platform.pack-registry";
/// The line of its flag.
pub(crate) const FLAG: &str = "platform.flag";

/// The flag as it stands.
pub(crate) struct Flag {
    pub(crate) is_set: bool,
    /// When the entry was changed last, as VerteX writes it.
    pub(crate) changed: Option<jiff::Timestamp>,
}

/// Checks the entry and its flag.
pub(crate) async fn look(api: &Api, reference: Option<&Reference>, manner: &Manner<'_>) -> (Vec<Check>, Option<Flag>) {
    let Some(reference) = reference else {
        let why = "no registry: --reference HOST or OCI_PACK_REGISTRY";
        return (vec![skipped(ENTRY, why), skipped(FLAG, format!("needs {ENTRY}"))], None);
    };
    let read = async {
        let entries = entry::list(api).await?;
        let entry = entry::pick(&entries, &Wanted::Host(reference.registry.clone()))?;
        let (kind, object) = entry.read(api).await?;
        Ok((entry.name.clone(), entry.endpoint.clone(), kind, object))
    };
    let (name, endpoint, kind, object) = match within(manner.time, "read the pack registries", read).await {
        Ok(read) => read,
        Err(failure) => return (nothing(failure), None),
    };
    let flag = Flag {
        is_set: object.flag(entry::FLAG),
        changed: object.text(&["metadata", "lastModifiedTimestamp"]).and_then(|text| text.parse().ok()),
    };
    let checks = vec![fits(&name, &endpoint, kind, &object, reference), flag_line(&flag, &object, manner)];
    (checks, Some(flag))
}

/// The lines where there is not exactly one entry.
fn nothing(failure: Failure) -> Vec<Check> {
    // Several are for a person to choose from; the tool that sets the flag has an option for that.
    let several = failure.exit == Exit::Misuse;
    let mut check = failed(ENTRY, failure, Side::Platform);
    if several {
        check.result = CheckResult::Warning;
        check.hint = Some("choose one for pack-registry-set: --uid UID".to_owned());
    }
    [vec![check], needs([FLAG], ENTRY)].concat()
}

/// Whether what is pushed to the reference is where Specman will look.
fn fits(name: &str, endpoint: &str, kind: Kind, object: &Object, reference: &Reference) -> Check {
    let is = format!("'{name}', {}, '{endpoint}'", kind.word());
    let expected = entry::expected_repository(object);
    if reference.repository != expected {
        let base = object.text_or_empty(&["spec", "baseContentPath"]);
        return blocked(
            ENTRY,
            format!("{is}: Specman will look in '{expected}', and the artifact is to go to '{}'", reference.repository),
            format!("push to {}/{expected}:0.0.0, or correct the entry's base content path, now '{base}'", reference.registry),
        );
    }
    let is_ecr = ecr::Host::of(&reference.registry).is_some();
    if is_ecr != (kind == Kind::Ecr) {
        let (host, wanted) = if is_ecr { ("is ECR's", "ecr") } else { ("is not ECR's", "basic") };
        return warning(
            ENTRY,
            format!("{is}: the host {host}"),
            format!("an entry of the type '{wanted}' is meant for it: see Administration, Pack Registries"),
        );
    }
    ok(ENTRY, format!("{is}, looks in '{expected}'"))
}

fn flag_line(flag: &Flag, object: &Object, manner: &Manner<'_>) -> Check {
    if flag.is_set {
        return ok(FLAG, "set already: Specman fetches from this registry");
    }
    let user = object.text_or_empty(&["spec", "auth", "username"]);
    let password = object.text_or_empty(&["spec", "auth", "password"]);
    let hidden = !user.is_empty() && (password.is_empty() || is_mask(&password));
    if hidden && manner.registry_user != Some(user.as_str()) {
        return warning(
            FLAG,
            "not set yet, and VerteX hides the password of the entry",
            format!("have the password of '{user}' at hand: pack-registry-set -u '{user}' --password-file FILE"),
        );
    }
    line(FLAG, CheckResult::Ok, "not set yet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_fits_where_specman_looks_in_the_repository_that_is_pushed_to() {
        let result = |registry: &str, base: &str, kind: Kind| {
            let object = Object::parse(&format!(r#"{{"spec":{{"baseContentPath":"{base}"}}}}"#)).unwrap();
            let reference = Reference::parse(registry, None).unwrap();
            fits("n", "https://h.example", kind, &object, &reference).result
        };
        let ecr = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
        for (registry, base, kind, expected) in [
            ("h.example", "spectro-packs", Kind::Basic, CheckResult::Ok),
            ("h.example", "/spectro-packs/", Kind::Basic, CheckResult::Ok),
            ("h.example", "packs", Kind::Basic, CheckResult::Blocked),
            ("h.example", "", Kind::Basic, CheckResult::Blocked),
            ("h.example", "spectro-packs", Kind::Ecr, CheckResult::Warning),
            (ecr, "spectro-packs", Kind::Ecr, CheckResult::Ok),
            (ecr, "spectro-packs", Kind::Basic, CheckResult::Warning),
        ] {
            assert_eq!(result(registry, base, kind), expected, "{registry} {base} {kind:?}");
        }
    }
}
