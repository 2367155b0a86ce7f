//! Client certificates: asked for, never refused by the handshake, judged afterwards (spec tls-sasl 7).

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity};

use crate::certificate::Certificate;
use crate::pem;
use crate::server_name::restored;

/// The authorities that may vouch for clients.
#[derive(Debug, Clone, Default)]
pub(crate) struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    /// Names that are sent to clients: those of the file, not of the folder.
    hints: Vec<DistinguishedName>,
}

impl Authorities {
    /// Reads `smtpd_tls_CAfile`, all of `smtpd_tls_CApath`, and the system's when these are to be added.
    ///
    /// # Errors
    /// There is a file that holds none.
    pub(crate) fn load(file: &str, path: &str, append_default: bool) -> Result<Self, String> {
        let problem = || {
            let named =
                [("CAfile", file), ("CApath", path)].into_iter().filter(|(_, value)| !value.is_empty());
            let named: Vec<_> = named.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            format!("cannot load Certification Authority data, {}", named.join(", "))
        };
        let mut authorities = Self::default();
        if !file.is_empty() {
            let added = std::fs::read(file).map(|text| authorities.add(&text, true)).unwrap_or(0);
            if added == 0 {
                return Err(problem());
            }
        }
        if !path.is_empty() {
            // OpenSSL looks there when it wants a certificate: a folder that is not there has none.
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                if let Ok(text) = std::fs::read(entry.path()) {
                    authorities.add(&text, false);
                }
            }
        }
        if append_default && !(file.is_empty() && path.is_empty()) {
            for default in [
                "/etc/ssl/certs/ca-certificates.crt",
                "/etc/pki/tls/certs/ca-bundle.crt",
                "/etc/ssl/cert.pem",
            ] {
                if let Ok(text) = std::fs::read(default) {
                    authorities.add(&text, false);
                    break;
                }
            }
        }
        Ok(authorities)
    }

    /// Adds what is usable; tells how many.
    fn add(&mut self, text: &[u8], hint: bool) -> usize {
        let objects = pem::objects(text).unwrap_or_default();
        let mut added = 0;
        for object in objects {
            if !matches!(object.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE") {
                continue;
            }
            let der = CertificateDer::from(object.der);
            let Some(certificate) = Certificate::parse(&der) else { continue };
            if hint {
                self.hints.push(DistinguishedName::from(certificate.subject.to_vec()));
            }
            added += 1;
            if self.certificates.contains(&der) {
                continue;
            }
            if let Ok(anchor) = webpki::anchor_from_trusted_cert(&der) {
                self.anchors.push(anchor.to_owned());
            }
            self.certificates.push(der);
        }
        added
    }

    /// Judges the chain that a client showed.
    ///
    /// # Errors
    /// Why nobody vouches for it.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        depth: usize,
        purpose: Purpose,
    ) -> Result<(), Distrust> {
        let Some((leaf, issuers)) = chain.split_first() else {
            return Err(Distrust::Unusable("no certificate"));
        };
        let parsed = Certificate::parse(leaf).ok_or(Distrust::Unusable("malformed certificate"))?;
        let self_issued = parsed.is_self_issued();
        // One that stands in the file itself needs nobody else; its dates are looked at below.
        let known = self_issued && self.certificates.iter().any(|der| der.as_ref() == leaf.as_ref());
        let certificate =
            EndEntityCert::try_from(leaf).map_err(|_| Distrust::Unusable("unsupported certificate"))?;
        let too_long = |path: &webpki::VerifiedPath<'_>| {
            // The leaf, the one above it and the authority do not count (observed, 3.7.11).
            if path.intermediate_certificates().count() > depth.saturating_add(1) {
                Err(webpki::Error::MaximumPathDepthExceeded)
            } else {
                Ok(())
            }
        };
        let verify = |usage| {
            let (algorithms, now) = (algorithms().all, UnixTime::now());
            let path: Option<&dyn Fn(&webpki::VerifiedPath<'_>) -> _> = Some(&too_long);
            certificate.verify_for_usage(algorithms, &self.anchors, issuers, now, usage, None, path).map(drop)
        };
        let mut outcome = verify(KeyUsage::client_auth());
        if purpose == Purpose::ClientOrServer
            && matches!(outcome, Err(webpki::Error::RequiredEkuNotFoundContext(_)))
        {
            outcome = verify(KeyUsage::server_auth());
        }
        match outcome {
            Ok(()) => Ok(()),
            // webpki does not take an authority for a client; OpenSSL does when it knows the very certificate.
            Err(webpki::Error::CaUsedAsEndEntity) if known => Ok(()),
            Err(webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity) if self_issued => {
                Err(if known {
                    Distrust::Unusable("unsupported certificate purpose")
                } else {
                    Distrust::SelfSigned
                })
            }
            Err(error) => Err(Distrust::of(&error, &parsed, depth)),
        }
    }
}

/// What a client's certificate must be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Clients.
    Client,
    /// Clients or servers: `tls_trust_server_ccerts = yes`, of 3.12.
    ClientOrServer,
}

/// Why nobody vouches for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distrust {
    /// It is its own issuer.
    SelfSigned,
    /// Nobody knows its issuer.
    UnknownIssuer(String),
    /// It is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for servers only.
    NotForClients,
    /// Too many certificates up to the authority.
    TooLong(usize),
    /// It cannot be judged.
    Unusable(&'static str),
    /// webpki's own words.
    Other(String),
}

impl Distrust {
    fn of(error: &webpki::Error, certificate: &Certificate<'_>, depth: usize) -> Self {
        match error {
            webpki::Error::UnknownIssuer => Self::UnknownIssuer(certificate.issuer_line()),
            webpki::Error::CertExpired { .. } => Self::Expired,
            webpki::Error::CertNotValidYet { .. } => Self::NotYetValid,
            webpki::Error::RequiredEkuNotFoundContext(_) => Self::NotForClients,
            webpki::Error::MaximumPathDepthExceeded => Self::TooLong(depth.saturating_add(1)),
            other => Self::Other(other.to_string()),
        }
    }

    /// The log line about the client `namaddr`.
    #[must_use]
    pub fn log_line(&self, namaddr: &str) -> String {
        let failed = format!("certificate verification failed for {namaddr}: ");
        match self {
            Self::SelfSigned => format!("{failed}self-signed certificate"),
            Self::UnknownIssuer(issuer) => {
                format!("{failed}untrusted issuer {issuer}")
            }
            Self::NotForClients => format!("{failed}not designated for use as a client certificate"),
            Self::TooLong(limit) => format!("{failed}certificate chain longer than limit({limit})"),
            Self::Expired => format!("client {failed}certificate has expired"),
            Self::NotYetValid => format!("client {failed}certificate not yet valid"),
            Self::Unusable(text) => format!("client {failed}{text}"),
            Self::Other(text) => format!("client {failed}{text}"),
        }
    }
}

/// What a client signed its handshake with.
pub(crate) type Signed = Arc<Mutex<Option<SignatureScheme>>>;

/// Takes every certificate whose key the client has.
#[derive(Debug)]
pub(crate) struct AskForCertificate {
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) signed: Signed,
}

impl AskForCertificate {
    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
        which: Curves,
    ) -> Result<HandshakeSignatureValid, Error> {
        let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
        // By its key alone: webpki would not even look at some certificates that have one.
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
        *self.signed.lock().unwrap_or_else(PoisonError::into_inner) = Some(signature.scheme);
        Ok(HandshakeSignatureValid::assertion())
    }
}

fn is_pkcs1(scheme: SignatureScheme) -> bool {
    use SignatureScheme as Scheme;
    matches!(scheme, Scheme::RSA_PKCS1_SHA256 | Scheme::RSA_PKCS1_SHA384 | Scheme::RSA_PKCS1_SHA512)
}

/// TLS 1.2 leaves open which curve goes with which digest.
#[derive(Clone, Copy)]
enum Curves {
    Any,
    First,
}

impl ClientCertVerifier for AskForCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities.hints
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
        self.verify(&restored(message), certificate, signature, Curves::Any)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signature, Curves::First)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    };

    use super::{Authorities, Distrust, Purpose};

    #[test]
    fn a_certificate_for_servers_counts_where_it_is_said_to() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = std::env::temp_dir().join(format!("tls-purpose-{}.pem", std::process::id()));
        std::fs::write(&file, issuer.pem()).unwrap();
        let authorities = Authorities::load(&file.to_string_lossy(), "", false).unwrap();
        std::fs::remove_file(file).unwrap();
        let signed = |usage| {
            let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone()
        };
        use ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
        for (usage, purpose, expected) in [
            (ClientAuth, Purpose::Client, Ok(())),
            (ClientAuth, Purpose::ClientOrServer, Ok(())),
            (ServerAuth, Purpose::Client, Err(Distrust::NotForClients)),
            (ServerAuth, Purpose::ClientOrServer, Ok(())),
            (CodeSigning, Purpose::ClientOrServer, Err(Distrust::NotForClients)),
        ] {
            let shown = format!("{usage:?} {purpose:?}");
            assert_eq!(authorities.judge(&[signed(usage)], 9, purpose), expected, "{shown}");
        }
    }
}
