//! Exec plugins: programs that print a kubeconfig user's token or certificate (Kubernetes documentation, "client-go
//! credential plugins").
//!
//! A plugin gets no standard input (it would read the record), has limited time and output, and its output is never printed.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::config::{ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use scar_tool::child::{Ended, Running, TICK};
use scar_tool::{Exit, Failure, bounded};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

/// The time limit of a plugin.
const PATIENCE: Duration = Duration::from_secs(30);
/// The limit of its output in bytes.
const LIMIT: u64 = 1024 * 1024;
/// The bytes of its standard error that a message shows.
const SHOWN: usize = 2048;

/// A plugin's result.
pub(crate) struct Issued {
    /// A bearer token.
    pub(crate) token: Option<SecretString>,
    /// A client certificate and its key, PEM.
    pub(crate) identity: Option<(String, SecretString)>,
    /// When it expires, if known.
    pub(crate) expires: Option<Timestamp>,
}

/// A plugin of a kubeconfig.
pub(crate) struct Plugin {
    config: ExecConfig,
    info: String,
    /// Its owner, for messages: user, context, file.
    whose: String,
    patience: Duration,
    /// What it says on standard error while it runs.
    said: Mutex<Option<Arc<Mutex<Vec<u8>>>>>,
}

impl Plugin {
    /// Checks that the plugin can be run, without running it. Exit 2 if it is not installed, or needs interactive input.
    pub(crate) fn new(config: ExecConfig, cluster: Option<ExecAuthCluster>, whose: &str) -> Result<Self, Failure> {
        let command = config.command.clone().unwrap_or_default();
        if !is_installed(&command) {
            let failure = Failure::misuse(format!("find the exec plugin '{command}' of {whose}: it is not installed"));
            let hint = config.install_hint.as_deref().map(|hint| bounded(hint.as_bytes()));
            return Err(failure.hint(hint.unwrap_or_else(|| {
                "install it, or use a kubeconfig with a token or a client certificate, such as the admin kubeconfig".to_owned()
            })));
        }
        // client-go, too, fails if standard input is not a terminal (plugin/pkg/client/auth/exec/exec.go, `isInteractive`).
        if config.interactive_mode == Some(ExecInteractiveMode::Always) {
            return Err(Failure::misuse(format!("use the exec plugin '{command}' of {whose}: it demands a terminal"))
                .hint("standard input carries the record; use a kubeconfig with a token or a client certificate"));
        }
        let mut spec = json!({"interactive": false});
        if let Some(cluster) = cluster.filter(|_| config.provide_cluster_info) {
            spec["cluster"] = serde_json::to_value(cluster).unwrap_or_default();
        }
        let info = json!({"apiVersion": config.api_version, "kind": "ExecCredential", "spec": spec}).to_string();
        Ok(Self { config, info, whose: whose.to_owned(), patience: PATIENCE, said: Mutex::default() })
    }

    fn command(&self) -> &str {
        self.config.command.as_deref().unwrap_or_default()
    }

    fn refused(&self, cause: impl std::fmt::Display) -> Failure {
        Failure::new(Exit::Refused, format!("ask the exec plugin '{}' of {}: {cause}", self.command(), self.whose))
    }

    fn said(&self) -> MutexGuard<'_, Option<Arc<Mutex<Vec<u8>>>>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The failure to show for a request that it has held up for as long as this; `None` if it does not run.
    pub(crate) fn overdue(&self, limit: Duration) -> Option<Failure> {
        let said = self.said().clone()?;
        let said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let cause = format!("it did not end within {:.0} s{}", limit.as_secs_f64().ceil(), words(&said));
        let hint = "run it by hand: it may wait for a login that this tool cannot give it";
        Some(Failure { exit: Exit::TimedOut, ..self.refused(cause) }.hint(hint))
    }

    /// Runs it and parses its result. Exit 4 if its result cannot be used; exit 2 if it cannot be started.
    pub(crate) async fn run(&self) -> Result<Issued, Failure> {
        let mut command = Command::new(self.command());
        command.args(self.config.args.iter().flatten());
        for variable in self.config.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
                command.env(name, value);
            }
        }
        // Its only input (Kubernetes documentation, "client-go credential plugins", "Input and output formats").
        command.env("KUBERNETES_EXEC_INFO", &self.info);
        // kube would run it with our standard input, unless interactiveMode is Never (kube-client src/client/auth/mod.rs,
        // `auth_exec`), and so lose the record.
        let mut running = Running::start(&mut command, None, LIMIT).map_err(|error| {
            let act = format!("run the exec plugin '{}' of {}", self.command(), self.whose);
            Failure::unreadable(act, &error)
        })?;
        // A request that is given up meanwhile names the plugin and its words, not a firewall (FAULTS Q32).
        *self.said() = Some(running.said());
        let ended = tokio::time::timeout(self.patience, async {
            loop {
                match running.try_end() {
                    Ok(None) => tokio::time::sleep(TICK).await,
                    ended => return ended,
                }
            }
        });
        let ended = ended.await;
        let overdue = self.overdue(self.patience);
        *self.said() = None;
        let Ok(Ok(Some(Ended { status, stdout, stderr }))) = ended else {
            // Another try would end so, too.
            let overdue = overdue.map(|overdue| Failure { exit: Exit::Refused, ..overdue });
            return Err(overdue.unwrap_or_else(|| self.refused("it cannot be waited for")));
        };
        if stdout.len() as u64 > LIMIT {
            return Err(self.refused(format!("it wrote more than {LIMIT} bytes")));
        }
        if !status.success() {
            return Err(self
                .refused(format!("{status}{}", words(&stderr)))
                .hint("log in again as the plugin demands it, and run this step again"));
        }
        self.read(&stdout)
    }

    fn read(&self, output: &[u8]) -> Result<Issued, Failure> {
        // The JSON library's message may quote the token.
        let credential: ExecCredential =
            serde_json::from_slice(output).map_err(|_| self.refused("its output is not an ExecCredential in JSON"))?;
        // A plugin of another version may mean other fields; client-go refuses it, too (plugin/pkg/client/auth/exec/exec.go,
        // `refreshCredsLocked`).
        if credential.kind != "ExecCredential" || Some(&credential.api_version) != self.config.api_version.as_ref() {
            let asked = self.config.api_version.as_deref().unwrap_or_default();
            return Err(self.refused(format!("its output is not an ExecCredential of the version asked for, {asked}")));
        }
        let status = credential.status.ok_or_else(|| self.refused("its output has no status"))?;
        let expires = match status.expiration_timestamp.as_deref().map(str::parse::<Timestamp>) {
            Some(Ok(time)) => Some(time),
            Some(Err(_)) => return Err(self.refused("its expirationTimestamp is not an RFC 3339 time")),
            None => None,
        };
        let (certificate, key) = (status.client_certificate_data.filter(|text| !text.is_empty()), status.client_key_data);
        if certificate.is_some() != key.is_some() {
            return Err(self.refused("its output has a client certificate without its key, or a key without its certificate"));
        }
        let identity = certificate.zip(key);
        if status.token.is_none() && identity.is_none() {
            return Err(self.refused("its output has neither a token nor a client certificate"));
        }
        Ok(Issued { token: status.token, identity, expires })
    }
}

/// `: ` and its own words, if there are any.
fn words(stderr: &[u8]) -> String {
    match bounded(&stderr[..stderr.len().min(SHOWN)]) {
        said if said.is_empty() => said,
        said => format!(": {said}"),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    api_version: String,
    kind: String,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    token: Option<SecretString>,
    client_certificate_data: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    client_key_data: Option<SecretString>,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()).map(SecretString::from))
}

/// Whether a command exists, by its path or in `PATH`.
fn is_installed(command: &str) -> bool {
    if command.contains('/') {
        // kube has resolved it against the kubeconfig's folder (kube-client src/config/file_config.rs, `read_from`), as
        // client-go does.
        return Path::new(command).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(command).is_file())
}

#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    /// Parses a plugin's output, and words its standard error.
    pub fn credential(output: &[u8]) {
        let version = Some("client.authentication.k8s.io/v1".to_owned());
        let config = ExecConfig { command: Some("sh".to_owned()), api_version: version, ..ExecConfig::default() };
        _ = Plugin::new(config, None, "user 'u'").map(|plugin| plugin.read(output));
        _ = words(output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::time::Instant;

    fn shell(script: &str) -> Plugin {
        let config = ExecConfig {
            command: Some("sh".into()),
            args: Some(vec!["-c".into(), script.into()]),
            api_version: Some("client.authentication.k8s.io/v1".into()),
            ..ExecConfig::default()
        };
        Plugin::new(config, None, "user 'u'").unwrap()
    }

    fn run(plugin: &Plugin) -> Result<Issued, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let out = runtime.block_on(plugin.run());
        runtime.shutdown_background();
        out
    }

    #[test]
    fn a_plugin_gives_a_token_and_reads_nothing() {
        let issued = run(&shell(
            r#"read line && exit 9; case $KUBERNETES_EXEC_INFO in *'"interactive":false'*) ;; *) exit 8;; esac
               echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t-1","expirationTimestamp":"2030-01-01T00:00:00Z"}}'"#,
        ));
        let issued = issued.map_err(|failure| failure.message).unwrap();
        assert_eq!(issued.token.unwrap().expose_secret(), "t-1");
        assert_eq!(issued.expires.unwrap().to_string(), "2030-01-01T00:00:00Z");
    }

    /// A script that writes a credential with this status.
    fn credential(status: &str) -> String {
        format!(r#"echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{status}}}'"#)
    }

    #[test]
    fn s1_every_bad_end_of_a_plugin_is_reported_without_its_output() {
        let cases = [
            ("echo canary; echo 'no login' >&2; exit 1", "exit status: 1: no login"),
            ("echo canary", "not an ExecCredential in JSON"),
            (r#"echo '{"kind":"ExecCredential","apiVersion":"v1","status":{"token":"canary"}}'"#, "of the version asked for"),
            (&credential("{}"), "neither a token nor a client certificate"),
            (&credential(r#"{"clientKeyData":"canary"}"#), "a key without its certificate"),
            (&credential(r#"{"token":"canary","expirationTimestamp":"later"}"#), "not an RFC 3339 time"),
            ("head -c 10485760 /dev/zero", "more than 1048576 bytes"),
        ];
        for (script, says) in cases {
            let failure = run(&shell(script)).map(drop).unwrap_err();
            assert!(failure.message.contains(says), "{script}: {}", failure.message);
            assert!(!failure.message.contains("canary"), "{}", failure.message);
            assert_eq!(failure.exit, Exit::Refused);
        }
    }

    #[test]
    fn q32_a_plugin_that_hangs_is_killed_and_its_words_are_shown() {
        let mut plugin = shell("printf 'open \\033[1mhttps://login.example' >&2; exec sleep 1000");
        plugin.patience = Duration::from_millis(200);
        let begun = Instant::now();
        let failure = run(&plugin).map(drop).unwrap_err();
        let says = "it did not end within 1 s: open \u{1b}[1mhttps://login.example";
        assert!(failure.message.ends_with(says) && failure.exit == Exit::Refused, "{}", failure.message);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn s1_a_missing_plugin_is_named_with_its_install_hint() {
        let config = ExecConfig {
            command: Some("no-such-plugin".into()),
            install_hint: Some("get it from\nthe vendor".into()),
            ..ExecConfig::default()
        };
        let failure = Plugin::new(config, None, "user 'u'").map(drop).unwrap_err();
        assert_eq!(failure.message, "find the exec plugin 'no-such-plugin' of user 'u': it is not installed");
        assert_eq!((failure.exit, failure.hint.as_deref()), (Exit::Misuse, Some("get it from the vendor")));
    }
}
