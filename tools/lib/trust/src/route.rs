//! The route to a server: directly, or through the proxy of `HTTPS_PROXY` except for hosts in `NO_PROXY`.
//!
//! Only HTTPS uses a proxy, in a tunnel that the proxy cannot read; plain HTTP would show it credentials.

use std::sync::Arc;

use hyper_util::client::proxy::matcher::Matcher;
use scar_tool::Failure;

use crate::address::{address, in_one_way, without_login};

/// The proxy of this run. We apply `NO_PROXY` ourselves, also for the cluster.
// kube compares NO_PROXY with the address of the proxy, not of the server (kube-client 5.0 src/config/file_loader.rs,
// `proxy_url`; kube-rs/kube#1203).
#[derive(Debug, Clone)]
pub struct Proxy {
    url: Arc<str>,
    address: Arc<str>,
    matcher: Arc<Matcher>,
    /// Hosts with a port that do not use the proxy.
    ported: Arc<[(u16, Matcher)]>,
}

impl Proxy {
    /// The proxy of the environment, in upper or lower case; `None` if it names none. Exit 2 for an address without a
    /// scheme, with an unsupported one, or that cannot be connected to.
    pub fn from_environment() -> Result<Option<Self>, Failure> {
        let first = |names: [&'static str; 2]| {
            // A value that is not UTF-8 is not an address, and is refused.
            names.into_iter().find_map(|name| Some((name, std::env::var_os(name)?.to_string_lossy().into_owned())))
        };
        // As in Go and curl, both spellings; `HTTP_PROXY` does not count, because only HTTPS goes through a proxy here.
        let Some((name, url)) = first(["HTTPS_PROXY", "https_proxy"]).filter(|(_, url)| !url.is_empty()) else { return Ok(None) };
        let no = first(["NO_PROXY", "no_proxy"]).map(|(_, list)| list).unwrap_or_default();
        Self::new(name, &url, &no).map(Some)
    }

    /// A proxy by its address; `name` is the source of the address; `no` lists what does not use the proxy: names (and all
    /// below them), addresses, networks (`10.0.0.0/8`), each with or without a port, `*`.
    pub fn new(name: &str, url: &str, no: &str) -> Result<Self, Failure> {
        let address = without_login(url);
        let refuse = |cause: &str| {
            Failure::misuse(format!("read {name} '{address}': {cause}")).hint("write http://HOST:PORT or https://HOST:PORT")
        };
        match url.split_once("://") {
            None => return Err(refuse("it has no scheme")),
            Some(("http" | "https", _)) => {}
            Some((scheme, _)) => return Err(refuse(&format!("proxies of the kind '{scheme}' are not supported"))),
        }
        // A client that cannot parse the address silently connects directly (hyper-util src/client/proxy/matcher.rs,
        // `parse_env_uri`).
        let url = fit(url).map_err(refuse)?;
        // hyper-util's matcher applies `*` to all names, but to no address (src/client/proxy/matcher.rs, `contains`).
        let all = |entry: &str| if entry == "*" { "*,0.0.0.0/0,::/0" } else { entry }.to_owned();
        let but = |no: String| Matcher::builder().https(url.clone()).no(no).build();
        // hyper-util's matcher does not know ports; curl and Go do (Go golang.org/x/net/http/httpproxy/proxy.go, `init`).
        let (ported, everywhere): (Vec<_>, Vec<_>) = no.split(',').map(str::trim).partition(|entry| port(entry).is_some());
        let everywhere: Vec<_> = everywhere.into_iter().map(all).collect();
        let matcher = but(everywhere.join(","));
        let ported = ported.into_iter().filter_map(port).map(|(host, port)| (port, but(all(host)))).collect();
        Ok(Self { url: url.into(), address: address.into(), matcher: Arc::new(matcher), ported })
    }

    /// Whether requests to this URL use the proxy.
    pub fn covers(&self, url: &str) -> bool {
        url.parse::<http::Uri>().is_ok_and(|uri| {
            let at = uri.port_u16().unwrap_or(443);
            self.matcher.intercept(&uri).is_some()
                && self.ported.iter().all(|(port, matcher)| *port != at || matcher.intercept(&uri).is_some())
        })
    }

    /// Whether the connection to the proxy uses TLS.
    pub fn is_tls(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// Its address, possibly with a login: for the client, never for a message.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its address for a message.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// The address (`SCHEME://…`) in an unambiguous form, or why it cannot be connected to.
fn fit(url: &str) -> Result<String, &'static str> {
    in_one_way(url)?;
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if rest[authority.len()..].contains('@') {
        // `http://u:p/w@proxy` has the host `u` for a parser of URLs (RFC 3986, 3.2), and its login would go there.
        return Err("its login holds a character that must be written as %XX there (/ as %2F)");
    }
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    if port.is_some_and(|port| port.parse().unwrap_or(0_u16) == 0) {
        return Err("its port is not a number from 1 to 65535");
    }
    let url = address(url)?.to_string();
    let anywhere = http::Uri::from_static("https://host.example/");
    let is_known = Matcher::builder().https(url.clone()).build().intercept(&anywhere).is_some();
    if is_known { Ok(url) } else { Err("it is not an address") }
}

/// Host and port of an entry of `NO_PROXY` with both; an IPv6 address with a port needs brackets.
fn port(entry: &str) -> Option<(&str, u16)> {
    let (host, port) = entry.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_addresses_that_would_be_guessed_at() {
        let port = "its port is not a number from 1 to 65535";
        for (url, says) in [
            ("proxy:3128", "no scheme"),
            ("socks4://proxy:1080", "'socks4' are not supported"),
            ("http://", "not an address"),
            ("http://1.2.3.400:3128", "not an address"),
            ("http://[::1:3128", "not an address"),
            ("http://proxy:3128\u{fffd}", port),
            ("http://u:canary@proxy:99999", port),
            ("http://proxy:65536/", port),
            ("https://[::1]:0", port),
            ("http://proxy:abc", port),
            ("http://proxy:", port),
            ("http://u:canary/1@proxy:3128", "its login holds a character"),
            ("http://u:canary#1@proxy:3128", "its login holds a character"),
            ("http://CORP\\user:canary@proxy:3128", "it holds a backslash"),
            ("http://u:can\tary@proxy:3128", "it holds a backslash, a space or a control character"),
        ] {
            let failure = Proxy::new("HTTPS_PROXY", url, "").unwrap_err();
            assert!(failure.message.contains(says), "{}", failure.message);
            assert!(!failure.message.contains("canary"), "{}", failure.message);
            assert_eq!(failure.exit, scar_tool::Exit::Misuse);
        }
        for (url, read) in [
            ("http://[::1]:3128", "http://[::1]:3128/"),
            ("http://[::1]", "http://[::1]/"),
            ("http://proxy/", "http://proxy/"),
            ("https://u:p%40%2f@proxy:65535", "https://u:p%40%2f@proxy:65535/"),
            ("http://u:p@1@proxy:3128", "http://u:p%401@proxy:3128/"),
        ] {
            assert_eq!(Proxy::new("HTTPS_PROXY", url, "").unwrap().url(), read);
        }
        let failure = Proxy::new("HTTPS_PROXY", "socks5://u:canary@proxy:1", "").unwrap_err();
        assert!(!failure.message.contains("canary"));
    }

    #[test]
    fn a_star_in_no_proxy_is_every_server() {
        let urls = ["https://out.example/", "https://10.1.2.3/", "https://127.0.0.1:5000/", "https://[::1]:8443/"];
        for (no, covered) in [("*", [false; 4]), ("in.example, *", [false; 4]), ("*:5000,[*]:8443", [true, true, false, false])] {
            let proxy = Proxy::new("HTTPS_PROXY", "http://proxy:3128", no).unwrap();
            assert_eq!(urls.map(|url| proxy.covers(url)), covered, "{no}");
        }
    }

    const PORTED: &str = "port.example:8443, default.example:443,172.16.0.0/12:5000,[fd00::1]:5000,fe80::/10";

    #[test]
    fn no_proxy_takes_names_addresses_and_networks_with_and_without_ports() {
        let proxy = Proxy::new(
            "HTTPS_PROXY",
            "http://u:canary@proxy.example:3128/",
            &format!("in.example, 10.0.0.0/8,192.168.0.7,{PORTED}"),
        )
        .unwrap();
        assert_eq!(proxy.address(), "http://proxy.example:3128");
        for (url, covered) in [
            ("https://out.example/", true),
            ("https://in.example/", false),
            ("https://harbor.in.example:8443/", false),
            ("https://10.9.8.7/", false),
            ("https://11.9.8.7/", true),
            ("https://192.168.0.7:5000/", false),
            ("http://out.example/", false),
            ("https://port.example:8443/", false),
            ("https://below.port.example:8443/", false),
            ("https://port.example/", true),
            ("https://default.example/", false),
            ("https://default.example:8443/", true),
            ("https://10.20.0.1:5000/", false),
            ("https://172.16.0.1:5000/", false),
            ("https://172.16.0.1:5001/", true),
            ("https://[fd00::1]:5000/", false),
            ("https://[fd00::1]/", true),
            ("https://[fe80::1]/", false),
        ] {
            assert_eq!(proxy.covers(url), covered, "{url}");
        }
    }
}
