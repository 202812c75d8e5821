//! What to check: each part of the site with its settings, files and logins, or why it is left out.
//!
//! A wrong option has exit status 2, as in every tool. An unusable file does not stop the run: it is a missing prerequisite,
//! and its failure becomes a line of its part.

use std::path::PathBuf;

use scar_cluster::Opened;
use scar_http::{Origin, Retry};
use scar_record::Session;
use scar_registry::login::{self, Login, LoginSources};
use scar_registry::{EXCHANGE, Environment, Reference, RegistryConfig, Scope};
use scar_tool::{Console, Exit, Failure};
use scar_trust::Trust;
use scar_vertex::{ApiOptions, LoginMethod};

use crate::options::{Options, Part};

/// The settings of a part, or the reason why it is not checked.
pub(crate) type Planned<T> = Result<T, String>;

/// All parts.
pub(crate) struct Plan {
    pub(crate) platform: Planned<Platform>,
    pub(crate) cluster: Planned<Result<Opened, Failure>>,
    pub(crate) content: Planned<Content>,
    pub(crate) registry: Planned<Registry>,
    /// The registry's reference, even if the registry is left out.
    pub(crate) reference: Option<Reference>,
}

/// VerteX.
pub(crate) struct Platform {
    pub(crate) origin: Origin,
    pub(crate) trust: Result<Trust, Failure>,
    pub(crate) plain_http: bool,
    pub(crate) login: PlatformLogin,
}

/// How to log in to VerteX.
pub(crate) enum PlatformLogin {
    /// With the session of the record.
    Session(Box<Session>),
    /// As `vertex-login` would.
    Method(Result<LoginMethod, Failure>),
    /// There is no password.
    Nothing,
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
    pub(crate) reference: Reference,
    pub(crate) trust: Result<Trust, Failure>,
    pub(crate) config: RegistryConfig,
    sources: Result<LoginSources, Failure>,
    /// The login and its source.
    pub(crate) login: Result<Option<(Login, String)>, Failure>,
}

/// Why a part is missing that `--only` does not name.
pub(crate) const LEFT_OUT: &str = "left out by --only";

impl Options {
    /// Reads the settings and opens their files.
    ///
    /// # Errors
    /// Exit 2 for a wrong option, and for a part of `--only` without its settings.
    pub(crate) fn plan(&self, console: &Console) -> Result<Plan, Failure> {
        let reference = Environment::from_environment().or_typed(self.reference.as_deref(), self.push.base_path.as_deref())?;
        self.registry.check(self.registry.login.password_file.is_some())?;
        self.entry_login.check()?;
        let platform = self.platform(console)?;
        let registry = reference.as_ref().filter(|_| self.wants(Part::Registry)).map(|at| self.registry(at, console));
        let plan = Plan {
            platform: self.planned(Part::Platform, "no endpoint: --endpoint URL or VERTEX_ENDPOINT", platform),
            cluster: self.planned(Part::Cluster, "no kubeconfig: --kubeconfig FILE or KUBECONFIG", self.cluster(console)),
            content: self.planned(Part::Content, "no folder: --content DIR", self.content()),
            registry: self.planned(Part::Registry, "no registry: --reference HOST or OCI_PACK_REGISTRY", registry),
            reference,
        };
        self.insist(Part::Cluster, &plan.cluster)?;
        self.insist(Part::Content, &plan.content)?;
        self.insist(Part::Registry, &plan.registry)?;
        Ok(plan)
    }

    fn planned<T>(&self, part: Part, without: &str, found: Option<T>) -> Planned<T> {
        if !self.wants(part) {
            return Err(LEFT_OUT.to_owned());
        }
        found.ok_or_else(|| without.to_owned())
    }

    fn insist<T>(&self, part: Part, planned: &Planned<T>) -> Result<(), Failure> {
        match planned {
            Err(why) if self.insists_on(part) => {
                Err(Failure::misuse(format!("missing: {why}")).hint("--only asks for this side"))
            }
            _ => Ok(()),
        }
    }

    fn platform(&self, console: &Console) -> Result<Option<Platform>, Failure> {
        let endpoint = self.endpoint.clone().or_else(scar_vertex::endpoint);
        let Some(endpoint) = endpoint.filter(|_| self.wants(Part::Platform)) else { return Ok(None) };
        let (origin, _) = ApiOptions::address(&endpoint)?;
        self.account.username()?;
        let login = PlatformLogin::Method(self.account.method(None, console));
        let trust = Trust::load(&self.account.tls).map(|trust| trust.by(self.route));
        Ok(Some(Platform { origin, trust, plain_http: self.account.plain_http, login }))
    }

    fn cluster(&self, console: &Console) -> Option<Result<Opened, Failure>> {
        (self.wants(Part::Cluster) && self.specman.cluster.name_one())
            .then(|| Opened::open(&self.specman.cluster, self.route, console))
    }

    fn content(&self) -> Option<Content> {
        let folder = self.content.clone()?;
        Some(Content { folder, archive: self.archive.clone(), unverified: self.unverified })
    }

    fn registry(&self, reference: &Reference, console: &Console) -> Registry {
        let trust = self.registry.trust(self.route);
        let trust = trust.and_then(|trust| login::with_certs_d(trust, &reference.registry, true, console));
        let retry = Retry { tries: 2, ..Retry::until(self.deadline()) };
        let trust_upload = self.push.trust_upload.clone();
        let config = RegistryConfig { trust_upload, ..self.registry.config(Scope::Push, retry, EXCHANGE) };
        Registry { reference: reference.clone(), trust, config, sources: self.registry.login(None, console), login: Ok(None) }
    }
}

impl Plan {
    /// Uses the record's session as the login.
    ///
    /// # Errors
    /// Exit 2 if a part of `--only` has no settings, or no part has any; exit 5 for a session of another address.
    pub(crate) fn with_session(mut self, session: Option<Session>, options: &Options) -> Result<Self, Failure> {
        if let Some(session) = session.filter(|_| options.wants(Part::Platform)) {
            let (origin, _) = ApiOptions::address(&session.endpoint)?;
            if let Some(asked) = self.platform.as_ref().ok().map(|platform| &platform.origin).filter(|asked| **asked != origin) {
                let message = format!("use the session: it is for '{origin}', not for '{asked}'");
                return Err(Failure::new(Exit::Unsafe, message).hint("--new-record goes without the session"));
            }
            let mut tls = options.account.tls.clone();
            tls.ca_file = tls.ca_file.or_else(|| session.ca_file.as_ref().map(Into::into));
            tls.insecure |= session.insecure;
            let trust = Trust::load(&tls).map(|trust| trust.by(options.route));
            let login = PlatformLogin::Session(Box::new(session));
            self.platform = Ok(Platform { origin, trust, plain_http: true, login });
        }
        options.insist(Part::Platform, &self.platform)?;
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
    pub(crate) fn with_logins(mut self, options: &Options, console: &Console) -> Result<Self, Failure> {
        if let Ok(registry) = &mut self.registry {
            let sources = registry.sources.clone();
            registry.login = sources.and_then(|sources| sources.find(&registry.reference, console));
        }
        if let Ok(Platform { origin, login, .. }) = &mut self.platform
            && let PlatformLogin::Method(Ok(LoginMethod::Password { username, password })) = login
            && let Err(failure) = password.ask(username, origin)
        {
            if options.insists_on(Part::Platform) {
                return Err(failure.hint("use --vertex-password-file FILE or VERTEX_PASSWORD_FILE"));
            }
            *login = PlatformLogin::Nothing;
        }
        Ok(self)
    }

    /// Says what would be checked, for `--dry-run`.
    pub(crate) fn show(&self, console: &Console) {
        if let Ok(Platform { origin, login, .. }) = &self.platform {
            let log_in = |who: &str| format!("log in to '{origin}' {who}, and read version, SCAR setting and pack registry");
            console.plan(match login {
                PlatformLogin::Session(_) => log_in("with the session of the record"),
                PlatformLogin::Method(Ok(LoginMethod::Token(_))) => log_in("with the token from the browser"),
                PlatformLogin::Method(Ok(LoginMethod::Password { username, .. })) => {
                    log_in(&format!("as '{username}', in one try"))
                }
                PlatformLogin::Method(Err(failure)) => format!("find the login blocked: {}", failure.message),
                PlatformLogin::Nothing => format!("connect to '{origin}'"),
            });
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
