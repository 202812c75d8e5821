//! VerteX's entry for the registry that the artifact goes to, and its flag.

use scar_record::Check;
use scar_registry::{Reference, ecr};
use scar_tool::{Exit, Failure};
use scar_vertex::Api;
use scar_vertex::entry::{self, EntryObject, Kind, Selector};

use crate::check::{Side, blocked, failed, needs, ok, skipped, warning, within};
use crate::platform::Manner;

/// The line of the entry.
pub(crate) const ENTRY: &str = "platform.pack-registry";
/// The line of its flag.
pub(crate) const FLAG: &str = "platform.flag";

/// The current flag.
pub(crate) struct Flag {
    pub(crate) is_set: bool,
    /// Whether Specman's pods need a pod identity for the registry.
    pub(crate) uses_pod_identity: bool,
    /// When the entry was last changed, as VerteX writes it.
    pub(crate) changed: Option<jiff::Timestamp>,
}

/// Checks the entry and its flag.
pub(crate) async fn look(api: &Api, reference: Option<&Reference>, manner: &Manner<'_>) -> (Vec<Check>, Option<Flag>) {
    let Some(reference) = reference else {
        let why = "no registry: --reference HOST or OCI_PACK_REGISTRY";
        return (vec![skipped(ENTRY, why), skipped(FLAG, format!("needs {ENTRY}"))], None);
    };
    let wanted = manner.options.entry.wanted().unwrap_or_else(|| Selector::Host(reference.registry.clone()));
    let choice = entry::choose(api, &wanted, Some(&reference.repository));
    let chosen = match within(manner.time, "read the pack registries", choice).await {
        Ok(chosen) => chosen,
        Err(failure) => return (nothing(failure), None),
    };
    let flag = Flag {
        is_set: chosen.object.flag(entry::FLAG),
        uses_pod_identity: chosen.uses_pod_identity(),
        changed: chosen.object.text(&["metadata", "lastModifiedTimestamp"]).and_then(|text| text.parse().ok()),
    };
    (vec![fits(&chosen, reference), flag_line(&flag, &chosen, api, manner).await], Some(flag))
}

/// The lines where there is not exactly one entry.
fn nothing(failure: Failure) -> Vec<Check> {
    // Several are for a person to choose from.
    let several = failure.exit == Exit::Misuse;
    let mut check = failed(ENTRY, failure, Side::Platform);
    if several {
        check.hint = Some("choose one: --pack-registry-uid UID, as --uid for pack-registry-set".to_owned());
    }
    [vec![check], needs([FLAG], ENTRY)].concat()
}

/// Whether the reference is where Specman will look.
fn fits(chosen: &EntryObject, reference: &Reference) -> Check {
    let is = format!("'{}', {}, '{}'", chosen.entry.name, chosen.kind.word(), chosen.entry.endpoint);
    let expected = chosen.expected_repository();
    if reference.repository != expected {
        let base = chosen.object.text_or_empty(&["spec", "baseContentPath"]);
        return blocked(
            ENTRY,
            format!("{is}: Specman will look in '{expected}', and the artifact is to go to '{}'", reference.repository),
            format!("push to {}/{expected}:0.0.0, or correct the entry's base content path, now '{base}'", reference.registry),
        );
    }
    let is_ecr = ecr::Host::of(&reference.registry).is_some();
    if is_ecr != (chosen.kind == Kind::Ecr) {
        let (host, wanted) = if is_ecr { ("is ECR's", "ecr") } else { ("is not ECR's", "basic") };
        return warning(
            ENTRY,
            format!("{is}: the host {host}"),
            format!("an entry of the type '{wanted}' is meant for it: see Administration, Pack Registries"),
        );
    }
    ok(ENTRY, format!("{is}, looks in '{expected}'"))
}

/// Blocks if the step that sets the flag would be refused: for want of the entry's login, or because VerteX cannot use it.
async fn flag_line(flag: &Flag, chosen: &EntryObject, api: &Api, manner: &Manner<'_>) -> Check {
    if flag.is_set {
        return ok(FLAG, "set already: Specman fetches from this registry");
    }
    let given = manner.options.entry.given(&manner.options.registry, manner.console);
    let mut after = match given.and_then(|given| given.fill(chosen, false)) {
        Ok(after) => after,
        Err(failure) => {
            let hint = failure.hint.unwrap_or_default();
            return blocked(FLAG, format!("not set yet, and {}", failure.message), format!("pack-registry-set needs it; {hint}"));
        }
    };
    after.set(entry::FLAG, &true);
    match within(manner.time, "validate the pack registry", entry::validate(api, chosen, &after)).await {
        Ok(()) => ok(FLAG, "not set yet"),
        Err(failure) => failed(FLAG, failure, Side::Own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scar_record::CheckResult;
    use scar_vertex::Object;
    use scar_vertex::entry::Entry;

    #[test]
    fn an_entry_fits_where_specman_looks_in_the_repository_that_is_pushed_to() {
        let result = |registry: &str, base: &str, kind: Kind| {
            let object = Object::parse(&format!(r#"{{"spec":{{"baseContentPath":"{base}"}}}}"#)).unwrap();
            let (uid, name, endpoint) = ("u".to_owned(), "n".to_owned(), registry.to_owned());
            let entry = Entry { uid, name, endpoint, kind: Some(kind), provider: "pack".to_owned() };
            fits(&EntryObject { entry, kind, object }, &Reference::parse(registry, None).unwrap()).result
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
