//! Property: preflight reports no obstacle if and only if a run on the same site succeeds.

use crate::site::Drawn;
use scar_kit::{Run, binaries};

/// The end of the script's message if preflight found an obstacle and no step was started.
const BEFORE: &str = "; nothing was changed\n";

/// Checks the site of one seed. A run begins with preflight; if preflight blocks, the run is repeated without it and must fail.
pub(crate) fn agrees(seed: u64) {
    let site = Drawn::new(seed);
    for phase in site.phases() {
        let run = |timeout| site.migrate(timeout).args(&phase);
        let outcome = run("30s").run();
        if outcome.stderr().contains(BEFORE) {
            let flight = without_preflight(&site, run("3s")).run();
            assert_ne!(flight.status(), 0, "{site}: preflight blocked a run that succeeds\n{outcome}\n{flight}");
            return;
        }
        assert_eq!(outcome.status(), 0, "{site}: preflight allowed a run that fails\n{outcome}");
    }
}

/// Puts a preflight that checks nothing first in the PATH.
fn without_preflight(site: &Drawn, run: Run) -> Run {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = site.migration.folder().join("blind");
    std::fs::create_dir(&folder).unwrap();
    let blind = folder.join("scar-preflight");
    std::fs::write(&blind, "#!/bin/sh\necho '{\"record\": \"scar-tools/1\"}'\n").unwrap();
    std::fs::set_permissions(&blind, std::fs::Permissions::from_mode(0o755)).unwrap();
    run.env("PATH", format!("{}:{}:/usr/bin:/bin", folder.display(), binaries().display()))
}
