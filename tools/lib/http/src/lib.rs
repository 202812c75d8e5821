//! HTTP for all tools: one client, bound to one origin.
//!
//! Invariants: a credential, cookie or client certificate only goes to its own origin, whatever an answer says; redirects
//! are not followed automatically; plain HTTP only to loopback, or if the user allows it; every body in memory is bounded;
//! no secret is shown in a request line, header or answer.

mod client;
mod error;
mod login;
mod origin;
mod response;
mod retry;
mod run;
mod wire;
mod words;

pub use client::{Client, Credential, Request};
pub use error::{Cause, Error};
pub use login::{Login, LoginOptions, secret_file};
pub use origin::Origin;
pub use response::Response;
pub use retry::{Attempt, Retry};
pub use run::{run, run_or_undo};
pub use wire::{Route, Wire};
pub use words::{is_page, of as words, redacted};

pub use reqwest::header;
pub use reqwest::{Body, Method, Request as RawRequest, StatusCode};
pub use url::{Url, form_urlencoded};

/// The largest JSON document in bytes.
pub const DOCUMENT: usize = 8 * 1024 * 1024;
