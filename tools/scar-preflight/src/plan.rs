//! What to check: each part of the site with its settings, files and logins, or why it is left out.
//!
//! A wrong option has exit status 2, as in every tool. An unusable file does not stop the run: it is a missing prerequisite,
//! and its failure becomes a line of its part.

use scar_cluster::Opened;
use scar_http::{Origin, Retry};
use scar_record::Session;
use scar_registry::login::{self, Login};
use scar_registry::{EXCHANGE, Environment, Reference, RegistryConfig, Scope};
use scar_tool::{Console, Failure};
use scar_trust::Trust;
use scar_vertex::{ApiOptions, LoginMethod, session_origin, session_tls};

use crate::content::Content;
use crate::options::{Options, Part};

/// The settings of a part, or what is missing; `None` if `--only` leaves it out.
pub(crate) type Planned<T> = Option<Result<T, &'static str>>;

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
    /// `None` if there is no password.
    pub(crate) login: Option<PlatformLogin>,
}

/// How to log in to VerteX.
pub(crate) enum PlatformLogin {
    /// With the session of the record.
    Session(Box<Session>),
    /// As `vertex-login` would.
    Method(Result<LoginMethod, Failure>),
}

/// The registry.
pub(crate) struct Registry {
    pub(crate) reference: Reference,
    pub(crate) trust: Result<Trust, Failure>,
    pub(crate) config: RegistryConfig,
    /// The login and its source, after [`Plan::with_logins`].
    pub(crate) login: Result<Option<(Login, String)>, Failure>,
}

fn missing(settings: &str) -> Failure {
    Failure::misuse(format!("missing: {settings}")).hint("--only asks for this part")
}

impl Options {
    /// Reads the settings and opens their files.
    ///
    /// # Errors
    /// Exit 2 for a wrong option, and for a part of `--only` without its settings.
    pub(crate) fn plan(&self, console: &Console) -> Result<Plan, Failure> {
        let reference = Environment::from_environment().or_typed(self.reference.as_deref(), self.push.base_path.as_deref())?;
        self.registry.check(self.registry.login.password_file.is_some())?;
        self.entry_login.check()?;
        let exclude = self.tree.exclude()?;
        let content = self.content.clone().map(|folder| {
            let (tree, archive, unverified) = (self.tree.clone(), self.archive.clone(), self.unverified);
            Content { folder, tree, exclude, archive, unverified }
        });
        let cluster = || Opened::open(&self.specman.cluster, self.route, console);
        let registry = || reference.as_ref().map(|reference| self.registry(reference, console));
        Ok(Plan {
            // Its settings may also be in the record.
            platform: match self.wants(Part::Platform) {
                true => Some(self.platform(console)?.ok_or("no endpoint: --endpoint URL or VERTEX_ENDPOINT")),
                false => None,
            },
            cluster: self.planned(Part::Cluster, "no kubeconfig: --kubeconfig FILE or KUBECONFIG", || {
                self.specman.cluster.name_one().then(cluster)
            })?,
            content: self.planned(Part::Content, "no folder: --content DIR", || content)?,
            registry: self.planned(Part::Registry, "no registry: --reference HOST or OCI_PACK_REGISTRY", registry)?,
            reference: reference.clone(),
        })
    }

    fn planned<T>(&self, part: Part, without: &'static str, find: impl FnOnce() -> Option<T>) -> Result<Planned<T>, Failure> {
        match self.wants(part).then(find) {
            None => Ok(None),
            Some(None) if self.insists_on(part) => Err(missing(without)),
            Some(found) => Ok(Some(found.ok_or(without))),
        }
    }

    fn platform(&self, console: &Console) -> Result<Option<Platform>, Failure> {
        let Some(endpoint) = self.endpoint.clone().or_else(scar_vertex::endpoint) else { return Ok(None) };
        let (origin, _) = ApiOptions::address(&endpoint)?;
        self.account.username()?;
        let login = Some(PlatformLogin::Method(self.account.method(None, console)));
        let trust = Trust::load(&self.account.tls).map(|trust| trust.by(self.route));
        Ok(Some(Platform { origin, trust, plain_http: self.account.plain_http, login }))
    }

    fn registry(&self, reference: &Reference, console: &Console) -> Registry {
        let trust = self.registry.trust(self.route);
        let trust = trust.and_then(|trust| login::with_certs_d(trust, &reference.registry, true, console));
        let retry = Retry { tries: 2, ..Retry::until(self.deadline()) };
        let trust_upload = self.push.trust_upload.clone();
        let config = RegistryConfig { trust_upload, ..self.registry.config(Scope::Push, retry, EXCHANGE) };
        Registry { reference: reference.clone(), trust, config, login: Ok(None) }
    }
}

impl Plan {
    /// Uses the record's session as the login.
    ///
    /// # Errors
    /// Exit 2 if a part of `--only` has no settings, or no part has any; exit 5 for a session of another address.
    pub(crate) fn with_session(mut self, session: Option<Session>, options: &Options) -> Result<Self, Failure> {
        if let Some(session) = session
            && let Some(planned) = &mut self.platform
        {
            let asked = planned.as_ref().ok().map(|platform| &platform.origin);
            let origin =
                session_origin(&session, asked).map_err(|failure| failure.hint("--new-record goes without the session"))?;
            let trust = Trust::load(&session_tls(&options.account.tls, &session)).map(|trust| trust.by(options.route));
            *planned = Ok(Platform { origin, trust, plain_http: true, login: Some(PlatformLogin::Session(Box::new(session))) });
        }
        match (&self.platform, &self.cluster, &self.content, &self.registry) {
            (Some(Err(why)), ..) if options.insists_on(Part::Platform) => Err(missing(why)),
            (Some(Ok(_)), ..) | (_, Some(Ok(_)), ..) | (_, _, Some(Ok(_)), _) | (.., Some(Ok(_))) => Ok(self),
            _ => Err(Failure::misuse("there is nothing to check: no side of the site has its settings")
                .hint("name them: --content DIR --reference HOST --endpoint URL --kubeconfig FILE")),
        }
    }

    /// Finds the logins; asks at the terminal for a password that is in no file.
    ///
    /// # Errors
    /// Exit 2 if `--only` names the platform, and there is neither a password nor a terminal.
    pub(crate) fn with_logins(mut self, options: &Options, console: &Console) -> Result<Self, Failure> {
        if let Some(Ok(registry)) = &mut self.registry {
            let sources = options.registry.login(None, console);
            registry.login = sources.and_then(|sources| sources.find(&registry.reference, console));
        }
        if let Some(Ok(Platform { origin, login, .. })) = &mut self.platform
            && let Some(PlatformLogin::Method(Ok(LoginMethod::Password { username, password }))) = login
            && let Err(failure) = password.ask(username, origin)
        {
            if options.insists_on(Part::Platform) {
                return Err(failure.hint("use --vertex-password-file FILE or VERTEX_PASSWORD_FILE"));
            }
            *login = None;
        }
        Ok(self)
    }

    /// Says what would be checked, for `--dry-run`.
    pub(crate) fn show(&self, console: &Console) {
        if let Some(Ok(Platform { origin, login: Some(login), .. })) = &self.platform {
            let log_in = |who: &str| format!("log in to '{origin}' {who}, and read version, SCAR setting and pack registry");
            console.plan(match login {
                PlatformLogin::Session(_) => log_in("with the session of the record"),
                PlatformLogin::Method(Ok(LoginMethod::Token(_))) => log_in("with the token from the browser"),
                PlatformLogin::Method(Ok(LoginMethod::Password { username, .. })) => {
                    log_in(&format!("as '{username}', in one try"))
                }
                PlatformLogin::Method(Err(failure)) => format!("find the login blocked: {}", failure.message),
            });
        }
        match &self.cluster {
            Some(Ok(Ok(_))) => console.plan("ask the cluster for Specman, its claim and the secret, and what the user may do"),
            Some(Ok(Err(failure))) => console.plan(format!("find the cluster blocked: {}", failure.message)),
            _ => {}
        }
        if let Some(Ok(content)) = &self.content {
            console.plan(format!("list the folder '{}'", content.folder.display()));
        }
        if let Some(Ok(Registry { reference, .. })) = &self.registry {
            console.plan(format!("log in to '{}', read '{reference}', open an upload there and cancel it", reference.registry));
        }
    }
}
