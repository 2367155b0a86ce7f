//! OpenSSL's names for what rustls agrees on (spec tls-sasl 8.2).

use rustls::{CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme};

use crate::certificate::PublicKey;
use crate::established::{Signature, Strength};
use crate::server::Wording;

/// A cipher suite.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suite {
    pub(crate) suite: CipherSuite,
    pub(crate) name: &'static str,
    /// Words of OpenSSL's cipher lists that select it.
    pub(crate) words: &'static [&'static str],
    pub(crate) bits: u16,
}

const AES256_ECDSA: &[&str] = &["AESGCM", "AES256", "AES", "HIGH", "aECDSA", "ECDSA", "SHA384", "AEAD"];
const AES128_ECDSA: &[&str] = &["AESGCM", "AES128", "AES", "HIGH", "aECDSA", "ECDSA", "SHA256", "AEAD"];
const CHACHA_ECDSA: &[&str] = &["CHACHA20", "HIGH", "aECDSA", "ECDSA", "AEAD"];
const AES256_RSA: &[&str] = &["AESGCM", "AES256", "AES", "HIGH", "aRSA", "SHA384", "AEAD"];
const AES128_RSA: &[&str] = &["AESGCM", "AES128", "AES", "HIGH", "aRSA", "SHA256", "AEAD"];
const CHACHA_RSA: &[&str] = &["CHACHA20", "HIGH", "aRSA", "AEAD"];

/// The suites of TLS 1.2, strongest first.
pub(crate) const SUITES: [Suite; 6] = [
    suite(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        AES256_ECDSA,
        256,
    ),
    suite(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE-RSA-AES256-GCM-SHA384", AES256_RSA, 256),
    suite(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        CHACHA_ECDSA,
        256,
    ),
    suite(
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305",
        CHACHA_RSA,
        256,
    ),
    suite(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        AES128_ECDSA,
        128,
    ),
    suite(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256", AES128_RSA, 128),
];

const fn suite(suite: CipherSuite, name: &'static str, words: &'static [&'static str], bits: u16) -> Suite {
    Suite { suite, name, words, bits }
}

/// The version.
pub(crate) fn protocol(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => "unknown",
    }
}

/// The cipher, and its bits.
pub(crate) fn cipher(suite: CipherSuite) -> (&'static str, Strength) {
    let (name, bits) = match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => ("TLS_AES_128_GCM_SHA256", 128),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => ("TLS_AES_256_GCM_SHA384", 256),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => ("TLS_CHACHA20_POLY1305_SHA256", 256),
        _ => SUITES
            .iter()
            .find(|known| known.suite == suite)
            .map_or(("unknown", 0), |known| (known.name, known.bits)),
    };
    (name, Strength { used: bits, algorithm: bits })
}

/// The key exchange of TLS 1.3, as Postfix names it with OpenSSL 3.0.
pub(crate) fn key_exchange(group: NamedGroup, wording: Wording) -> String {
    match (group, wording) {
        (NamedGroup::secp256r1, Wording::OfCurves) => "ECDHE (prime256v1)".into(),
        (NamedGroup::secp384r1 | NamedGroup::secp521r1, Wording::OfCurves) => format!("ECDHE ({group:?})"),
        (NamedGroup::X25519 | NamedGroup::X448, Wording::OfGroups) => {
            format!("{group:?}").to_ascii_lowercase()
        }
        (group, _) => format!("{group:?}"),
    }
}

/// What this key signs with, where nothing was signed.
pub(crate) fn unsigned(key: PublicKey) -> Signature {
    let algorithm = match key {
        PublicKey::Rsa(bits) => format!("RSA-PSS ({bits} bits)"),
        PublicKey::Ec(curve) => format!("ECDSA ({curve})"),
        PublicKey::Ed25519 => "ED25519".into(),
        PublicKey::Ed448 => "ED448".into(),
        PublicKey::Dsa => "DSA".into(),
        PublicKey::Other => "unknown".into(),
    };
    Signature { algorithm, digest: None }
}

/// A signature with this scheme by this key.
pub(crate) fn signature(scheme: SignatureScheme, key: PublicKey) -> Signature {
    let digest = match scheme {
        SignatureScheme::RSA_PSS_SHA256 | SignatureScheme::ECDSA_NISTP256_SHA256 => Some("SHA256"),
        SignatureScheme::RSA_PSS_SHA384 | SignatureScheme::ECDSA_NISTP384_SHA384 => Some("SHA384"),
        SignatureScheme::RSA_PSS_SHA512 | SignatureScheme::ECDSA_NISTP521_SHA512 => Some("SHA512"),
        _ => None,
    };
    Signature { digest, ..unsigned(key) }
}
