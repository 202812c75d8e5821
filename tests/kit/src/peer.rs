//! Other programs that must agree with ours, and libraries that simulate a part of the system.

use std::path::PathBuf;

/// The path of a program in PATH, or of a preloadable library (`….so`). If it is missing, prints what is skipped and returns
/// `None`.
///
/// # Panics
/// In CI, where nothing may be skipped.
#[track_caller]
pub fn peer(name: &str) -> Option<PathBuf> {
    let folders = if name.ends_with(".so") { libraries() } else { programs() };
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is missing, and CI leaves nothing out");
        // Written to the handle, so that it is not captured by a passing test.
        let line = format!("left out, for want of {name}: {}\n", std::thread::current().name().unwrap_or("a check"));
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    }
    found
}

fn programs() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
}

/// `/usr/lib`, `/usr/lib64`, and Debian's folders for each architecture.
fn libraries() -> Vec<PathBuf> {
    let inside = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    [PathBuf::from("/usr/lib"), PathBuf::from("/usr/lib64")].into_iter().chain(inside).collect()
}
