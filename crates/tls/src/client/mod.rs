//! The client's side of TLS: what is offered, what is demanded of the server, and what has come of it
//! (spec tls-sasl 12 to 15).
//!
//! As with Postfix, a handshake never fails because of the server's certificate: who demands something of it looks at
//! the [`Outcome`] and leaves.
//!
//! ```
//! use tls::client::Names;
//! let names = Names { patterns: vec!["mx.example.com".into(), ".example.net".into()], wildcards_go_deep: true };
//! assert!(names.accept("*.example.com") && names.accept("a.b.example.net") && !names.accept("example.net"));
//! ```

mod dane;
mod handshake;
mod names;
mod sessions;
mod witness;

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, SupportedProtocolVersion};

use crate::authorities::{Authorities, Distrust, NoAuthorities, Purpose};
use crate::certificate::{Certificate, PublicKey};
use crate::ciphers::{CipherError, CipherLists};
use crate::digest::Digest;
use crate::error::HandshakeError;
use crate::established::{Established, Trust};
use crate::names as openssl;
use crate::offers;
use crate::pairs::{self, KeyPair};
use crate::protocols::Protocols;
use crate::server::Wording;

pub use dane::{Dane, Tlsa};
pub use handshake::Handshake;
pub use names::Names;
use sessions::Sessions;
use witness::{Identity, Seen, Witness};

/// What all connections of a process have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `smtp_tls_chain_files`
    pub chain_files: String,
    /// `smtp_tls_cert_file` and its kin, those that are set.
    pub pairs: Vec<KeyPair>,
    /// `smtp_tls_CAfile`
    pub ca_file: String,
    /// `smtp_tls_CApath`
    pub ca_path: String,
    /// `tls_append_default_CA`
    pub append_default_ca: bool,
    /// `smtp_tls_scert_verifydepth`
    pub verify_depth: usize,
    /// `smtp_tls_fingerprint_digest`
    pub digest: String,
    /// `tls_*_cipherlist`
    pub lists: CipherLists,
    /// `tls_eecdh_auto_curves`
    pub curves: String,
    /// How sessions are told of.
    pub wording: Wording,
    /// What of a certificate is looked at first.
    pub order: Order,
}

/// What of a certificate is looked at first, and so told, where more than one thing is not as demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Its name: one that lacks that is not even trusted (observed, 3.7.11 and 3.10.3).
    #[default]
    Name,
    /// An address that it must have, who vouches for it, then its name (observed, 3.11.7).
    Issuers,
}

/// What a destination is offered.
#[derive(Debug, Clone)]
pub struct Offer {
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    unknown: Vec<String>,
}

impl Offer {
    /// Whether nothing is left for TLS 1.2.
    #[must_use]
    pub fn is_for_tls13_only(&self) -> bool {
        self.provider.cipher_suites.iter().all(|suite| suite.tls13().is_some())
    }

    /// Words of the cipher list and the exclusions that select nothing because nobody knows them.
    #[must_use]
    pub fn unknown_cipher_words(&self) -> &[String] {
        &self.unknown
    }
}

/// Why nothing can be offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// The list of protocols leaves none that we have.
    #[error("Invalid TLS protocol list \"{0}\"")]
    Protocols(String),
    /// The grade, or what is excluded, is no good.
    #[error(transparent)]
    Ciphers(#[from] CipherError),
    /// What is left does not go together.
    #[error("no protocol and cipher is left")]
    Nothing,
}

/// What a certificate has to show, beside that the server has its key.
#[derive(Debug, Clone, Copy)]
pub enum Demand<'d> {
    /// Nothing: levels `may` and `encrypt`.
    Nothing,
    /// One of these digests is its own or its key's, as hex with or without colons: level `fingerprint`.
    Fingerprints(&'d [String]),
    /// An authority vouches for it, and it has one of these names: levels `verify` and `secure`.
    Names(&'d Names),
    /// One of these records fits: level `dane` and its kin.
    Dane(&'d Dane),
}

/// What a handshake has to know of its server.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'p> {
    /// What it is offered.
    pub offer: &'p Offer,
    /// The name that is asked for.
    pub server_name: Option<&'p str>,
    /// What is demanded of it.
    pub demand: Demand<'p>,
    /// Under which name its sessions are kept and taken up again: whatever makes a difference must be in it, the demand
    /// too. Nothing for a new session each time.
    pub session: Option<&'p str>,
}

/// The certificate that a server showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerCertificate {
    /// Common name of the subject; empty when there is none that can be shown.
    pub subject: Vec<u8>,
    /// Common name of the issuer, or else its organization.
    pub issuer: Vec<u8>,
    /// Names of hosts, beside the subject.
    pub dns_names: Vec<String>,
    /// Addresses, likewise.
    pub addresses: Vec<IpAddr>,
    /// Digest of the certificate: upper-case hex bytes with colons.
    pub fingerprint: String,
    /// Digest of its public key, likewise.
    pub pubkey_fingerprint: String,
    /// It and those that came with it, DER.
    pub chain: Vec<Vec<u8>>,
}

/// One of the certificates that a server showed, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCertificate {
    /// The subject on a line, as OpenSSL shows it: `/C=XX/O=Org/CN=Name`.
    pub subject: String,
    /// The issuer, likewise.
    pub issuer: String,
    /// Digest of the certificate: upper-case hex bytes with colons.
    pub fingerprint: String,
    /// Digest of its public key, likewise.
    pub pubkey_fingerprint: String,
    /// All of it, DER.
    pub der: Vec<u8>,
}

/// A session, and what is known of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was agreed on; its trust is that in the server.
    pub established: Established,
    /// What the server showed.
    pub certificate: Option<ServerCertificate>,
    /// Why nobody vouches for it, or what it lacks of what was demanded.
    pub distrust: Option<Distrust>,
    /// What was demanded is there.
    pub is_verified: bool,
    /// The name, or the digest, that was demanded and found.
    pub matched: Option<String>,
    /// The record that vouches for the certificate itself.
    pub record: Option<Tlsa>,
}

impl Outcome {
    /// The first word of the log line.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if self.is_verified { "Verified" } else { self.established.trust.word() }
    }

    /// Why nobody vouches for the certificate, in OpenSSL's words.
    #[must_use]
    pub fn verification_error(&self) -> Option<String> {
        let chain = self.certificate.iter().flat_map(|shown| &shown.chain);
        let ends_in_itself =
            || chain.last().and_then(|der| Certificate::parse(der)).is_some_and(|last| last.is_self_issued());
        Some(match self.distrust.as_ref()? {
            Distrust::SelfSigned => "self-signed certificate".to_owned(),
            Distrust::UnknownIssuer(_) if ends_in_itself() => {
                "self-signed certificate in certificate chain".to_owned()
            }
            Distrust::UnknownIssuer(_) => "unable to get local issuer certificate".to_owned(),
            Distrust::Expired => "certificate has expired".to_owned(),
            Distrust::NotYetValid => "certificate is not yet valid".to_owned(),
            Distrust::WrongPurpose(_) => "unsuitable certificate purpose".to_owned(),
            Distrust::TooLong(_) => "certificate chain too long".to_owned(),
            Distrust::WrongName => "hostname mismatch".to_owned(),
            Distrust::WrongAddress => "IP address mismatch".to_owned(),
            Distrust::NoMatch | Distrust::NoAnchor => "no matching DANE TLSA records".to_owned(),
            Distrust::Unusable(text) => (*text).to_owned(),
            Distrust::Other(text) => text.clone(),
        })
    }

    /// The log line about a certificate that lacks something; for who demanded it.
    #[must_use]
    pub fn complaint(&self, namaddr: &str) -> Option<String> {
        self.distrust.as_ref().map(|distrust| distrust.line("server", namaddr))
    }
}

/// Why a process can have no handshakes.
#[derive(Debug, thiserror::Error)]
pub enum NoClient {
    /// Nobody knows this digest.
    #[error("Digest algorithm \"{0}\" not found")]
    Digest(String),
    /// There is a file with no authority in it.
    #[error(transparent)]
    Authorities(#[from] NoAuthorities),
    /// What is wrong with keys and certificates of our own has been logged.
    #[error("no usable certificate")]
    Identity,
}

/// All handshakes of a process.
#[derive(Debug)]
pub struct Client {
    authorities: Authorities,
    verify_depth: usize,
    digest: Digest,
    lists: CipherLists,
    curves: String,
    wording: Wording,
    order: Order,
    witness: Arc<Witness>,
    identity: Arc<Identity>,
    sessions: Sessions,
}

impl Client {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// Why that is of no use.
    pub fn new(settings: &Settings) -> Result<Self, NoClient> {
        let digest =
            Digest::named(&settings.digest).ok_or_else(|| NoClient::Digest(settings.digest.clone()))?;
        let authorities =
            Authorities::load(&settings.ca_file, &settings.ca_path, settings.append_default_ca)?;
        let chains = pairs::load_any(&settings.chain_files, &settings.pairs).ok_or(NoClient::Identity)?;
        Ok(Self {
            authorities,
            verify_depth: settings.verify_depth,
            digest,
            lists: settings.lists.clone(),
            curves: settings.curves.clone(),
            wording: settings.wording,
            order: settings.order,
            witness: Arc::new(Witness),
            identity: Arc::new(Identity(chains)),
            sessions: Sessions::default(),
        })
    }

    /// What these protocols, this grade and these exclusions leave to offer.
    ///
    /// # Errors
    /// They leave nothing.
    pub fn offer(&self, protocols: &str, grade: &str, exclusions: &[String]) -> Result<Offer, OfferError> {
        let parsed = Protocols::parse(protocols).filter(|protocols| !protocols.is_empty());
        let parsed = parsed.ok_or_else(|| OfferError::Protocols(protocols.to_owned()))?;
        let ciphers = self.lists.select(grade, exclusions)?;
        let (provider, versions) = offers::all(&self.curves, &ciphers.suites, &parsed);
        let offer = Offer { provider: Arc::new(provider), versions, unknown: ciphers.unknown };
        // Errors come here, not at the first server.
        self.config(&offer, None).map_err(|_| OfferError::Nothing)?;
        Ok(offer)
    }

    fn config(&self, offer: &Offer, session: Option<&str>) -> Result<ClientConfig, rustls::Error> {
        let identity: Arc<dyn ResolvesClientCert> = self.identity.clone();
        let mut config = ClientConfig::builder_with_provider(offer.provider.clone())
            .with_protocol_versions(&offer.versions)?
            .dangerous()
            .with_custom_certificate_verifier(self.witness.clone())
            .with_client_cert_resolver(identity);
        config.resumption = match session {
            Some(name) => Resumption::store(self.sessions.named(name)),
            None => Resumption::disabled(),
        };
        Ok(config)
    }

    /// A connection that has yet to say its first word.
    fn connection(&self, peer: &Peer<'_>) -> Result<ClientConnection, HandshakeError> {
        let mut config = self.config(peer.offer, peer.session)?;
        config.enable_sni = peer.server_name.is_some();
        let name = match peer.server_name {
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| HandshakeError::Settings(format!("\"{name}\" is no server name")))?,
            None => ServerName::from(IpAddr::from([0, 0, 0, 0])),
        };
        Ok(ClientConnection::new(Arc::new(config), name)?)
    }

    /// Whether there is a session under this name that can be taken up again.
    #[must_use]
    pub fn has_session(&self, name: &str) -> bool {
        self.sessions.named(name).is_there()
    }

    /// All certificates that a server showed, its own first. What is none is left out.
    #[must_use]
    pub fn shown(&self, certificate: &ServerCertificate) -> Vec<ShownCertificate> {
        let shown = |der: &Vec<u8>| {
            let parsed = Certificate::parse(der)?;
            Some(ShownCertificate {
                subject: parsed.subject_line(),
                issuer: parsed.issuer_line(),
                fingerprint: self.digest.fingerprint(der),
                pubkey_fingerprint: self.digest.fingerprint(parsed.spki),
                der: der.clone(),
            })
        };
        certificate.chain.iter().filter_map(shown).collect()
    }

    /// What a handshake has come to.
    fn describe(&self, connection: &ClientConnection, seen: Seen, demand: Demand<'_>) -> Outcome {
        let protocol = connection.protocol_version().map_or("unknown", openssl::protocol);
        let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
        let (cipher, strength) = suite.map(openssl::cipher).unwrap_or(("unknown", Default::default()));
        let mut established = Established { protocol, cipher, strength, ..Established::default() };
        established.resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let mut outcome = Outcome {
            established,
            certificate: None,
            distrust: None,
            is_verified: false,
            matched: None,
            record: None,
        };
        let chain = connection.peer_certificates().unwrap_or_default();
        let leaf = chain.first().and_then(|der| Certificate::parse(der));
        if let Some(leaf) = leaf {
            let certificate = ServerCertificate {
                subject: leaf.subject_name(),
                issuer: leaf.issuer_name(),
                dns_names: leaf.dns_names(),
                addresses: leaf.addresses(),
                fingerprint: self.digest.fingerprint(&chain[0]),
                pubkey_fingerprint: self.digest.fingerprint(leaf.spki),
                chain: chain.iter().map(|der| der.to_vec()).collect(),
            };
            self.judge(chain, &certificate, demand, &mut outcome);
            let is_trusted = match &outcome.distrust {
                None => true,
                // As with Postfix what lacks a name that was demanded is not even trusted, up to 3.10.
                Some(distrust) => self.order == Order::Issuers && *distrust == Distrust::WrongName,
            };
            outcome.established.trust = if is_trusted { Trust::Trusted } else { Trust::Untrusted };
            outcome.certificate = Some(certificate);
        }
        if protocol == "TLSv1.3" {
            let group = connection.negotiated_key_exchange_group();
            let key = leaf.map_or(PublicKey::Other, |leaf| leaf.public_key());
            let established = &mut outcome.established;
            established.key_exchange = group.map(|group| openssl::key_exchange(group.name(), self.wording));
            established.server_signature = match seen.server {
                // Nothing is signed when a session is resumed.
                None => (self.wording == Wording::OfCurves && leaf.is_some()).then(|| openssl::unsigned(key)),
                Some(scheme) => Some(openssl::signature(scheme, key)),
            };
            established.client_signature = seen.client.map(|(scheme, key)| openssl::signature(scheme, key));
        }
        outcome
    }

    /// Whether the certificate is what was demanded.
    fn judge(
        &self,
        chain: &[rustls::pki_types::CertificateDer<'_>],
        certificate: &ServerCertificate,
        demand: Demand<'_>,
        outcome: &mut Outcome,
    ) {
        let by_authorities = || self.authorities.judge(chain, self.verify_depth, Purpose::Server).err();
        match demand {
            Demand::Nothing => outcome.distrust = by_authorities(),
            Demand::Fingerprints(wanted) => {
                let shown = [&certificate.fingerprint, &certificate.pubkey_fingerprint];
                let same = |wanted: &&String| shown.iter().any(|shown| is_same_digest(wanted, shown));
                outcome.matched = wanted.iter().find(same).cloned();
                outcome.distrust = outcome.matched.is_none().then_some(Distrust::NoMatch);
            }
            Demand::Names(names) => {
                let named = names.judge(certificate, self.order);
                // The name comes before issuers and times (observed, 3.7.11).
                outcome.distrust = match (by_authorities(), named.as_ref().err()) {
                    (Some(distrust @ Distrust::UnknownIssuer(_)), Some(Distrust::WrongName))
                        if self.order == Order::Issuers =>
                    {
                        Some(distrust)
                    }
                    (Some(Distrust::UnknownIssuer(_) | Distrust::Expired) | None, Some(distrust)) => {
                        Some(distrust.clone())
                    }
                    (distrust, _) => distrust,
                };
                outcome.matched = named.ok().flatten();
            }
            Demand::Dane(dane) => match dane.judge(chain, self.verify_depth) {
                Ok(dane::Vouched::Itself(record)) => outcome.record = Some(record.clone()),
                Ok(dane::Vouched::Issuer) => match dane.names.judge(certificate, self.order) {
                    Ok(matched) => outcome.matched = matched,
                    Err(distrust) => outcome.distrust = Some(distrust),
                },
                // Where an issuer is demanded, the name comes first (observed, 3.7.11).
                Err(Distrust::NoAnchor) if self.order == Order::Name => {
                    outcome.distrust =
                        Some(dane.names.judge(certificate, self.order).err().unwrap_or(Distrust::NoAnchor));
                }
                Err(distrust) => outcome.distrust = Some(distrust),
            },
        }
        outcome.is_verified = !matches!(demand, Demand::Nothing) && outcome.distrust.is_none();
    }
}

fn is_same_digest(one: &str, other: &str) -> bool {
    let digits = |text: &str| -> Vec<u8> {
        text.bytes().filter(|byte| *byte != b':').map(|byte| byte.to_ascii_uppercase()).collect()
    };
    digits(one) == digits(other)
}
