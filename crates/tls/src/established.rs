//! What a handshake agreed on, in OpenSSL's names (spec tls-sasl 7, 8.2 and 9).

/// How far the peer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// It showed no certificate.
    #[default]
    Anonymous,
    /// It showed one that no known authority vouches for.
    Untrusted,
    /// A known authority vouches for its certificate.
    Trusted,
}

impl Trust {
    /// The first word of the log line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Anonymous => "Anonymous",
            Self::Untrusted => "Untrusted",
            Self::Trusted => "Trusted",
        }
    }
}

/// Bits of a cipher's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strength {
    /// That protect.
    pub used: u16,
    /// That the algorithm has.
    pub algorithm: u16,
}

/// A signature that a side made in a TLS 1.3 handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// `RSA-PSS (2048 bits)`, `ECDSA (prime256v1)`, `ED25519`.
    pub algorithm: String,
    /// `SHA256`; absent where the algorithm implies it.
    pub digest: Option<&'static str>,
}

impl Signature {
    fn text(&self, side: &str) -> String {
        let digest = self.digest.map(|digest| format!(" {side}-digest {digest}")).unwrap_or_default();
        format!("{side}-signature {}{digest}", self.algorithm)
    }
}

/// The certificate a client showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientCertificate {
    /// Common name of the subject; empty when there is none that can be shown.
    pub subject: Vec<u8>,
    /// Common name of the issuer, or else its organization.
    pub issuer: Vec<u8>,
    /// Digest of the certificate: upper-case hex bytes with colons.
    pub fingerprint: String,
    /// Digest of its public key, likewise.
    pub pubkey_fingerprint: String,
}

/// A session after its handshake.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Established {
    /// `TLSv1.3`
    pub protocol: &'static str,
    /// `TLS_AES_256_GCM_SHA384`
    pub cipher: &'static str,
    /// Bits of the cipher.
    pub strength: Strength,
    /// `X25519`, `ECDHE (prime256v1)`; TLS 1.3 only.
    pub(crate) key_exchange: Option<String>,
    /// The server's signature; TLS 1.3 only, and not in a resumed session.
    pub(crate) server_signature: Option<Signature>,
    /// The client's signature, likewise.
    pub(crate) client_signature: Option<Signature>,
    /// What the client showed.
    pub client_certificate: Option<ClientCertificate>,
    /// How far the client is known.
    pub trust: Trust,
    /// An earlier session was taken up again.
    pub resumed: bool,
    /// The name the client asked for, if a table has a certificate for it.
    pub server_name: Option<String>,
}

impl Established {
    /// Everything behind `established from NAMADDR: ` in the log line.
    #[must_use]
    pub fn summary(&self) -> String {
        self.parts().join(" ")
    }

    /// The first lines of the comment in a Received header, without the white space before them.
    #[must_use]
    pub fn received_comment(&self) -> Vec<String> {
        let mut lines = self.parts();
        lines[0].insert_str(0, "(using ");
        if let Some(last) = lines.last_mut() {
            last.push(')');
        }
        lines
    }

    /// Protocol and cipher; what the server did; what the client did. At least the first.
    fn parts(&self) -> Vec<String> {
        let Strength { used, algorithm } = self.strength;
        let mut parts =
            vec![format!("{} with cipher {} ({used}/{algorithm} bits)", self.protocol, self.cipher)];
        let exchange = self.key_exchange.as_ref().map(|name| format!("key-exchange {name}"));
        let server = self.server_signature.as_ref().map(|signature| signature.text("server"));
        let second: Vec<_> = exchange.into_iter().chain(server).collect();
        if !second.is_empty() {
            parts.push(second.join(" "));
        }
        parts.extend(self.client_signature.as_ref().map(|signature| signature.text("client")));
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_line_and_header() {
        let rsa = Signature { algorithm: "RSA-PSS (2048 bits)".into(), digest: Some("SHA256") };
        let session = Established {
            protocol: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384",
            strength: Strength { used: 256, algorithm: 256 },
            key_exchange: Some("X25519".into()),
            server_signature: Some(rsa),
            client_signature: Some(Signature { algorithm: "ED25519".into(), digest: None }),
            ..Established::default()
        };
        assert_eq!(
            session.summary(),
            "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 \
             server-signature RSA-PSS (2048 bits) server-digest SHA256 client-signature ED25519"
        );
        assert_eq!(
            session.received_comment(),
            [
                "(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)",
                "key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256",
                "client-signature ED25519)"
            ]
        );
    }
}
