//! Writes kubeconfigs in the forms that sites have.
//!
//! ```
//! use scar_lab::kube::{Ca, Kubeconfig, Login};
//!
//! let mut config = Kubeconfig::new("https://127.0.0.1:6443", Ca::Inline("PEM".into()));
//! config.login = Login::Token("secret".into());
//! config.namespace = Some("hubble-system".into());
//! assert!(config.to_yaml().contains("current-context: \"lab\""));
//! ```

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The certificates that the client trusts.
#[derive(Clone, Debug)]
pub enum Ca {
    /// `certificate-authority-data` with this PEM.
    Inline(String),
    /// `certificate-authority` with this path.
    File(PathBuf),
    /// The system's certificates.
    System,
    /// `insecure-skip-tls-verify`.
    Insecure,
}

/// The client's credentials.
#[derive(Clone, Debug)]
pub enum Login {
    /// None.
    None,
    /// `token`.
    Token(String),
    /// `tokenFile`.
    TokenFile(PathBuf),
    /// `client-certificate-data` and `client-key-data` with these PEMs.
    Certificate {
        /// The chain.
        certificate: String,
        /// Its key.
        key: String,
    },
    /// `client-certificate` and `client-key` with these paths.
    CertificateFiles {
        /// The chain.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// An exec plugin with its arguments.
    Exec {
        /// The command.
        command: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

/// A kubeconfig with one cluster and one user, under one context or several.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    /// The API server.
    pub server: String,
    /// The trusted certificates.
    pub ca: Ca,
    /// The credentials.
    pub login: Login,
    /// `tls-server-name`.
    pub tls_server_name: Option<String>,
    /// The namespace of the contexts.
    pub namespace: Option<String>,
    /// The names of the contexts.
    pub contexts: Vec<String>,
    /// `current-context`; `None` leaves it out.
    pub current: Option<String>,
}

impl Kubeconfig {
    /// One context, `lab`, and no login.
    pub fn new(server: &str, ca: Ca) -> Self {
        Self {
            server: server.to_owned(),
            ca,
            login: Login::None,
            tls_server_name: None,
            namespace: None,
            contexts: vec!["lab".into()],
            current: Some("lab".into()),
        }
    }

    /// The text of the file.
    pub fn to_yaml(&self) -> String {
        let mut out = String::from("apiVersion: v1\nkind: Config\nclusters:\n- name: lab\n  cluster:\n");
        let field = |out: &mut String, depth: usize, name: &str, value: &str| {
            let value = serde_json::Value::from(value);
            out.push_str(&format!("{}{name}: {value}\n", " ".repeat(depth)));
        };
        let path = |path: &Path| path.display().to_string();
        field(&mut out, 4, "server", &self.server);
        match &self.ca {
            Ca::Inline(pem) => field(&mut out, 4, "certificate-authority-data", &STANDARD.encode(pem)),
            Ca::File(file) => field(&mut out, 4, "certificate-authority", &path(file)),
            Ca::System => {}
            Ca::Insecure => out.push_str("    insecure-skip-tls-verify: true\n"),
        }
        if let Some(name) = &self.tls_server_name {
            field(&mut out, 4, "tls-server-name", name);
        }
        out.push_str("users:\n- name: lab\n");
        match &self.login {
            Login::None => out.push_str("  user: {}\n"),
            login => {
                out.push_str("  user:\n");
                match login {
                    Login::None => {}
                    Login::Token(token) => field(&mut out, 4, "token", token),
                    Login::TokenFile(file) => field(&mut out, 4, "tokenFile", &path(file)),
                    Login::Certificate { certificate, key } => {
                        field(&mut out, 4, "client-certificate-data", &STANDARD.encode(certificate));
                        field(&mut out, 4, "client-key-data", &STANDARD.encode(key));
                    }
                    Login::CertificateFiles { certificate, key } => {
                        field(&mut out, 4, "client-certificate", &path(certificate));
                        field(&mut out, 4, "client-key", &path(key));
                    }
                    Login::Exec { command, arguments } => {
                        out.push_str("    exec:\n      apiVersion: client.authentication.k8s.io/v1\n");
                        out.push_str("      interactiveMode: Never\n");
                        field(&mut out, 6, "command", command);
                        out.push_str(&format!("      args: {}\n", serde_json::Value::from(arguments.clone())));
                    }
                }
            }
        }
        out.push_str("contexts:\n");
        for context in &self.contexts {
            let name = serde_json::Value::from(context.as_str());
            out.push_str(&format!("- name: {name}\n  context:\n    cluster: lab\n    user: lab\n"));
            if let Some(namespace) = &self.namespace {
                field(&mut out, 4, "namespace", namespace);
            }
        }
        if let Some(current) = &self.current {
            field(&mut out, 0, "current-context", current);
        }
        out
    }

    /// Writes the file, mode 0600.
    ///
    /// # Errors
    /// Those of opening and writing.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(path)?.write_all(self.to_yaml().as_bytes())
    }
}
