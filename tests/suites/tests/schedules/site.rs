//! A random site: the registry behaves like one of seven products, and up to three knobs change the site, its settings or its
//! tree.
//!
//! Invariant: the same seed makes the same site.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use scar_kit::{Run, program, workspace};
use scar_lab::kube::{Access, Kubeconfig, Rule};
use scar_lab::registry::{LabRegistry, Profile};
use scar_lab::site::{PACK_REGISTRY, Site, SiteOptions};
use scar_lab::vertex::RegistryKind;
use scar_suites::{Migration, Random};
use serde_json::Value;

use crate::knobs::{KNOBS, Knob, Turn};

/// A random site, and how to run `scar-migrate` on it.
pub(crate) struct Drawn {
    pub(crate) migration: Migration,
    /// The lines of the configuration file.
    pub(crate) settings: BTreeMap<String, String>,
    /// Whether push and cutover run on two hosts, each with its own state folder.
    pub(crate) two_hosts: bool,
    name: String,
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Drawn {
    /// Makes the site of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let profile = random.of(&Profile::ALL);
        let mut knobs: Vec<&Knob> = Vec::new();
        for _ in 0..random.of(&[0, 1, 1, 1, 1, 1, 2, 2, 2, 3]) {
            // First choose the subject, so that all are equally likely however many knobs they have.
            let subjects: Vec<_> = KNOBS.chunk_by(|a, b| a.subject == b.subject).collect();
            let knob = random.of(&subjects);
            let knob = &knob[usize::try_from(random.below(knob.len() as u64)).unwrap()];
            if knobs.iter().all(|other| other.subject != knob.subject) {
                knobs.push(knob);
            }
        }
        // Turn them in the order of the table: some depend on what earlier ones have set.
        knobs.sort_by_key(|knob| KNOBS.iter().position(|other| std::ptr::eq(*knob, other)));
        // specman-wait takes three errors within two seconds for permanent, and Specman may log some before the push.
        let mut options = SiteOptions { profile: Some(profile), poll: Some(Duration::from_secs(1)), ..SiteOptions::default() };
        knobs.iter().for_each(|knob| {
            if let Turn::Options(turn) = knob.turn {
                turn(&mut options)
            }
        });
        let names: Vec<_> = knobs.iter().map(|knob| format!("{}: {}", knob.subject, knob.name)).collect();
        let mut site = Self::on(options, format!("{seed}: {profile:?}; {}", names.join("; ")));
        knobs.iter().for_each(|knob| {
            if let Turn::Site(turn) = knob.turn {
                turn(&mut site)
            }
        });
        site
    }

    /// Starts a site on which a migration succeeds.
    pub(crate) fn on(options: SiteOptions, name: String) -> Self {
        println!("{name}");
        let migration = Migration::on(options);
        let settings = migration.site.environment().into_iter();
        let mut site = Self { settings: settings.collect(), migration, two_hosts: false, name };
        std::fs::create_dir(site.home()).unwrap();
        site.set("SCAR_CONTENT", site.migration.tree().display());
        site.set("SCAR_SETTLE", "2s");
        site
    }

    pub(crate) fn site(&self) -> &Site {
        &self.migration.site
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.migration.folder().join("home")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.migration.folder().join("state")
    }

    /// A run of `scar-migrate` with the site's settings, without questions.
    pub(crate) fn migrate(&self, specman_timeout: &str) -> Run {
        let config = self.migration.folder().join("site.conf");
        let lines = self.settings.iter().map(|(key, value)| format!("{key}='{value}'\n"));
        let wait = format!("SPECMAN_TIMEOUT={specman_timeout}\n");
        std::fs::write(&config, lines.chain([wait]).collect::<String>()).unwrap();
        let run = program(workspace().join("shell/scar-migrate")).home(self.home());
        let run = run.watched_every(Duration::from_millis(100));
        run.arg("-c").arg(&config).arg("--state").arg(self.state()).arg("--yes")
    }

    /// The arguments of `migrate`, once for each phase.
    pub(crate) fn phases(&self) -> Vec<Vec<String>> {
        let at = |name: &str| self.migration.folder().join(name).display().to_string();
        match self.two_hosts {
            true => vec![
                vec!["push".to_owned()],
                vec!["--state".to_owned(), at("other"), "cutover".to_owned(), at("state/push.json")],
            ],
            false => vec![Vec::new()],
        }
    }

    // The methods below are for the knobs.

    pub(crate) fn set(&mut self, key: &str, value: impl fmt::Display) {
        self.settings.insert(key.to_owned(), value.to_string());
    }

    pub(crate) fn unset(&mut self, key: &str) {
        self.settings.remove(key);
    }

    /// Sets a setting to the path of a new file.
    pub(crate) fn set_file(&mut self, key: &str, text: &str) {
        let path = self.migration.folder().join(key.to_lowercase());
        std::fs::write(&path, text).unwrap();
        self.set(key, path.display());
    }

    /// Writes a file below HOME.
    pub(crate) fn write_home(&self, path: &str, text: &str) {
        let path = self.home().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn setting(&self, key: &str) -> String {
        self.settings.get(key).cloned().unwrap_or_default()
    }

    /// Moves the registry's login from the settings to the host's login file; the entry's login stays in the settings.
    pub(crate) fn host_login(&mut self, password: Option<&str>) {
        use base64::Engine as _;
        let (user, file) = (self.setting("OCI_USERNAME"), self.setting("OCI_PASSWORD_FILE"));
        if user.is_empty() {
            return;
        }
        self.set("PACK_REGISTRY_USERNAME", &user);
        self.set("PACK_REGISTRY_PASSWORD_FILE", &file);
        self.unset("OCI_USERNAME");
        self.unset("OCI_PASSWORD_FILE");
        if let Some(password) = password {
            let right = std::fs::read_to_string(&file).unwrap_or_default();
            let password = if password.is_empty() { right.trim_end() } else { password };
            let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            let auths = serde_json::json!({"auths": {self.setting("OCI_PACK_REGISTRY"): {"auth": auth}}});
            self.write_home(".docker/config.json", &auths.to_string());
        }
    }

    /// Changes VerteX's entry for the registry; it still accepts the same login.
    pub(crate) fn entry(&self, change: impl FnOnce(&mut Value)) {
        self.site().vertex.edit_registry(PACK_REGISTRY, change);
    }

    /// Adds a copy of the entry with another uid and name, and with `change` applied.
    pub(crate) fn second_entry(&self, change: impl FnOnce(&mut Value)) {
        let mut object = self.site().vertex.registry(PACK_REGISTRY).unwrap();
        object["metadata"]["uid"] = "65f1a2b3c4d5e6f708192a3f".into();
        object["metadata"]["name"] = "second-packs".into();
        change(&mut object);
        let kind = if object["kind"] == "ecr" { RegistryKind::Ecr } else { RegistryKind::Basic };
        self.site().vertex.add_registry(kind, object);
    }

    pub(crate) fn kubeconfig(&mut self, change: impl FnOnce(&mut Kubeconfig)) {
        let mut config = self.site().kubeconfig();
        change(&mut config);
        let path = self.migration.folder().join("kubeconfig");
        config.write(&path).unwrap();
        self.set("KUBECONFIG", path.display());
    }

    /// Removes one permission in the cluster.
    pub(crate) fn deny(&self, verb: &str, resource: &str) {
        self.site().cluster.set_access(Access::AllBut(vec![Rule::new(verb, resource)]));
    }

    /// Changes an object of the cluster, in Specman's namespace.
    pub(crate) fn edit(&self, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        assert!(self.site().cluster.edit(plural, scar_lab::kube::SPECMAN_NAMESPACE, name, change), "no {plural} {name}");
    }

    /// Sets a server's clock off by this number of seconds.
    pub(crate) fn clock(&self, server: &str, seconds: i64) {
        use scar_lab::faults::{Action, Match, Times};
        let date = move || {
            let there = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
            there.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
        };
        let set = Action::edit(move |response| {
            response.headers_mut().insert("date", date().parse().unwrap());
        });
        self.server(server).faults().on(Match::any("/**"), Times::Always, set);
    }

    pub(crate) fn server(&self, name: &str) -> &scar_lab::server::Server {
        self.site().servers().into_iter().find(|(known, _)| known == name).unwrap().1
    }

    pub(crate) fn registry(&self) -> &LabRegistry {
        self.site().registry.as_ref().unwrap()
    }

    /// Uses a token instead of VerteX's password.
    pub(crate) fn token(&mut self, good: bool) {
        let token = scar_kit::secret(&self.site().vertex.issue_token());
        if !good {
            self.site().vertex.expire_tokens();
        }
        self.unset("VERTEX_USERNAME");
        self.unset("VERTEX_PASSWORD_FILE");
        self.set_file("VERTEX_TOKEN_FILE", &token);
    }

    /// Empties the tree.
    pub(crate) fn empty_tree(&self) {
        std::fs::remove_dir_all(self.migration.tree()).unwrap();
        std::fs::create_dir(self.migration.tree()).unwrap();
    }

    /// A path in the tree.
    pub(crate) fn in_tree(&self, path: &str) -> PathBuf {
        self.migration.tree().join(path)
    }
}
