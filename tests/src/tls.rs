//! TLS for clients of the harness, and certificates made for a test.
//!
//! A [`TlsClient`] takes any certificate and remembers which. Used for several connections it resumes sessions.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SanType,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
};

/// The bytes under a client: in clear text or protected.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.sock,
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// What a handshake came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The server's certificate, DER.
    pub certificate: Vec<u8>,
    /// An earlier session was resumed.
    pub resumed: bool,
    /// The key exchange, as rustls names it.
    pub group: String,
}

/// How a client does TLS.
#[derive(Debug, Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// What a client offers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offer<'o> {
    /// `TLSv1.2` or `TLSv1.3`; both when empty.
    pub protocol: &'o str,
    /// Suites whose name contains this; all when empty.
    pub suites: &'o str,
    /// The one key exchange, as rustls names it; X25519, then secp256r1 when empty: what all servers have.
    pub group: &'o str,
    /// Who it is, if it says.
    pub identity: Option<&'o Identity>,
    /// The server it asks for; an address, that is nothing, when empty.
    pub server_name: &'o str,
}

impl TlsClient {
    /// A client that offers this.
    ///
    /// # Panics
    /// When there is no such thing to offer.
    pub fn new(offer: Offer<'_>) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains(offer.suites));
        let groups = if offer.group.is_empty() { &["X25519", "secp256r1"][..] } else { &[offer.group] };
        let wanted =
            |known: &&'static dyn SupportedKxGroup| groups.contains(&format!("{:?}", known.name()).as_str());
        provider.kx_groups.retain(|known| wanted(known));
        assert_eq!(provider.kx_groups.len(), groups.len(), "{groups:?}");
        let provider: Arc<CryptoProvider> = Arc::new(provider);
        let all = [&rustls::version::TLS12, &rustls::version::TLS13];
        let chosen = |version: &&&'static SupportedProtocolVersion| {
            offer.protocol.is_empty() || format!("{:?}", version.version).replace('_', ".") == offer.protocol
        };
        let versions: Vec<_> = all.iter().filter(chosen).copied().collect();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .expect("suites for these versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer));
        let config = match offer.identity {
            Some(identity) => {
                let key = PrivatePkcs8KeyDer::from(identity.key.serialize_der());
                builder
                    .with_client_auth_cert(identity.chain.clone(), PrivateKeyDer::Pkcs8(key))
                    .expect("a key of a known kind")
            }
            None => builder.with_no_client_auth(),
        };
        let name = if offer.server_name.is_empty() { "127.0.0.1" } else { offer.server_name };
        Self { config: Arc::new(config), name: name.to_owned().try_into().expect("a name") }
    }

    /// Runs the handshake.
    pub(crate) fn protect(&self, tcp: TcpStream) -> Result<(Wire, Handshake), String> {
        let connection = ClientConnection::new(self.config.clone(), self.name.clone())
            .map_err(|error| error.to_string())?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
        }
        let shown = stream.conn.peer_certificates().and_then(|chain| chain.first());
        let handshake = Handshake {
            certificate: shown.map(|leaf| leaf.to_vec()).unwrap_or_default(),
            resumed: stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
            group: stream
                .conn
                .negotiated_key_exchange_group()
                .map(|group| format!("{:?}", group.name()))
                .unwrap_or_default(),
        };
        Ok((Wire::Tls(Box::new(stream)), handshake))
    }
}

/// Takes any server for the right one.
#[derive(Debug)]
pub struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Kinds of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, 2048 bits.
    Rsa,
    /// On the curve prime256v1.
    Ecdsa,
    /// Ed25519.
    Ed25519,
}

/// A key, and the certificates that go with it.
#[derive(Debug)]
pub struct Identity {
    key: KeyPair,
    params: CertificateParams,
    chain: Vec<CertificateDer<'static>>,
}

/// What is special about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// Nothing.
    Nothing,
    /// It may issue others.
    Authority,
    /// Its time is over.
    Expired,
    /// It is for servers.
    ForServers,
}

impl Identity {
    /// A certificate of this common name, issued by itself.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn self_issued(kind: KeyKind, common_name: &str, special: Special) -> Self {
        let (key, params) = Self::parts(kind, common_name, special);
        let certificate = params.self_signed(&key).expect("a certificate");
        let chain = vec![certificate.der().clone()];
        Self { key, params, chain }
    }

    /// A certificate of this common name that this one issues.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn issue(&self, kind: KeyKind, common_name: &str, special: Special) -> Self {
        let (key, params) = Self::parts(kind, common_name, special);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let mut chain = vec![certificate.der().clone()];
        chain.extend(self.chain.iter().cloned());
        Self { key, params, chain }
    }

    fn parts(kind: KeyKind, common_name: &str, special: Special) -> (KeyPair, CertificateParams) {
        let key = match kind {
            KeyKind::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            KeyKind::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyKind::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Tests");
        if !common_name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        match special {
            Special::Nothing => {}
            Special::Authority => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            Special::Expired => params.not_after = rcgen::date_time_ymd(2001, 1, 1),
            Special::ForServers => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        }
        (key.expect("a key"), params)
    }

    /// As [`Identity::issue`], for these names of hosts as well.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn issue_for(&self, kind: KeyKind, common_name: &str, hosts: &[&str]) -> Self {
        let (key, mut params) = Self::parts(kind, common_name, Special::Nothing);
        let name = |host: &&str| SanType::DnsName((*host).try_into().expect("a name"));
        params.subject_alt_names = hosts.iter().map(name).collect();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let mut chain = vec![certificate.der().clone()];
        chain.extend(self.chain.iter().cloned());
        Self { key, params, chain }
    }

    /// Its certificates, DER: its own first.
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The key, DER.
    pub(crate) fn key_der(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    /// Leaves out the certificates of those who issued it.
    pub fn drop_issuers(&mut self) {
        self.chain.truncate(1);
    }

    /// The public key with its algorithm, DER.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    /// The certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.chain[0]
    }

    /// The certificates, PEM: its own first.
    pub fn certificates(&self) -> String {
        self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    /// The key, PEM.
    pub fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// Writes `NAME.key`, `NAME.crt` and `NAME.pem`, which has both, key first; the path of the last.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = |ending: &str| folder.join(format!("{name}.{ending}"));
        fs::write(path("key"), self.key()).expect("the test's own folder");
        fs::write(path("crt"), self.certificates()).expect("the test's own folder");
        fs::write(path("pem"), self.key() + &self.certificates()).expect("the test's own folder");
        path("pem")
    }
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

/// SHA-512.
pub fn sha512(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA512, bytes).as_ref().to_vec()
}

fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for bytes in line.chunks(3) {
            let bits = bytes
                .iter()
                .enumerate()
                .fold(0u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
            for at in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
                text.push(if at <= bytes.len() { char::from(digit) } else { '=' });
            }
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
