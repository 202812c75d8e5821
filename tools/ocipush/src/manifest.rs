//! The manifest: its bytes as ORAS v1.0.0 writes them, what is meant to be in the registry, and what one that is there says.

use std::collections::BTreeMap;

use bytes::Bytes;
use oci_client::annotations::{ORG_OPENCONTAINERS_IMAGE_CREATED, ORG_OPENCONTAINERS_IMAGE_TITLE};
use oci_client::manifest::{IMAGE_LAYER_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use scar_record::{Digest, Time};
pub(crate) use scar_registry::digest;
use scar_tool::{Exit, Failure};

use crate::body::{Bits, Content};

/// The type under which the manifest is sent.
pub(crate) const MEDIA_TYPE: &str = OCI_IMAGE_MEDIA_TYPE;
/// The configuration of an artifact that has none.
pub(crate) const CONFIG: &[u8] = b"{}";

const CONFIG_MEDIA_TYPE: &str = "application/vnd.unknown.config.v1+json";

/// The one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Digest of the archive's bytes.
    pub(crate) digest: Digest,
    /// Bytes of the archive.
    pub(crate) size: u64,
    /// The file name that Specman finds.
    pub(crate) title: String,
}

/// The manifest of an artifact with this layer, byte for byte that of ORAS v1.0.0.
///
/// # Errors
/// The serialisation's own words; there is no input for which it fails.
pub(crate) fn bytes(layer: &Layer, created: Time) -> Result<Vec<u8>, serde_json::Error> {
    let annotation = |key: &str, value: String| Some(BTreeMap::from([(key.to_owned(), value)]));
    serde_json::to_vec(&OciImageManifest {
        media_type: Some(MEDIA_TYPE.to_owned()),
        config: OciDescriptor {
            media_type: CONFIG_MEDIA_TYPE.to_owned(),
            digest: digest(CONFIG).to_string(),
            size: CONFIG.len() as i64,
            ..OciDescriptor::default()
        },
        layers: vec![OciDescriptor {
            // Its type for every file, compressed or not.
            media_type: IMAGE_LAYER_MEDIA_TYPE.to_owned(),
            digest: layer.digest.to_string(),
            size: layer.size as i64,
            annotations: annotation(ORG_OPENCONTAINERS_IMAGE_TITLE, layer.title.clone()),
            ..OciDescriptor::default()
        }],
        annotations: annotation(ORG_OPENCONTAINERS_IMAGE_CREATED, created.to_string()),
        ..OciImageManifest::default()
    })
}

/// A manifest that a tag holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its digest.
    pub(crate) digest: Digest,
    /// What it holds, where it is an artifact as Specman takes it; else why not.
    pub(crate) artifact: Result<Parts, String>,
}

impl Held {
    /// Its parts, where it holds this layer under this title.
    pub(crate) fn of(&self, layer: &Layer) -> Option<&Parts> {
        self.artifact.as_ref().ok().filter(|parts| parts.layer == *layer)
    }
}

/// What an artifact is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The one layer.
    pub(crate) layer: Layer,
    /// Digest and size of the configuration, which another tool may have chosen.
    pub(crate) config: (Digest, u64),
    /// When it was made.
    pub(crate) created: Time,
}

/// Reads a manifest's bytes.
pub(crate) fn held(bytes: &[u8], digest: Digest) -> Held {
    Held { digest, artifact: artifact(bytes) }
}

fn artifact(bytes: &[u8]) -> Result<Parts, String> {
    let manifest: OciImageManifest =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no manifest of one image or artifact ({error})"))?;
    let [layer] = manifest.layers.as_slice() else {
        return Err(format!("it has {} layers, not one", manifest.layers.len()));
    };
    let of = |annotations: &Option<BTreeMap<String, String>>, key: &str| annotations.as_ref()?.get(key).cloned();
    let title = of(&layer.annotations, ORG_OPENCONTAINERS_IMAGE_TITLE).ok_or("its layer has no title")?;
    let created = of(&manifest.annotations, ORG_OPENCONTAINERS_IMAGE_CREATED).ok_or("it does not tell when it was created")?;
    let size = u64::try_from(layer.size).map_err(|_| "its layer has a negative size")?;
    let config = &manifest.config;
    Ok(Parts {
        layer: Layer { digest: Digest::parse(&layer.digest)?, size, title },
        config: (
            Digest::parse(&config.digest)?,
            u64::try_from(config.size).map_err(|_| "its configuration has a negative size")?,
        ),
        created: Time::parse(&created)?,
    })
}

/// The artifact as it is meant to be in the registry.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The layer.
    pub(crate) layer: Layer,
    /// The manifest.
    pub(crate) manifest: Bytes,
    /// Its digest.
    pub(crate) digest: Digest,
}

impl Wanted {
    /// The artifact of this layer.
    ///
    /// # Errors
    /// None that an input can cause.
    pub(crate) fn new(layer: Layer, created: Time) -> Result<Self, Failure> {
        let manifest =
            bytes(&layer, created).map_err(|error| Failure::new(Exit::Failed, format!("write the manifest: {error}")))?;
        Ok(Self { digest: digest(&manifest), manifest: manifest.into(), layer })
    }
}

/// The configuration blob.
pub(crate) fn config() -> Content {
    let size = CONFIG.len() as u64;
    Content { bits: Bits::Memory(CONFIG), size, digest: digest(CONFIG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        let layer = Layer { digest: digest(b"x"), size: 1, title: "manifests.tgz".into() };
        let created = Time::from_epoch(1_733_488_994).unwrap();
        let bytes = bytes(&layer, created).unwrap();
        let parts = Parts { layer, config: (digest(CONFIG), 2), created };
        assert_eq!(held(&bytes, digest(&bytes)), Held { digest: digest(&bytes), artifact: Ok(parts) });
    }

    #[test]
    fn says_why_another_manifest_is_no_artifact_of_ours() {
        let with = |layers: &str| {
            format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"x","digest":"sha256:{:064}","size":2}},"layers":[{layers}]}}"#,
                0
            )
        };
        let layer = format!(r#"{{"mediaType":"x","digest":"sha256:{:064}","size":2}}"#, 0);
        for (text, says) in [
            ("[]".to_owned(), "no manifest"),
            (with(""), "0 layers"),
            (with(&format!("{layer},{layer}")), "2 layers"),
            (with(&layer), "no title"),
        ] {
            assert!(held(text.as_bytes(), digest(b"")).artifact.unwrap_err().contains(says), "{text}");
        }
    }
}
