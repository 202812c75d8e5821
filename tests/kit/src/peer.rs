//! Programs of the field that must agree with ours, and libraries that play a part of the system.

use std::path::PathBuf;

/// The path of a program in PATH, or of a library (`….so`) that one can be started with; none, and a line that says what
/// is left out, on a machine without it.
///
/// # Panics
/// In CI, where nothing may be left out.
#[track_caller]
pub fn peer(name: &str) -> Option<PathBuf> {
    let folders = if name.ends_with(".so") { libraries() } else { programs() };
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is missing, and CI leaves nothing out");
        // Through the handle, past the capture of a passing test.
        let line = format!("left out, for want of {name}: {}\n", std::thread::current().name().unwrap_or("a check"));
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    }
    found
}

fn programs() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
}

/// `/usr/lib`, `/usr/lib64`, and the folder that Debian has for each kind of machine in the first.
fn libraries() -> Vec<PathBuf> {
    let inside = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    [PathBuf::from("/usr/lib"), PathBuf::from("/usr/lib64")].into_iter().chain(inside).collect()
}
