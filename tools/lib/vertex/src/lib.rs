//! The VerteX System API as the tools use it: a session bound to its origin, objects that keep every field value for
//! value, writes that are never repeated blindly, and the SCAR setting.
//!
//! Invariants: the token goes to the origin of its session and to no other; a GET is repeated within its time, a PUT
//! only where reading has shown that the one before did nothing; what the server hides is never taken for a value; no
//! secret reaches a message.

mod api;
pub mod browser;
mod credentials;
mod difference;
pub mod entry;
mod hidden;
pub mod login;
mod object;
mod options;
pub mod scar;
pub mod token;
pub mod user;

pub use api::{Api, Settled, read_object};
pub use credentials::Given;
pub use difference::{Change, differences};
pub use hidden::{is_mask, names_a_secret};
pub use object::Object;
pub use options::{ApiOptions, login_command};

/// The oldest version of VerteX and of Palette that can migrate (the guide's prerequisites).
pub const OLDEST: &str = "4.5.15";
