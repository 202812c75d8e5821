//! The login in an entry: the secrets that VerteX hides, and those that the user gave to replace them.
//!
//! Invariant: a mask is never written back, and neither is a blank where the entry needs a secret. It is not public whether
//! VerteX would replace a mask by the secret; if it does not, the login would be lost. So the user gives it again, for the
//! user name in the entry. A certificate without a key is a CA, as an OVA installation writes it: no key is missing there.

use scar_http::{Login, Origin};
use scar_tool::{Failure, Spelling};
use secrecy::{ExposeSecret, SecretString};

use crate::entry::{EntryObject, Kind};
use crate::{Object, is_mask, names_a_secret};

/// The secrets that the user gave.
#[derive(Debug)]
pub struct GivenLogin {
    /// The user name, to compare with the entry's.
    pub username: Option<String>,
    /// The password, or the prompt for it.
    pub password: Login,
    /// The registry token.
    pub token: Option<SecretString>,
    /// ECR: the ID of the access key.
    pub access_key: Option<SecretString>,
    /// ECR: the secret key.
    pub secret_key: Option<SecretString>,
    /// ECR: the secret token.
    pub secret_token: Option<SecretString>,
    /// The private key of the entry's client certificate, in PEM.
    pub tls_key: Option<SecretString>,
    /// Replace the login even if it is of another user, or shown.
    pub replace: bool,
    /// How the options are spelled that give these.
    pub spelling: Spelling,
}

/// A secret of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntrySecret {
    Password,
    Token,
    AccessKey,
    SecretKey,
    SecretToken,
    BasicTlsKey,
    EcrTlsKey,
}

const USERNAME: &[&str] = &["spec", "auth", "username"];
const LOGIN: &[&str] = &["spec", "auth"];

impl EntrySecret {
    fn every(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Basic => &[Self::Password, Self::Token, Self::BasicTlsKey],
            Kind::Ecr => &[Self::AccessKey, Self::SecretKey, Self::SecretToken, Self::EcrTlsKey],
        }
    }

    fn path(self) -> &'static [&'static str] {
        match self {
            Self::Password => &["spec", "auth", "password"],
            Self::Token => &["spec", "auth", "token"],
            Self::AccessKey => &["spec", "credentials", "accessKey"],
            Self::SecretKey => &["spec", "credentials", "secretKey"],
            Self::SecretToken => &["spec", "credentials", "secretToken"],
            Self::BasicTlsKey => &["spec", "auth", "tls", "key"],
            Self::EcrTlsKey => &["spec", "tls", "key"],
        }
    }

    /// The options to give it with, for messages.
    fn options(self, entry: &Object, spelling: Spelling) -> String {
        let file = |name: &str| format!("{} FILE", spelling.option(name));
        match self {
            Self::Password => {
                let user = entry.text(USERNAME).filter(|user| !user.is_empty());
                let user = user.map_or("USER".to_owned(), |user| scar_tool::shell_word(&user));
                format!("{} {user} {}", spelling.user(), file("password-file"))
            }
            Self::Token => file("token-file"),
            Self::AccessKey | Self::SecretKey => format!("{} {}", file("access-key-file"), file("secret-key-file")),
            Self::SecretToken => file("secret-token-file"),
            Self::BasicTlsKey | Self::EcrTlsKey => file("tls-key-file"),
        }
    }

    /// Whether VerteX hides it: it is masked, or blank although this kind of login needs it.
    fn is_hidden(self, entry: &Object) -> bool {
        let value = entry.text_or_empty(self.path());
        is_mask(&value) || value.is_empty() && self.is_needed(entry)
    }

    fn is_needed(self, entry: &Object) -> bool {
        let text = |path: &[&str]| entry.text_or_empty(path);
        // `noAuth`, `basic` or `token`, and not a required field (v1RegistryAuth in the API's description).
        let auth = text(&["spec", "auth", "type"]);
        match self {
            Self::Password => auth == "basic" || auth.is_empty() && !text(USERNAME).is_empty(),
            Self::Token => auth == "token",
            Self::AccessKey => aws_login(entry) == "secret",
            Self::SecretKey => {
                let aws = aws_login(entry);
                aws == "secret" || aws != "pod-identity" && !text(Self::AccessKey.path()).is_empty()
            }
            // An entry for a registry with a self-signed certificate holds the CA as `tls.certificate`, without a key (FAULTS
            // Q40); Terraform writes it so (spectrocloud/terraform-provider-spectrocloud
            // spectrocloud/resource_registry_oci_ecr.go, `toRegistryBasic`). A missing key is therefore never asked for.
            Self::SecretToken | Self::BasicTlsKey | Self::EcrTlsKey => false,
        }
    }
}

impl GivenLogin {
    /// Checks that the entry can be written with the given secrets; neither prompts nor sends. The hint names the options to
    /// add.
    pub fn check(&self, entry: &EntryObject) -> Result<(), Failure> {
        self.fill(entry, false).map(drop)
    }

    /// The entry with all secrets to write; `asks` if it may prompt for a password. Exit 2 if VerteX hides a secret that was
    /// not given, or the given one is of another user.
    pub fn fill(&self, entry: &EntryObject, asks: bool) -> Result<Object, Failure> {
        let object = &entry.object;
        let mut filled = object.clone();
        if entry.kind == Kind::Basic && object.object(LOGIN).is_none() {
            return Err(cannot_give(&LOGIN.join(".")));
        }
        let mut missing = Vec::new();
        for secret in EntrySecret::every(entry.kind) {
            let is_hidden = secret.is_hidden(object);
            let given = if is_hidden || self.replace { self.secret(*secret, object, asks)? } else { None };
            match given {
                Some(given) => filled.set(secret.path(), &given.expose_secret()),
                None if is_hidden => missing.push(*secret),
                None => {}
            }
        }
        // Better to stop before any change than to have VerteX forget the registry's login (FAULTS R7 and Q41).
        if !missing.is_empty() {
            return Err(not_shown(entry, &missing, self.spelling));
        }
        if let Some(username) = self.username.as_ref().filter(|_| self.replace && entry.kind == Kind::Basic) {
            filled.set(USERNAME, username);
        }
        match masked(&filled, &mut Vec::new()) {
            None => Ok(filled),
            Some(path) => Err(cannot_give(&path)),
        }
    }

    fn secret(&self, secret: EntrySecret, entry: &Object, asks: bool) -> Result<Option<SecretString>, Failure> {
        match secret {
            EntrySecret::Password => self.password(entry, asks),
            EntrySecret::Token => Ok(self.token.clone()),
            EntrySecret::SecretToken => Ok(self.secret_token.clone()),
            EntrySecret::BasicTlsKey | EntrySecret::EcrTlsKey => Ok(self.tls_key.clone()),
            EntrySecret::AccessKey | EntrySecret::SecretKey => {
                let shown = entry.text_or_empty(EntrySecret::AccessKey.path());
                if let Some(key) = self.access_key.as_ref().filter(|_| !is_mask(&shown)) {
                    self.is_of("access key", key.expose_secret(), &shown)?;
                }
                Ok(if secret == EntrySecret::AccessKey { self.access_key.clone() } else { self.secret_key.clone() })
            }
        }
    }

    fn password(&self, entry: &Object, asks: bool) -> Result<Option<SecretString>, Failure> {
        let Some(username) = &self.username else { return Ok(None) };
        self.is_of("user", username, &entry.text_or_empty(USERNAME))?;
        if !asks && !self.password.is_given() {
            // Nothing is written or shown.
            return Ok(Some("asked for at the terminal".to_owned().into()));
        }
        let origin = Origin::parse(&entry.text_or_empty(&["spec", "endpoint"]))?.0;
        self.password.password(username, &origin).map(Some)
    }

    /// Refuses a secret of another user, which VerteX would use with the entry's user.
    fn is_of(&self, what: &str, given: &str, shown: &str) -> Result<(), Failure> {
        if self.replace || given == shown || shown.is_empty() {
            return Ok(());
        }
        let (given, shown) = if what == "user" { (format!(" '{given}'"), format!(" '{shown}'")) } else { Default::default() };
        Err(Failure::misuse(format!("keep the entry's login: the given {what}{given} is not the entry's{shown}")).hint(format!(
            "give the login of the entry's {what} (did the shell expand a '$'? quote it), or {}",
            self.spelling.option("replace-credentials")
        )))
    }
}

/// The failure for a hidden value that no option can give.
fn cannot_give(path: &str) -> Failure {
    Failure::misuse(format!("keep the entry: VerteX hides '{path}', so this write would destroy it"))
        .hint("no option gives this field: set the flag in the console (Administration, Pack Registries, Edit)")
}

fn not_shown(entry: &EntryObject, missing: &[EntrySecret], spelling: Spelling) -> Failure {
    let mut options: Vec<String> = missing.iter().map(|secret| secret.options(&entry.object, spelling)).collect();
    options.dedup();
    let paths: Vec<String> = missing.iter().map(|secret| format!("'{}'", secret.path().join("."))).collect();
    let cause = format!("VerteX does not show {}, so this write would destroy the login", paths.join(" and "));
    Failure::misuse(format!("keep the login of the entry '{}': {cause}", entry.entry.name))
        .hint(format!("add: {}", options.join(" ")))
}

/// How an ECR entry logs in. The API's default is keys (v1AwsCloudAccountCredentialType), which apply if no role is set.
fn aws_login(entry: &Object) -> String {
    let credentials = |name| ["spec", "credentials", name];
    let named = entry.text_or_empty(&credentials("credentialType"));
    let has = |name| entry.object(&credentials(name)).is_some_and(|role| role.fields().next().is_some());
    match named.as_str() {
        "" if entry.flag(&["spec", "isPrivate"]) && !has("sts") && !has("podIdentity") => "secret".to_owned(),
        _ => named,
    }
}

/// A secret or user name at any depth that looks like a mask.
fn masked(object: &Object, path: &mut Vec<String>) -> Option<String> {
    for (name, value) in object.fields() {
        path.push(name.to_owned());
        let text = serde_json::from_str::<String>(value.get()).unwrap_or_default();
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
    use crate::entry::Entry;
    use scar_http::LoginOptions;
    use scar_tool::Console;

    /// The password will come from the prompt; any value will do for a check.
    fn given(username: Option<&str>, replace: bool) -> GivenLogin {
        let options = <LoginOptions>::default();
        GivenLogin {
            username: username.map(str::to_owned),
            password: options.open(None, &Console::new("test")).unwrap(),
            token: None,
            access_key: None,
            secret_key: None,
            secret_token: None,
            tls_key: None,
            replace,
            spelling: Spelling::default(),
        }
    }

    fn entry(text: &str, kind: Kind) -> EntryObject {
        let entry = Entry {
            uid: "r1".into(),
            name: "harbor".into(),
            endpoint: "h.example".into(),
            kind: Some(kind),
            provider: "pack".into(),
        };
        EntryObject { entry, kind, object: Object::parse(text).unwrap() }
    }

    fn basic(password: &str) -> EntryObject {
        let password = if password == "absent" { String::new() } else { format!(r#""password":"{password}","#) };
        entry(
            &format!(
                r#"{{"spec":{{"endpoint":"h.example","auth":{{"type":"basic",{password}"username":"robot$x","tls":{{"certificate":"CA"}}}}}}}}"#
            ),
            Kind::Basic,
        )
    }

    #[test]
    fn a_password_that_is_shown_is_kept_as_it_is() {
        let entry = basic("pw");
        assert_eq!(given(None, false).fill(&entry, false).unwrap().to_json(), entry.object.to_json());
    }

    #[test]
    fn a_hidden_password_must_be_given_for_the_entrys_own_user() {
        for hidden in ["********", "", "absent"] {
            let entry = basic(hidden);
            let failure = given(None, false).check(&entry).unwrap_err();
            assert!(failure.message.contains("'spec.auth.password'"), "{}", failure.message);
            assert_eq!(failure.hint.as_deref(), Some("add: -u 'robot$x' --password-file FILE"));
            let failure = given(Some("robot"), false).check(&entry).unwrap_err();
            assert!(failure.message.contains("'robot' is not the entry's 'robot$x'"), "{}", failure.message);
            let filled = given(Some("robot$x"), false).fill(&entry, false).unwrap();
            assert_eq!(filled.text(EntrySecret::Password.path()).as_deref(), Some("asked for at the terminal"));
            let filled = given(Some("other"), true).fill(&entry, false).unwrap();
            assert_eq!(filled.text(USERNAME).as_deref(), Some("other"));
        }
    }

    #[test]
    fn a_mask_that_no_option_can_fill_is_refused_too() {
        for (text, says) in [
            (r#"{"spec":{"auth":{"type":"noAuth"},"proxy":{"clientSecret":"***"}}}"#, "hides 'spec.proxy.clientSecret'"),
            (r#"{"spec":{"auth":{"type":"token","token":"t","username":"***"}}}"#, "hides 'spec.auth.username'"),
            (r#"{"spec":{"endpoint":"h"}}"#, "hides 'spec.auth'"),
            (r#"{"spec":{"auth":null}}"#, "hides 'spec.auth'"),
        ] {
            let failure = given(None, false).check(&entry(text, Kind::Basic)).unwrap_err();
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }

    #[test]
    fn which_secrets_an_entry_needs_follows_its_kind_of_login() {
        let hidden = |text: &str, kind| -> Vec<_> {
            let entry = Object::parse(text).unwrap();
            EntrySecret::every(kind).iter().filter(|secret| secret.is_hidden(&entry)).map(|secret| secret.path()[2]).collect()
        };
        let ecr = |credentials: &str| hidden(&format!(r#"{{"spec":{{"credentials":{credentials}}}}}"#), Kind::Ecr);
        assert_eq!(ecr(r#"{"credentialType":"secret","accessKey":"AK"}"#), ["secretKey"]);
        assert_eq!(
            ecr(r#"{"credentialType":"secret","accessKey":"AK****","secretKey":"abc***def"}"#),
            ["accessKey", "secretKey"]
        );
        assert_eq!(ecr(r#"{"credentialType":"sts","sts":{"arn":"a"}}"#), [""; 0]);
        assert_eq!(ecr(r#"{"credentialType":"pod-identity","secretToken":"***"}"#), ["secretToken"]);
        let private = |credentials: &str| hidden(&format!(r#"{{"spec":{{"isPrivate":true{credentials}}}}}"#), Kind::Ecr);
        for gone in ["", r#","credentials":null"#, r#","credentials":{"sts":{},"accessKey":null}"#] {
            assert_eq!(private(gone), ["accessKey", "secretKey"], "{gone}");
        }
        assert_eq!(private(r#","credentials":{"podIdentity":{"roleArn":"r"}}"#), [""; 0]);
        assert_eq!(ecr("{}"), [""; 0]);
        let basic = |auth: &str| hidden(&format!(r#"{{"spec":{{"auth":{auth}}}}}"#), Kind::Basic);
        assert_eq!(basic(r#"{"type":"token"}"#), ["token"]);
        assert_eq!(basic(r#"{"type":"noAuth","password":""}"#), [""; 0]);
        assert_eq!(basic(r#"{"type":"noAuth","tls":{"certificate":"CA"}}"#), [""; 0], "a CA needs no key");
        assert_eq!(basic(r#"{"type":"noAuth","tls":{"certificate":"PEM","key":"********"}}"#), ["tls"]);
    }
}
