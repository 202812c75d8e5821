//! The registry that the record names. A record travels between hosts, so it does not decide where a login goes, or which
//! server is contacted.

use scar_http::Origin;
use scar_tool::{Exit, Failure};

use crate::reference::Reference;

/// Whether the operator named the record's registry: `named` is a host or a reference. Exit 5 if the operator named another;
/// exit 2 if a login was `given`, but no registry.
pub fn is_named(reference: &Reference, named: Option<&str>, given: bool) -> Result<bool, Failure> {
    let registry = &reference.registry;
    let Some(named) = named else {
        return match given {
            true => Err(unnamed(reference, "a login was given without a registry")),
            false => Ok(false),
        };
    };
    // Compared as origins: `HOST` and `HOST:443` are one registry (FAULTS Q20). The scheme does not count, as in
    // pack-registry-set.
    let host = named.split_once("://").map_or(named, |(_, rest)| rest).split('/').next().unwrap_or_default();
    if Origin::at("https", host)? == Origin::at("https", registry)? {
        return Ok(true);
    }
    Err(Failure::new(Exit::Unsafe, format!("read from '{registry}': the record names this registry, but '{host}' was given"))
        .hint("is the record from another site? nothing was sent to that registry"))
}

/// The failure for a registry that the operator did not name, and that this host has no login for.
pub fn unnamed(reference: &Reference, cause: &str) -> Failure {
    let registry = &reference.registry;
    Failure::misuse(format!("read from '{registry}': only the record names this registry, and {cause}"))
        .hint(format!("if it is the right one: --registry {registry}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q20_the_operator_names_the_registry_and_not_the_record() {
        let reference = Reference::parse("Harbor.example:443/a/b:1", None).unwrap();
        for (named, given, result) in [
            (None, false, Ok(false)),
            (None, true, Err(Exit::Misuse)),
            (Some("harbor.example"), true, Ok(true)),
            (Some("harbor.example/a"), true, Ok(true)),
            (Some("https://harbor.example/a"), true, Ok(true)),
            (Some("https://other.example"), true, Err(Exit::Unsafe)),
            (Some("harbor.example:8443"), true, Err(Exit::Unsafe)),
            (Some("other.example"), false, Err(Exit::Unsafe)),
        ] {
            assert_eq!(is_named(&reference, named, given).map_err(|failure| failure.exit), result, "{named:?} {given}");
        }
    }
}
