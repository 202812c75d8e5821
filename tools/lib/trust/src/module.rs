//! The cryptographic module of all TLS, and whether it is validated.
//!
//! Only this crate has the feature `fips`. With it, rustls uses AWS-LC's validated module, offers only approved suites and
//! groups, and requires the extended master secret in TLS 1.2 (rustls, crate documentation, "FIPS").

use std::sync::Arc;

use rustls::NamedGroup;
use rustls::crypto::CryptoProvider;
use scar_tool::{Exit, Failure};

/// Versions 3.x of the module, linked statically:
/// <https://csrc.nist.gov/projects/cryptographic-module-validation-program/certificate/5314>
const CERTIFICATE: &str = "CMVP #5314, FIPS 140-3";

/// In the FIPS build: the hint for a server without approved algorithms.
pub(crate) const OFFERED: Option<&str> = if cfg!(feature = "fips") {
    Some(
        "it takes nothing that is approved; offered to it: TLS 1.3, and TLS 1.2 with the extended master secret; AES-GCM; P-256 and P-384",
    )
} else {
    None
};

/// Its line in `--version -v`.
pub fn module() -> String {
    let version = aws_lc_rs::awslc_version();
    match (cfg!(feature = "fips"), aws_lc_rs::fips_version()) {
        (false, _) => format!("module:      AWS-LC\nversion:     {version}\ncertificate: none\nbuild:       standard"),
        (true, release) => {
            let certificate = if release == Some(3) { CERTIFICATE } else { "none that is known here" };
            format!(
                "module:      AWS-LC Cryptographic Module (static)\nversion:     {version}\ncertificate: {certificate}\nbuild:       FIPS"
            )
        }
    }
}

/// The crypto provider of all tools. Exit 5 if the module of the FIPS build does not run in FIPS mode.
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, Failure> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if cfg!(feature = "fips") {
        // rustls also counts ML-KEM as approved, and explains why (rustls src/crypto/aws_lc_rs/pq/mlkem.rs).
        provider.kx_groups.retain(|group| matches!(group.name(), NamedGroup::secp256r1 | NamedGroup::secp384r1));
    }
    match cfg!(feature = "fips") && !provider.fips() {
        true => Err(Failure::new(
            Exit::Unsafe,
            "set up TLS: the cryptographic module is not in FIPS mode, and this is the FIPS build",
        )),
        false => Ok(Arc::new(provider)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_build_has_its_own_provider_and_says_so() {
        let provider = provider().unwrap();
        assert_eq!(provider.fips(), cfg!(feature = "fips"));
        assert_eq!(module().contains(CERTIFICATE), cfg!(feature = "fips"));
        assert_eq!(module().lines().count(), 4);
    }
}
