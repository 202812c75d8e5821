//! The command that gets the session. It is looked up before the login, and then replaces this process, as with env(1) and
//! s6-setlock(8): it keeps its own signals and exit status, and no shell ever holds the session.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use scar_record::Record;
use scar_tool::{Exit, Failure};

/// The search path without PATH, as in glibc (execvp(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// An existing program and its arguments.
pub(crate) struct Command {
    name: OsString,
    arguments: Vec<OsString>,
}

impl Command {
    /// Looks up the program as execvp(3) does.
    ///
    /// # Errors
    /// As env(1): 127 if it does not exist, 126 if it cannot be run.
    pub(crate) fn find(words: &[OsString]) -> Result<Option<Self>, Failure> {
        let Some((name, arguments)) = words.split_first() else { return Ok(None) };
        let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        match find(name, &path) {
            Ok(()) => Ok(Some(Self { name: name.clone(), arguments: arguments.to_vec() })),
            Err(Exit::NotRun) => Err(Failure::new(Exit::NotRun, format!("run '{}': permission denied", name.display()))
                .hint("nothing was done; a program is a file that may be executed")),
            Err(exit) => Err(Failure::new(exit, format!("run '{}': no such program", name.display()))
                .hint("nothing was done; vertex-login's own options go before COMMAND, what follows is COMMAND's")),
        }
    }

    /// Replaces this process by it, with the record on standard input. Returns only on failure.
    ///
    /// # Errors
    /// As env(1): 126. Exit 1 if the record does not fit into a pipe.
    pub(crate) fn run(&self, record: &Record) -> Result<(), Failure> {
        let act = format!("run '{}'", self.name.display());
        let mut command = std::process::Command::new(&self.name);
        // The pipe is filled before exec: afterwards nobody is left to write. A pipe and not a file: a file with the session
        // could outlive a kill (FAULTS Q21).
        let error = command.args(&self.arguments).stdin(record.in_pipe()?).exec();
        Err(Failure { exit: Exit::NotRun, ..Failure::io(act, &error) })
    }
}

fn find(name: &OsStr, path: &OsStr) -> Result<(), Exit> {
    let runs = |path: &PathBuf| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok();
    // A name with a slash in it is a path (execvp(3)).
    let candidates: Vec<_> = match Path::new(name).components().count() {
        1 if !name.as_encoded_bytes().contains(&b'/') => std::env::split_paths(path).map(|folder| folder.join(name)).collect(),
        _ => vec![PathBuf::from(name)],
    };
    // execvp(3) goes on after a file that may not be executed, and reports it only if no other is found.
    let files: Vec<_> = candidates.into_iter().filter(|path| path.exists()).collect();
    match (files.iter().any(runs), files.is_empty()) {
        (true, _) => Ok(()),
        (false, false) => Err(Exit::NotRun),
        (false, true) => Err(Exit::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_as_a_shell_does() {
        let find = |name: &str, path: &str| find(OsStr::new(name), OsStr::new(path));
        assert_eq!(find("sh", "/nonexistent:/bin"), Ok(()));
        assert_eq!(find("/bin/sh", ""), Ok(()));
        assert_eq!(find("no-such-program", "/bin"), Err(Exit::NotFound));
        assert_eq!(find("", "/bin"), Err(Exit::NotFound));
        assert_eq!(find("/bin", "/"), Err(Exit::NotRun));
        assert_eq!(find("/etc/passwd", ""), Err(Exit::NotRun));
        assert_eq!(find("passwd", "/etc"), Err(Exit::NotRun));
    }
}
