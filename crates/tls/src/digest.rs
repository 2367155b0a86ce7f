//! Fingerprints (spec tls-sasl 7).

use aws_lc_rs::digest::{self, Algorithm};
use md5::{Digest as _, Md5};

/// A digest, by its OpenSSL name.
#[derive(Debug, Clone, Copy)]
pub struct Digest(Kind);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Md5,
    Other(&'static Algorithm),
}

/// The digests that OpenSSL and we have.
const NAMES: &[(&str, &Algorithm)] = &[
    ("sha1", &digest::SHA1_FOR_LEGACY_USE_ONLY),
    ("sha-1", &digest::SHA1_FOR_LEGACY_USE_ONLY),
    ("sha224", &digest::SHA224),
    ("sha2-224", &digest::SHA224),
    ("sha256", &digest::SHA256),
    ("sha2-256", &digest::SHA256),
    ("sha384", &digest::SHA384),
    ("sha2-384", &digest::SHA384),
    ("sha512", &digest::SHA512),
    ("sha2-512", &digest::SHA512),
    ("sha512-256", &digest::SHA512_256),
    ("sha3-256", &digest::SHA3_256),
    ("sha3-384", &digest::SHA3_384),
    ("sha3-512", &digest::SHA3_512),
];

impl Digest {
    /// The digest of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("md5") {
            return Some(Self(Kind::Md5));
        }
        let found = NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map(|(_, algorithm)| Self(Kind::Other(algorithm)))
    }

    /// The digest of these bytes: upper-case hex pairs with colons between them.
    #[must_use]
    pub fn fingerprint(self, bytes: &[u8]) -> String {
        match self.0 {
            Kind::Md5 => pairs(&Md5::digest(bytes)),
            Kind::Other(algorithm) => pairs(digest::digest(algorithm, bytes).as_ref()),
        }
    }
}

fn pairs(bytes: &[u8]) -> String {
    let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn known_digests() {
        for (name, start) in
            [("MD5", "90:01:50:98:3C"), ("sha1", "A9:99:3E:36:47"), ("SHA256", "BA:78:16:BF:8F")]
        {
            let text = Digest::named(name).unwrap().fingerprint(b"abc");
            assert!(text.starts_with(start), "{name}: {text}");
        }
        assert!(Digest::named("sha").is_none());
    }
}
