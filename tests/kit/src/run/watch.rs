//! Looks for secrets that a running process would show to every user of its host.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::canary::Secrets;

/// Reads from `/proc`, while a run lasts, the arguments and environment of it and its children.
pub(super) struct Watch {
    stop: Arc<Mutex<bool>>,
    thread: JoinHandle<Vec<String>>,
}

impl Watch {
    pub(super) fn start(pid: u32, given: &[(OsString, OsString)], every: Duration) -> Option<Self> {
        let secrets = Secrets::registered();
        if secrets.is_empty() {
            return None;
        }
        let given: Vec<OsString> = given.iter().map(|(name, _)| name.clone()).collect();
        let stop = Arc::new(Mutex::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !*stopped.lock().unwrap() {
                look(pid, true, &given, &secrets, &mut seen);
                std::thread::sleep(every);
            }
            seen.sort();
            seen.dedup();
            seen
        });
        Some(Self { stop, thread })
    }

    pub(super) fn end(self) -> Vec<String> {
        *self.stop.lock().unwrap() = true;
        self.thread.join().expect("the watch ends")
    }
}

fn look(pid: u32, first: bool, given: &[OsString], secrets: &Secrets, seen: &mut Vec<String>) {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let read = |name: &str| std::fs::read(proc.join(name)).unwrap_or_default();
    let arguments = read("cmdline");
    let name = String::from_utf8_lossy(&arguments).replace('\0', " ");
    seen.extend(secrets.found(&arguments).into_iter().map(|secret| format!("{secret} in the arguments of {name}")));
    for variable in read("environ").split(|byte| *byte == 0) {
        // Variables that the test set are allowed in the run's own environment.
        let is_given =
            |given: &OsString| variable.strip_prefix(given.as_encoded_bytes()).is_some_and(|rest| rest.starts_with(b"="));
        if first && given.iter().any(is_given) {
            continue;
        }
        seen.extend(secrets.found(variable).into_iter().map(|secret| format!("{secret} in the environment of {name}")));
    }
    let Ok(threads) = std::fs::read_dir(proc.join("task")) else { return };
    for thread in threads.flatten() {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            look(child, false, given, secrets, seen);
        }
    }
}
