//! The certificates of a server, for people to read.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maillog::shown;
use tls::client::ShownCertificate;

/// Characters of a line of PEM.
const LINE: usize = 64;

/// Shows them, the server's own first.
pub(super) fn text(chain: &[ShownCertificate]) -> String {
    let mut text = String::from("\n---\nCertificate chain\n");
    for (place, certificate) in chain.iter().enumerate() {
        let ShownCertificate { subject, issuer, fingerprint, pubkey_fingerprint, der } = certificate;
        let (subject, issuer) = (shown(subject.as_bytes()), shown(issuer.as_bytes()));
        // Writing to a text does not fail.
        let _ = write!(
            text,
            "{place:2} subject: {subject}\n    issuer: {issuer}\n   cert digest={fingerprint}\n   \
             pkey digest={pubkey_fingerprint}\n-----BEGIN CERTIFICATE-----\n"
        );
        let encoded = STANDARD.encode(der);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(LINE));
            text.push_str(line);
            text.push('\n');
            rest = more;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}
