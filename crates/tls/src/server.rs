//! The server: what all handshakes of a process have in common (spec tls-sasl 2 to 8).
//!
//! [`Server::new`] reads keys, certificates and authorities, which only the superuser may be able to. What cannot be
//! used is told as a warning, and there is no TLS then: whoever asks for it gets 454. A [`Handshake`](crate::Handshake) is
//! with one client. The configuration of rustls is made for each: who the client is, and what was signed with what,
//! belongs to one connection.

use std::sync::{Arc, PoisonError};

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{Accepted, ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    HandshakeKind, ServerConfig, ServerConnection, SignatureAlgorithm, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::authorities::{Authorities, Distrust, Purpose};
use crate::certificate::{Certificate, PublicKey};
use crate::chain::{self, Chain, PemFile};
use crate::ciphers::{CipherError, CipherLists, Ciphers};
use crate::client_certificates::{AskForCertificate, Signed};
use crate::digest::Digest;
use crate::error::HandshakeError;
use crate::established::{ClientCertificate, Established, Trust};
use crate::hello::Said;
use crate::names;
use crate::offers;
use crate::pairs::{self, KeyPair};
use crate::protocols::Protocols;
use crate::server_name::restoring;
use crate::ticket::{TicketKeys, Tickets};

/// Whether clients are asked for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskClients {
    /// No.
    No,
    /// Yes; they need not have one.
    Yes,
}

/// The settings, as main.cf has them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `smtpd_tls_chain_files`
    pub chain_files: String,
    /// `smtpd_tls_cert_file` and its kin, those that are set.
    pub pairs: Vec<KeyPair>,
    /// `smtpd_tls_CAfile`
    pub ca_file: String,
    /// `smtpd_tls_CApath`
    pub ca_path: String,
    /// `tls_append_default_CA`
    pub append_default_ca: bool,
    /// Whether clients are asked for certificates.
    pub ask: AskClients,
    /// `smtpd_tls_ccert_verifydepth`
    pub verify_depth: usize,
    /// `tls_trust_server_ccerts`
    pub purpose: Purpose,
    /// `smtpd_tls_fingerprint_digest`
    pub digest: String,
    /// `smtpd_tls_protocols` or `smtpd_tls_mandatory_protocols`
    pub protocols: String,
    /// `smtpd_tls_ciphers` or `smtpd_tls_mandatory_ciphers`
    pub grade: String,
    /// `tls_*_cipherlist`
    pub lists: CipherLists,
    /// `smtpd_tls_exclude_ciphers`, and the mandatory ones.
    pub exclusions: Vec<String>,
    /// `tls_eecdh_auto_curves`
    pub curves: String,
    /// `tls_preempt_cipherlist`
    pub server_order: bool,
    /// How sessions are told of.
    pub wording: Wording,
}

/// How log lines and headers tell of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wording {
    /// Key exchanges have names of curves: `X25519`, `ECDHE (prime256v1)`. In a resumed session the keys of both sides are
    /// told, though nothing is signed with them.
    OfCurves,
    /// Key exchanges have the names of TLS's groups: `x25519`, `secp256r1`. Of a resumed session no keys are told. Since
    /// 3.10 (observed, 3.10.3 and 3.11.7).
    OfGroups,
}

/// The name a client asked for, and what is known of it.
#[derive(Debug)]
pub enum Named {
    /// Not in the table, or there is none: the default chain.
    Unknown,
    /// These files have its chain.
    Files(Vec<PemFile>, String),
    /// The table cannot tell, or its files cannot be read: the handshake fails. It has been logged.
    Failed,
}

/// What a handshake has to know of its client.
pub struct Peer<'p> {
    /// `name[address]`
    pub namaddr: &'p str,
    /// Whether tickets are logged.
    pub log_tickets: bool,
    /// Looks up the name it asks for, which is whatever it sent.
    pub server_name: &'p dyn Fn(&[u8]) -> Named,
}

impl std::fmt::Debug for Peer<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Peer").field("namaddr", &self.namaddr).finish_non_exhaustive()
    }
}

/// A session, and what the log shall know of its certificate.
#[derive(Debug)]
pub struct Outcome {
    /// What was agreed on.
    pub established: Established,
    /// Why nobody vouches for the certificate that the client showed.
    pub distrust: Option<Distrust>,
}

/// All handshakes of a process.
#[derive(Debug)]
pub struct Server {
    chains: Vec<Chain>,
    authorities: Arc<Authorities>,
    ask: AskClients,
    verify_depth: usize,
    purpose: Purpose,
    digest: Digest,
    protocols: Protocols,
    ciphers: Result<Ciphers, CipherError>,
    template: Template,
    wording: Wording,
    tickets: Option<Arc<dyn TicketKeys>>,
}

impl Server {
    /// Reads what the settings name. Without a usable chain there is no server, and the log says why.
    #[must_use]
    pub fn new(settings: &Settings, tickets: Option<Arc<dyn TicketKeys>>) -> Option<Self> {
        let disabled = |text: String| log::warn!("{text}: disabling TLS support");
        let Some(digest) = Digest::named(&settings.digest) else {
            log::warn!("Digest algorithm \"{}\" not found", settings.digest);
            log::warn!("disabling TLS support");
            return None;
        };
        let authorities =
            match Authorities::load(&settings.ca_file, &settings.ca_path, settings.append_default_ca) {
                Ok(authorities) => authorities,
                Err(trouble) => {
                    trouble.warn();
                    log::info!("{trouble}: disabling TLS support");
                    return None;
                }
            };
        let chains = pairs::load_any(&settings.chain_files, &settings.pairs)?;
        if chains.is_empty() {
            disabled("no usable certificate".into());
            return None;
        }
        let Some(protocols) = Protocols::parse(&settings.protocols).filter(|protocols| !protocols.is_empty())
        else {
            disabled(format!("Invalid TLS protocol list \"{}\"", settings.protocols));
            return None;
        };
        let ciphers = settings.lists.select(&settings.grade, &settings.exclusions);
        let template = Template::new(settings, &protocols, ciphers.as_ref().ok())
            .map_err(|error| disabled(error.to_string()));
        Some(Self {
            chains,
            authorities: Arc::new(authorities),
            ask: settings.ask,
            verify_depth: settings.verify_depth,
            purpose: settings.purpose,
            digest,
            protocols,
            ciphers,
            template: template.ok()?,
            wording: settings.wording,
            tickets,
        })
    }

    /// The cipher list as OpenSSL would be told.
    #[must_use]
    pub fn cipher_list(&self) -> Option<&str> {
        self.ciphers.as_ref().ok().map(|ciphers| ciphers.text.as_str())
    }

    /// Why no handshake succeeds, if that is because of the cipher list.
    #[must_use]
    pub fn cipher_fault(&self) -> Option<&CipherError> {
        self.ciphers.as_ref().err()
    }

    /// Words of the cipher list and the exclusions that select nothing because nobody knows them.
    #[must_use]
    pub fn unknown_cipher_words(&self) -> &[String] {
        self.ciphers.as_ref().map(|ciphers| ciphers.unknown.as_slice()).unwrap_or_default()
    }

    /// Whether there can be a handshake at all.
    pub(crate) fn check(&self, peer: &Peer<'_>) -> Result<(), HandshakeError> {
        match &self.ciphers {
            Ok(_) => Ok(()),
            Err(error) => Err(HandshakeError::Settings(format!("{}: {error}", peer.namaddr))),
        }
    }

    /// The configuration of one connection, and the server name if a table knows it.
    pub(crate) fn config(
        &self,
        accepted: &Accepted,
        said: &Said,
        peer: &Peer<'_>,
        signatures: &mut Signatures,
    ) -> Result<(Arc<ServerConfig>, Option<String>), HandshakeError> {
        let hello = accepted.client_hello();
        let named = match &said.server_name {
            Some(name) => (peer.server_name)(name),
            None => Named::Unknown,
        };
        let special = match named {
            Named::Unknown => None,
            Named::Failed => {
                return Err(HandshakeError::Protocol("no certificate for the server name".into()));
            }
            Named::Files(files, value) => Some(chain::load(&files, &value).map_err(|text| {
                log::warn!("{text}");
                log::warn!(
                    "error loading private keys and certificates from: {value}: aborting TLS handshake"
                );
                HandshakeError::Protocol("no certificate for the server name".into())
            })?),
        };
        let chains = special.as_ref().unwrap_or(&self.chains);
        let chain = self.choose(chains, &hello, said.offers_tls13);
        signatures.server_key = chain.map(|chain| chain.public_key);
        let chosen = Arc::new(Chosen(chain.map(|chain| recording(chain, &signatures.server))));
        let verifier: Arc<dyn ClientCertVerifier> = match self.ask {
            AskClients::No => Arc::new(NoClientAuth),
            AskClients::Yes => Arc::new(AskForCertificate {
                authorities: self.authorities.clone(),
                signed: signatures.client.clone(),
            }),
        };
        let mut config = self.template.config(verifier, chosen)?;
        if let Some(keys) = &self.tickets {
            let logged_as = peer.log_tickets.then(|| peer.namaddr.to_string());
            config.ticketer = Arc::new(Tickets { keys: keys.clone(), logged_as });
        }
        let name = special.and(said.server_name.as_deref());
        let name = name.map(|name| String::from_utf8_lossy(name).to_ascii_lowercase());
        Ok((Arc::new(config), name))
    }

    /// The chain for this client. In TLS 1.3 its signature schemes decide, in their order; in TLS 1.2 its suites.
    fn choose<'c>(
        &self,
        chains: &'c [Chain],
        hello: &ClientHello<'_>,
        offers_tls13: bool,
    ) -> Option<&'c Chain> {
        let schemes = hello.signature_schemes();
        let signs = |chain: &&Chain| chain.certified.key.choose_scheme(schemes).is_some();
        if self.protocols.allows_tls13() && offers_tls13 {
            let by_scheme = schemes.iter().find_map(|scheme| {
                chains.iter().find(|chain| {
                    fits(*scheme, chain.public_key) && chain.certified.key.choose_scheme(&[*scheme]).is_some()
                })
            });
            return by_scheme.or_else(|| chains.first());
        }
        let ours = self.ciphers.as_ref().map(|ciphers| ciphers.suites.as_slice()).unwrap_or_default();
        let theirs = hello.cipher_suites();
        let (first, second) = if self.template.server_order { (ours, theirs) } else { (theirs, ours) };
        let shared = first.iter().filter(|suite| second.contains(suite));
        let wanted = shared.filter_map(|suite| names::SUITES.iter().find(|known| known.suite == *suite));
        wanted
            .filter_map(|suite| {
                let rsa = suite.words.contains(&"aRSA");
                chains.iter().filter(signs).find(|chain| matches!(chain.public_key, PublicKey::Rsa(_)) == rsa)
            })
            .next()
            .or_else(|| chains.first())
    }

    /// What a handshake has come to.
    pub(crate) fn describe(&self, connection: &ServerConnection, signatures: &Signatures) -> Outcome {
        let protocol = connection.protocol_version().map_or("unknown", names::protocol);
        let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
        let (cipher, strength) = suite.map(names::cipher).unwrap_or(("unknown", Default::default()));
        let mut established = Established { protocol, cipher, strength, ..Established::default() };
        established.resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let mut distrust = None;
        let shown = connection.peer_certificates().filter(|chain| !chain.is_empty());
        let leaf = shown.and_then(|chain| Certificate::parse(&chain[0]).map(|leaf| (chain, leaf)));
        if let Some((chain, leaf)) = leaf {
            established.client_certificate = Some(ClientCertificate {
                subject: leaf.subject_name(),
                issuer: leaf.issuer_name(),
                fingerprint: self.digest.fingerprint(&chain[0]),
                pubkey_fingerprint: self.digest.fingerprint(leaf.spki),
            });
            distrust = self.authorities.judge(chain, self.verify_depth, self.purpose).err();
            established.trust = if distrust.is_none() { Trust::Trusted } else { Trust::Untrusted };
        }
        if protocol == "TLSv1.3" {
            let group = connection.negotiated_key_exchange_group();
            established.key_exchange = group.map(|group| names::key_exchange(group.name(), self.wording));
            let resumed = established.resumed;
            let named = |signed: &Signed, key: Option<PublicKey>| {
                // Nothing is signed when a session is resumed (observed, 3.7.11).
                if resumed {
                    return key.filter(|_| self.wording == Wording::OfCurves).map(names::unsigned);
                }
                taken(signed).zip(key).map(|(scheme, key)| names::signature(scheme, key))
            };
            established.server_signature = named(&signatures.server, signatures.server_key);
            established.client_signature = named(&signatures.client, leaf.map(|(_, leaf)| leaf.public_key()));
        }
        Outcome { established, distrust }
    }
}

/// What was signed with in a handshake.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    server: Signed,
    server_key: Option<PublicKey>,
    client: Signed,
}

/// Whether OpenSSL would use this scheme with this key: it ties curves to digests in TLS 1.3.
fn fits(scheme: SignatureScheme, key: PublicKey) -> bool {
    match key {
        PublicKey::Rsa(_) => matches!(
            scheme,
            SignatureScheme::RSA_PSS_SHA256
                | SignatureScheme::RSA_PSS_SHA384
                | SignatureScheme::RSA_PSS_SHA512
        ),
        _ => true,
    }
}

/// What does not depend on the client.
#[derive(Debug)]
struct Template {
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    server_order: bool,
}

impl Template {
    fn new(
        settings: &Settings,
        protocols: &Protocols,
        ciphers: Option<&Ciphers>,
    ) -> Result<Self, rustls::Error> {
        let suites = ciphers.map(|ciphers| ciphers.suites.as_slice()).unwrap_or_default();
        let (mut provider, versions) = offers::all(&settings.curves, suites, protocols);
        provider.cipher_suites = provider.cipher_suites.into_iter().map(restoring).collect();
        let template = Self { provider: Arc::new(provider), versions, server_order: settings.server_order };
        // Errors come at start, not at the first client.
        template.config(Arc::new(NoClientAuth), Arc::new(Chosen(None)))?;
        Ok(template)
    }

    fn config(
        &self,
        verifier: Arc<dyn ClientCertVerifier>,
        chain: Arc<Chosen>,
    ) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.versions)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(chain);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        config.ignore_client_order = self.server_order;
        Ok(config)
    }
}

/// The chain of a connection.
#[derive(Debug)]
struct Chosen(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

/// A key that tells what it signed with.
#[derive(Debug)]
struct Recording {
    key: Arc<dyn SigningKey>,
    signed: Signed,
}

fn recording(chain: &Chain, signed: &Signed) -> Arc<CertifiedKey> {
    let key = Recording { key: chain.certified.key.clone(), signed: signed.clone() };
    Arc::new(CertifiedKey::new(chain.certified.cert.clone(), Arc::new(key)))
}

impl SigningKey for Recording {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        // In the client's order, as OpenSSL goes by.
        let signer = offered.iter().find_map(|scheme| self.key.choose_scheme(&[*scheme]))?;
        *self.signed.lock().unwrap_or_else(PoisonError::into_inner) = Some(signer.scheme());
        Some(signer)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

fn taken(signed: &Signed) -> Option<SignatureScheme> {
    signed.lock().unwrap_or_else(PoisonError::into_inner).take()
}
