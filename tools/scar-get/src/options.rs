//! The command line.

use scar_tool::{Common, Failure};
use scar_vertex::ApiOptions;
use scar_vertex::scar::Setting;

#[derive(clap::Parser, Debug)]
#[command(
    name = "scar-get",
    version,
    long_version = scar_trust::module(),
    about = "read the SCAR setting of VerteX or Palette",
    after_help = "Examples:
  vertex-login https://vertex.example | scar-get
  vertex-login https://vertex.example |
    scar-get --validate --expect \\
      https://specman-service.hubble-system.svc.cluster.local:8443"
)]
pub(crate) struct Options {
    /// Exit with 7 if the endpoint is not URL
    #[arg(long, value_name = "URL")]
    expect: Option<String>,

    /// Let VerteX validate the setting
    #[arg(long)]
    pub(crate) validate: bool,

    /// Keep the session in the record
    #[arg(long)]
    pub(crate) keep_session: bool,

    #[command(flatten)]
    pub(crate) api: ApiOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

impl Options {
    /// The expected endpoint.
    ///
    /// # Errors
    /// Exit 2 for a malformed address.
    pub(crate) fn expected(&self) -> Result<Option<Setting>, Failure> {
        let Some(url) = &self.expect else { return Ok(None) };
        // VerteX stores the address with its scheme (guide, section "Validate"): without one nothing would ever be equal.
        let has_scheme = url
            .split_once("://")
            .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"));
        if !has_scheme {
            return Err(Failure::misuse(format!("read --expect '{url}': it has no scheme")).hint(format!("write https://{url}")));
        }
        Ok(Some(Setting::target(url, None, false, None)))
    }
}
