//! The VerteX System API: a session bound to its origin, objects that keep every field, writes that are never repeated
//! blindly, and the SCAR setting.
//!
//! Invariants: the token goes only to its session's origin; a GET is retried until the deadline, a PUT only after reading
//! has shown that the last one changed nothing; a hidden value is never taken for the real one; no secret gets into a
//! message.

mod account;
mod api;
pub mod browser;
mod credentials;
mod difference;
mod enter;
pub mod entry;
mod entry_options;
mod hidden;
mod login;
mod object;
mod options;
pub mod scar;
pub mod token;
pub mod user;

pub use account::{AccountOptions, endpoint};
pub use api::{Api, WriteOutcome, read_object};
pub use credentials::GivenLogin;
pub use difference::{Change, differences};
pub use enter::LoginMethod;
pub use entry_options::{EntryLoginOptions, EntryOptions};
pub use hidden::{is_mask, names_a_secret};
pub use login::Entrance;
pub use object::Object;
pub use options::{ApiOptions, login_command, session_origin, session_tls};

/// The oldest version of VerteX and Palette that can migrate (guide, "Prerequisites").
pub const OLDEST: &str = "4.5.15";
