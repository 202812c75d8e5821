//! The file server's folder as an archive of it: which entries it has, in the archive's order, and what prevents an archive.
//!
//! `mkmanifests` packs what [`Root::list`] lists, `scar-preflight` reports its faults before the migration, and
//! `specman-verify` compares a folder by it; sharing this code makes them agree.

mod archive_file;
mod exclude;
mod fault;
pub mod links;
mod listing;
mod name;
mod options;
mod root;
pub mod stamp;
mod tree;
mod walk;

pub use archive_file::ArchiveFile;
pub use exclude::{Exclude, OwnArchive, RANDOM, TEMPORARY, is_temporary};
pub use fault::{Fault, shown};
pub use links::DeadLink;
pub use listing::{Cursor, Kind};
pub use name::{quoted, recordable};
pub use options::TreeOptions;
pub use root::Root;
pub use tree::{Count, Tree};
pub use walk::{FAULTS, Look, Rules, join, open_folder};
