//! Trust: the given certificates, the system's, the explanation of an untrusted certificate, and the route to a server.
//!
//! Invariants: TLS 1.2 or later; the only crypto provider is aws-lc-rs, passed explicitly; a server certificate that is
//! itself configured is trusted, even if it is a CA certificate, with its dates, name and handshake signature still checked;
//! a host without any CA bundle works with `--ca-file`.

mod address;
mod cause;
mod files;
mod handshake;
mod identity;
mod last_handshake;
mod module;
mod options;
mod pin;
mod route;
mod untrusted;
mod verify;

pub use address::{address, without_login};
pub use cause::{Tunnel, cause, tunnel};
pub use files::ca_chain;
pub use handshake::Handshake;
pub use last_handshake::LastHandshake;
pub use module::module;
pub use options::{RouteOptions, TlsOptions};
pub use pin::Pin;
pub use route::Proxy;
pub use untrusted::{Reason, Untrusted};

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use scar_tool::{Failure, Prefix, Spelling};

use identity::{ClientAuth, Identity};

/// The trusted certificates and the client certificate for a peer. The default trusts nobody.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    anchors: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
    /// Whether certificates are not checked, as the user asked.
    pub insecure: bool,
    /// The name that a server's certificate must have, if it is not the server's own.
    name: Option<ServerName<'static>>,
    pin: Option<Pin>,
    last: LastHandshake,
    /// Absolute path of `--ca-file`.
    pub ca_file: Option<PathBuf>,
    /// Whether no proxy is to be used.
    direct: bool,
    /// The source of the certificates, for `-v`.
    sources: Vec<String>,
    /// How the options are spelled that change this trust.
    pub spelling: Spelling,
}

impl Trust {
    /// The system's certificates (or those of `SSL_CERT_FILE`) and those of the options. Exit 2 for a file without the content
    /// that its option needs.
    pub fn load<P: Prefix>(options: &TlsOptions<P>) -> Result<Self, Failure> {
        let spelling = Spelling::of::<P>();
        let mut trust = Self { spelling, insecure: options.insecure, ..Self::system()? };
        if let Some(path) = &options.ca_file {
            let option = spelling.option("ca-file");
            trust.anchors.extend(files::certificates(path, &option)?);
            trust.sources.push(format!("{option} '{}'", path.display()));
            // The record carries it to other stages, which may run in another folder.
            let absolute = std::path::absolute(path);
            trust.ca_file = Some(absolute.map_err(|error| Failure::io(format!("resolve '{}'", path.display()), &error))?);
        }
        if let (Some(cert), Some(key)) = (&options.cert_file, &options.key_file) {
            let (of_cert, of_key) = (spelling.option("cert-file"), spelling.option("key-file"));
            let what = format!("{of_cert} '{}' with {of_key} '{}'", cert.display(), key.display());
            let (chain, key) = (files::certificates(cert, &of_cert)?, files::key(key, &of_key)?);
            trust.identity = Some(Identity::new(chain, key, what, &*module::provider()?)?);
        }
        Ok(trust)
    }

    /// The system's certificates (or those of `SSL_CERT_FILE`) alone.
    pub fn system() -> Result<Self, Failure> {
        let (anchors, source) = files::system()?;
        Ok(Self { anchors, sources: vec![source], ..Self::default() })
    }

    /// Also trusts the certificates of a PEM text; `what` names its source. Exit 2 if it has none.
    pub fn with_anchors(mut self, pem: &[u8], what: &str) -> Result<Self, Failure> {
        self.anchors.extend(files::certificates_in(pem, what)?);
        self.sources.push(what.to_owned());
        Ok(self)
    }

    /// Adds a client certificate and its key, both PEM (possibly in one text). Exit 2 if one is missing, or the key encrypted.
    pub fn with_identity(mut self, certificate: &[u8], key: &[u8], what: &str) -> Result<Self, Failure> {
        let (chain, key) = (files::certificates_in(certificate, what)?, files::key_in(key, what)?);
        self.identity = Some(Identity::new(chain, key, format!("the client certificate of {what}"), &*module::provider()?)?);
        Ok(self)
    }

    /// The same trust for a server that shows a certificate of this name; `None` if it is neither a name nor an address.
    #[must_use]
    pub fn named(mut self, name: &str) -> Option<Self> {
        self.name = Some(ServerName::try_from(name.to_owned()).ok()?);
        Some(self)
    }

    /// The same trust for one more server; without checks, that server must keep showing its first certificate.
    #[must_use]
    pub fn pinned(&self, pin: &Pin) -> Self {
        Self { pin: Some(pin.clone()), last: LastHandshake::default(), ..self.clone() }
    }

    /// The same trust for another server: without the client certificate, the name and the pin, which belong to one server.
    #[must_use]
    pub fn for_another(&self) -> Self {
        Self { identity: None, name: None, pin: None, last: LastHandshake::default(), ..self.clone() }
    }

    /// The same trust with or without a proxy, as the user chose.
    #[must_use]
    pub fn by(self, route: RouteOptions) -> Self {
        Self { direct: route.no_proxy, ..self }
    }

    /// The proxy of the environment, unless the user wants none.
    pub fn proxy(&self) -> Result<Option<Proxy>, Failure> {
        if self.direct { Ok(None) } else { Proxy::from_environment() }
    }

    /// What the last server showed and asked for.
    pub fn last_handshake(&self) -> &LastHandshake {
        &self.last
    }

    /// The trusted certificates and the client certificate, for `-v`.
    pub fn words(&self) -> String {
        let checked = match self.insecure {
            true => format!("not checked ({})", self.spelling.option("insecure")),
            false => format!("checked against {}", self.sources.join(" and ")),
        };
        match &self.identity {
            Some(identity) => format!("{checked}; shown to it: {}", identity.what),
            None => checked,
        }
    }

    /// Whether a client certificate is configured.
    pub fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// The validity of the client certificate, in seconds since 1970.
    pub fn identity_dates(&self) -> Option<(u64, u64)> {
        untrusted::validity(self.identity.as_ref()?.certified.cert.first()?)
    }

    /// The TLS configuration; use `with_identity` only for the origin of the client certificate. Exit 5 if the FIPS build has no
    /// FIPS module.
    pub fn client_config(&self, with_identity: bool) -> Result<ClientConfig, Failure> {
        let provider = module::provider()?;
        let verifier = verify::Verifier::new(self, &provider);
        let client_auth = ClientAuth { identity: self.identity.clone().filter(|_| with_identity), last: self.last.clone() };
        Ok(ClientConfig::builder_with_provider(provider)
            // TLS 1.0 and 1.1 must not be used (RFC 8996).
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| Failure::misuse(format!("set up TLS: {error}")))?
            // rustls calls any verifier but its own dangerous; `verify` says what this one adds.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(client_auth)))
    }
}

/// What the fuzz targets call of this crate's own (`fuzz/README.md`).
#[cfg(fuzzing)]
pub mod fuzzing {
    /// Reads certificates and a key.
    pub fn pem(text: &[u8]) {
        _ = (
            crate::files::certificates_in(text, "f"),
            crate::files::key_in(text, "f"),
            crate::files::only_certificates(&String::from_utf8_lossy(text)),
        );
    }
}
