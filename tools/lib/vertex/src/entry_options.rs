//! The options that choose an entry, and give the login that VerteX hides in it.

use std::path::{Path, PathBuf};

use scar_http::{LoginOptions, secret_file};
use scar_tool::{Bare, Console, Failure, Prefix, Spelling};
use secrecy::SecretString;

use crate::credentials::GivenLogin;
use crate::entry::Selector;

/// Which entry.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
#[command(next_help_heading = P::heading("Entry options"))]
pub struct EntryOptions<P: Prefix = Bare> {
    /// Choose the entry by its uid
    #[arg(id = P::name("uid"), long = P::name("uid"), value_name = "UID", conflicts_with = P::name("name"))]
    uid: Option<String>,

    /// Choose the entry by its name
    #[arg(id = P::name("name"), long = P::name("name"), value_name = "NAME")]
    name: Option<String>,

    #[arg(skip)]
    prefix: std::marker::PhantomData<P>,
}

/// The login to write into an entry whose secrets VerteX hides.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
#[command(next_help_heading = P::heading("The entry's login, which VerteX does not show"))]
pub struct EntryLoginOptions<P: Prefix = Bare> {
    /// User and password.
    #[command(flatten)]
    pub login: LoginOptions<P>,

    /// The entry's registry token, in FILE
    #[arg(id = P::name("token-file"), long = P::name("token-file"), value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// ECR: the access key's ID, in FILE
    #[arg(id = P::name("access-key-file"), long = P::name("access-key-file"), value_name = "FILE",
        requires = P::name("secret-key-file"))]
    access_key_file: Option<PathBuf>,

    /// ECR: the secret key, in FILE
    #[arg(id = P::name("secret-key-file"), long = P::name("secret-key-file"), value_name = "FILE",
        requires = P::name("access-key-file"))]
    secret_key_file: Option<PathBuf>,

    /// ECR: the secret token, in FILE
    #[arg(id = P::name("secret-token-file"), long = P::name("secret-token-file"), value_name = "FILE")]
    secret_token_file: Option<PathBuf>,

    /// Key of the entry's certificate (PEM)
    #[arg(id = P::name("tls-key-file"), long = P::name("tls-key-file"), value_name = "FILE")]
    tls_key_file: Option<PathBuf>,

    /// Write the login even if it is another's
    #[arg(id = P::name("replace-credentials"), long = P::name("replace-credentials"))]
    replace_credentials: bool,
}

impl<P: Prefix> EntryOptions<P> {
    /// The entry that was named, if any.
    pub fn selector(&self) -> Option<Selector> {
        let uid = self.uid.clone().map(Selector::Uid);
        uid.or_else(|| self.name.clone().map(Selector::Name))
    }
}

impl<P: Prefix> EntryLoginOptions<P> {
    /// Checks that a password is for a user. Exit 2 for a password alone.
    pub fn check(&self) -> Result<(), Failure> {
        let (password, user) = (Spelling::of::<P>().option("password-file"), Spelling::of::<P>().option("username"));
        match self.login.password_file.is_some() && self.login.username.is_none() {
            true => Err(Failure::misuse(format!("'{password}' needs '{user}': a password is for one user"))),
            false => Ok(()),
        }
    }

    /// Reads the named files. Exit 2 for a file without its secret.
    pub fn open(&self, console: &Console) -> Result<GivenLogin, Failure> {
        self.check()?;
        let read = |path: &Option<PathBuf>, what: &str| path.as_ref().map(|path| secret_file(path, what, console)).transpose();
        Ok(GivenLogin {
            username: self.login.username.clone(),
            password: self.login.open(None, console)?,
            token: read(&self.token_file, "the registry token file")?,
            access_key: read(&self.access_key_file, "the access key file")?,
            secret_key: read(&self.secret_key_file, "the secret key file")?,
            secret_token: read(&self.secret_token_file, "the secret token file")?,
            tls_key: self.tls_key_file.as_deref().map(key_file).transpose()?,
            replace: self.replace_credentials,
            spelling: Spelling::of::<P>(),
        })
    }
}

/// Reads a private key, which goes to VerteX unchanged.
fn key_file(path: &Path) -> Result<SecretString, Failure> {
    let act = format!("read the key file '{}'", path.display());
    let bytes = std::fs::read(path).map_err(|error| Failure::unreadable(&act, &error))?;
    match String::from_utf8(bytes) {
        Ok(text) if text.contains("PRIVATE KEY-----") => {
            scar_tool::never_show(text.trim());
            Ok(text.into())
        }
        _ => Err(Failure::misuse(format!("{act}: it holds no PEM private key"))),
    }
}
