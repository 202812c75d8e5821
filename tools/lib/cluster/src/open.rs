//! Opens a cluster from the options: reads every file and reports every error, sends nothing.

use std::sync::{Arc, Mutex};

use http::{HeaderName, HeaderValue, Request};
use jiff::Timestamp;
use kube::client::Body;
use scar_http::{Origin, Route, Url};
use scar_tool::{Console, Failure};
use scar_trust::{Proxy, RouteOptions, Trust};
use secrecy::ExposeSecret;
use tower::BoxError;

use crate::credential::Credential;
use crate::kubeconfig::{self, Chosen, Environment};
use crate::sender::{LOG, Sender};
use crate::{Cluster, ClusterOptions, contradiction};

/// The largest object in bytes.
// etcd stores at most 1.5 MiB (etcd documentation, "System limits"); a list may be larger.
const OBJECT: usize = 16 * 1024 * 1024;

/// A cluster whose files were read; nothing was sent yet.
pub struct Opened {
    sender: Sender,
    namespace: String,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({}, {})", self.sender.address, self.namespace)
    }
}

impl Opened {
    /// Finds the cluster of the options and reads every file for it; sends nothing. Exit 2 with the file, the context or the
    /// plugin; exit 5 for a connection that is not allowed.
    pub fn open(options: &ClusterOptions, route: RouteOptions, console: &Console) -> Result<Self, Failure> {
        Self::with(options, route, &Environment::read(), console)
    }

    pub(crate) fn with(
        options: &ClusterOptions,
        route: RouteOptions,
        environment: &Environment,
        console: &Console,
    ) -> Result<Self, Failure> {
        let chosen = kubeconfig::choose(options, environment, console)?;
        let place = format!("context '{}' of {}", chosen.context, chosen.files);
        let whose = match chosen.user_name.as_str() {
            "" => format!("the user of {place}"),
            user => format!("user '{user}' ({place})"),
        };
        contradiction::check(&chosen, &place, &whose)?;
        let (server, address) = server(&chosen, &place)?;
        let origin = Origin::of(&server).ok_or_else(|| Failure::misuse(format!("read {place}: its server is not a URL")))?;
        let trust = trust(&chosen, &place, &whose)?;
        // Checked here: the API server takes any certificate in the TLS handshake (apiserver/pkg/server/secure_serving.go,
        // RequestClientCert), and then answers 401 without a reason (FAULTS S9).
        let now = Timestamp::now().as_second();
        if let Some((from, to)) = trust.identity_dates()
            && !(from..=to).contains(&u64::try_from(now).unwrap_or_default())
        {
            let (word, at) =
                if now < i64::try_from(from).unwrap_or(i64::MAX) { ("is not valid before", from) } else { ("expired at", to) };
            let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_second(at).ok()).unwrap_or_default();
            return Err(Failure::new(scar_tool::Exit::Unsafe, format!("use {whose}: its client certificate {word} {at}")).hint(
                "download the admin kubeconfig again; if the certificate should be valid, compare 'date' here with the cluster's",
            ));
        }
        if trust.insecure {
            console.warn(format!("{place} has insecure-skip-tls-verify: the cluster's certificate is not checked"));
        }
        let proxy = match &chosen.cluster.proxy_url {
            _ if route.no_proxy => None,
            // NO_PROXY says nothing about it, as in client-go (tools/clientcmd/client_config.go, `ClientConfig`).
            Some(url) => Some(Proxy::new(&format!("proxy-url of {place}"), url, "")?),
            None => Proxy::from_environment()?,
        };
        let proxy = proxy.filter(|proxy| proxy.covers(server.as_str()));
        let mut sender = Sender {
            // kubectl sends no credential over plain HTTP (client-go tools/clientcmd/client_config.go, `ClientConfig`).
            credential: match origin.is_plain() {
                false => Credential::new(&chosen.user, &chosen.cluster, &whose)?,
                true => Credential::None,
            },
            impersonate: impersonation(&chosen, &place)?,
            cluster_name: chosen.cluster_name,
            target: server.clone(),
            server,
            address,
            host: None,
            place,
            trust,
            route: Route { proxy, ..Route::direct() },
            wire: Mutex::new(None),
            skew: Mutex::new(None),
            console: console.clone(),
        };
        if let Some(name) = chosen.cluster.tls_server_name.as_deref() {
            sender.name(name, &origin)?;
        }
        let wire = sender.wire(None)?;
        wire.tell_route(&origin, &sender.server);
        console.verbose(|| format!("the cluster is '{}', as {whose}", sender.address));
        wire.check(&origin, &sender.server)?;
        Ok(Self { sender, namespace: options.namespace.clone() })
    }

    /// The API server's address.
    pub fn server(&self) -> &str {
        &self.sender.address
    }

    /// Creates the client; sends nothing. Call it inside a runtime.
    pub fn client(self) -> Cluster {
        let sender = Arc::new(self.sender);
        let ours = sender.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let sender = ours.clone();
            // A log follows its container without an end; the tool that reads it bounds its memory (FAULTS W12).
            let limit = if request.uri().path().ends_with(LOG) { usize::MAX } else { OBJECT };
            async move { sender.send(request).await.map(|answer| answer.into_http(limit)).map_err(BoxError::from) }
        });
        Cluster::new(kube::Client::new(service, self.namespace.clone()), self.namespace, sender)
    }
}

impl Sender {
    /// Expects a certificate of this name, and sends it in the TLS handshake, from which a server may choose its certificate.
    /// That takes a URL with this name, which a proxy would look up, and which an address cannot be: then the name is not
    /// sent.
    fn name(&mut self, name: &str, origin: &Origin) -> Result<(), Failure> {
        let refuse =
            || Failure::misuse(format!("read {}: tls-server-name '{name}' is neither a name nor an address", self.place));
        self.trust = self.trust.clone().named(name).ok_or_else(refuse)?;
        let is_address = name.parse::<std::net::IpAddr>().is_ok();
        if self.route.proxy.is_none() && !is_address && self.target.set_host(Some(name)).is_ok() {
            self.route.host = Some(origin.host());
            self.host = HeaderValue::from_str(&origin.authority()).ok();
        }
        Ok(())
    }
}

/// The server's URL, and the same for messages, without a final slash.
fn server(chosen: &Chosen, place: &str) -> Result<(Url, String), Failure> {
    let text = chosen.cluster.server.as_deref().unwrap_or_default();
    let refuse = |cause: &str| Failure::misuse(format!("read {place}: server '{}' {cause}", scar_trust::without_login(text)));
    // Without a scheme, it is plain HTTP, as in kubectl, also if there is a CA: client-go asks for the scheme before it reads
    // that (tools/clientcmd/client_config.go, `ClientConfig`; rest/url_utils.go, `DefaultServerUrlFor`).
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    // Browsers find a host after any number of slashes (WHATWG URL, 4.4), kubectl does not.
    let url = scar_trust::address(&full).ok().filter(|_| !full.contains(":///")).ok_or_else(|| refuse("is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::misuse(format!("read {place}: its server holds a user or password")));
    }
    match url.scheme() {
        "https" => Ok((url, full.trim_end_matches('/').to_owned())),
        "http" if Origin::of(&url).is_some_and(|origin| origin.is_loopback()) => Ok((url, full.trim_end_matches('/').to_owned())),
        "http" => Err(Failure::new(
            scar_tool::Exit::Unsafe,
            format!("connect to '{text}': plain HTTP would show credentials and secrets to the network"),
        )
        .hint(format!("give the https:// address in {place}"))),
        _ => Err(refuse("is neither https:// nor http://")),
    }
}

fn trust(chosen: &Chosen, place: &str, whose: &str) -> Result<Trust, Failure> {
    let (cluster, user) = (&chosen.cluster, &chosen.user);
    let authority = data_or_file(
        cluster.certificate_authority_data.as_deref(),
        cluster.certificate_authority.as_deref(),
        &format!("certificate-authority of {place}"),
    )?;
    let certificate = data_or_file(
        user.client_certificate_data.as_deref(),
        user.client_certificate.as_deref(),
        &format!("client-certificate of {whose}"),
    )?;
    // A key without its certificate is unused, and kubectl does not read it.
    let key = match certificate {
        None => None,
        Some(_) => data_or_file(
            user.client_key_data.as_ref().map(|key| key.expose_secret()),
            user.client_key.as_deref(),
            &format!("client-key of {whose}"),
        )?,
    };
    // The configured authority replaces the system's, as in client-go (transport/transport.go, `TLSConfigFor`).
    let mut trust = match authority {
        Some((pem, what)) => Trust::default().with_anchors(&pem, &what)?,
        None => Trust::system()?,
    };
    trust.insecure = cluster.insecure_skip_tls_verify == Some(true);
    match certificate.zip(key) {
        Some(((certificate, what), (key, _))) => trust.with_identity(&certificate, &key, &what),
        None => Ok(trust),
    }
}

/// Base64 data of a kubeconfig, else the content of a file. Never both: `contradiction` refuses that.
fn data_or_file(data: Option<&str>, file: Option<&str>, what: &str) -> Result<Option<(Vec<u8>, String)>, Failure> {
    use base64::Engine;
    if let Some(data) = data {
        // YAML folds a long value with spaces and line ends; Go's decoder also skips line ends (encoding/base64).
        let packed: String = data.split_ascii_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(packed);
        return bytes
            .map(|bytes| Some((bytes, format!("{what} (data)"))))
            .map_err(|_| Failure::misuse(format!("read {what}: the data is not base64")));
    }
    let Some(file) = file else { return Ok(None) };
    match std::fs::read(file) {
        Ok(bytes) => Ok(Some((bytes, format!("{what}, '{file}'")))),
        Err(error) => Err(Failure::unreadable(format!("read {what}, '{file}'"), &error)),
    }
}

/// Part of a header's name: what a token cannot have (RFC 9110, 5.6.2) is written as %XX, as in client-go
/// (transport/round_trippers.go, headerKeyEscape).
fn escaped(name: &str) -> String {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
    let escaped = |byte| if is_token(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(escaped).collect()
}

fn impersonation(chosen: &Chosen, place: &str) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
    let user = &chosen.user;
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &str| {
        let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        headers.push(header.ok_or_else(|| Failure::misuse(format!("read {place}: '{value}' cannot be impersonated")))?);
        Ok::<_, Failure>(())
    };
    if let Some(name) = &user.impersonate {
        add("impersonate-user", name)?;
    }
    for group in user.impersonate_groups.iter().flatten() {
        add("impersonate-group", group)?;
    }
    if let Some(uid) = &user.impersonate_uid {
        add("impersonate-uid", uid)?;
    }
    for (name, values) in user.impersonate_user_extra.iter().flatten() {
        for value in values {
            add(&format!("impersonate-extra-{}", escaped(name)), value)?;
        }
    }
    Ok(headers)
}
