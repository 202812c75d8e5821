//! Preflight says that nothing blocks if and only if the run that follows on the same site gets to its end.

use scar_kit::{Run, binaries};
use scar_suites::Random;

use crate::site::Drawn;

/// What preflight says last of a site that is ready.
const NOTHING: &str = "scar-preflight: nothing blocks: ";

/// The site of one seed. A whole run has both verdicts, preflight's and its own; what preflight blocks is run without it.
pub(crate) fn agrees(seed: u64) {
    let site = Drawn::new(&mut Random::new(seed));
    let outcome = site.migrate("30s").run();
    if outcome.stderr().contains(NOTHING) {
        assert_eq!(outcome.status(), 0, "{site}: preflight passed what the run refuses\n{outcome}");
        return;
    }
    assert!(outcome.stderr().contains("; nothing was changed\n"), "{site}: no verdict\n{outcome}");
    let flight = without_preflight(&site, site.migrate("3s")).run();
    assert_ne!(flight.status(), 0, "{site}: preflight blocked what the run does\n{outcome}\n{flight}");
}

/// A preflight that looks at nothing stands before the real one.
fn without_preflight(site: &Drawn, run: Run) -> Run {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = site.migration.folder().join("blind");
    std::fs::create_dir(&folder).unwrap();
    let blind = folder.join("scar-preflight");
    std::fs::write(&blind, "#!/bin/sh\necho '{\"record\": \"scar-tools/1\"}'\n").unwrap();
    std::fs::set_permissions(&blind, std::fs::Permissions::from_mode(0o755)).unwrap();
    run.env("PATH", format!("{}:{}:/usr/bin:/bin", folder.display(), binaries().display()))
}
