//! A site that is ready to migrate, the tool called on it, and its table read back.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use scar_kit::{Outcome, Run, tool};
use scar_lab::site::SiteOptions;
use scar_suites::{Migration, new_record};

/// Each line's name and result.
pub(crate) type Lines = BTreeMap<String, String>;

/// Specman's namespace.
pub(crate) const NAMESPACE: &str = "hubble-system";

/// What differs from `ok` on a healthy site.
pub(crate) const HEALTHY: [(&str, &str); 1] = [("registry.limit", "skipped")];

/// Every line, in the order of the table.
pub(crate) const ALL: [&str; 35] = [
    "platform.reached",
    "platform.login",
    "platform.version",
    "platform.scar",
    "platform.pack-registry",
    "platform.flag",
    "cluster.reached",
    "cluster.identity",
    "cluster.namespace",
    "cluster.secret-access",
    "cluster.wait-access",
    "cluster.verify-access",
    "cluster.restart-access",
    "cluster.undo-access",
    "cluster.specman",
    "cluster.pods",
    "cluster.service",
    "cluster.claim",
    "cluster.storage",
    "cluster.secret",
    "content.tree",
    "content.readable",
    "content.special",
    "content.links",
    "content.quiet",
    "content.disk",
    "content.claim",
    "registry.reached",
    "registry.login",
    "registry.repository",
    "registry.tag",
    "registry.push",
    "registry.limit",
    "network.route",
    "network.clock",
];

pub(crate) struct Rig {
    pub(crate) migration: Migration,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::on(SiteOptions::default())
    }

    pub(crate) fn on(options: SiteOptions) -> Self {
        let rig = Self { migration: Migration::on(options) };
        age(&rig.migration.tree());
        rig
    }

    /// The tool with all settings but those that `change` takes away or replaces; `None` takes an option away.
    #[track_caller]
    pub(crate) fn run_with(&self, change: &[(&str, Option<&str>)]) -> Outcome {
        self.call(change).run()
    }

    pub(crate) fn call(&self, change: &[(&str, Option<&str>)]) -> Run {
        let mut arguments = self.migration.arguments("scar-preflight");
        for (option, value) in change {
            let place = arguments.iter().position(|word| word == option);
            match (place, value) {
                (Some(place), Some(value)) => arguments[place + 1] = (*value).to_owned(),
                (Some(place), None) => drop(arguments.drain(place..place + 2)),
                (None, Some(value)) => arguments.extend([(*option).to_owned(), (*value).to_owned()]),
                (None, None) => panic!("no {option}"),
            }
        }
        tool("scar-preflight")
            .args(arguments)
            .env("KUBECONFIG", self.migration.setting("KUBECONFIG"))
            .folder(self.migration.folder())
            .record(&new_record())
    }

    #[track_caller]
    pub(crate) fn run(&self) -> Outcome {
        self.run_with(&[])
    }

    /// Requests of the tool that are no reading, by their server.
    pub(crate) fn writing(&self) -> Vec<String> {
        let lines = self.migration.site.requests().into_iter();
        lines.filter(|line| !matches!(line.split(' ').nth(1), Some("GET" | "HEAD"))).collect()
    }
}

/// Gives every entry an age at which nobody writes to it any more.
pub(crate) fn age(folder: &Path) {
    let old = SystemTime::now() - Duration::from_secs(3600);
    for entry in walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file()) {
        std::fs::File::options().write(true).open(entry.path()).unwrap().set_modified(old).unwrap();
    }
}

/// The table as it stands on stderr.
pub(crate) fn lines(stderr: &str) -> Lines {
    let rows = stderr.lines().filter_map(|line| {
        let (result, rest) = line.split_once(' ')?;
        ["ok", "warning", "blocked", "skipped"]
            .contains(&result)
            .then(|| (rest.split_whitespace().next().unwrap().to_owned(), result.to_owned()))
    });
    rows.collect()
}

/// Claims a part of what the table says, wherever its lines are broken.
#[track_caller]
pub(crate) fn says(outcome: &Outcome, part: &str) {
    let whole = outcome.stderr().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(whole.contains(part), "the table does not say: {part}\n{outcome}");
}

/// The lines of a healthy site but for these.
pub(crate) fn but(changes: &[(&str, &str)]) -> Lines {
    let mut lines: Lines =
        ALL.iter().chain(&["network.certificates"]).map(|name| ((*name).to_owned(), "ok".to_owned())).collect();
    for (name, result) in HEALTHY.iter().chain(changes) {
        assert!(lines.insert((*name).to_owned(), (*result).to_owned()).is_some(), "no line {name}");
    }
    lines
}

/// Whether a request changes nothing, or is one of the cancelled upload.
pub(crate) fn is_allowed(line: &str) -> bool {
    let (server, request) = line.split_once(' ').unwrap();
    let (method, rest) = request.split_once(' ').unwrap();
    match (server, method) {
        // The console's Validate, which stores nothing.
        ("vertex", "POST") => rest.starts_with("/v1/auth/syslogin") || rest.contains("/validate ->"),
        ("kube", "POST") => {
            rest.starts_with("/apis/authorization.k8s.io/v1/selfsubject")
                || rest.starts_with("/apis/authentication.k8s.io/v1/selfsubject")
        }
        ("registry", "POST") => rest.contains("/blobs/uploads/ ") || rest.contains("/blobs/uploads/ ->"),
        ("registry", "DELETE") => rest.contains("/blobs/uploads/"),
        _ => false,
    }
}

/// F1, for one run: the line `name` is blocked with its way out, stdout is empty, every other line is checked (or skipped, where
/// it depends on the blocked one), and nothing was written.
#[track_caller]
pub(crate) fn is_blocked(rig: &Rig, outcome: &Outcome, name: &str, others: &[(&str, &str)], part: &str) {
    outcome.exits(3).writes_nothing();
    says(outcome, part);
    let mut expected = others.to_vec();
    expected.push((name, "blocked"));
    assert_eq!(lines(&outcome.stderr()), but(&expected), "{outcome}");
    let end = format!(
        "scar-preflight: error: check the site: blocked: {name} (1 of 36 checks)\n\
         scar-preflight: hint: do what the hint of each blocked line says, then run this again\n"
    );
    assert!(outcome.stderr().ends_with(&end), "{outcome}");
    // The way out stands below the line, before the next one.
    let text = outcome.stderr();
    let row = text.lines().skip_while(|line| !line.starts_with(&format!("blocked  {name}"))).skip(1);
    let below: Vec<_> = row.take_while(|line| line.starts_with(' ')).collect();
    assert!(below.iter().any(|line| line.trim_start().starts_with("hint: ")), "{name} has no way out\n{outcome}");
    let writing = rig.writing();
    assert!(writing.iter().all(|line| is_allowed(line)), "{writing:#?}");
}

pub(crate) fn skipped<'a>(names: &[&'a str]) -> Vec<(&'a str, &'static str)> {
    names.iter().map(|name| (*name, "skipped")).collect()
}

/// An address where nobody listens.
pub(crate) fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
