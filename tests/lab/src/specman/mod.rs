//! A Specman that works like the cluster's: lists the tags, pulls each, verifies, unpacks, logs the lines of the guide, step
//! 9, and serves the files over HTTPS.
//!
//! Each replica works on its own, in its own folder. A tag whose manifest was persisted before is not pulled again. Of
//! several new tags, the one created last is persisted last; the tag persisted last is served.

mod pull;
mod serve;
#[cfg(test)]
mod tests;
mod trust;
mod unpack;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use pull::RegistryAccess;
use pull::{Artifact, Repository, words};
use serve::Root;

use crate::PodLog;
use crate::server::{Listener, Server};

/// Specman's `User-Agent`, by which a test distinguishes its requests from a tool's.
pub const USER_AGENT: &str = "specman";

/// The options of a Specman.
pub struct SpecmanOptions {
    /// The registry that it pulls from.
    pub registry: RegistryAccess,
    /// The repository in it.
    pub repository: String,
    /// Its folder, with one for each replica, and in that one for each tag.
    pub directory: PathBuf,
    /// The number of pods, from `specman-0`.
    pub replicas: usize,
    /// How it serves.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The destination of its pods' logs.
    pub log: Arc<dyn PodLog>,
}

/// A persisted tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The tag.
    pub tag: String,
    /// The manifest's digest.
    pub digest: String,
}

/// A running Specman. Dropping it ends its servers and a running sync.
pub struct Specman {
    replicas: Vec<(Server, Arc<RwLock<Option<Served>>>)>,
    orders: UnboundedSender<Sender<()>>,
    stop: Arc<Notify>,
    worker: Option<JoinHandle<()>>,
}

impl Specman {
    /// Starts all replicas, which serve nothing yet.
    pub fn start(options: SpecmanOptions) -> Self {
        let mut replicas = Vec::new();
        let mut pods = Vec::new();
        for number in 0..options.replicas {
            let root = Root::default();
            let served = Arc::new(RwLock::default());
            let listener = Listener { tls: options.tls.clone(), ..Listener::plain() };
            replicas.push((Server::start(serve::router(root.clone()), listener), served.clone()));
            let name = format!("specman-{number}");
            let directory = options.directory.join(&name);
            fs::create_dir_all(&directory).expect("the folder of a replica");
            let log = options.log.clone();
            pods.push(Pod { name, directory, log, persisted: BTreeMap::new(), root, served });
        }
        let (orders, received) = unbounded_channel();
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let worker = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = stopped.notified() => {}
                    () = work(&options.registry, &options.repository, pods, received) => {}
                }
            });
        });
        Self { replicas, orders, stop, worker: Some(worker) }
    }

    /// Starts a sync of all replicas and returns at once, because the platform does not wait. The receiver is notified of
    /// the end.
    pub fn sync(&self) -> Receiver<()> {
        let (done, ended) = mpsc::channel();
        // The receiver notices if a worker is gone.
        let _ = self.orders.send(done);
        ended
    }

    /// Syncs all replicas and waits for the end; returns false after `limit`.
    pub fn sync_and_wait(&self, limit: Duration) -> bool {
        self.sync().recv_timeout(limit).is_ok()
    }

    /// The URL of one replica.
    pub fn url(&self, replica: usize) -> String {
        self.replicas[replica].0.url()
    }

    /// The server of one replica, with its log and faults.
    pub fn server(&self, replica: usize) -> &Server {
        &self.replicas[replica].0
    }

    /// What one replica serves.
    pub fn served(&self, replica: usize) -> Option<Served> {
        self.replicas[replica].1.read().expect("nobody panics with the lock").clone()
    }

    /// The names of the pods.
    pub fn pods(&self) -> Vec<String> {
        (0..self.replicas.len()).map(|number| format!("specman-{number}")).collect()
    }
}

impl Drop for Specman {
    fn drop(&mut self) {
        self.stop.notify_one();
        let ended = self.worker.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || !matches!(ended, Some(Err(_))), "specman panicked");
    }
}

/// One replica.
struct Pod {
    name: String,
    directory: PathBuf,
    log: Arc<dyn PodLog>,
    /// Manifest digests by tag.
    persisted: BTreeMap<String, String>,
    root: Root,
    served: Arc<RwLock<Option<Served>>>,
}

async fn work(access: &RegistryAccess, repository: &str, mut pods: Vec<Pod>, mut orders: UnboundedReceiver<Sender<()>>) {
    while let Some(done) = orders.recv().await {
        for pod in &mut pods {
            if let Err(cause) = pod.sync(access, repository).await {
                pod.say("error", &cause);
            }
        }
        // The receiver may be gone.
        let _ = done.send(());
    }
}

impl Pod {
    async fn sync(&mut self, access: &RegistryAccess, name: &str) -> Result<(), String> {
        self.say("info", "Syncing with OCI repo");
        let mut repository = Repository::open(access, name)?;
        let tags = repository.tags().await?;
        self.say("info", &format!("tags[{}]", tags.join(" ")));
        let mut new = Vec::new();
        for tag in tags {
            match repository.artifact(&tag).await {
                Ok(artifact) if self.persisted.get(&tag) == Some(&artifact.digest) => {}
                Ok(artifact) => new.push((artifact.created.clone(), tag, artifact)),
                Err(cause) => self.say("error", &cause),
            }
        }
        new.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        for (_, tag, artifact) in new {
            if let Err(cause) = self.take(&mut repository, &tag, &artifact).await {
                self.say("error", &cause);
            }
        }
        Ok(())
    }

    /// Pulls one tag and serves it from then on.
    async fn take(&mut self, repository: &mut Repository, tag: &str, artifact: &Artifact) -> Result<(), String> {
        self.say("info", &format!("Downloading {tag}"));
        let scratch = tempfile::Builder::new().prefix(tag).tempdir_in(&self.directory).map_err(words)?;
        let title = repository.download(artifact, scratch.path()).await?;
        self.say("info", &format!("listing dir /tmp/{tag}{}", Timestamp::now().subsec_nanosecond()));
        self.say("info", &format!("filename: {title}, isDir: false"));
        if title != "manifests.tgz" {
            return Err(format!("manifests.tgz not found in {tag}"));
        }
        let target = self.persist(tag, artifact, &scratch.path().join(title))?;
        self.persisted.insert(tag.to_owned(), artifact.digest.clone());
        *self.root.write().expect("nobody panics with the lock") = Some(target);
        *self.served.write().expect("nobody panics with the lock") =
            Some(Served { tag: tag.to_owned(), digest: artifact.digest.clone() });
        // The cluster's Specman logs this before the work; here it is true when it is read.
        self.say("info", &format!("Persisting {tag}"));
        Ok(())
    }

    /// Unpacks next to the folder that may be served at this moment; the folder is named after tag and digest.
    fn persist(&self, tag: &str, artifact: &Artifact, archive: &Path) -> Result<PathBuf, String> {
        let target = self.directory.join(format!("{tag}@{}", artifact.digest.replace(':', "-")));
        let file = File::open(archive).map_err(words)?;
        let fresh = tempfile::Builder::new().prefix("unpack").tempdir_in(&self.directory).map_err(words)?;
        unpack::unpack(file, fresh.path())?;
        if target.exists() {
            fs::remove_dir_all(&target).map_err(words)?;
        }
        fs::rename(fresh.path(), &target).map_err(words)?;
        // The folder was renamed; there is nothing left to delete.
        let _ = fresh.keep();
        Ok(target)
    }

    /// A line in logrus's format.
    fn say(&self, level: &str, message: &str) {
        let now = Timestamp::now();
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        self.log.line(&self.name, &format!("time=\"{now}\" level={level} msg={message:?}"));
    }
}
