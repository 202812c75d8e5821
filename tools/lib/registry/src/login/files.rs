//! The login files of Docker (`config.json`) and Podman (`auth.json`, containers-auth.json(5)).

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use scar_tool::{Console, Failure};
use serde::Deserialize;

use super::{Login, helper};
use crate::reference::Reference;

/// The largest login file to read, in bytes.
const LIMIT: usize = 4 * 1024 * 1024;

/// The places that may hold a login, from the environment.
#[derive(Debug, Clone, Default)]
pub struct LoginFiles {
    /// `--registry-config`.
    pub registry_config: Option<PathBuf>,
    /// `$REGISTRY_AUTH_FILE`.
    pub registry_auth_file: Option<PathBuf>,
    /// `$DOCKER_AUTH_CONFIG`: not a path but the file's content.
    pub docker_auth_config: Option<String>,
    /// `$DOCKER_CONFIG`: a directory.
    pub docker_config: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
}

/// In Go, and so for Docker and Podman, null and an empty helper are the same as nothing.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct File {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

/// An entry's fields before its secret gets a type that cannot be printed.
#[derive(Deserialize, Default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl LoginFiles {
    /// Reads the process's environment.
    pub fn from_environment(registry_config: Option<PathBuf>) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            registry_config,
            registry_auth_file: set("REGISTRY_AUTH_FILE").map(PathBuf::from),
            docker_auth_config: set("DOCKER_AUTH_CONFIG").and_then(|text| text.into_string().ok()),
            docker_config: set("DOCKER_CONFIG").map(PathBuf::from),
            xdg_runtime_dir: set("XDG_RUNTIME_DIR").map(PathBuf::from),
            home: set("HOME").map(PathBuf::from),
        }
    }

    /// The first login for `reference`, and its source for messages. Exit 2 for a file that cannot be read or parsed, naming
    /// file and key.
    pub fn find(&self, reference: &Reference, console: &Console) -> Result<Option<(Login, String)>, Failure> {
        for place in self.list() {
            let (name, text) = match place {
                Source::Text(name, text) => (name.to_owned(), text),
                Source::File(path, must_exist) => match read(&path, must_exist, console)? {
                    Some(text) => (format!("'{}'", path.display()), text),
                    None => continue,
                },
            };
            let file: File = serde_json::from_str(&text).map_err(|error| {
                // serde_json quotes the wrong value, which may be a secret, so only its position is shown.
                let (line, column) = (error.line(), error.column());
                Failure::misuse(format!("read the logins in {name}: not the expected JSON at line {line}, column {column}"))
            })?;
            if let Some(found) = of(&file, &name, reference, console)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// All sources in order; a file that the user named must exist.
    fn list(&self) -> Vec<Source> {
        if let Some(path) = &self.registry_config {
            return vec![Source::File(path.clone(), true)];
        }
        // First what is set for this purpose: `$REGISTRY_AUTH_FILE` (podman-login(1)) and `$DOCKER_AUTH_CONFIG`, which
        // docker/cli also asks before its file (cli/config/configfile/file.go, `GetCredentialsStore`).
        let below = |directory: &Option<PathBuf>, name: &str| Some(Source::File(directory.as_ref()?.join(name), false));
        [
            self.registry_auth_file.clone().map(|path| Source::File(path, false)),
            self.docker_auth_config.clone().map(|text| Source::Text("$DOCKER_AUTH_CONFIG", text)),
            below(&self.docker_config, "config.json"),
            below(&self.home, ".docker/config.json"),
            below(&self.xdg_runtime_dir, "containers/auth.json"),
            below(&self.home, ".config/containers/auth.json"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

enum Source {
    File(PathBuf, bool),
    Text(&'static str, String),
}

/// A login file's text; `None` if it is missing, empty, or of another user.
fn read(path: &Path, must_exist: bool, console: &Console) -> Result<Option<String>, Failure> {
    let act = format!("read the logins in '{}'", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) if text.len() > LIMIT => Err(Failure::misuse(format!("{act}: the file is too large"))),
        // docker/cli ignores an empty file, too (cli/config/configfile/file.go, `LoadFromReader`).
        Ok(text) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
        Err(error) if !must_exist && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        // A file of another user at a default path must not stop us.
        Err(error) if !must_exist && error.kind() == ErrorKind::PermissionDenied => {
            console.warn(format!("{act}: permission denied; going on without"));
            Ok(None)
        }
        Err(error) => Err(Failure::unreadable(act, &error)),
    }
}

/// The login in one file: the registry's own helper, the entry with the longest path, or the default helper.
fn of(file: &File, name: &str, reference: &Reference, console: &Console) -> Result<Option<(Login, String)>, Failure> {
    let registry = reference.registry.as_str();
    // A helper for this registry comes first, as in docker/cli (cli/config/configfile/file.go, `getConfiguredCredentialStore`).
    // docker/cli then looks nowhere but in the default store, if one is set; here an entry with a secret counts before it,
    // because the store may not be installed on this host.
    if let Some((_, program)) = file.cred_helpers.iter().flatten().find(|(key, _)| plain(key) == registry)
        && !program.is_empty()
        && let Some(login) = helper::get(program, registry, name, console)?
    {
        return Ok(Some((login, format!("credential helper '{program}' of {name}"))));
    }
    // Podman's keys may name a path; the longest one that fits wins (containers-auth.json(5)). Docker's name only the host.
    let whole = format!("{registry}/{}", reference.repository);
    let scopes = std::iter::successors(Some(whole.as_str()), |scope| scope.rsplit_once('/').map(|(shorter, _)| shorter));
    for scope in scopes {
        let entries = file.auths.iter().flatten().filter_map(|(key, entry)| Some((key, entry.as_ref()?)));
        let mut entries: Vec<_> = entries.filter(|(key, _)| plain(key) == scope).collect();
        entries.sort_by_key(|(key, _)| *key != scope);
        for (key, entry) in entries {
            if let Some(login) = login(entry).map_err(|cause| {
                Failure::misuse(format!("read the logins in {name}: auths '{key}': {cause}")).hint("log in to the registry again")
            })? {
                return Ok(Some((login, format!("{name}, '{key}'"))));
            }
        }
    }
    if let Some(program) = file.creds_store.as_ref().filter(|program| !program.is_empty())
        && let Some(login) = helper::get(program, registry, name, console)?
    {
        return Ok(Some((login, format!("credential helper '{program}' of {name}"))));
    }
    Ok(None)
}

/// A key without scheme and version: older tools wrote `https://HOST/v1/`. With a scheme only the host counts, whatever the
/// path (docker/cli cli/config/credentials/file_store.go, `ConvertToHostname`).
fn plain(key: &str) -> &str {
    if let Some(key) = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")) {
        return key.split('/').next().unwrap_or_default();
    }
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key)
}

/// The login of an entry; `None` for an empty one, which Docker writes when it uses a credential store (docker/cli#3947).
fn login(entry: &Entry) -> Result<Option<Login>, &'static str> {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    // For the registry itself, so no realm is asked (docker/cli cli/config/types/authconfig.go, `RegistryToken`).
    if let Some(token) = set(&entry.registrytoken) {
        return Ok(Some(Login::Registry(token.into())));
    }
    let from_auth = match set(&entry.auth) {
        Some(auth) => {
            let bytes = BASE64.decode(auth.trim()).map_err(|_| "'auth' is not base64")?;
            let text = String::from_utf8(bytes).map_err(|_| "'auth' is not UTF-8")?;
            // The first colon separates, as in HTTP's Basic scheme (RFC 7617, 2): a password may contain more. docker/cli removes
            // NUL bytes too (cli/config/configfile/file.go, `decodeAuth`).
            let (username, password) = text.split_once(':').ok_or("'auth' holds no colon between user and password")?;
            Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
        }
        None => set(&entry.username).zip(set(&entry.password)),
    };
    // An entry may have both; the token counts (containers/image docker/docker_client.go).
    if let Some(token) = set(&entry.identitytoken) {
        return Ok(Some(Login::Identity(token.into())));
    }
    Ok(from_auth.map(|(username, password)| Login::Password { username, password: password.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn found(text: &str) -> Result<Option<String>, Failure> {
        let reference = Reference::parse("h.example:5000/a/b/c:1", None).unwrap();
        let login_files = LoginFiles { docker_auth_config: Some(text.to_owned()), ..LoginFiles::default() };
        let found = login_files.find(&reference, &Console::new("test"))?;
        Ok(found.map(|(login, _)| match login {
            Login::Password { username, password } => format!("{username}:{}", password.expose_secret()),
            Login::Identity(token) => format!("identity {}", token.expose_secret()),
            Login::Registry(token) => format!("registry {}", token.expose_secret()),
        }))
    }

    #[test]
    fn the_longest_scope_wins_and_legacy_keys_count() {
        let auth = |text: &str| format!(r#"{{"auth":"{}"}}"#, BASE64.encode(text));
        for (auths, expected) in [
            (format!(r#""h.example:5000":{},"h.example:5000/a/b":{}"#, auth("host:1"), auth("path:2")), Some("path:2")),
            (format!(r#""h.example:5000/a/bb":{},"h.example:5000":{}"#, auth("no:0"), auth("host:1")), Some("host:1")),
            (format!(r#""https://h.example:5000/v1/":{}"#, auth("legacy:p:w")), Some("legacy:p:w")),
            (format!(r#""h.example":{}"#, auth("other:port")), None),
            (format!(r#""https://h.example:5000/ui/a":{}"#, auth("any:path")), Some("any:path")),
            (format!(r#""h.example:5000":{},"http://h.example:5000/a/b":{}"#, auth("host:1"), auth("no:0")), Some("host:1")),
            (format!(r#""h.example:5000/":{},"h.example:5000":{}"#, auth("no:0"), auth("exact:1")), Some("exact:1")),
            (r#""h.example:5000":{"username":"u","password":"p"}"#.to_owned(), Some("u:p")),
            (r#""h.example:5000":{"identitytoken":"t"}"#.to_owned(), Some("identity t")),
            (r#""h.example:5000":{"registrytoken":"t"}"#.to_owned(), Some("registry t")),
            (r#""h.example:5000":{}"#.to_owned(), None),
            (r#""h.example:5000":null"#.to_owned(), None),
        ] {
            assert_eq!(found(&format!(r#"{{"auths":{{{auths}}}}}"#)).unwrap().as_deref(), expected, "{auths}");
        }
        assert_eq!(found(r#"{"auths":null,"credHelpers":null,"credsStore":null}"#).unwrap(), None);
        assert_eq!(found(r#"{"credHelpers":{"h.example:5000":""},"credsStore":""}"#).unwrap(), None);
    }

    #[test]
    fn bad_input_32_names_file_and_key_and_shows_no_secret() {
        let no_colon = BASE64.encode("canary");
        for (text, says) in [
            ("{", "line 1"),
            (r#"{"auths":{"h.example:5000":{"auth":["canary"]}}}"#, "$DOCKER_AUTH_CONFIG"),
            (r#"{"auths":{"h.example:5000":{"auth":"canary!"}}}"#, "auths 'h.example:5000': 'auth' is not base64"),
            (&format!(r#"{{"auths":{{"h.example:5000":{{"auth":"{no_colon}"}}}}}}"#), "no colon"),
            (r#"{"credHelpers":{"h.example:5000":"../canary"}}"#, "credential helper"),
        ] {
            let failure = found(text).unwrap_err();
            assert!(failure.message.contains(says), "{}", failure.message);
            assert!(!failure.message.contains("canary") || says == "credential helper", "{}", failure.message);
            assert_eq!(failure.exit, scar_tool::Exit::Misuse);
        }
    }
}
