//! Sends one request, for tests that are not async.

use reqwest::{Client, Method, RequestBuilder};

/// The answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The complete body.
    pub body: Vec<u8>,
}

/// Sends a request that `shape` completes; trusts only `ca_pem`, follows no redirect, uses no proxy.
///
/// # Errors
/// Why there was no answer.
pub fn send(
    method: Method,
    url: &str,
    ca_pem: Option<&str>,
    shape: impl FnOnce(RequestBuilder) -> RequestBuilder,
) -> Result<Answer, reqwest::Error> {
    let roots = ca_pem.map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()).expect("PEM"));
    let client: Client =
        Client::builder().tls_certs_only(roots).no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
        let response = shape(client.request(method, url)).send().await?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await?.to_vec(),
        })
    })
}

/// `GET`, trusting only `ca_pem`.
///
/// # Panics
/// If nothing answers.
#[track_caller]
pub fn get(url: &str, ca_pem: Option<&str>) -> Answer {
    send(Method::GET, url, ca_pem, |request| request).unwrap_or_else(|error| panic!("GET {url}: {error:?}"))
}
