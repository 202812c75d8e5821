//! A reference, `REGISTRY/REPOSITORY:TAG`, as typed by the user or set in the environment.
//!
//! Invariants: every registry accepts a `Reference` (the specification's grammar); no message quotes a reference that
//! contains credentials.

use scar_http::Origin;
use scar_tool::Failure;

/// The repository below the base path and the tag that Specman reads (guide, step 5).
const REPOSITORY: &str = "spectro-manifests/manifest";
/// The guide's base path.
pub const BASE_PATH: &str = "spectro-packs";
// Specman downloads every tag of the repository, as its log shows (guide, step 9), so this is the only one that is pushed.
const TAG: &str = "0.0.0";

/// `REGISTRY/REPOSITORY:TAG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `HOST[:PORT]`.
    pub registry: String,
    /// The path between registry and tag, in lower case.
    pub repository: String,
    /// At most 128 characters.
    pub tag: String,
}

/// The registry and base path in the environment, under the names that the airgap set-up uses.
#[derive(Debug, Default)]
pub struct Environment {
    /// `OCI_PACK_REGISTRY`, else `ECR_PACK_REGISTRY`.
    pub registry: Option<String>,
    /// Its base path.
    pub base: Option<String>,
}

impl Environment {
    /// Reads this process's environment.
    pub fn from_environment() -> Self {
        let set =
            |name: &str| std::env::var_os(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
        if let Some(registry) = set("OCI_PACK_REGISTRY") {
            return Self { registry: Some(registry), base: set("OCI_PACK_BASE") };
        }
        let registry = set("ECR_PACK_REGISTRY");
        let base = if registry.is_some() { set("ECR_PACK_BASE") } else { set("OCI_PACK_BASE").or(set("ECR_PACK_BASE")) };
        Self { registry, base }
    }

    /// The typed reference, else the environment's; `None` if there is neither.
    pub fn or_typed(&self, text: Option<&str>, base: Option<&str>) -> Result<Option<Reference>, Failure> {
        let base = base.or(self.base.as_deref());
        let registry = self.registry.as_deref().map(|registry| registry.trim_end_matches('/'));
        let place = registry.filter(|registry| !registry.contains("://")).and_then(|registry| registry.split_once('/'));
        match (text.or(registry), place) {
            // The airgap set-up writes HOST/PATH for host and prefix; a text with a tag is a full reference.
            (_, Some((host, prefix))) if text.is_none() && !prefix.contains([':', '@']) => {
                Reference::parse(host, Some(&format!("{prefix}/{}", base.unwrap_or(BASE_PATH)))).map(Some)
            }
            (text, _) => text.map(|text| Reference::parse(text, base)).transpose(),
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

impl Reference {
    /// Parses a reference, or `HOST[:PORT]` for the guide's repository below `base_path`. Exit 2, naming the bad part and
    /// its rule.
    pub fn parse(text: &str, base_path: Option<&str>) -> Result<Self, Failure> {
        let refuse = |cause: String| Failure::misuse(format!("read the reference '{text}': {cause}"));
        // The last '@': a password may contain one.
        if let Some((before, rest)) = text.rsplit_once('@') {
            // What is before the '@' may be a user and a password, so it is never shown.
            let failure = |cause: &str| Failure::misuse(format!("read the reference '…@{rest}': {cause}"));
            return Err(match not_a_tag(before, rest) {
                Some(cause) => failure(cause).hint("a push names a tag: HOST/REPOSITORY:TAG"),
                None => failure("it holds credentials, which would be logged").hint("use --username and --password-file"),
            });
        }
        if let Some((_, rest)) = text.split_once("://") {
            let hint = format!("drop the scheme, write {}", rest.trim_end_matches('/'));
            return Err(refuse("it has a scheme".to_owned()).hint(hint));
        }
        let (authority, rest) = match text.split_once('/') {
            Some((authority, rest)) => (authority, Some(rest)),
            None => (text, None),
        };
        registry(authority).map_err(refuse)?;
        let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
            let base = base_path.unwrap_or(BASE_PATH).trim_matches('/');
            let repository = if base.is_empty() { REPOSITORY.to_owned() } else { format!("{base}/{REPOSITORY}") };
            return Self::checked(authority, &repository, TAG).map_err(refuse);
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (rest, TAG),
        };
        Self::checked(authority, repository, tag).map_err(refuse)
    }

    /// The first part of the repository, which is a project in Harbor.
    pub(crate) fn project(&self) -> &str {
        self.repository.split('/').next().unwrap_or_default()
    }

    fn checked(registry: &str, repository: &str, tag: &str) -> Result<Self, String> {
        if let Some(cause) = bad_tag(tag) {
            return Err(cause);
        }
        if !is_repository(repository) {
            return Err(bad_repository(repository));
        }
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), tag: tag.to_owned() })
    }
}

/// Checks that the text is a registry's address; a plain word is more likely a repository without its host.
fn registry(authority: &str) -> Result<(), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let Some((address, rest)) = rest.split_once(']') else {
                return Err("the IPv6 address is not closed by ']'".to_owned());
            };
            if address.contains('%') {
                return Err(format!("an IPv6 zone ('{address}') is not supported: use the address without it, or a host name"));
            }
            (address, rest.strip_prefix(':').or((!rest.is_empty()).then_some(rest)))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if let Some(port) = port {
        match port.parse::<u32>() {
            Ok(1..=65535) => {}
            Ok(_) => return Err(format!("port {port} is out of range: 1 to 65535")),
            Err(_) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(format!("port {port} is out of range: 1 to 65535"));
            }
            Err(_) => return Err(format!("'{port}' is not a port number")),
        }
    }
    if host.is_empty() {
        return Err("it does not begin with a registry host: write HOST[:PORT]/REPOSITORY:TAG".to_owned());
    }
    // Docker takes a first part without dot and port for a path on Docker Hub (distribution/reference normalize.go,
    // `splitDockerDomain`). Here it is a mistake: a push to a public registry is never meant.
    if port.is_none() && !authority.starts_with('[') && !host.contains('.') && host != "localhost" {
        return Err(format!(
            "\"{host}\" is not a registry host: it has no dot, no port and is not localhost (there is no default registry); \
             write HOST[:PORT]/REPOSITORY:TAG, or HOST[:PORT] alone"
        ));
    }
    match Origin::at("https", authority) {
        // `Url` would also take `%68arbor.example` or `hárbor.example`, and go to the ASCII form of it (WHATWG URL, 3.5), which
        // nobody typed.
        Ok(_) if authority.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]_".contains(c)) => Ok(()),
        _ => Err(format!("\"{authority}\" is not a registry host")),
    }
}

/// Why the text behind an `@` is not one that a push can use, if it is meant as a digest.
fn not_a_tag(before: &str, rest: &str) -> Option<&'static str> {
    let is_digest = rest.starts_with("sha256:") || rest.starts_with("sha512:");
    // A host has no `@`: in the first part it ends a login.
    if !is_digest && (before.contains("://") || !before.contains('/')) {
        return None;
    }
    if scar_record::Digest::parse(rest).is_err() {
        return Some("a digest must be sha256: and 64 hex digits");
    }
    match before.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => Some("it has both a tag and a digest; choose one"),
        _ => Some("it names a digest"),
    }
}

fn bad_tag(tag: &str) -> Option<String> {
    const RULE: &str = "a tag has at most 128 of A-Z a-z 0-9 _ . - and begins with none of . -";
    if tag.is_empty() {
        return Some(format!("the tag is empty: {RULE}"));
    }
    let bad = |(place, c): (usize, char)| !(c.is_ascii_alphanumeric() || c == '_' || (place > 0 && (c == '.' || c == '-')));
    if let Some((place, c)) = tag.chars().enumerate().find(|&found| bad(found)) {
        return Some(format!("bad character '{c}' at {} in the tag: {RULE}", place + 1));
    }
    (tag.len() > 128).then(|| format!("the tag has {} characters: {RULE}", tag.len()))
}

/// The longest name (distribution/reference reference.go, `RepositoryNameTotalLengthMax`).
const LONGEST: usize = 255;

/// Whether it is a name (OCI distribution specification, "Pulling manifests"). oci-client decides it by an expression with
/// thousands of states, which takes 50 ms to compile.
fn is_repository(repository: &str) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_separator = |gap: &[u8]| matches!(gap, b"." | b"_" | b"__") || gap.iter().all(|byte| *byte == b'-');
    let is_part = |part: &[u8]| {
        let ends_plain = part.first().is_some_and(is_plain) && part.last().is_some_and(is_plain);
        ends_plain && part.split(is_plain).all(is_separator)
    };
    repository.len() <= LONGEST && repository.as_bytes().split(|byte| *byte == b'/').all(is_part)
}

fn bad_repository(repository: &str) -> String {
    if repository.chars().any(char::is_uppercase) {
        return format!("upper case is not allowed in repository \"{repository}\"");
    }
    if repository.len() > LONGEST {
        return format!("the repository's name has {} characters: at most {LONGEST}", repository.len());
    }
    format!(
        "\"{repository}\" is not a repository: parts of a-z and 0-9, parted by '/', \
         with single '.', '_', '__' or '-' inside"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_references_and_bare_hosts() {
        for (text, base, whole) in [
            ("harbor.example", None, "harbor.example/spectro-packs/spectro-manifests/manifest:0.0.0"),
            ("harbor.example:8443/", None, "harbor.example:8443/spectro-packs/spectro-manifests/manifest:0.0.0"),
            ("harbor.example", Some("/packs/"), "harbor.example/packs/spectro-manifests/manifest:0.0.0"),
            ("harbor.example", Some(""), "harbor.example/spectro-manifests/manifest:0.0.0"),
            ("localhost", None, "localhost/spectro-packs/spectro-manifests/manifest:0.0.0"),
            ("[::1]:5000/r", None, "[::1]:5000/r:0.0.0"),
            ("10.0.0.1/a/b:v1", None, "10.0.0.1/a/b:v1"),
            ("registry:5000/a", None, "registry:5000/a:0.0.0"),
        ] {
            assert_eq!(Reference::parse(text, base).unwrap().to_string(), whole, "{text}");
        }
    }

    #[test]
    fn a_path_in_the_environments_registry_is_a_prefix() {
        for (registry, base, whole) in [
            ("h.example/alias", None, "h.example/alias/spectro-packs/spectro-manifests/manifest:0.0.0"),
            ("h.example:8443/a/b/", Some("base"), "h.example:8443/a/b/base/spectro-manifests/manifest:0.0.0"),
            ("h.example/a/b:1", None, "h.example/a/b:1"),
            ("h.example", Some("base"), "h.example/base/spectro-manifests/manifest:0.0.0"),
        ] {
            let environment = Environment { registry: Some(registry.to_owned()), base: base.map(str::to_owned) };
            assert_eq!(environment.or_typed(None, None).unwrap().unwrap().to_string(), whole);
            assert_eq!(environment.or_typed(Some("other.example/x:1"), None).unwrap().unwrap().to_string(), "other.example/x:1");
        }
        let environment = Environment { registry: Some("https://h.example/a".into()), base: None };
        assert!(environment.or_typed(None, None).unwrap_err().message.contains("it has a scheme"));
    }

    #[test]
    fn bad_inputs_1_to_9_are_refused_with_their_reason() {
        let long = format!("h.example/r:{}", "a".repeat(129));
        let digest = format!("h.example/r:1@sha256:{}", "0".repeat(64));
        for (text, says) in [
            ("harbor.local/proj/Repo:1", "upper case is not allowed in repository \"proj/Repo\""),
            ("https://harbor.local/p/r:1", "'https://harbor.local/p/r:1': it has a scheme"),
            ("https://u:p@harbor.local/p/r:1", "'…@harbor.local/p/r:1': it holds credentials"),
            ("harbor.local:99999/p/r", "port 99999 is out of range"),
            ("harbor.local:0/p/r", "port 0 is out of range"),
            ("harbor.local:9x/p/r", "'9x' is not a port number"),
            ("proj/r:1", "\"proj\" is not a registry host: it has no dot, no port and is not localhost"),
            ("harbor", "\"harbor\" is not a registry host"),
            (&long, "the tag has 129 characters"),
            ("h.example/r:a b", "bad character ' ' at 2 in the tag"),
            ("h.example/r:-x", "bad character '-' at 1 in the tag"),
            ("h.example/r:é", "bad character 'é' at 1"),
            ("h.example/r:", "the tag is empty"),
            ("h.example/repo@sha256:xyz", "'…@sha256:xyz': a digest must be sha256: and 64 hex digits"),
            ("repo@sha256:xyz", "'…@sha256:xyz': a digest must be sha256: and 64 hex digits"),
            (&digest, "'…@sha256:000"),
            (&digest, "choose one"),
            ("[fe80::1%eth0]/r", "zone"),
            ("[::1/r", "not closed"),
            ("h.example/a//b:1", "is not a repository"),
            ("h.ex ample/a:1", "is not a registry host"),
            ("", "does not begin with a registry host"),
            ("/a:1", "does not begin with a registry host"),
        ] {
            let failure = Reference::parse(text, None).unwrap_err();
            assert!(failure.message.contains(says), "{text}: {}", failure.message);
            assert_eq!(failure.exit, scar_tool::Exit::Misuse, "{text}");
        }
        let failure = Reference::parse("https://harbor.local/p/r:1", None).unwrap_err();
        assert_eq!(failure.hint.unwrap(), "drop the scheme, write harbor.local/p/r:1");
    }

    #[test]
    fn a_repository_has_parts_with_single_separators() {
        for good in ["a", "0/b", "a.b", "a_b", "a__b", "a-b", "a---b", "a.b-c__d/e", &"a".repeat(255)] {
            assert!(is_repository(good), "{good}");
        }
        for bad in
            ["", "/", "a/", "/a", "a//b", ".a", "a.", "a..b", "a___b", "a_-b", "a.-b", "-a", "A", "a b", "é", &"a".repeat(256)]
        {
            assert!(!is_repository(bad), "{bad}");
        }
    }

    #[test]
    fn credentials_in_a_reference_are_never_quoted() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for text in [
            "user:canary@host/r",
            "https://user:canary@host.example/r",
            "https://user:can/canary@host.example/r",
            "user:canary://x@host.example/r",
            "h.example/can:canary/ary@host/r",
            &format!("user:canary@host.example/r@{digest}"),
            &format!("https://user:canary@host.example/r:1@{digest}"),
            &format!("user:canary/x@{digest}"),
            &format!("h.example/user:canary/x@{digest}"),
        ] {
            let failure = Reference::parse(text, None).unwrap_err();
            let said = format!("{failure:?}");
            assert!(!said.contains("canary"), "{said}");
        }
    }
}
