//! HTTP as every tool speaks it: one client, bound to one origin.
//!
//! Invariants: a credential, a cookie or a client certificate goes to the origin that it was given for and to no other,
//! whatever an answer says; no redirect is followed by itself; plain HTTP only to loopback or by the user's word; every
//! body that is read into memory is bounded; no request line, header or answer is shown with a secret in it.

mod client;
mod error;
mod login;
mod origin;
mod retry;
mod run;
mod transport;
mod words;

pub use client::{Client, Credential, Request, Response};
pub use error::Error;
pub use login::{Login, LoginOptions, secret_file};
pub use origin::Origin;
pub use retry::{Attempt, Retry};
pub use run::{run, run_or_undo};
pub use transport::Transport;
pub use words::{of as words, redacted};

pub use reqwest::header;
pub use reqwest::{Body, Method, StatusCode};
pub use url::Url;

/// The most of an answer that is read into memory where a JSON document is expected, in bytes.
pub const DOCUMENT: usize = 8 * 1024 * 1024;
