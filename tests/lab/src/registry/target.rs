//! Parses a path of the distribution API. Repository names contain slashes, so it is parsed from its end.

use http::Uri;
use percent_encoding::percent_decode_str;

/// The end points of the OCI distribution specification, section "Endpoints".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Ping,
    Tags { name: String },
    Manifest { name: String, reference: String },
    Blob { name: String, digest: String },
    Uploads { name: String },
    Upload { name: String, id: String },
}

impl Target {
    /// `None` if the path is not an endpoint.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let path = percent_decode_str(path).decode_utf8().ok()?;
        let rest = path.strip_prefix("/v2/")?;
        if rest.is_empty() {
            return Some(Self::Ping);
        }
        let (before, last) = rest.rsplit_once('/')?;
        let last = last.to_owned();
        if let Some(name) = before.strip_suffix("/blobs/uploads") {
            let name = name.to_owned();
            return Some(if last.is_empty() { Self::Uploads { name } } else { Self::Upload { name, id: last } });
        }
        if let Some(name) = before.strip_suffix("/blobs") {
            let name = name.to_owned();
            return Some(if last == "uploads" { Self::Uploads { name } } else { Self::Blob { name, digest: last } });
        }
        if let Some(name) = before.strip_suffix("/manifests") {
            let (name, reference) = (name.to_owned(), last);
            return Some(Self::Manifest { name, reference });
        }
        let name = before.strip_suffix("/tags").filter(|_| last == "list")?;
        let name = name.to_owned();
        Some(Self::Tags { name })
    }

    /// The repository.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Ping => None,
            Self::Tags { name }
            | Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. } => Some(name),
        }
    }
}

/// Whether the specification allows the repository name.
pub(super) fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.split('/')
        .all(|part| part.starts_with(word) && part.ends_with(word) && part.chars().all(|c| word(c) || "._-".contains(c)))
}

/// Whether the specification allows the tag.
pub(super) fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

/// Whether it is a digest with the only supported algorithm.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

/// One parameter of the query, decoded.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let text = uri.query()?;
    let value = text.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_from_its_end() {
        let name = "a/blobs/b".to_owned();
        for (path, target) in [
            ("/v2/", Some(Target::Ping)),
            ("/v2/a/blobs/b/tags/list", Some(Target::Tags { name: name.clone() })),
            ("/v2/a/blobs/b/blobs/sha256%3Aff", Some(Target::Blob { name: name.clone(), digest: "sha256:ff".into() })),
            ("/v2/a/blobs/b/blobs/uploads/", Some(Target::Uploads { name: name.clone() })),
            ("/v2/a/blobs/b/blobs/uploads/7", Some(Target::Upload { name: name.clone(), id: "7".into() })),
            ("/v2/a/blobs/b/manifests/0.0.0", Some(Target::Manifest { name, reference: "0.0.0".into() })),
            ("/v2/a", None),
            ("/x", None),
        ] {
            assert_eq!(Target::parse(path), target, "{path}");
        }
    }

    #[test]
    fn names_tags_and_digests_follow_the_specification() {
        assert!(is_name("spectro-packs/spectro-manifests/manifest"));
        assert!(!is_name("Proj/x") && !is_name("a//b") && !is_name("-a") && !is_name(""));
        assert!(is_tag("0.0.0") && is_tag("_x-1") && !is_tag("-x") && !is_tag("a b"));
        assert!(!is_tag(&"a".repeat(129)));
        assert!(is_digest(&format!("sha256:{}", "0f".repeat(32))));
        assert!(!is_digest("sha256:0f") && !is_digest(&format!("sha256:{}", "0F".repeat(32))));
    }
}
