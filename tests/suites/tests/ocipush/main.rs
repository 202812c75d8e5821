//! ocipush against the lab's registry and Debian's: the happy path, logins and certificates, and each fault by its id.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod ahead;
mod bounds;
mod certificates;
mod changes;
mod chunks;
mod clock;
mod ecr;
mod happy_path;
mod inputs;
mod login_sources;
mod logins;
mod manifests;
mod network;
mod profiles;
mod refusals;
mod remote;
mod requests;
mod sessions;
mod signals;
mod slow_links;
mod streams;
mod token_expiry;
mod token_server;
mod undo;

use std::path::{Path, PathBuf};

use scar_kit::{Run, Running, tool};
use scar_lab::registry::{LabRegistry, RegistryOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The repository that all tests push to.
pub(crate) const REPOSITORY: &str = "spectro-packs/spectro-manifests/manifest";

/// An archive size for tests that need no particular one: several pieces, but quickly sent.
pub(crate) const SIZE: usize = 1_000_000;

/// A registry, and a folder for files.
pub(crate) struct Site {
    pub(crate) registry: LabRegistry,
    pub(crate) folder: TempDir,
}

impl Site {
    pub(crate) fn start(options: RegistryOptions) -> Self {
        Self { registry: LabRegistry::start(options), folder: TempDir::new().unwrap() }
    }

    pub(crate) fn plain() -> Self {
        Self::start(RegistryOptions::default())
    }

    /// A file of this size that looks like an archive; the same size gives the same content.
    pub(crate) fn archive(&self, size: usize) -> PathBuf {
        let path = self.folder.path().join(format!("manifests-{size}.tgz"));
        std::fs::write(&path, bytes(size)).unwrap();
        path
    }

    /// ocipush to the registry's host over plain HTTP, with short waits, and its port shown as PORT.
    pub(crate) fn ocipush(&self, file: impl AsRef<Path>) -> Run {
        self.bare().arg(file.as_ref()).args(["--plain-http", "--new-record", "--retry-max-wait", "20ms"])
    }

    /// ocipush with only the reference.
    pub(crate) fn bare(&self) -> Run {
        tool("ocipush")
            .arg(self.registry.authority())
            .env("SOURCE_DATE_EPOCH", "1733488994")
            .called(self.registry.port(), "PORT")
            .called(self.folder.path().display(), "[DIR]")
    }

    /// The digest that the tag 0.0.0 holds.
    pub(crate) fn tag(&self) -> Option<String> {
        self.registry.store().tag(REPOSITORY, "0.0.0")
    }
}

/// Asserts that the layer is complete and the tag points to it.
pub(crate) fn assert_pushed(site: &Site, size: usize) {
    assert_eq!(site.registry.store().blob(REPOSITORY, &digest(&bytes(size))).unwrap(), bytes(size));
    assert!(site.tag().is_some());
}

/// The peak memory of a run in KiB.
pub(crate) fn peak(running: &mut Running) -> u64 {
    let mut peak = 0;
    while !running.is_over() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    peak
}

/// Data that begins like gzip.
pub(crate) fn bytes(size: usize) -> Vec<u8> {
    let mut state = size as u32 | 1;
    let unit: Vec<u8> = (0..size.min(100_003))
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let mut bytes = unit.repeat(size / unit.len().max(1) + 1);
    bytes.truncate(size);
    bytes.iter_mut().zip([0x1f, 0x8b]).for_each(|(byte, magic)| *byte = magic);
    bytes
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    scar_lab::registry::digest_of(bytes)
}

/// A record whose archive is this file.
pub(crate) fn record(path: &Path) -> Value {
    let content = std::fs::read(path).unwrap();
    json!({
        "record": "scar-tools/1",
        "archive": {
            "path": path, "title": "manifests.tgz", "digest": digest(&content), "size": content.len(),
            "files": 1, "directories": 1, "links": 0, "bytes": 1, "source": "/var/www/html",
        },
        "later": {"kept": [1.50, null]},
    })
}
