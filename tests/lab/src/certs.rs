//! Creates certificates: one authority, a good server certificate, and each kind of bad one that sites have.
//!
//! Nothing is kept between runs, and no process-wide TLS default is used: every configuration names its provider.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Eku, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate chain and its private key.
#[derive(Clone)]
pub struct Pair {
    /// The chain as PEM, the leaf first.
    pub cert_pem: String,
    /// The private key as PKCS#8 PEM.
    pub key_pem: String,
}

impl Pair {
    /// The leaf as DER.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert_pem.as_bytes()).expect("the pair holds PEM")
    }

    /// The private key as DER.
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("the pair holds PEM")
    }

    /// A server configuration that presents this pair and asks for no client certificate.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.configure(None, false)
    }

    /// Like [`Pair::server_config`], but verifies client certificates against `ca_pem`; a client without one is refused if
    /// `required`.
    pub fn server_config_with_clients(&self, ca_pem: &str, required: bool) -> Arc<ServerConfig> {
        self.configure(Some(ca_pem), required)
    }

    fn configure(&self, clients: Option<&str>, required: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(ca_pem) => {
                let mut roots = RootCertStore::empty();
                for ca in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
                    roots.add(ca.expect("PEM")).expect("a CA certificate");
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().expect("a client verifier"))
            }
        };
        let chain =
            CertificateDer::pem_slice_iter(self.cert_pem.as_bytes()).collect::<Result<Vec<_>, _>>().expect("the pair holds PEM");
        let mut config = builder.with_single_cert(chain, self.key_der()).expect("the key fits its certificate");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// One authority and its certificates. Cheap enough to create in every test.
pub struct Certs {
    authority: Authority,
    names: Vec<SanType>,
    server: Pair,
}

impl Certs {
    /// Creates an authority and a server certificate for `localhost`, `127.0.0.1`, `::1` and the DNS `names`.
    pub fn new(names: &[&str]) -> Self {
        let authority = Authority::new("Lab Root CA");
        let mut sans = vec![
            SanType::DnsName("localhost".try_into().expect("a DNS name")),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ];
        sans.extend(names.iter().map(|name| SanType::DnsName((*name).try_into().expect("a DNS name"))));
        let server = authority.sign(leaf("localhost", sans.clone(), Eku::ServerAuth));
        Self { authority, names: sans, server }
    }

    /// Another good server certificate, only for these DNS names.
    pub fn named(&self, names: &[&str]) -> Pair {
        let sans = names.iter().map(|name| SanType::DnsName((*name).try_into().expect("a DNS name"))).collect();
        self.authority.sign(leaf(names.first().copied().unwrap_or_default(), sans, Eku::ServerAuth))
    }

    /// The authority's certificate, for `--ca-file`.
    pub fn ca_pem(&self) -> &str {
        &self.authority.pem
    }

    /// The good server certificate.
    pub fn server(&self) -> &Pair {
        &self.server
    }

    /// A configuration with the good server certificate.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server.server_config()
    }

    /// Right names and authority, but expired on 2001-01-01.
    pub fn expired(&self) -> Pair {
        self.authority.sign(expired(self.leaf(Eku::ServerAuth)))
    }

    /// Good, but expires in two or three days.
    pub fn ending_soon(&self) -> Pair {
        let mut params = self.leaf(Eku::ServerAuth);
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(72);
        let end = end.to_zoned(jiff::tz::TimeZone::UTC);
        let (month, day) = (end.month().unsigned_abs(), end.day().unsigned_abs());
        params.not_after = date_time_ymd(end.year().into(), month, day);
        self.authority.sign(params)
    }

    /// Signed by the authority, but only for `other.example`.
    pub fn wrong_name(&self) -> Pair {
        self.named(&["other.example"])
    }

    /// Right names, but signed by an unknown authority.
    pub fn unknown_ca(&self) -> Pair {
        Authority::new("Lab Unknown CA").sign(self.leaf(Eku::ServerAuth))
    }

    /// Self-signed, not marked as an authority.
    pub fn self_signed(&self) -> Pair {
        self_sign(self.leaf(Eku::ServerAuth))
    }

    /// Self-signed and marked `CA:TRUE`, as `openssl req -x509` creates it.
    pub fn self_signed_ca(&self) -> Pair {
        let mut params = self.leaf(Eku::ServerAuth);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self_sign(params)
    }

    /// An authority that expired on 2001-01-01, and a certificate of it that is otherwise good.
    pub fn expired_authority(&self) -> (String, Pair) {
        let authority = Authority::of(expired(Authority::params("Lab Old CA")));
        (authority.pem.clone(), authority.sign(self.leaf(Eku::ServerAuth)))
    }

    /// A self-signed server certificate that is not an authority, and one with the same names that its key signed.
    pub fn signed_by_a_server(&self) -> (String, Pair) {
        let server = Authority::of(self.leaf(Eku::ServerAuth));
        (server.pem.clone(), server.sign(self.leaf(Eku::ServerAuth)))
    }

    /// A certificate that an intermediate authority signed, which is in its chain but whose key may not sign certificates.
    pub fn signed_without_leave(&self) -> Pair {
        let mut params = Authority::params("Lab Middle");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.authority.issuer).expect("a signed certificate");
        let middle = Authority { pem: certificate.pem(), issuer: Issuer::new(params, key) };
        let pair = middle.sign(self.leaf(Eku::ServerAuth));
        Pair { cert_pem: pair.cert_pem + &middle.pem, ..pair }
    }

    /// A client certificate with common name `user`.
    pub fn client(&self, user: &str) -> Pair {
        self.authority.sign(leaf(user, Vec::new(), Eku::ClientAuth))
    }

    /// A client certificate that expired on 2001-01-01.
    pub fn expired_client(&self, user: &str) -> Pair {
        self.authority.sign(expired(leaf(user, Vec::new(), Eku::ClientAuth)))
    }

    fn leaf(&self, usage: Eku) -> CertificateParams {
        leaf("localhost", self.names.clone(), usage)
    }
}

/// A certificate that signs others.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        Self::of(Self::params(name))
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    fn of(params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a CA certificate");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    fn sign(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a signed certificate");
        Pair { cert_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

fn self_sign(params: CertificateParams) -> Pair {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a self-signed certificate");
    Pair { cert_pem: certificate.pem(), key_pem: key.serialize_pem() }
}

fn leaf(common_name: &str, names: Vec<SanType>, usage: Eku) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2001, 1, 1);
    params
}
