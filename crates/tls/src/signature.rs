//! Signatures of a handshake, verified by the key in a certificate alone: webpki would not even look at some certificates
//! that have one.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};
use webpki::RawPublicKeyEntity;

use crate::certificate::Certificate;

/// Verifies what a peer signed in its handshake.
pub(crate) fn verify(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    which: Curves,
) -> Result<HandshakeSignatureValid, Error> {
    let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let spki = SubjectPublicKeyInfoDer::from(Certificate::parse(certificate).ok_or_else(bad)?.spki);
    let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| bad())?;
    let known = algorithms().mapping.iter().find(|(scheme, _)| *scheme == signature.scheme);
    let (_, candidates) = known.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let candidates: &[&dyn SignatureVerificationAlgorithm] = match which {
        Curves::Any => candidates,
        // Nor are PKCS #1 signatures any good there.
        Curves::First if is_pkcs1(signature.scheme) => &[],
        Curves::First => candidates.get(..1).unwrap_or_default(),
    };
    let valid = candidates
        .iter()
        .any(|algorithm| key.verify_signature(*algorithm, message, signature.signature()).is_ok());
    if !valid {
        return Err(Error::InvalidCertificate(CertificateError::BadSignature));
    }
    Ok(HandshakeSignatureValid::assertion())
}

fn is_pkcs1(scheme: SignatureScheme) -> bool {
    use SignatureScheme as Scheme;
    matches!(scheme, Scheme::RSA_PKCS1_SHA256 | Scheme::RSA_PKCS1_SHA384 | Scheme::RSA_PKCS1_SHA512)
}

/// TLS 1.2 leaves open which curve goes with which digest.
#[derive(Clone, Copy)]
pub(crate) enum Curves {
    Any,
    First,
}

pub(crate) fn algorithms() -> WebPkiSupportedAlgorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms
}
