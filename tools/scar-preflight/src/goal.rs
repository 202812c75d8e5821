//! What to check: each side with its settings, files and logins, or why it is left out.
//!
//! A wrong option has exit status 2, as in every tool. An unusable file does not stop the run: it is a missing prerequisite,
//! and its failure becomes a line of its side.

use std::ffi::OsString;
use std::path::PathBuf;

use scar_cluster::Opened;
use scar_http::{LoginOptions, Origin, Retry, secret_file};
use scar_record::Session;
use scar_registry::login::{self, Login, LoginFiles};
use scar_registry::{EXCHANGE, Environment, Reference, RegistryConfig, Scope};
use scar_tool::{Console, Deadline, Failure};
use scar_trust::{Seen, Trust};
use scar_vertex::ApiOptions;
use secrecy::SecretString;

use crate::options::{Only, Options};

/// A side, or the reason why it is not checked.
pub(crate) type Side<T> = Result<T, String>;

/// All sides.
pub(crate) struct Goals {
    pub(crate) platform: Side<Platform>,
    pub(crate) cluster: Side<Result<Opened, Failure>>,
    pub(crate) content: Side<Content>,
    pub(crate) registry: Side<Registry>,
    /// The registry's reference, even if the registry is left out.
    pub(crate) reference: Option<Reference>,
}

/// VerteX.
pub(crate) struct Platform {
    pub(crate) origin: Origin,
    pub(crate) trust: Result<Trust, Failure>,
    pub(crate) seen: Seen,
    pub(crate) plain_http: bool,
    pub(crate) way: Way,
}

/// How to log in to VerteX.
pub(crate) enum Way {
    /// With the session of the record.
    Session(Box<Session>),
    /// With a token of the browser.
    Token(Result<SecretString, Failure>),
    /// With a password; `None` before it is asked for.
    Password { username: String, password: Result<Option<SecretString>, Failure> },
}

/// The file server's folder.
pub(crate) struct Content {
    pub(crate) folder: PathBuf,
    pub(crate) archive: PathBuf,
    /// What Specman serves will not be compared.
    pub(crate) unverified: bool,
}

/// The registry.
pub(crate) struct Registry {
    pub(crate) origin: Origin,
    pub(crate) reference: Reference,
    pub(crate) trust: Result<Trust, Failure>,
    pub(crate) seen: Seen,
    pub(crate) config: RegistryConfig,
    /// The login and its source.
    pub(crate) login: Result<Option<(Login, String)>, Failure>,
}

impl Options {
    /// Reads the settings and opens their files.
    ///
    /// # Errors
    /// Exit 2 for a wrong option, and for a side of `--only` without its settings.
    pub(crate) fn goals(&self, console: &Console) -> Result<Goals, Failure> {
        let named = Environment::from_environment();
        let reference = named.or_typed(self.registry.reference.as_deref(), self.registry.base_path.as_deref())?;
        let goals = Goals {
            platform: self.side(Only::Platform, "no endpoint: --endpoint URL or VERTEX_ENDPOINT", self.platform(console)?),
            cluster: self.side(Only::Cluster, "no kubeconfig: --kubeconfig FILE or KUBECONFIG", self.cluster(console)),
            content: self.side(Only::Content, "no folder: --content DIR", self.content()),
            registry: self.side(
                Only::Registry,
                "no registry: --reference HOST or OCI_PACK_REGISTRY",
                self.registry(reference.as_ref(), console)?,
            ),
            reference,
        };
        let missing = |side: &Option<&String>| side.is_some_and(|why| *why != LEFT_OUT);
        let why = [
            (Only::Cluster, goals.cluster.as_ref().err()),
            (Only::Content, goals.content.as_ref().err()),
            (Only::Registry, goals.registry.as_ref().err()),
        ];
        match why.iter().find(|(side, why)| self.insists_on(*side) && missing(why)) {
            Some((_, Some(why))) => Err(Failure::misuse(format!("missing: {why}")).hint("--only asks for this side")),
            _ => Ok(goals),
        }
    }

    fn side<T>(&self, side: Only, without: &str, found: Option<T>) -> Side<T> {
        if !self.wants(side) {
            return Err(LEFT_OUT.to_owned());
        }
        found.ok_or_else(|| without.to_owned())
    }

    fn platform(&self, console: &Console) -> Result<Option<Platform>, Failure> {
        let given = self.vertex.endpoint.clone().or_else(|| set("VERTEX_ENDPOINT"));
        let Some(endpoint) = given.filter(|_| self.wants(Only::Platform)) else { return Ok(None) };
        let (origin, _) = ApiOptions::address(&endpoint)?;
        let way = match &self.vertex.vertex_token_file {
            Some(path) => Way::Token(secret_file(path, "the token file", console)),
            None => {
                let username = self.vertex.vertex_username.clone().or_else(|| set("VERTEX_USERNAME"));
                let file = self.vertex.vertex_password_file.clone().or_else(|| set("VERTEX_PASSWORD_FILE").map(Into::into));
                let username = username.unwrap_or_else(|| "admin".to_owned());
                if username.is_empty() || username.chars().any(char::is_control) {
                    return Err(Failure::misuse(format!("log in as '{username}': that is no user name")));
                }
                let password = file.map(|path| secret_file(&path, "the password file", console)).transpose();
                Way::Password { username, password }
            }
        };
        let seen = Seen::default();
        let trust = Trust::load(&self.vertex.tls()).map(|trust| trust.by(self.route).seen_by(&seen));
        Ok(Some(Platform { origin, trust, seen, plain_http: self.vertex.vertex_plain_http, way }))
    }

    fn cluster(&self, console: &Console) -> Option<Result<Opened, Failure>> {
        (self.wants(Only::Cluster) && self.cluster.name_one()).then(|| Opened::open(&self.cluster, self.route, console))
    }

    fn content(&self) -> Option<Content> {
        let folder = self.content.content.clone()?;
        Some(Content { folder, archive: self.content.archive.clone(), unverified: self.unverified })
    }

    fn registry(&self, reference: Option<&Reference>, console: &Console) -> Result<Option<Registry>, Failure> {
        let options = &self.registry;
        let Some(reference) = reference.filter(|_| self.wants(Only::Registry)).cloned() else { return Ok(None) };
        let login_files = LoginFiles::from_environment(options.registry_config.clone());
        let origin = Origin::at(if options.registry_plain_http { "http" } else { "https" }, &reference.registry)?;
        let seen = Seen::default();
        let trust = Trust::load(&options.tls()).and_then(|trust| {
            let trust =
                login::with_certs_d(trust.by(self.route), &reference.registry, login_files.home.as_deref(), true, console)?;
            Ok(trust.seen_by(&seen))
        });
        let config = RegistryConfig {
            scope: Scope::Push,
            trust_realm: options.trust_realm.clone(),
            trust_upload: options.trust_upload.clone(),
            plain_http: options.registry_plain_http,
            home: login_files.home.clone(),
            retry: Retry { tries: 2, ..Retry::until(Deadline::after(self.timeout)) },
            patience: EXCHANGE,
        };
        Ok(Some(Registry { origin, reference, trust, seen, config, login: Ok(None) }))
    }

    /// The registry's login, from the options or from the host.
    fn registry_login(&self, registry: &Registry, console: &Console) -> Result<Option<(Login, String)>, Failure> {
        let options = &self.registry;
        let login_files = LoginFiles::from_environment(options.registry_config.clone());
        if options.registry_username.is_none() {
            return login_files.find(&registry.reference, console);
        }
        let given = LoginOptions { password_file: options.registry_password_file.clone(), ..LoginOptions::default() };
        let given = given.open(console)?;
        let username = options.registry_username.as_deref();
        let found = login::find(username, &given, &registry.reference, &registry.origin, &login_files, console)?;
        Ok(found.map(|login| (login, "the options".to_owned())))
    }
}

/// Why a side is missing that `--only` does not name.
pub(crate) const LEFT_OUT: &str = "left out by --only";

impl Goals {
    /// Uses the record's session as the login.
    ///
    /// # Errors
    /// Exit 2 if a side of `--only` has no settings, or no side has any; exit 5 for a session of another address.
    pub(crate) fn with_session(mut self, session: Option<Session>, options: &Options) -> Result<Self, Failure> {
        if let Some(session) = session.filter(|_| options.wants(Only::Platform)) {
            let (origin, _) = ApiOptions::address(&session.endpoint)?;
            if let Some(asked) = self.platform.as_ref().ok().map(|platform| &platform.origin).filter(|asked| **asked != origin) {
                let message = format!("use the session: it is for '{origin}', not for '{asked}'");
                return Err(Failure::new(scar_tool::Exit::Unsafe, message).hint("--new-record goes without the session"));
            }
            let mut tls = options.vertex.tls();
            tls.ca_file = tls.ca_file.or_else(|| session.ca_file.as_ref().map(Into::into));
            tls.insecure |= session.insecure;
            let seen = Seen::default();
            let trust = Trust::load(&tls).map(|trust| trust.seen_by(&seen));
            self.platform = Ok(Platform { origin, trust, seen, plain_http: true, way: Way::Session(Box::new(session)) });
        }
        if let Err(why) = &self.platform
            && options.insists_on(Only::Platform)
        {
            return Err(Failure::misuse(format!("missing: {why}")).hint("--only asks for this side"));
        }
        if self.platform.is_err() && self.cluster.is_err() && self.content.is_err() && self.registry.is_err() {
            return Err(Failure::misuse("there is nothing to check: no side of the site has its settings")
                .hint("name them: --content DIR --reference HOST --endpoint URL --kubeconfig FILE"));
        }
        Ok(self)
    }

    /// Finds the logins; asks at the terminal for a password that is in no file.
    ///
    /// # Errors
    /// Exit 2 if `--only` names the platform, and there is neither a password nor a terminal.
    pub(crate) fn logins(mut self, options: &Options, console: &Console) -> Result<Self, Failure> {
        if let Ok(registry) = self.registry.as_mut().map_err(|_| ())
            && options.wants(Only::Registry)
        {
            registry.login = options.registry_login(registry, console);
        }
        if let Ok(Platform { origin, way: Way::Password { username, password: password @ Ok(None) }, .. }) = &mut self.platform {
            let asked = LoginOptions::default().open(console)?.password(username, origin);
            match asked {
                Ok(typed) => *password = Ok(Some(typed)),
                Err(failure) if options.insists_on(Only::Platform) => {
                    return Err(failure.hint("use --vertex-password-file FILE or VERTEX_PASSWORD_FILE"));
                }
                Err(_) => {}
            }
        }
        Ok(self)
    }

    /// The plan, for `--dry-run`.
    pub(crate) fn plan(&self, console: &Console) {
        if let Ok(Platform { origin, way, .. }) = &self.platform {
            let who = match way {
                Way::Session(_) => "with the session of the record".to_owned(),
                Way::Token(_) => "with the token from the browser".to_owned(),
                Way::Password { username, .. } => format!("as '{username}', in one try"),
            };
            console.plan(format!("log in to '{origin}' {who}, and read version, SCAR setting and pack registry"));
        }
        if let Ok(cluster) = &self.cluster {
            match cluster {
                Ok(_) => console.plan("ask the cluster for Specman, its claim and the secret, and what the user may do"),
                Err(failure) => console.plan(format!("find the cluster blocked: {}", failure.message)),
            }
        }
        if let Ok(Content { folder, .. }) = &self.content {
            console.plan(format!("walk the folder '{}'", folder.display()));
        }
        if let Ok(Registry { reference, .. }) = &self.registry {
            console.plan(format!("log in to '{}', read '{reference}', open an upload there and cancel it", reference.registry));
        }
    }
}

/// An environment variable that is set and not empty.
fn set(name: &str) -> Option<String> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(OsString::into_string)?.ok()
}
