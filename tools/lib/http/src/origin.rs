//! The origin of a server: scheme, host and port (RFC 6454).

use std::fmt;

use scar_tool::Failure;
use url::{Host, Url};

/// An origin, to which credentials are bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: Host<String>,
    port: u16,
}

impl Origin {
    /// The origin of a URL; `None` for a URL that has none (no host, or not HTTP).
    pub fn of(url: &Url) -> Option<Self> {
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        Some(Self { scheme: url.scheme().to_owned(), host: url.host()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// Parses the address of a server as typed: `https://HOST[:PORT]`, or `HOST[:PORT]` for HTTPS.
    ///
    /// A trailing slash is ignored. Anything after the host is returned, so that the caller can explain or refuse it. Exit 2
    /// for anything else; user information is refused, because it would be logged.
    pub fn parse(text: &str) -> Result<(Self, String), Failure> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let refuse = |cause: &str| Failure::misuse(format!("read the address '{}': {cause}", scar_trust::without_login(text)));
        let url =
            scar_trust::address(&with_scheme).map_err(|cause| refuse(cause).hint("write https://HOST or https://HOST:PORT"))?;
        // It would be in the shell's history, in `ps` and in our log (FAULTS Q25).
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("it holds credentials, which would be logged").hint("use --username and --password-file"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("it has a query or a fragment").hint("write https://HOST or https://HOST:PORT"));
        }
        let origin = Self::of(&url).ok_or_else(|| refuse("only https:// and http:// are known"))?;
        Ok((origin, url.path().trim_matches('/').to_owned()))
    }

    /// The origin with this scheme (`http` or `https`) at `HOST[:PORT]`.
    pub fn at(scheme: &str, authority: &str) -> Result<Self, Failure> {
        Self::parse(&format!("{scheme}://{authority}")).map(|(origin, _)| origin)
    }

    /// Whether it is plain HTTP.
    pub fn is_plain(&self) -> bool {
        self.scheme == "http"
    }

    /// Whether it is this host: `localhost`, 127.0.0.0/8 or ::1.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            // All names below it are loopback, too (RFC 6761, 6.3).
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        }
    }

    /// Whether it is a link-local address (169.254.0.0/16, fe80::/10), where clouds serve their hosts' secrets.
    pub fn is_link_local(&self) -> bool {
        match &self.host {
            Host::Domain(_) => false,
            Host::Ipv4(address) => address.is_link_local(),
            Host::Ipv6(address) => {
                // `[::ffff:169.254.169.254]` leads to the IPv4 address (RFC 4291, 2.5.5.2).
                address.is_unicast_link_local() || address.to_ipv4_mapped().is_some_and(|address| address.is_link_local())
            }
        }
    }

    /// The host name or address, as in a certificate: IPv6 without brackets.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }

    /// `HOST:PORT`, always with the port.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// `HOST[:PORT]`, without the scheme's default port.
    pub fn authority(&self) -> String {
        let default = if self.is_plain() { 80 } else { 443 };
        if self.port == default { self.host.to_string() } else { self.address() }
    }

    /// The URL of a path (beginning with `/`, query allowed) at this origin.
    pub fn url(&self, path: &str) -> Result<Url, Failure> {
        let text = format!("{self}{path}");
        Url::parse(&text).map_err(|error| Failure::misuse(format!("make the URL '{text}': {error}")))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_as_people_type_them() {
        for (text, origin, rest) in [
            ("https://vertex.example", "https://vertex.example", ""),
            ("vertex.example/", "https://vertex.example", ""),
            ("https://VerteX.example:443/v1/", "https://vertex.example", "v1"),
            ("http://[::1]:8080", "http://[::1]:8080", ""),
        ] {
            let (found, path) = Origin::parse(text).unwrap();
            assert_eq!((found.to_string().as_str(), path.as_str()), (origin, rest), "{text}");
        }
    }

    #[test]
    fn refuses_credentials_and_never_quotes_them() {
        let failure = Origin::parse("https://user:canary@host.example").unwrap_err();
        assert!(!failure.message.contains("canary"), "{}", failure.message);
        assert!(Origin::parse("ftp://host.example").is_err());
        assert!(Origin::parse("https://host.example?x=1").is_err());
        for text in ["https://CORP\\u:canary@host.example", "https://host.example\\@other.example", "https://ho\tst.example"] {
            let failure = Origin::parse(text).unwrap_err();
            assert!(failure.message.contains("backslash") && !failure.message.contains("canary"), "{}", failure.message);
        }
    }

    #[test]
    fn scheme_host_and_port_all_count() {
        let origin = |text: &str| Origin::parse(text).unwrap().0;
        assert_eq!(origin("https://a.example"), origin("https://a.example:443"));
        for other in ["http://a.example", "https://a.example:444", "https://b.example", "https://a.example.b.example"] {
            assert_ne!(origin("https://a.example"), origin(other));
        }
        for (text, local) in [
            ("169.254.169.254", true),
            ("[fe80::1]", true),
            ("[::ffff:169.254.1.1]", true),
            ("169.253.1.1", false),
            ("a.example", false),
        ] {
            assert_eq!(origin(text).is_link_local(), local, "{text}");
        }
        assert!(origin("https://127.0.0.2:1").is_loopback() && !origin("https://10.0.0.1").is_loopback());
    }
}
