//! The whole site: registry, VerteX, Kubernetes API and Specman, connected as in the platform.
//!
//! It starts in the state before the migration: the old SCAR is set, an old `spectro-manifest-registry-secrets` exists, the
//! pack registry's flag is off, and Specman serves nothing. When the flag is set, the platform recreates that secret and
//! Specman syncs, as long as both exist.

mod environment;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certs::{Certs, Pair};
use crate::kube::{self, Ca, Cluster, Kubeconfig, Login, SPECMAN_NAMESPACE};
use crate::registry::{Auth, Credentials, LabRegistry, Profile, RegistryOptions, Rule, Storage, TokenService};
use crate::server::{Listener, Server};
use crate::specman::{RegistryAccess, Specman, SpecmanOptions};
use crate::vertex::{self, RegistryKind, SPECMAN, Vertex, basic_registry, ecr_registry};

/// The secret of the guide, step 1.
pub const SECRET: &str = "spectro-manifest-registry-secrets";
/// The guide's repository, below the base path `spectro-packs`.
pub const REPOSITORY: &str = "spectro-packs/spectro-manifests/manifest";
/// The old file server, which only exists in the setting.
pub const OLD_SCAR: &str = "https://scar.example";
/// The uid of the pack registry with images and packs.
pub const PACK_REGISTRY: &str = "65f1a2b3c4d5e6f708192a3b";

/// The access key's id in the entry for ECR.
pub const ECR_ACCESS_KEY: &str = "AKIALABLABLABLABLAB0";
/// The secret key in the entry for ECR.
pub const ECR_SECRET_KEY: &str = "lab-ecr-secret-key-0c1a";

/// The names in its certificates: Specman's service, and the hosts of the pages' examples.
const NAMES: [&str; 4] =
    ["specman-service.hubble-system.svc.cluster.local", "harbor.example", "vertex.example", "specman.example"];

/// The port on which Specman's pods listen.
pub const SPECMAN_PORT: u16 = 8443;

/// The lifetime of the registry's tokens; Harbor's default.
const TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// The options of a site.
#[derive(Default)]
pub struct SiteOptions {
    /// The folder for its state; `None` for a temporary one.
    pub directory: Option<PathBuf>,
    /// An existing registry, such as Debian's; `None` for the lab's own, with TLS and tokens.
    pub registry: Option<RegistryAccess>,
    /// The number of Specman replicas; 0 counts as 1.
    pub replicas: u32,
    /// The user of the lab's own registry; the default is `robot$packs`, whose `$` a shell may expand.
    pub registry_user: Option<String>,
    /// Whether the pack registry's entry is one for ECR, with static keys; its registry is the same.
    pub ecr: bool,
    /// The interval at which Specman looks at the registry itself; `None` for only when the flag is set.
    pub poll: Option<Duration>,
    /// Which registry the lab's own one behaves as; none for Harbor.
    pub profile: Option<Profile>,
    /// Why it refuses a push.
    pub rule: Option<Rule>,
    /// It needs no login, and VerteX's entry for it has none.
    pub open: bool,
    /// Its certificate; none for a good one.
    pub registry_certificate: Option<fn(&Certs) -> Pair>,
}

/// A running site. Dropping it ends it, and fails the test if there were unexpected requests.
pub struct Site {
    _poll: Option<Poll>,
    /// The lab's own registry; `None` if another is used.
    pub registry: Option<LabRegistry>,
    /// The VerteX server.
    pub vertex_server: Server,
    /// VerteX's state.
    pub vertex: Arc<Vertex>,
    /// The Kubernetes API server.
    pub kube_server: Server,
    /// The cluster's state.
    pub cluster: Arc<Cluster>,
    /// Specman.
    pub specman: Arc<Specman>,
    /// The authority of all servers.
    pub certs: Certs,
    access: RegistryAccess,
    scar_password: String,
    directory: PathBuf,
    _temporary: Option<TempDir>,
}

impl Site {
    /// Starts everything; when it returns all ports listen and all files are written.
    pub fn start(mut options: SiteOptions) -> Self {
        let mut temporary = None;
        let directory = options.directory.take().unwrap_or_else(|| {
            let made = TempDir::with_prefix("lab-site-").expect("a temporary directory");
            temporary.insert(made).path().to_owned()
        });
        fs::create_dir_all(&directory).expect("the directory of the site");
        let directory = directory.canonicalize().expect("the directory of the site");
        let certs = Certs::new(&NAMES);

        let (registry, access) = match options.registry.take() {
            Some(access) => (None, access),
            None => own_registry(&directory, &certs, &options),
        };
        let cluster = Cluster::start();
        let replicas = options.replicas.max(1);
        cluster.add_specman(replicas);
        let old = BTreeMap::from([("endpoint".to_owned(), OLD_SCAR.as_bytes().to_vec())]);
        cluster.put_secret(SPECMAN_NAMESPACE, SECRET, old);
        let tls = certs.server().server_config_with_clients(certs.ca_pem(), false);
        let kube_server = Server::start(kube::router(cluster.clone()), Listener::tls(tls));

        let specman = Arc::new(Specman::start(SpecmanOptions {
            registry: access.clone(),
            repository: REPOSITORY.to_owned(),
            directory: directory.join("specman"),
            replicas: replicas as usize,
            tls: Some(certs.server_config()),
            log: cluster.clone(),
        }));
        for (number, pod) in specman.pods().iter().enumerate() {
            cluster.serve_port(pod, SPECMAN_PORT, specman.server(number).addr());
        }

        let vertex = Vertex::start();
        let scar_password = password();
        seed(&vertex, &access, &scar_password, options.ecr);
        let flag = join(&vertex, &cluster, &specman, &access, scar_password.clone());
        let vertex_server = Server::start(vertex::router(vertex.clone()), Listener::tls(certs.server_config()));
        let poll = options.poll.map(|every| Poll::start(every, flag, cluster.clone(), specman.clone()));

        let site = Self {
            _poll: poll,
            registry,
            vertex_server,
            vertex,
            kube_server,
            cluster,
            specman,
            certs,
            access,
            scar_password,
            directory,
            _temporary: temporary,
        };
        site.write_files();
        site
    }

    /// Its folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A kubeconfig for this site, for tests to modify and write.
    pub fn kubeconfig(&self) -> Kubeconfig {
        let mut config = Kubeconfig::new(&self.kube_server.url(), Ca::Inline(self.certs.ca_pem().to_owned()));
        config.login = Login::Token(self.cluster.token());
        config
    }

    /// What no tool may show: the passwords of registry, VerteX and old SCAR, and the cluster's token.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = vec![self.vertex.behaviour().password, self.scar_password.clone(), self.cluster.token()];
        secrets.push(ECR_SECRET_KEY.to_owned());
        secrets.extend(self.access.credentials.as_ref().map(|login| login.password.clone()));
        secrets
    }

    /// The servers with their names.
    pub fn servers(&self) -> Vec<(String, &Server)> {
        let mut servers = vec![("vertex".to_owned(), &self.vertex_server), ("kube".to_owned(), &self.kube_server)];
        servers.extend(self.registry.iter().map(|registry| ("registry".to_owned(), &**registry)));
        servers.extend(self.specman.pods().into_iter().enumerate().map(|(n, pod)| (pod, self.specman.server(n))));
        servers
    }

    /// Every request to every server of the site, by time: `registry PUT /v2/… -> 201`. Includes Specman's own requests to
    /// the registry.
    pub fn requests(&self) -> Vec<String> {
        let mut requests = Vec::new();
        for (name, server) in self.servers() {
            requests.extend(server.log().requests().iter().map(|r| (r.at, format!("{name} {}", r.line()))));
        }
        requests.sort_by_key(|(at, _)| *at);
        requests.into_iter().map(|(_, line)| line).collect()
    }
}

/// The lab's registry, with TLS, and tokens if its profile has them, and Specman's access to it.
fn own_registry(directory: &Path, certs: &Certs, options: &SiteOptions) -> (Option<LabRegistry>, RegistryAccess) {
    let credentials = Credentials::new(options.registry_user.as_deref().unwrap_or("robot$packs"), &password());
    let profile = options.profile.unwrap_or(Profile::Harbor);
    let auth = match profile.has_tokens() {
        _ if options.open => Auth::None,
        true => Auth::Bearer(Arc::new(TokenService::new(credentials.clone(), TOKEN_LIFETIME))),
        false => Auth::Basic(credentials.clone()),
    };
    let certificate = options.registry_certificate.map_or_else(|| certs.server().clone(), |made| made(certs));
    let registry = LabRegistry::start(RegistryOptions {
        listener: Listener::tls(certificate.server_config()),
        auth,
        storage: Storage::Directory(directory.join("registry")),
        profile,
        rule: options.rule,
        ..RegistryOptions::default()
    });
    let (url, ca_pem) = (registry.url(), Some(certs.ca_pem().to_owned()));
    let credentials = (!options.open).then_some(credentials);
    (Some(registry), RegistryAccess { url, ca_pem, credentials })
}

/// Sets up VerteX as before the migration: an OVA installation, with a second entry for the same registry.
fn seed(vertex: &Vertex, access: &RegistryAccess, scar_password: &str, ecr: bool) {
    vertex.behave(|behaviour| behaviour.password = password());
    vertex.set_scar(json!({"endpoint": OLD_SCAR, "username": "scar", "password": scar_password}));
    let (user, password) = access.credentials.as_ref().map_or(("", ""), |c| (&c.user, &c.password));
    let ca = json!(access.ca_pem.as_deref().unwrap_or_default());
    let entry = |uid: &str, name: &str| {
        let mut object = basic_registry(uid, name, &access.url, user, password);
        object["spec"]["auth"]["tls"]["certificate"] = ca.clone();
        if access.credentials.is_none() {
            object["spec"]["auth"]["type"] = json!("noAuth");
        }
        object
    };
    if ecr {
        let mut object = ecr_registry(PACK_REGISTRY, "airgap-packs", &access.url, ECR_ACCESS_KEY, ECR_SECRET_KEY);
        object["spec"]["tls"] = json!({"certificate": ca, "enabled": true, "insecureSkipVerify": false});
        vertex.add_registry(RegistryKind::Ecr, object);
    } else {
        vertex.add_registry(RegistryKind::Basic, entry(PACK_REGISTRY, "airgap-packs"));
    }
    let mut own = entry("65f1a2b3c4d5e6f708192a3c", "our-packs");
    own["spec"]["baseContentPath"] = json!("our-packs");
    vertex.add_registry(RegistryKind::Basic, own);
    let other = basic_registry("65f1a2b3c4d5e6f708192a3e", "public-packs", "https://packs.example", "reader", "reader");
    vertex.add_registry(RegistryKind::Basic, other);
}

/// Lets the platform react to the flag, and the validation ask what Specman really serves. Returns the flag.
fn join(
    vertex: &Arc<Vertex>,
    cluster: &Arc<Cluster>,
    specman: &Arc<Specman>,
    access: &RegistryAccess,
    scar_password: String,
) -> Arc<AtomicBool> {
    let version = vertex.behaviour().version;
    let (served, services) = (specman.clone(), cluster.clone());
    vertex.on_validate(move |scar| match scar["endpoint"].as_str() {
        Some(SPECMAN) if !has_service(&services) => Err("no such host".to_owned()),
        Some(SPECMAN) if served.served(0).is_some() => Ok(version.clone()),
        Some(SPECMAN) => Err("404 Not Found".to_owned()),
        Some(OLD_SCAR) if scar["username"] == "scar" && scar["password"] == *scar_password => Ok(version.clone()),
        Some(OLD_SCAR) => Err("401 Unauthorized".to_owned()),
        _ => Err("no such host".to_owned()),
    });
    let flag = Arc::new(AtomicBool::new(false));
    let (kept, cluster, specman, access) = (flag.clone(), cluster.clone(), specman.clone(), access.clone());
    vertex.on_flag(Arc::new(move |on| {
        kept.store(on, Ordering::SeqCst);
        if on {
            cluster.put_secret(SPECMAN_NAMESPACE, SECRET, secret_data(&access));
            // The platform does not wait for Specman, nor does the answer to the PUT.
            drop(specman.sync());
        }
    }));
    flag
}

/// Whether the cluster has Specman's service.
fn has_service(cluster: &Cluster) -> bool {
    let service = cluster.object("services", SPECMAN_NAMESPACE, "specman-service").unwrap_or_default();
    service["spec"]["ports"].as_array().is_some_and(|ports| ports.iter().any(|port| port["port"] == SPECMAN_PORT))
}

/// The content of the secret: access to the registry.
fn secret_data(access: &RegistryAccess) -> BTreeMap<String, Vec<u8>> {
    let mut data = BTreeMap::from([("endpoint".to_owned(), access.url.clone().into_bytes())]);
    if let Some(credentials) = &access.credentials {
        data.insert("username".to_owned(), credentials.user.clone().into_bytes());
        data.insert("password".to_owned(), credentials.password.clone().into_bytes());
    }
    data
}

/// A unique password, so that a test can search for it.
fn password() -> String {
    format!("pw-{}", crate::registry::random())
}

/// Specman's regular look at the registry.
struct Poll {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Poll {
    fn start(every: Duration, flag: Arc<AtomicBool>, cluster: Arc<Cluster>, specman: Arc<Specman>) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut under_way = None;
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let busy = under_way.as_ref().is_some_and(|done: &Receiver<()>| done.try_recv() == Err(TryRecvError::Empty));
                if busy {
                    continue;
                }
                if flag.load(Ordering::SeqCst) && cluster.secret(SPECMAN_NAMESPACE, SECRET).is_some() {
                    under_way = Some(specman.sync());
                }
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.stop = None;
        // Only its end matters; a panic cannot corrupt anything.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A JSON object's field as text; empty if it is not a string.
fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}
