//! An archive that changes during the push.

use std::time::Duration;

use scar_lab::faults::{Action, Times};

use crate::requests::{heads, manifests, puts};
use crate::{REPOSITORY, SIZE, Site, bytes};

#[test]
fn p30_a_source_that_changes_never_gets_a_manifest() {
    // Between hashing and sending, while the registry answers the HEAD.
    for replace in [false, true] {
        let site = Site::plain();
        site.registry.faults().on(heads(), Times::First(1), Action::Delay(Duration::from_millis(500)));
        let path = site.archive(SIZE);
        let running = site.ocipush(&path).start();
        assert!(site.registry.log().wait(Duration::from_secs(20), |requests| requests.iter().any(|r| r.method == "HEAD")));
        if replace {
            let other = site.archive(SIZE + 1);
            std::fs::rename(other, &path).unwrap();
        } else {
            std::fs::write(&path, bytes(SIZE / 2)).unwrap();
        }
        running.wait().exits(1).says("it has changed meanwhile").writes_nothing();
        assert_eq!((site.registry.log().count(&puts()), site.registry.log().count(&manifests())), (0, 0));
    }
    // While it is sent.
    let site = Site::plain();
    let slow = Action::SlowRead { bytes: 64 * 1024, every: Duration::from_millis(10) };
    site.registry.faults().on(puts(), Times::Always, slow);
    let path = site.archive(32 << 20);
    let running = site.ocipush(&path).start();
    assert!(site.registry.log().wait(Duration::from_secs(20), |requests| requests.iter().any(|r| r.body_bytes > 100_000)));
    std::fs::File::options().write(true).open(&path).unwrap().set_len(31 << 20).unwrap();
    running.wait().exits(1).says("it has become shorter since its digest was taken").writes_nothing();
    assert_eq!(site.registry.log().count(&manifests()), 0);
}

#[test]
fn p30_the_records_archive_is_verified_while_it_is_sent() {
    // The same size, but other bytes: only the record shows it, and the last piece is never sent.
    let site = Site::plain();
    let path = site.archive(SIZE);
    let record = crate::record(&path);
    let mut other = bytes(SIZE);
    other[SIZE / 2] ^= 1;
    std::fs::write(&path, other).unwrap();
    let outcome = site.bare().arg("--plain-http").record(&record).run();
    outcome.exits(1).says("it has changed since its digest was taken").says("make it again first").writes_nothing();
    assert_eq!((site.registry.log().count(&puts()), site.registry.log().count(&manifests())), (1, 0));
    assert_eq!(site.registry.store().blob(REPOSITORY, record["archive"]["digest"].as_str().unwrap()), None);
    let layout = site.folder.path().join("layout");
    let outcome = site.bare().arg("--oci-layout").arg(&layout).record(&record).run();
    outcome.exits(1).says("it has changed since its digest was taken").writes_nothing();
    assert!(!layout.join("index.json").exists());
}
