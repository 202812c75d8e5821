//! Builds the tools once per process, with the profile and target folder of the running test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The variable with which `shell/test` says that it has already built them.
const BUILT: &str = "SCAR_TOOLS_BIN";

/// The workspace's root.
pub fn workspace() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there"))
}

/// The path of one tool's binary.
///
/// # Panics
/// If the workspace has no such binary.
#[track_caller]
pub fn binary(name: &str) -> PathBuf {
    let path = binaries().join(name);
    assert!(path.is_file(), "there is no binary {}", path.display());
    path
}

/// The folder that holds the binaries.
///
/// # Panics
/// If they cannot be built; cargo's output goes to the test's stderr.
pub fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| std::env::var_os(BUILT).map_or_else(build, PathBuf::from))
}

/// Cargo sets `CARGO_BIN_EXE_*` only for a test's own package, and the tools have packages of their own.
/// `cargo test` holds no lock while tests run, and selecting the same packages selects the same features. So if everything
/// is fresh, this only checks.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    // TARGET/PROFILE/deps/TEST-HASH
    let profile = test.ancestors().nth(2).expect("a test is in TARGET/PROFILE/deps");
    let target = profile.parent().expect("a profile's folder has a parent");
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace())
        .args(["build", "--workspace", "--bins", "--quiet", "--message-format=json-render-diagnostics", "--profile", name])
        .arg("--target-dir")
        .arg(target)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    // Cargo's variables about the test's package would reach build scripts, and might make them run again.
    for (variable, _) in std::env::vars_os() {
        let ours = variable.to_str().is_some_and(|v| v.starts_with("CARGO_PKG_") || v.starts_with("CARGO_BIN_EXE_"));
        if ours || variable == "CARGO_MANIFEST_DIR" || variable == "CARGO_MANIFEST_PATH" || variable == "CARGO_CRATE_NAME" {
            cargo.env_remove(variable);
        }
    }
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "the tools do not build: {cargo:?}");
    let paths = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter::<serde_json::Value>()
        .filter_map(|message| message.expect("cargo writes JSON")["executable"].as_str().map(PathBuf::from));
    let mut folders: Vec<PathBuf> = paths.filter_map(|path| path.parent().map(Path::to_path_buf)).collect();
    folders.dedup();
    assert_eq!(folders.len(), 1, "the binaries are in one folder: {folders:?}");
    folders.remove(0)
}
