//! A cluster of the lab with TLS, and the tools that run on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use scar_kit::{Run, tool};
use scar_lab::certs::Certs;
use scar_lab::kube::{Ca, Cluster, Kubeconfig, Login, router};
use scar_lab::server::{Listener, Server};
use tempfile::TempDir;

/// The cluster, its API server, and a folder with the admin's kubeconfig.
pub struct KubeSite {
    /// What the API server shows.
    pub cluster: Arc<Cluster>,
    /// The certificates that the kubeconfig trusts.
    pub certs: Certs,
    /// The API server.
    pub server: Server,
    folder: TempDir,
}

impl KubeSite {
    /// Starts one with this many Specman replicas.
    pub fn new(replicas: u32) -> Self {
        let certs = Certs::new(&[]);
        let tls = certs.server().server_config_with_clients(certs.ca_pem(), false);
        Self::behind(replicas, certs, Listener::tls(tls))
    }

    /// The same with this listener.
    pub fn behind(replicas: u32, certs: Certs, listener: Listener) -> Self {
        let cluster = Cluster::start();
        if replicas > 0 {
            cluster.add_specman(replicas);
        }
        scar_kit::secret(&cluster.token());
        let server = Server::start(router(cluster.clone()), listener);
        let site = Self { cluster, certs, server, folder: TempDir::new().unwrap() };
        site.configure(|_| ());
        site
    }

    /// Rewrites the kubeconfig: the admin's token and the site's CA, modified by `change`.
    pub fn configure(&self, change: impl FnOnce(&mut Kubeconfig)) {
        let mut config = Kubeconfig::new(&self.server.url(), Ca::Inline(self.certs.ca_pem().into()));
        config.login = Login::Token(self.cluster.token());
        change(&mut config);
        config.write(&self.kubeconfig()).unwrap();
    }

    /// The kubeconfig's path.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A tool on this cluster; values that differ between runs are shown as `SERVER` and `FOLDER`.
    #[track_caller]
    pub fn tool(&self, name: &str) -> Run {
        tool(name)
            .env("KUBECONFIG", self.kubeconfig())
            .folder(self.folder())
            .called(self.server.url(), "SERVER")
            .called(self.folder.path().display(), "FOLDER")
    }
}
