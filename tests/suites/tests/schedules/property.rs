//! Preflight says that nothing blocks if and only if the run that follows on the same site gets to its end.

use crate::site::Drawn;
use scar_kit::{Run, binaries};

/// What is said when a look has found something, and no step was begun.
const BEFORE: &str = "; nothing was changed\n";

/// The site of one seed. A whole run has both verdicts, preflight's and its own; what preflight blocks is run without it.
pub(crate) fn agrees(seed: u64) {
    let site = Drawn::new(seed);
    for phase in site.phases() {
        let run = |timeout| site.migrate(timeout).args(&phase);
        let outcome = run("30s").run();
        if outcome.stderr().contains(BEFORE) {
            let flight = without_preflight(&site, run("3s")).run();
            assert_ne!(flight.status(), 0, "{site}: preflight blocked what the run does\n{outcome}\n{flight}");
            return;
        }
        assert_eq!(outcome.status(), 0, "{site}: preflight passed what the run refuses\n{outcome}");
    }
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
