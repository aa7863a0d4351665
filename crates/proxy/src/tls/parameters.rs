//! Versions and cipher suites.

use amime_model::config::TlsVersion;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{CipherSuite, SupportedProtocolVersion, version};
use std::sync::{Arc, OnceLock};

/// The one source of cryptography.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
}

/// The same with these suites of TLS 1.2 alone, named as OpenSSL does, where some are named, and with these curves. The
/// suites of TLS 1.3 are not for choosing, as in Envoy.
pub(super) fn restricted(names: &[String], curves: &[String]) -> Arc<CryptoProvider> {
    if names.is_empty() && curves.is_empty() {
        return Arc::clone(provider());
    }
    let mut chosen = (**provider()).clone();
    if !curves.is_empty() {
        chosen.kx_groups = curves.iter().filter_map(|name| curve(name)).collect();
    }
    if names.is_empty() {
        return Arc::new(chosen);
    }
    let of_13 = chosen.cipher_suites.iter().filter(|suite| suite.version() == &version::TLS13).copied();
    let wanted = names.iter().filter_map(|name| suite(name));
    let of_12 = wanted.filter_map(|id| provider().cipher_suites.iter().find(|suite| suite.suite() == id).copied());
    chosen.cipher_suites = of_13.chain(of_12).collect();
    Arc::new(chosen)
}

/// None: the name of a suite that this proxy does not speak.
fn suite(name: &str) -> Option<CipherSuite> {
    Some(match name {
        "ECDHE-ECDSA-AES128-GCM-SHA256" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES256-GCM-SHA384" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-CHACHA20-POLY1305" => CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305" => CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        _ => return None,
    })
}

/// None: the name of a curve that this proxy does not speak.
fn curve(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    Some(match name {
        "X25519MLKEM768" => aws_lc_rs::kx_group::X25519MLKEM768,
        "X25519" => aws_lc_rs::kx_group::X25519,
        "P-256" => aws_lc_rs::kx_group::SECP256R1,
        "P-384" => aws_lc_rs::kx_group::SECP384R1,
        _ => return None,
    })
}

/// The versions from `min` to `max` that this proxy speaks: 1.2 and 1.3. None where that leaves none.
pub(super) fn versions(min: TlsVersion, max: TlsVersion) -> Option<Vec<&'static SupportedProtocolVersion>> {
    let rank = |version| match version {
        TlsVersion::Auto => None,
        TlsVersion::V1_0 => Some(0),
        TlsVersion::V1_1 => Some(1),
        TlsVersion::V1_2 => Some(2),
        TlsVersion::V1_3 => Some(3),
    };
    let (min, max) = (rank(min).unwrap_or(2), rank(max).unwrap_or(3));
    let all = [(2, &version::TLS12), (3, &version::TLS13)];
    let left: Vec<_> = all.into_iter().filter(|(rank, _)| (min..=max).contains(rank)).map(|(_, v)| v).collect();
    (!left.is_empty()).then_some(left)
}
