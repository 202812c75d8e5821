//! Programs of the field that must agree with ours.

use std::path::PathBuf;

/// The path of a program in PATH; none, and a line that says what is left out, on a machine without it.
///
/// # Panics
/// In CI, where nothing may be left out.
#[track_caller]
pub fn peer(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is missing, and CI leaves nothing out");
        // Through the handle, past the capture of a passing test.
        let line = format!("left out, for want of {name}: {}\n", std::thread::current().name().unwrap_or("a check"));
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    }
    found
}
