//! Client certificates: asked for, never refused by the handshake, judged afterwards (spec tls-sasl 7).

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::authorities::Authorities;
use crate::server_name::restored;
use crate::signature::{self, Curves};

/// What a client signed its handshake with.
pub(crate) type Signed = Arc<Mutex<Option<SignatureScheme>>>;

/// Takes every certificate whose key the client has.
#[derive(Debug)]
pub(crate) struct AskForCertificate {
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) signed: Signed,
}

impl AskForCertificate {
    fn note(&self, scheme: SignatureScheme) {
        *self.signed.lock().unwrap_or_else(PoisonError::into_inner) = Some(scheme);
    }
}

impl ClientCertVerifier for AskForCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.hints()
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
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = signature::verify(&restored(message), certificate, signature, Curves::Any)?;
        self.note(signature.scheme);
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = signature::verify(message, certificate, signature, Curves::First)?;
        self.note(signature.scheme);
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        signature::algorithms().supported_schemes()
    }
}
