//! VerteX's entry for the registry that the artifact goes to, and its flag.

use scar_record::Check;
use scar_registry::{Reference, ecr};
use scar_tool::{Console, Failure, Spelling};
use scar_vertex::Api;
use scar_vertex::entry::{self, EntryObject, Kind, Selector};

use crate::check::{blocked, check, failed, ok, skipped, warning, within};
use crate::findings::Flag;
use crate::options::{OfEntry, Options};

/// The line of the entry.
pub(crate) const ENTRY: &str = "platform.pack-registry";
/// The line of its flag.
pub(crate) const FLAG: &str = "platform.flag";

/// Checks the entry and its flag; also returns the flag.
///
/// # Errors
/// The line of the entry, without which there is no flag.
pub(crate) async fn look(
    api: &Api,
    reference: Option<&Reference>,
    options: &Options,
    console: &Console,
) -> Result<(Check, Check, Flag), Check> {
    let reference = reference.ok_or_else(|| skipped(ENTRY, "no registry: --reference HOST or OCI_PACK_REGISTRY"))?;
    let wanted = options.entry.selector().unwrap_or_else(|| Selector::Host(reference.registry.clone()));
    let choice = entry::choose(api, &wanted, Spelling::of::<OfEntry>(), Some(&reference.repository));
    let chosen = within(options.timeout, "read the pack registries", choice).await.map_err(|failure| failed(ENTRY, failure))?;
    let flag = Flag {
        is_set: chosen.object.flag(entry::FLAG),
        uses_pod_identity: chosen.uses_pod_identity(),
        changed: chosen.object.text(&["metadata", "lastModifiedTimestamp"]).and_then(|text| text.parse().ok()),
    };
    let line = match flag.is_set {
        true => ok(FLAG, "set already: Specman fetches from this registry"),
        false => check(FLAG, options.timeout, "validate the pack registry", change_line(&chosen, api, options, console)).await,
    };
    Ok((fits(&chosen, reference), line, flag))
}

/// Whether the reference is where Specman will look.
fn fits(chosen: &EntryObject, reference: &Reference) -> Check {
    let is = format!("'{}', {}, '{}'", chosen.entry.name, chosen.kind.word(), chosen.entry.endpoint);
    let expected = chosen.expected_repository();
    if let Some(way_out) = chosen.misplaced(&reference.registry, &reference.repository) {
        let found = format!("Specman will look in '{expected}', and the artifact is to go to '{}'", reference.repository);
        return blocked(ENTRY, format!("{is}: {found}"), way_out);
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
async fn change_line(chosen: &EntryObject, api: &Api, options: &Options, console: &Console) -> Result<Check, Failure> {
    let filled = options.given(console).and_then(|given| given.fill(chosen, false));
    let mut after = filled.map_err(|failure| {
        let hint = format!("pack-registry-set needs it; {}", failure.hint.unwrap_or_default());
        Failure { message: format!("not set yet, and {}", failure.message), hint: Some(hint.into()), ..failure }
    })?;
    // What pack-registry-set sends to validate before it writes, so that VerteX refuses it here already.
    after.set(entry::FLAG, &true);
    entry::validate(api, chosen, &after).await?;
    Ok(ok(FLAG, "not set yet"))
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
