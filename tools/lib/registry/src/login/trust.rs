//! The certificates to trust for one registry: those of the options, and of `certs.d/HOST[:PORT]/` (Docker,
//! containers-certs.d(5)).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use scar_tool::{Console, Failure};
use scar_trust::Trust;

/// The directories that may hold a folder named after the registry.
fn directories(home: Option<&Path>) -> Vec<PathBuf> {
    // Docker has one in the home directory if it runs rootless (moby daemon/pkg/registry/config.go, `CertsDir`).
    let mut found = vec![PathBuf::from("/etc/docker/certs.d"), PathBuf::from("/etc/containers/certs.d")];
    if let Some(home) = home {
        found.extend([home.join(".config/docker/certs.d"), home.join(".config/containers/certs.d")]);
    }
    found
}

/// Adds the files for `registry` to the options' certificates: every `*.crt` is a CA; the first `*.cert` with its `*.key` is
/// the client certificate, if the options name none and `with_identity` allows one. Exit 2 for a file whose content does not
/// fit its name.
pub fn with_certs_d(mut trust: Trust, registry: &str, with_identity: bool, console: &Console) -> Result<Trust, Failure> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    for directory in directories(home.as_deref()).iter().map(|directory| directory.join(registry)) {
        for path in files(&directory) {
            let what = format!("'{}'", path.display());
            match path.extension().and_then(OsStr::to_str) {
                Some("crt") => {
                    let Some(pem) = read(&path, console) else { continue };
                    trust = trust.with_anchors(&pem, &what)?;
                    console.verbose(|| format!("trust for '{registry}': {what}"));
                }
                // Docker's rule: `NAME.cert` and `NAME.key` are a client certificate, every `.crt` is a CA (moby
                // daemon/pkg/registry/registry.go, `loadTLSConfig`).
                Some("cert") if with_identity && !trust.has_identity() => {
                    let key = path.with_extension("key");
                    if !key.is_file() {
                        return Err(Failure::misuse(format!("use the client certificate {what}: its key is missing"))
                            .hint(format!("put it at '{}'", key.display())));
                    }
                    let (Some(cert), Some(key)) = (read(&path, console), read(&key, console)) else { continue };
                    trust = trust.with_identity(&cert, &key, &what)?;
                    console.verbose(|| format!("client certificate for '{registry}': {what}"));
                }
                _ => {}
            }
        }
    }
    Ok(trust)
}

/// The directory's files in a fixed order; empty if it is missing or unreadable.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    // The system's order is arbitrary (readdir(3)), and the first certificate counts. Go sorts, too (os.ReadDir).
    files.sort();
    files
}

/// A file's bytes; `None`, with a warning, if it cannot be read: the folder belongs to the host, not to this user.
fn read(path: &Path, console: &Console) -> Option<Vec<u8>> {
    let failed = |error: &std::io::Error| {
        console.warn(format!("{}; going on without", Failure::io(format!("read '{}'", path.display()), error).message));
    };
    std::fs::read(path).inspect_err(failed).ok()
}
