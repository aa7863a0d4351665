//! The names of cipher suites and curves: what Envoy takes, and what Amime's own proxy speaks of it. One unknown name
//! would have Envoy refuse a whole listener; `translate` leaves those out that `validate` warns of.

/// Those of TLS 1.2 that Amime's own proxy speaks: with forward secrecy and authenticated encryption.
pub(crate) const SPOKEN: usize = 6;

pub(crate) const CIPHER_SUITES: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

/// Those that Amime's own proxy speaks.
pub(crate) const SPOKEN_CURVES: usize = 4;

pub(crate) const CURVES: &[&str] = &["X25519MLKEM768", "X25519", "P-256", "P-384", "P-521"];

pub(crate) fn is_cipher_suite(name: &str) -> bool {
    // Signs as `-` and `+` are BoringSSL's operators; what stands after them is left to it.
    !name.starts_with(char::is_alphanumeric) || name == "ALL" || CIPHER_SUITES.contains(&name)
}

pub(crate) fn is_curve(name: &str) -> bool {
    CURVES.contains(&name)
}
