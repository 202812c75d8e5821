//! The login that an entry holds: what of it the server hides, and what a person gave to put in that place.
//!
//! Invariant: a mask, or a blank where the entry needs a secret, is never written back; it would destroy the login that
//! VerteX has. A person gives it again, and for the user that the entry names.

use std::path::{Path, PathBuf};

use scar_http::{Login, LoginOptions, Origin, secret_file};
use scar_tool::{Console, Failure};
use scar_vertex::entry::Kind;
use scar_vertex::{Object, is_mask, names_a_secret};
use secrecy::{ExposeSecret, SecretString};

/// The registry's own login, for an entry whose secrets VerteX does not show.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Registry login, where VerteX hides the entry's")]
pub(crate) struct CredentialOptions {
    /// The entry's user at the registry
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,

    /// Its password is in FILE (also /dev/fd/N); without it, asked for at the terminal
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// The entry's registry token is in FILE
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// ECR: the access key's id is in FILE
    #[arg(long, value_name = "FILE", requires = "secret_key_file")]
    access_key_file: Option<PathBuf>,

    /// ECR: the secret key is in FILE
    #[arg(long, value_name = "FILE", requires = "access_key_file")]
    secret_key_file: Option<PathBuf>,

    /// ECR: the secret token is in FILE
    #[arg(long, value_name = "FILE")]
    secret_token_file: Option<PathBuf>,

    /// The key of the entry's client certificate is in FILE (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key_file: Option<PathBuf>,

    /// Put the given login into the entry, also for another user or in place of one that is shown
    #[arg(long)]
    replace_credentials: bool,
}

/// What was given, read.
#[derive(Debug)]
pub(crate) struct Given {
    username: Option<String>,
    password: Login,
    token: Option<SecretString>,
    access_key: Option<SecretString>,
    secret_key: Option<SecretString>,
    secret_token: Option<SecretString>,
    tls_key: Option<SecretString>,
    replace: bool,
}

/// A secret of an entry: where it stands, and the options that give it.
struct Slot {
    path: &'static [&'static str],
    options: &'static str,
}

const PASSWORD: Slot = Slot { path: &["spec", "auth", "password"], options: "-u USER --password-file FILE" };
const TOKEN: Slot = Slot { path: &["spec", "auth", "token"], options: "--token-file FILE" };
const PAIR: &str = "--access-key-file FILE --secret-key-file FILE";
const ACCESS_KEY: Slot = Slot { path: &["spec", "credentials", "accessKey"], options: PAIR };
const SECRET_KEY: Slot = Slot { path: &["spec", "credentials", "secretKey"], options: PAIR };
const SECRET_TOKEN: Slot = Slot { path: &["spec", "credentials", "secretToken"], options: "--secret-token-file FILE" };
const BASIC_KEY: Slot = Slot { path: &["spec", "auth", "tls", "key"], options: "--tls-key-file FILE" };
const ECR_KEY: Slot = Slot { path: &["spec", "tls", "key"], options: "--tls-key-file FILE" };
const USERNAME: &[&str] = &["spec", "auth", "username"];
const LOGIN: &[&str] = &["spec", "auth"];

impl CredentialOptions {
    /// Reads the files that were named.
    pub(crate) fn open(&self, console: &Console) -> Result<Given, Failure> {
        let read = |path: &Option<PathBuf>, what: &str| path.as_ref().map(|path| secret_file(path, what, console)).transpose();
        let login = LoginOptions { password_file: self.password_file.clone(), ..LoginOptions::default() };
        if self.password_file.is_some() && self.username.is_none() {
            return Err(Failure::misuse("'--password-file' needs '--username': a password is for one user"));
        }
        Ok(Given {
            username: self.username.clone(),
            password: login.open(console)?,
            token: read(&self.token_file, "the registry token file")?,
            access_key: read(&self.access_key_file, "the access key file")?,
            secret_key: read(&self.secret_key_file, "the secret key file")?,
            secret_token: read(&self.secret_token_file, "the secret token file")?,
            tls_key: self.tls_key_file.as_deref().map(key_file).transpose()?,
            replace: self.replace_credentials,
        })
    }
}

impl Given {
    /// The entry with every secret in it that is to be written; `asks` where a person may be asked for a password.
    ///
    /// # Errors
    /// Exit 2 where the server hides one that was not given, or where it was given for another user.
    pub(crate) fn fill(&self, entry: &Object, kind: Kind, asks: bool) -> Result<Object, Failure> {
        let mut filled = entry.clone();
        if kind == Kind::Basic && entry.object(LOGIN).is_none() {
            return Err(cannot_give(&LOGIN.join(".")));
        }
        for slot in every(kind) {
            let is_hidden = is_hidden(entry, slot);
            if !is_hidden && !self.replace {
                continue;
            }
            let given = match slot.path {
                path if path == PASSWORD.path => self.password(entry, asks)?,
                path if path == TOKEN.path => self.token.clone(),
                path if path == ACCESS_KEY.path || path == SECRET_KEY.path => self.key(entry, slot)?,
                path if path == SECRET_TOKEN.path => self.secret_token.clone(),
                _ => self.tls_key.clone(),
            };
            match given {
                Some(secret) => filled.set(slot.path, &secret.expose_secret()),
                None if is_hidden => return Err(not_shown(slot)),
                None => {}
            }
        }
        if let Some(username) = self.username.as_ref().filter(|_| self.replace && kind == Kind::Basic) {
            filled.set(USERNAME, username);
        }
        match masked(&filled, &mut Vec::new()) {
            None => Ok(filled),
            Some(path) => Err(cannot_give(&path)),
        }
    }

    fn password(&self, entry: &Object, asks: bool) -> Result<Option<SecretString>, Failure> {
        let Some(username) = &self.username else { return Ok(None) };
        self.is_of("user", username, &entry.text_or_empty(USERNAME))?;
        if !asks && !self.password.is_given() {
            // Nothing is written by a dry run, and nothing of it is shown.
            return Ok(Some("asked for at the terminal".to_owned().into()));
        }
        let origin = Origin::parse(&entry.text_or_empty(&["spec", "endpoint"]))?.0;
        let password = self.password.password(username, &origin);
        password.map(Some).map_err(|failure| failure.hint("use --password-file FILE"))
    }

    fn key(&self, entry: &Object, slot: &Slot) -> Result<Option<SecretString>, Failure> {
        let shown = entry.text_or_empty(ACCESS_KEY.path);
        if let Some(key) = self.access_key.as_ref().filter(|_| !is_mask(&shown)) {
            self.is_of("access key", key.expose_secret(), &shown)?;
        }
        let key = if slot.path == ACCESS_KEY.path { &self.access_key } else { &self.secret_key };
        Ok(key.clone())
    }

    /// A secret of another user than the entry's would pass for the entry's.
    fn is_of(&self, what: &str, given: &str, shown: &str) -> Result<(), Failure> {
        if self.replace || given == shown || shown.is_empty() {
            return Ok(());
        }
        let (given, shown) = if what == "user" { (format!(" '{given}'"), format!(" '{shown}'")) } else { Default::default() };
        Err(Failure::misuse(format!("keep the entry's login: the given {what}{given} is not the entry's{shown}")).hint(format!(
            "give the login of the entry's {what} (did the shell expand a '$'? quote it), or --replace-credentials"
        )))
    }
}

/// Reads a private key; it goes to VerteX as it stands.
fn key_file(path: &Path) -> Result<SecretString, Failure> {
    let refuse = |cause: &str| Failure::misuse(format!("read the key file '{}': {cause}", path.display()));
    let text = std::fs::read(path)
        .map_err(|error| Failure::misuse(Failure::io(format!("read the key file '{}'", path.display()), &error).message))?;
    let text = String::from_utf8(text).map_err(|_| refuse("it is not PEM"))?;
    if !text.contains("PRIVATE KEY-----") {
        return Err(refuse("it holds no PEM private key"));
    }
    scar_tool::never_show(text.trim());
    Ok(text.into())
}

fn every(kind: Kind) -> &'static [Slot] {
    match kind {
        Kind::Basic => &[PASSWORD, TOKEN, BASIC_KEY],
        Kind::Ecr => &[ACCESS_KEY, SECRET_KEY, SECRET_TOKEN, ECR_KEY],
    }
}

/// What no option can put in the place of what the server hides.
fn cannot_give(path: &str) -> Failure {
    Failure::misuse(format!("keep the entry: VerteX hides '{path}', and writing it back would destroy it"))
        .hint("no option gives this field: set the flag in the console (Administration, Pack Registries, Edit)")
}

fn not_shown(slot: &Slot) -> Failure {
    let path = slot.path.join(".");
    Failure::misuse(format!("keep the entry's login: VerteX does not show '{path}', and writing it back would destroy it"))
        .hint(format!("give it again: {}", slot.options))
}

/// Whether the server keeps a secret of an entry to itself: masked, or blank where the entry's kind of login needs it.
fn is_hidden(entry: &Object, slot: &Slot) -> bool {
    let text = |path: &[&str]| entry.text_or_empty(path);
    let needs = || {
        let auth = text(&["spec", "auth", "type"]);
        let aws = aws_login(entry);
        let has_key = !text(ACCESS_KEY.path).is_empty();
        match slot.path {
            path if path == PASSWORD.path => auth == "basic" || auth.is_empty() && !text(USERNAME).is_empty(),
            path if path == TOKEN.path => auth == "token",
            path if path == ACCESS_KEY.path => aws == "secret",
            path if path == SECRET_KEY.path => aws == "secret" || aws != "pod-identity" && has_key,
            path if path == BASIC_KEY.path => !text(&["spec", "auth", "tls", "certificate"]).is_empty(),
            path if path == ECR_KEY.path => !text(&["spec", "tls", "certificate"]).is_empty(),
            _ => false,
        }
    };
    let value = text(slot.path);
    is_mask(&value) || value.is_empty() && needs()
}

/// How an ECR entry logs in. Keys are the API's default, which a private registry has where no role is named.
fn aws_login(entry: &Object) -> String {
    let credentials = |name| ["spec", "credentials", name];
    let named = entry.text_or_empty(&credentials("credentialType"));
    let has = |name| entry.object(&credentials(name)).is_some_and(|role| role.fields().next().is_some());
    match named.as_str() {
        "" if entry.flag(&["spec", "isPrivate"]) && !has("sts") && !has("podIdentity") => "secret".to_owned(),
        _ => named,
    }
}

/// A secret or a user name, whatever its place, that reads as a mask; a blank key beside a certificate is hidden, too.
fn masked(object: &Object, path: &mut Vec<String>) -> Option<String> {
    for (name, value) in object.fields() {
        path.push(name.to_owned());
        let text = serde_json::from_str::<String>(value.get()).unwrap_or_default();
        if matches!(name, "cert" | "certificate") && !text.is_empty() && object.text_or_empty(&["key"]).is_empty() {
            path.pop();
            return Some([path.as_slice(), &["key".to_owned()]].concat().join("."));
        }
        if is_mask(&text) && (names_a_secret(name) || name == "username" && text.contains("***")) {
            return Some(path.join("."));
        }
        if let Some(found) = object.object(&[name]).and_then(|below| masked(&below, path)) {
            return Some(found);
        }
        path.pop();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(username: Option<&str>, password: Option<&str>, replace: bool) -> Given {
        let file = password.map(|password| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), password).unwrap();
            file
        });
        let options = CredentialOptions {
            username: username.map(str::to_owned),
            password_file: file.as_ref().map(|file| file.path().to_owned()),
            replace_credentials: replace,
            ..CredentialOptions::default()
        };
        options.open(&Console::new("test")).unwrap()
    }

    fn basic(password: &str) -> Object {
        let password = if password == "absent" { String::new() } else { format!(r#""password":"{password}","#) };
        Object::parse(&format!(
            r#"{{"spec":{{"endpoint":"h.example","auth":{{"type":"basic",{password}"username":"robot$x","tls":{{"key":"","certificate":""}}}}}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn a_password_that_is_shown_is_kept_as_it_is() {
        let entry = basic("pw");
        assert_eq!(given(None, None, false).fill(&entry, Kind::Basic, false).unwrap().to_json(), entry.to_json());
    }

    #[test]
    fn a_hidden_password_must_be_given_for_the_entrys_own_user() {
        for hidden in ["***", "", "absent"] {
            let entry = basic(hidden);
            let failure = given(None, None, false).fill(&entry, Kind::Basic, false).unwrap_err();
            assert!(failure.message.contains("spec.auth.password"), "{}", failure.message);
            let failure = given(Some("robot"), Some("canary"), false).fill(&entry, Kind::Basic, false).unwrap_err();
            assert!(failure.message.contains("'robot' is not the entry's 'robot$x'"), "{}", failure.message);
            let filled = given(Some("robot$x"), Some("new"), false).fill(&entry, Kind::Basic, false).unwrap();
            assert_eq!(filled.text(PASSWORD.path).as_deref(), Some("new"));
            let filled = given(Some("other"), Some("new"), true).fill(&entry, Kind::Basic, false).unwrap();
            assert_eq!(filled.text(USERNAME).as_deref(), Some("other"));
        }
    }

    #[test]
    fn a_mask_that_no_option_can_fill_is_refused_too() {
        for (entry, says) in [
            (r#"{"spec":{"auth":{"type":"noAuth"},"proxy":{"clientSecret":"***"}}}"#, "hides 'spec.proxy.clientSecret'"),
            (r#"{"spec":{"auth":{"type":"token","token":"t","username":"***"}}}"#, "hides 'spec.auth.username'"),
            (r#"{"spec":{"auth":{"type":"noAuth","tls":{"certificate":"PEM","key":""}}}}"#, "not show 'spec.auth.tls.key'"),
            (r#"{"spec":{"auth":{"type":"noAuth","tls":{"certificate":"PEM"}}}}"#, "not show 'spec.auth.tls.key'"),
            (r#"{"spec":{"endpoint":"h"}}"#, "hides 'spec.auth'"),
            (r#"{"spec":{"auth":null}}"#, "hides 'spec.auth'"),
            (r#"{"spec":{"auth":{"type":"noAuth"},"other":{"tls":{"cert":"PEM","key":null}}}}"#, "hides 'spec.other.tls.key'"),
        ] {
            let failure = given(None, None, false).fill(&Object::parse(entry).unwrap(), Kind::Basic, false).unwrap_err();
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }

    #[test]
    fn which_secrets_an_entry_needs_follows_its_kind_of_login() {
        let hidden = |text: &str, kind| -> Vec<_> {
            let entry = Object::parse(text).unwrap();
            every(kind).iter().filter(|slot| is_hidden(&entry, slot)).map(|slot| slot.path[2]).collect()
        };
        let ecr = |credentials: &str| hidden(&format!(r#"{{"spec":{{"credentials":{credentials}}}}}"#), Kind::Ecr);
        assert_eq!(ecr(r#"{"credentialType":"secret","accessKey":"AK"}"#), ["secretKey"]);
        assert_eq!(ecr(r#"{"credentialType":"secret","accessKey":"AK****","secretKey":"***"}"#), ["accessKey", "secretKey"]);
        assert_eq!(ecr(r#"{"credentialType":"sts","sts":{"arn":"a"}}"#), [""; 0]);
        assert_eq!(ecr(r#"{"credentialType":"pod-identity","secretToken":"***"}"#), ["secretToken"]);
        let private = |credentials: &str| hidden(&format!(r#"{{"spec":{{"isPrivate":true{credentials}}}}}"#), Kind::Ecr);
        for gone in ["", r#","credentials":null"#, r#","credentials":{"sts":{},"accessKey":null}"#] {
            assert_eq!(private(gone), ["accessKey", "secretKey"], "{gone}");
        }
        assert_eq!(private(r#","credentials":{"podIdentity":{"roleArn":"r"}}"#), [""; 0]);
        assert_eq!(ecr("{}"), [""; 0]);
        assert_eq!(hidden(r#"{"spec":{"auth":{"type":"token"}}}"#, Kind::Basic), ["token"]);
        assert_eq!(hidden(r#"{"spec":{"auth":{"type":"noAuth","password":""}}}"#, Kind::Basic), [""; 0]);
    }
}
