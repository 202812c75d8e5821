//! What of the folder is packed, as an operator types it.

use scar_tool::Failure;

use crate::Exclude;

/// The options of every tool that lists the folder.
#[derive(clap::Args, Debug, Clone)]
pub struct TreeOptions {
    /// Leave out what matches: a name, or a/path below DIR
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// Store the content that symbolic links point to
    #[arg(long)]
    pub dereference: bool,
}

impl TreeOptions {
    /// Parses the globs.
    ///
    /// # Errors
    /// Exit 2, quoting the bad one.
    pub fn exclude(&self) -> Result<Exclude, Failure> {
        Exclude::new(&self.exclude).map_err(|error| Failure::misuse(format_args!("--exclude: {error}")))
    }
}
