//! TLS behind a small face of our own: certificates, protocols and ciphers as main.cf names them, on rustls.
//!
//! A handshake leaves an [`Established`]: what was agreed on, in the names that OpenSSL has for it, because these are
//! what log readers, headers and policy servers know:
//!
//! ```
//! use tls::{Established, Strength};
//! let mut session = Established::default();
//! session.protocol = "TLSv1.2";
//! session.cipher = "ECDHE-RSA-AES256-GCM-SHA384";
//! session.strength = Strength { used: 256, algorithm: 256 };
//! assert_eq!(session.summary(), "TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)");
//! ```

#![forbid(unsafe_code)]

mod authorities;
mod certificate;
mod chain;
mod ciphers;
pub mod client;
mod client_certificates;
mod der;
mod digest;
mod error;
mod established;
pub mod expiry;
mod groups;
mod handshake;
mod hello;
mod names;
mod offers;
mod pairs;
mod pem;
mod protocols;
mod server;
mod server_name;
mod signature;
mod socket;
mod ticket;

pub use authorities::{BadFile, Distrust, NoAuthorities, Purpose};
pub use chain::{PemFile, check as check_chain};
pub use ciphers::{CipherError, CipherLists};

pub use digest::Digest;
pub use error::HandshakeError;
pub use established::{ClientCertificate, Established, Signature, Strength, Trust};
pub use handshake::{Handshake, Progress};
pub use pairs::KeyPair;
pub use protocols::Protocols;
pub use server::{AskClients, Named, Outcome, Peer, Server, Settings, Wording};
pub use socket::Socket;
pub use ticket::{TicketKey, TicketKeys};

/// Readers of hostile bytes, for fuzzing.
#[doc(hidden)]
pub mod fuzz {
    use crate::certificate::Certificate;

    /// Reads the bytes as a certificate, as the records of a ClientHello, and as PEM.
    pub fn bytes(bytes: &[u8]) {
        if let Some(certificate) = Certificate::parse(bytes) {
            let names = [certificate.subject_name(), certificate.issuer_name()];
            assert!(names.iter().all(|name| std::str::from_utf8(name).is_ok()));
            assert!(certificate.issuer_line().is_ascii());
            let _ = certificate.public_key();
        }
        crate::hello::look_at(bytes);
        if let Ok(objects) = crate::pem::objects(bytes) {
            assert!(objects.iter().map(|object| object.der.len()).sum::<usize>() <= bytes.len());
        }
    }

    /// Reads the bytes as TLSA records, a length before each, and what is behind them as the only certificate of a server.
    pub fn tlsa(bytes: &[u8]) {
        use crate::client::{Dane, Names, Tlsa};

        let (count, mut rest) = bytes.split_first().map_or((0, bytes), |(count, rest)| (count % 16, rest));
        let mut records = Vec::new();
        for _ in 0..count {
            let Some((length, more)) = rest.split_first() else { break };
            let (record, more) = more.split_at(more.len().min(usize::from(*length)));
            records.extend(Tlsa::parse(record));
            rest = more;
        }
        let names = Names { patterns: vec!["mx.example.com".to_owned()], wildcards_go_deep: true };
        if let Some(dane) = Dane::new(&records, "sha512 sha256", names) {
            let chain = [
                rustls::pki_types::CertificateDer::from(rest),
                rustls::pki_types::CertificateDer::from(rest),
            ];
            let _ = (dane.judge(&chain[..1], 9), dane.judge(&chain, 9));
        }
    }

    /// Reads the bytes as a protocol list and a cipher list.
    pub fn lists(text: &str) {
        let _ = crate::Protocols::parse(text);
        let lists = crate::CipherLists { high: text.to_owned(), ..crate::CipherLists::default() };
        if let Ok(ciphers) = lists.select("high", &[text.to_owned()]) {
            assert!(ciphers.suites.len() <= crate::names::SUITES.len());
        }
    }
}
