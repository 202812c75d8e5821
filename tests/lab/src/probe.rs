//! Sends one request, for the lab's own tests that are not async.

use std::future::Future;

use reqwest::{Client, Method, RequestBuilder, Response};

/// Runs a future to its end.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// A client that only trusts `ca_pem` and follows no redirect.
pub(crate) fn client(ca_pem: Option<&str>) -> Client {
    let roots = ca_pem.map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()).expect("PEM"));
    Client::builder().tls_certs_only(roots).no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client")
}

/// The answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Got {
    /// A header; empty if it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The code of the first error in the body.
    pub(crate) fn code(&self) -> String {
        let code = &self.json()["errors"][0]["code"];
        code.as_str().expect("a code").to_owned()
    }
}

/// Sends a request that `shape` completes.
pub(crate) fn send(
    client: &Client,
    method: Method,
    url: &str,
    shape: impl FnOnce(RequestBuilder) -> RequestBuilder,
) -> Result<Got, reqwest::Error> {
    run(async {
        let response: Response = shape(client.request(method, url)).send().await?;
        Ok(Got {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await?.to_vec(),
        })
    })
}

/// `GET`, over plain HTTP.
pub(crate) fn get(url: &str) -> Result<Got, reqwest::Error> {
    send(&client(None), Method::GET, url, |request| request)
}
