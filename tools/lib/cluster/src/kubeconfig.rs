//! Finds the cluster: merges the files of a kubeconfig as kubectl does, and chooses the context.
//!
//! Nothing here connects; every failure has exit status 2 and names the file or the context.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, ExecConfig, Kubeconfig, KubeconfigError};
use scar_tool::{Console, Failure};
use secrecy::{ExposeSecret, SecretString};

use crate::ClusterOptions;

/// Where the service account of a pod is mounted.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The most names that a message lists.
const LISTED: usize = 10;

/// The environment variables that locate a kubeconfig.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// `KUBECONFIG`.
    pub(crate) kubeconfig: Option<OsString>,
    /// `HOME`.
    pub(crate) home: Option<PathBuf>,
    /// `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`, which every pod has.
    pub(crate) service: Option<(String, String)>,
}

impl Environment {
    /// This process's.
    pub(crate) fn read() -> Self {
        let text = |name: &str| std::env::var_os(name)?.into_string().ok().filter(|text| !text.is_empty());
        Self {
            kubeconfig: std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()),
            home: std::env::var_os("HOME").map(PathBuf::from),
            service: text("KUBERNETES_SERVICE_HOST").zip(text("KUBERNETES_SERVICE_PORT")),
        }
    }

    /// Whether it names a cluster, reachable or not.
    pub(crate) fn names_one(&self) -> bool {
        let default = || self.home.as_ref().is_some_and(|home| home.join(".kube/config").exists());
        let in_pod = || self.service.is_some() && Path::new(SERVICE_ACCOUNT).exists();
        self.kubeconfig.is_some() || default() || in_pod()
    }
}

/// A context with its cluster and user.
pub(crate) struct Chosen {
    /// The context's name.
    pub(crate) context: String,
    /// The name of its cluster.
    pub(crate) cluster_name: String,
    pub(crate) cluster: Cluster,
    /// The name of its user; empty if it has none.
    pub(crate) user_name: String,
    pub(crate) user: AuthInfo,
    /// The files, for messages.
    pub(crate) files: String,
}

/// Finds, reads and merges the files, and returns the context.
pub(crate) fn choose(options: &ClusterOptions, environment: &Environment, console: &Console) -> Result<Chosen, Failure> {
    let (merged, files) = match &options.kubeconfig {
        Some(path) => (read(path)?, vec![path.clone()]),
        None => merge(&candidates(environment), console)?,
    };
    if files.is_empty() {
        // As in client-go, the pod's own account counts only without a kubeconfig (tools/clientcmd/merged_client_builder.go,
        // `ClientConfig`).
        return in_cluster(environment, console)?.ok_or_else(|| none(environment));
    }
    let files = files.iter().map(|path| format!("'{}'", path.display())).collect::<Vec<_>>().join(", ");
    select(merged, options.context.as_deref(), &files)
}

fn candidates(environment: &Environment) -> Vec<PathBuf> {
    match (&environment.kubeconfig, &environment.home) {
        (Some(list), _) => std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect(),
        (None, Some(home)) => vec![home.join(".kube/config")],
        (None, None) => Vec::new(),
    }
}

/// The first file that sets a name or the current context wins; missing files are skipped.
fn merge(candidates: &[PathBuf], console: &Console) -> Result<(Kubeconfig, Vec<PathBuf>), Failure> {
    let mut merged = Kubeconfig::default();
    let mut files = Vec::new();
    // As client-go does (tools/clientcmd/loader.go, ClientConfigLoadingRules.Load): a list may name files that are made later.
    for path in candidates {
        if std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            console.verbose(|| format!("kubeconfig '{}' does not exist", path.display()));
            continue;
        }
        let next = read(path)?;
        merged = merged.merge(next).map_err(|error| explain(path, &error))?;
        files.push(path.clone());
    }
    Ok((merged, files))
}

fn read(path: &Path) -> Result<Kubeconfig, Failure> {
    // kube decodes UTF-16, and panics at half a character (kube-client src/config/file_config.rs, `read_path`; found by the
    // fuzz target `kubeconfig`).
    if std::fs::read(path).is_ok_and(|text| text.len() % 2 == 1 && matches!(text[..], [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..])) {
        return Err(Failure::misuse(format!("read kubeconfig '{}': its UTF-16 ends within a character", path.display())));
    }
    let mut config = Kubeconfig::read_from(path).map_err(|error| explain(path, &error))?;
    unset_empty(&mut config, path);
    // As client-go: without them it is a v1 Config, and any other kind is refused (tools/clientcmd/loader.go, Load).
    let is = |field: &Option<String>, value: &str| field.as_deref().is_none_or(|text| text == value);
    if !is(&config.kind, "Config") || !is(&config.api_version, "v1") {
        return Err(Failure::misuse(format!("read kubeconfig '{}': it is not of the kind Config, version v1", path.display())));
    }
    // client-go refuses it, too (kubernetes/kubernetes#60464); kube would take the first (FAULTS, bad input 27).
    let twice = duplicate(config.contexts.iter().map(|entry| &*entry.name), "context")
        .or_else(|| duplicate(config.clusters.iter().map(|entry| &*entry.name), "cluster"))
        .or_else(|| duplicate(config.auth_infos.iter().map(|entry| &*entry.name), "user"));
    match twice {
        Some((kind, name)) => {
            let line = last_line_naming(path, &name).map(|line| format!(" (line {line})")).unwrap_or_default();
            Err(Failure::misuse(format!("read kubeconfig '{}': {kind} '{name}' is there twice{line}", path.display()))
                .hint("rename or remove one of them"))
        }
        None => Ok(config),
    }
}

/// Treats an empty field as not set. client-go's fields are plain strings, whose zero value means "not set", and an
/// empty `current-context` does not win over the next file's.
fn unset_empty(config: &mut Kubeconfig, path: &Path) {
    // kube has joined every relative path, an empty one too, to the file's folder (kube-client src/config/file_config.rs,
    // `to_absolute`).
    let folder = path.parent().map(|folder| folder.join("").display().to_string()).unwrap_or_default();
    let text = |field: &mut Option<String>| {
        field.take_if(|text| text.is_empty() || *text == folder);
    };
    let secret = |field: &mut Option<SecretString>| {
        field.take_if(|text| text.expose_secret().is_empty());
    };
    for field in [&mut config.current_context, &mut config.kind, &mut config.api_version] {
        text(field);
    }
    for cluster in config.clusters.iter_mut().filter_map(|entry| entry.cluster.as_mut()) {
        let Cluster { server, certificate_authority, certificate_authority_data, proxy_url, tls_server_name, .. } = cluster;
        for field in [server, certificate_authority, certificate_authority_data, proxy_url, tls_server_name] {
            text(field);
        }
    }
    for user in config.auth_infos.iter_mut().filter_map(|entry| entry.auth_info.as_mut()) {
        let AuthInfo { username, token_file, client_certificate, client_certificate_data, client_key, .. } = user;
        let AuthInfo { impersonate, impersonate_uid, password, token, client_key_data, exec, .. } = user;
        for field in [username, token_file, client_certificate, client_certificate_data, client_key, impersonate, impersonate_uid]
        {
            text(field);
        }
        for field in [password, token, client_key_data] {
            secret(field);
        }
        if let Some(ExecConfig { command, api_version, .. }) = exec {
            text(command);
            text(api_version);
        }
    }
}

fn duplicate<'n>(names: impl Iterator<Item = &'n str>, kind: &'static str) -> Option<(&'static str, String)> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().find(|name| !seen.insert(*name)).map(|name| (kind, name.to_owned()))
}

/// The last line of a file that defines this name.
fn last_line_naming(path: &Path, name: &str) -> Option<usize> {
    let text = std::fs::read_to_string(path).ok()?;
    let names = |line: &str| {
        let line = line.trim_start_matches([' ', '-']);
        line.strip_prefix("name:").is_some_and(|value| value.trim().trim_matches(['"', '\'']) == name)
    };
    text.lines().enumerate().filter(|(_, line)| names(line)).last().map(|(place, _)| place + 1)
}

/// A file that cannot be used. The library's message may quote a line, and a line may contain a token.
fn explain(path: &Path, error: &KubeconfigError) -> Failure {
    let act = format!("read kubeconfig '{}'", path.display());
    match error {
        KubeconfigError::ReadConfig(cause, _) if cause.kind() == std::io::ErrorKind::InvalidData => {
            Failure::misuse(format!("{act}: it is not UTF-8 text"))
        }
        KubeconfigError::ReadConfig(cause, _) => {
            Failure::unreadable(act, cause).hint("give the kubeconfig of the cluster with --kubeconfig FILE or KUBECONFIG")
        }
        KubeconfigError::Parse(error) => {
            let place = error.location().map(|place| (place.line(), place.column()));
            let tab = std::fs::read_to_string(path).ok().and_then(|text| {
                text.lines().position(|line| line.trim_start_matches(' ').starts_with('\t')).map(|line| line + 1)
            });
            match (tab, place) {
                (Some(line), _) => Failure::misuse(format!("{act}: line {line} is indented with a tab; YAML allows only spaces")),
                (None, Some((line, column))) => {
                    Failure::misuse(format!("{act}: line {line}, column {column}: this is not the YAML of a kubeconfig"))
                }
                (None, None) => Failure::misuse(format!("{act}: this is not the YAML of a kubeconfig")),
            }
        }
        // Two documents of different kinds in a file.
        _ => Failure::misuse(format!("{act}: it is not a kubeconfig")),
    }
}

fn select(config: Kubeconfig, asked: Option<&str>, files: &str) -> Result<Chosen, Failure> {
    let existing = || listed(config.contexts.iter().map(|entry| &*entry.name));
    let Some(name) = asked.or(config.current_context.as_deref()) else {
        return Err(Failure::misuse(format!("read kubeconfig {files}: no current context is set"))
            .hint(format!("choose one with --context NAME; there is {}", existing())));
    };
    let context = config.contexts.iter().find(|entry| entry.name == name).and_then(|entry| entry.context.clone());
    let Some(context) = context else {
        return Err(Failure::misuse(format!("read kubeconfig {files}: there is no context '{name}'"))
            .hint(format!("there is {}", existing())));
    };
    let cluster = config.clusters.iter().find(|entry| entry.name == context.cluster).and_then(|entry| entry.cluster.clone());
    let Some(cluster) = cluster else {
        return Err(Failure::misuse(format!(
            "read kubeconfig {files}: context '{name}' names the cluster '{}', which is not there",
            context.cluster
        )));
    };
    let user_name = context.user.clone().unwrap_or_default();
    let user = config.auth_infos.iter().find(|entry| entry.name == user_name).and_then(|entry| entry.auth_info.clone());
    // A context may have no user, but not one that does not exist: the request would be anonymous (FAULTS Q27).
    if user.is_none() && !user_name.is_empty() && !config.auth_infos.iter().any(|entry| entry.name == user_name) {
        return Err(Failure::misuse(format!(
            "read kubeconfig {files}: context '{name}' names the user '{user_name}', which is not there"
        )));
    }
    Ok(Chosen {
        context: name.to_owned(),
        cluster_name: context.cluster,
        cluster,
        user_name,
        user: user.unwrap_or_default(),
        files: files.to_owned(),
    })
}

/// At most ten names, and how many more there are.
pub(crate) fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    let shown = names.iter().take(LISTED).map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(LISTED) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

/// The service account of the pod that this process runs in.
fn in_cluster(environment: &Environment, console: &Console) -> Result<Option<Chosen>, Failure> {
    let Some((host, port)) = &environment.service else { return Ok(None) };
    let (token, ca) = (format!("{SERVICE_ACCOUNT}/token"), format!("{SERVICE_ACCOUNT}/ca.crt"));
    if !Path::new(&token).exists() {
        return Ok(None);
    }
    console.verbose(|| "no kubeconfig; the pod's service account is used".to_owned());
    // KUBERNETES_SERVICE_HOST has an IPv6 address without brackets (client-go rest/config.go, `InClusterConfig`, joins them).
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    Ok(Some(Chosen {
        context: "in-cluster".to_owned(),
        cluster_name: "in-cluster".to_owned(),
        cluster: Cluster {
            server: Some(format!("https://{host}:{port}")),
            certificate_authority: Some(ca),
            ..Cluster::default()
        },
        user_name: "the pod's service account".to_owned(),
        user: AuthInfo { token_file: Some(token), ..AuthInfo::default() },
        files: format!("'{SERVICE_ACCOUNT}'"),
    }))
}

fn none(environment: &Environment) -> Failure {
    let looked = match (&environment.kubeconfig, &environment.home) {
        (Some(list), _) => format!("no file of KUBECONFIG '{}' exists", list.to_string_lossy()),
        (None, Some(home)) => format!("'{}' does not exist and KUBECONFIG is not set", home.join(".kube/config").display()),
        (None, None) => "neither KUBECONFIG nor HOME is set".to_owned(),
    };
    Failure::misuse(format!("find a kubeconfig: {looked}"))
        .hint("download the admin kubeconfig from the VerteX cluster's page and give it with --kubeconfig FILE")
}

#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    /// Reads a file as a kubeconfig, and chooses its current context.
    pub fn kubeconfig(path: &Path) {
        _ = read(path).and_then(|config| select(config, None, "f"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn text(context: &str, current: Option<&str>) -> String {
        let current = current.map(|name| format!("current-context: {name}\n")).unwrap_or_default();
        format!(
            "apiVersion: v1\nkind: Config\n{current}clusters:\n- name: c-{context}\n  cluster:\n    server: https://{context}.example\n\
             users:\n- name: u\n  user:\n    token: canary-{context}\ncontexts:\n- name: {context}\n  context:\n    cluster: c-{context}\n    user: u\n"
        )
    }

    fn chosen(options: &ClusterOptions, environment: &Environment) -> Result<Chosen, Failure> {
        choose(options, environment, &Console::new("test"))
    }

    fn listing(paths: &[&Path]) -> Environment {
        Environment { kubeconfig: Some(std::env::join_paths(paths).unwrap()), ..Environment::default() }
    }

    #[test]
    fn the_first_file_of_a_list_wins_and_a_missing_one_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let first = file(dir.path(), "1", &text("one", Some("\"\"")));
        let second = file(dir.path(), "2", &text("two", Some("two")));
        let environment = listing(&[&dir.path().join("none"), &first, &second]);
        let found = chosen(&ClusterOptions::default(), &environment).unwrap();
        assert_eq!((found.context.as_str(), found.cluster.server.as_deref()), ("two", Some("https://two.example")));
        // Both files have a user 'u'; kubectl takes the first file's, whatever the context.
        assert_eq!(found.user.token.unwrap().expose_secret(), "canary-one");
    }

    #[test]
    fn every_refusal_names_file_and_context_and_quotes_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let good = text("one", None);
        let many: String = (0..12).map(|n| format!("- name: x{n}\n  context:\n    cluster: c-one\n    user: u\n")).collect();
        let cases = [
            ("none set", good.clone(), None, "no current context is set"),
            ("wrong", good.clone(), Some("two"), "there is no context 'two'"),
            ("many", good.clone() + &many, Some("two"), "there is no context 'two'"),
            ("twice", good.clone() + "- name: one\n  context: {}\n", Some("one"), "not the YAML"),
            (
                "twice2",
                good.clone() + "- name: one\n  context: {cluster: c-one, user: u}\n",
                Some("one"),
                "context 'one' is there twice (line 16)",
            ),
            ("tab", good.replace("    token", "\ttoken"), None, "line 10 is indented with a tab"),
            ("yaml", "users: [\n".to_owned(), None, "not the YAML of a kubeconfig"),
            ("no cluster", good.replace("name: c-one", "name: other"), Some("one"), "names the cluster 'c-one'"),
            ("no user", good.replace("- name: u\n", "- name: v\n"), Some("one"), "names the user 'u'"),
        ];
        for (name, text, context, says) in cases {
            let path = file(dir.path(), name, &text);
            let options =
                ClusterOptions { kubeconfig: Some(path), context: context.map(Into::into), ..ClusterOptions::default() };
            let failure = chosen(&options, &Environment::default()).map(drop).unwrap_err();
            assert!(failure.message.contains(says) && failure.message.contains(name), "{name}: {}", failure.message);
            assert!(!failure.message.contains("canary"), "{}", failure.message);
            assert_eq!(failure.exit, scar_tool::Exit::Misuse);
            if name == "many" {
                assert!(failure.hint.unwrap().ends_with("'x8' and 3 more"));
            }
        }
        let options = ClusterOptions { kubeconfig: Some(dir.path().join("gone")), ..ClusterOptions::default() };
        let failure = chosen(&options, &Environment::default()).map(drop).unwrap_err();
        assert!(failure.message.ends_with("gone': no such file or directory"), "{}", failure.message);
    }

    #[test]
    fn without_any_file_it_says_where_it_looked() {
        let environment = Environment { home: Some("/nowhere".into()), ..Environment::default() };
        let failure = chosen(&ClusterOptions::default(), &environment).map(drop).unwrap_err();
        assert_eq!(failure.message, "find a kubeconfig: '/nowhere/.kube/config' does not exist and KUBECONFIG is not set");
    }

    #[test]
    fn bad_input_half_a_character_of_utf_16_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        for mark in [[0xFF, 0xFE], [0xFE, 0xFF]] {
            std::fs::write(&path, [&mark[..], b"abc"].concat()).unwrap();
            assert!(read(&path).unwrap_err().message.ends_with("its UTF-16 ends within a character"));
        }
    }
}
