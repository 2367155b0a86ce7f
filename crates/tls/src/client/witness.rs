//! Whatever certificate a server shows is taken, as long as it has the key: judging comes later. What was signed with is
//! noted, for the log.
//!
//! rustls takes a session up again only with the very verifier that it was made with, so that all handshakes share one,
//! and what it sees is noted for the thread that runs a step of a handshake.

use std::cell::Cell;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{DigitallySignedStruct, Error, SignatureAlgorithm, SignatureScheme};

use crate::certificate::PublicKey;
use crate::chain::Chain;
use crate::signature::{self, Curves};

/// What was signed with in a handshake so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) server: Option<SignatureScheme>,
    pub(super) client: Option<(SignatureScheme, PublicKey)>,
}

thread_local! {
    static SEEN: Cell<Seen> = Cell::default();
}

impl Seen {
    /// Runs a step of a handshake.
    pub(super) fn during<T>(&mut self, step: impl FnOnce() -> T) -> T {
        SEEN.set(*self);
        let outcome = step();
        *self = SEEN.take();
        outcome
    }

    fn note(change: impl FnOnce(&mut Seen)) {
        let mut seen = SEEN.get();
        change(&mut seen);
        SEEN.set(seen);
    }
}

/// Takes any certificate.
#[derive(Debug)]
pub(super) struct Witness;

impl Witness {
    fn verify(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        curves: Curves,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = signature::verify(message, certificate, signed, curves)?;
        Seen::note(|seen| seen.server = Some(signed.scheme));
        Ok(valid)
    }
}

impl ServerCertVerifier for Witness {
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
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, certificate, signed, Curves::Any)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, certificate, signed, Curves::First)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        signature::algorithms().supported_schemes()
    }
}

/// The certificates that servers are shown when they ask, one an algorithm.
#[derive(Debug)]
pub(super) struct Identity(pub(super) Vec<Chain>);

impl ResolvesClientCert for Identity {
    /// Whose certificates the server would like is passed over, as OpenSSL does.
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let chain = self.0.iter().find(|chain| chain.certified.key.choose_scheme(schemes).is_some())?;
        let key = Noting { key: chain.certified.key.clone(), kind: chain.public_key };
        Some(Arc::new(CertifiedKey::new(chain.certified.cert.clone(), Arc::new(key))))
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// A key that tells what it signed with.
#[derive(Debug)]
struct Noting {
    key: Arc<dyn SigningKey>,
    kind: PublicKey,
}

impl SigningKey for Noting {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = offered.iter().find_map(|scheme| self.key.choose_scheme(&[*scheme]))?;
        Seen::note(|seen| seen.client = Some((signer.scheme(), self.kind)));
        Some(signer)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}
