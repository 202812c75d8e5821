//! The registry's content: blobs as files, or only as digests; manifests and tags in memory.
//!
//! A blob belongs to the repositories that it was pushed to, and is unknown in others, as in Distribution.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The storage of blobs.
#[derive(Clone, Debug, Default)]
pub enum Storage {
    /// Files in a temporary directory.
    #[default]
    Temporary,
    /// Files in this directory, which is created if needed.
    Directory(PathBuf),
    /// Blobs above 64 KiB are only hashed, so that tests with gigabytes need no disk. Their GET is answered 500.
    Discard,
}

/// What [`Storage::Discard`] still stores, in bytes: the config blob and other small ones.
const KEPT: u64 = 64 * 1024;

/// A pushed manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its `Content-Type`.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

#[derive(Default)]
struct Repository {
    blobs: BTreeSet<String>,
    manifests: BTreeMap<String, Manifest>,
    tags: BTreeMap<String, String>,
    tagged: bool,
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, Repository>,
    sizes: HashMap<String, u64>,
    uploads: HashMap<String, Upload>,
}

/// The storage of one registry.
pub struct Store {
    state: Mutex<State>,
    directory: PathBuf,
    discard: bool,
    lying: bool,
    _temporary: Option<TempDir>,
}

impl Store {
    pub(super) fn new(storage: Storage, lying: bool) -> Self {
        let mut temporary = None;
        let directory = match &storage {
            Storage::Directory(path) => path.clone(),
            Storage::Temporary | Storage::Discard => {
                let made = TempDir::with_prefix("lab-registry-").expect("a temporary directory");
                temporary.insert(made).path().to_owned()
            }
        };
        std::fs::create_dir_all(&directory).expect("the directory of the registry");
        Self { state: Mutex::default(), directory, discard: matches!(storage, Storage::Discard), lying, _temporary: temporary }
    }

    /// The tags of a repository, sorted; empty for one that is unknown.
    pub fn tags(&self, name: &str) -> Vec<String> {
        let state = self.lock();
        let found = state.repositories.get(name);
        found.map_or_else(Vec::new, |r| r.tags.keys().cloned().collect())
    }

    /// Whether it ever had a tag: Distribution then lists deleted tags as `null`.
    pub(super) fn was_tagged(&self, name: &str) -> bool {
        self.lock().repositories.get(name).is_some_and(|r| r.tagged)
    }

    /// The digest that a tag points to.
    pub fn tag(&self, name: &str, tag: &str) -> Option<String> {
        self.lock().repositories.get(name)?.tags.get(tag).cloned()
    }

    /// A manifest by tag or digest, with its digest.
    pub fn manifest(&self, name: &str, reference: &str) -> Option<(String, Manifest)> {
        let state = self.lock();
        let repository = state.repositories.get(name)?;
        let digest = repository.tags.get(reference).map_or(reference, String::as_str);
        let manifest = repository.manifests.get(digest)?;
        Some((digest.to_owned(), manifest.clone()))
    }

    /// The digests of a repository's blobs, sorted.
    pub fn blobs(&self, name: &str) -> Vec<String> {
        let state = self.lock();
        let found = state.repositories.get(name);
        found.map_or_else(Vec::new, |r| r.blobs.iter().cloned().collect())
    }

    /// The size of a blob that the repository has, in bytes.
    pub fn blob_size(&self, name: &str, digest: &str) -> Option<u64> {
        let state = self.lock();
        let known = state.repositories.get(name)?.blobs.contains(digest);
        known.then(|| state.sizes.get(digest).copied()).flatten()
    }

    /// A blob's bytes; `None` if the repository does not have it, or it was discarded.
    pub fn blob(&self, name: &str, digest: &str) -> Option<Vec<u8>> {
        self.blob_size(name, digest)?;
        std::fs::read(self.blob_path(digest)).ok()
    }

    /// How many upload sessions are open: zero after a client that cleans up.
    pub fn open_uploads(&self) -> usize {
        self.lock().uploads.len()
    }

    /// Stores a blob directly, and returns its digest.
    pub fn put_blob(&self, name: &str, bytes: &[u8]) -> String {
        let mut upload = self.begin(name).expect("room for a blob");
        upload.write(bytes).expect("room for a blob");
        let digest = upload.digest();
        self.commit(upload).expect("room for a blob");
        digest
    }

    /// Stores a manifest directly without checks, moves `tag` to it, and returns its digest.
    pub fn put_manifest(&self, name: &str, tag: Option<&str>, manifest: Manifest) -> String {
        let digest = digest_of(&manifest.bytes);
        if !self.lying {
            let mut state = self.lock();
            let repository = state.repositories.entry(name.to_owned()).or_default();
            repository.manifests.insert(digest.clone(), manifest);
            if let Some(tag) = tag {
                repository.tagged = true;
                repository.tags.insert(tag.to_owned(), digest.clone());
            }
        }
        digest
    }

    /// Deletes a blob from this repository; returns false if it did not exist.
    pub fn remove_blob(&self, name: &str, digest: &str) -> bool {
        let mut state = self.lock();
        let repository = state.repositories.get_mut(name);
        repository.is_some_and(|r| r.blobs.remove(digest))
    }

    /// Deletes a tag, or a manifest with all its tags; returns false if it did not exist.
    pub fn remove_manifest(&self, name: &str, reference: &str) -> bool {
        let mut state = self.lock();
        let Some(repository) = state.repositories.get_mut(name) else {
            return false;
        };
        if repository.tags.remove(reference).is_some() {
            return true;
        }
        repository.tags.retain(|_, digest| digest != reference);
        repository.manifests.remove(reference).is_some()
    }

    /// Mounts a blob of `from` in `name`; returns its size if that repository has it.
    pub(super) fn mount(&self, name: &str, from: &str, digest: &str) -> Option<u64> {
        let size = self.blob_size(from, digest)?;
        let mut state = self.lock();
        let repository = state.repositories.entry(name.to_owned()).or_default();
        repository.blobs.insert(digest.to_owned());
        Some(size)
    }

    pub(super) fn blob_path(&self, digest: &str) -> PathBuf {
        self.directory.join(digest.replace(':', "-"))
    }

    pub(super) fn begin(&self, name: &str) -> io::Result<Upload> {
        let id = random();
        let path = self.directory.join(format!("upload-{id}"));
        Ok(Upload {
            file: Some(File::create(&path)?),
            path,
            hash: Sha256::new(),
            size: 0,
            limit: self.discard.then_some(KEPT),
            name: name.to_owned(),
            id,
            parts: Vec::new(),
        })
    }

    /// Stores a session for the next request.
    pub(super) fn suspend(&self, upload: Upload) {
        self.lock().uploads.insert(upload.id.clone(), upload);
    }

    /// Takes a session out. It is only put back after a successful request: a cut one leaves no session, as in Distribution
    /// 2.8.
    pub(super) fn resume(&self, name: &str, id: &str) -> Option<Upload> {
        let mut state = self.lock();
        let known = state.uploads.get(id).is_some_and(|u| u.name == name);
        known.then(|| state.uploads.remove(id)).flatten()
    }

    /// Makes the blob known.
    pub(super) fn commit(&self, mut upload: Upload) -> io::Result<()> {
        if self.lying {
            return Ok(());
        }
        let digest = upload.digest();
        if let Some(mut file) = upload.file.take() {
            file.flush()?;
            std::fs::rename(&upload.path, self.blob_path(&digest))?;
        }
        let mut state = self.lock();
        state.sizes.insert(digest.clone(), upload.size);
        let repository = state.repositories.entry(upload.name.clone()).or_default();
        repository.blobs.insert(digest);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One upload session. Its file is deleted with it, unless committed.
pub(super) struct Upload {
    pub(super) id: String,
    name: String,
    path: PathBuf,
    file: Option<File>,
    hash: Sha256,
    pub(super) size: u64,
    /// The sizes of its chunks.
    pub(super) parts: Vec<u64>,
    limit: Option<u64>,
}

impl Upload {
    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.hash.update(data);
        self.size += data.len() as u64;
        if self.limit.is_some_and(|limit| self.size > limit) {
            self.discard();
        }
        match &mut self.file {
            Some(file) => file.write_all(data),
            None => Ok(()),
        }
    }

    pub(super) fn digest(&self) -> String {
        format!("sha256:{}", hex::encode(self.hash.clone().finalize()))
    }

    /// Its position, to return to.
    pub(super) fn mark(&self) -> (u64, Sha256) {
        (self.size, self.hash.clone())
    }

    /// Returns to a position.
    pub(super) fn back_to(&mut self, (size, hash): (u64, Sha256)) -> io::Result<()> {
        (self.size, self.hash) = (size, hash);
        match &mut self.file {
            Some(file) => file.set_len(size).and_then(|()| file.seek(io::SeekFrom::End(0)).map(drop)),
            None => Ok(()),
        }
    }

    fn discard(&mut self) {
        if self.file.take().is_some() {
            // It may have been deleted with the registry's directory.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.discard();
    }
}

/// `sha256:` and the digest of `bytes` in hexadecimal.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// 32 unique hexadecimal digits, for session names and tokens of a short-lived site.
pub(crate) fn random() -> String {
    use std::hash::{BuildHasher, RandomState};
    let half = || RandomState::new().hash_one(std::time::Instant::now());
    format!("{:016x}{:016x}", half(), half())
}
