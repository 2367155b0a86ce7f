//! TLS for scripted servers of the harness: a server that takes any client, and what came of a handshake with it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, HandshakeKind, NamedGroup, ServerConfig,
    ServerConnection, SignatureScheme, StreamOwned, SupportedProtocolVersion,
};

use crate::tls::Identity;

/// Whether a server wants to know who its clients are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// It does not ask.
    Unknown,
    /// It asks.
    Asked,
    /// It does not go on without their certificate.
    Demanded,
}

/// How a server does TLS.
#[derive(Clone)]
pub struct TlsServer(Arc<ServerConfig>);

impl fmt::Debug for TlsServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TlsServer")
    }
}

impl TlsServer {
    /// A server with this certificate; `protocol` is `TLSv1.2`, `TLSv1.3`, or empty for both.
    ///
    /// # Panics
    /// When there is no such thing.
    pub fn new(identity: &Identity, protocol: &str, clients: Clients) -> Self {
        let all = [&rustls::version::TLS12, &rustls::version::TLS13];
        let chosen = |version: &&&'static SupportedProtocolVersion| {
            protocol.is_empty() || format!("{:?}", version.version).replace('_', ".") == protocol
        };
        let versions: Vec<_> = all.iter().filter(chosen).copied().collect();
        // What all clients have, so that they agree on the same.
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
        let builder = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .expect("suites for these versions");
        let builder = match clients {
            Clients::Unknown => builder.with_no_client_auth(),
            Clients::Asked | Clients::Demanded => {
                builder.with_client_cert_verifier(Arc::new(AnyClient(clients == Clients::Demanded)))
            }
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key_der()));
        let config = builder.with_single_cert(identity.chain().to_vec(), key).expect("a key that fits");
        Self(Arc::new(config))
    }

    /// Runs the handshake; what came of it, in a word or two.
    pub(crate) fn accept(&self, tcp: TcpStream) -> Result<(TlsStream, String), String> {
        let connection = ServerConnection::new(self.0.clone()).map_err(|error| error.to_string())?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
        }
        let version = stream.conn.protocol_version().map(|version| format!("{version:?}"));
        let mut words = vec![version.unwrap_or_default().replace('_', ".")];
        words.extend(stream.conn.server_name().map(|name| format!("for {name}")));
        words.extend(stream.conn.peer_certificates().map(|_| "by a known client".to_owned()));
        if stream.conn.handshake_kind() == Some(HandshakeKind::Resumed) {
            words.push("resumed".to_owned());
        }
        Ok((Box::new(stream), words.join(" ")))
    }
}

/// A connection under TLS.
pub(crate) type TlsStream = Box<StreamOwned<ServerConnection, TcpStream>>;

/// The bytes of a connection: in clear text or protected.
pub(crate) enum ServerWire {
    Plain(TcpStream),
    Tls(TlsStream),
}

impl ServerWire {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.sock,
        }
    }

    /// Says that nothing more comes.
    pub(crate) fn close_notify(&mut self) {
        if let Self::Tls(tls) = self {
            tls.conn.send_close_notify();
            drop(tls.flush());
        }
    }
}

impl Read for ServerWire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for ServerWire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// Takes any client for the right one; whether it must show a certificate.
#[derive(Debug)]
struct AnyClient(bool);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
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
