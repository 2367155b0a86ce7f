//! Authorities, and whether they vouch for the certificate that a peer showed (spec tls-sasl 7 and 15).

use std::io;

use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::certificate::Certificate;
use crate::pem;
use crate::signature::algorithms;

/// The authorities that may vouch for peers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    /// Names that are sent to clients: those of the file, not of the folder.
    hints: Vec<DistinguishedName>,
}

impl Authorities {
    /// Reads a file (`smtpd_tls_CAfile`), all of a folder (`smtpd_tls_CApath`), and the system's when these are to be added.
    ///
    /// # Errors
    /// There is a file that holds none.
    pub(crate) fn load(file: &str, path: &str, append_default: bool) -> Result<Self, NoAuthorities> {
        let mut authorities = Self::default();
        if !file.is_empty() {
            authorities.add_file(file).map_err(|reason| NoAuthorities {
                file: file.to_owned(),
                path: path.to_owned(),
                reason,
            })?;
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

    fn add_file(&mut self, file: &str) -> Result<(), BadFile> {
        let text = std::fs::read(file).map_err(BadFile::Unreadable)?;
        match self.add(&text, true) {
            0 if pem::objects(&text).is_ok_and(|objects| !objects.iter().any(is_certificate)) => {
                Err(BadFile::Empty)
            }
            0 => Err(BadFile::Malformed),
            _ => Ok(()),
        }
    }

    /// Names that peers are told.
    pub(crate) fn hints(&self) -> &[DistinguishedName] {
        &self.hints
    }

    /// Adds what is usable; tells how many.
    fn add(&mut self, text: &[u8], hint: bool) -> usize {
        let objects = pem::objects(text).unwrap_or_default();
        let mut added = 0;
        for object in objects.into_iter().filter(is_certificate) {
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

    /// Judges the chain that a peer showed.
    ///
    /// # Errors
    /// Why nobody vouches for it.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        depth: usize,
        purpose: Purpose,
    ) -> Result<(), Distrust> {
        let known = self.knows(chain);
        judge(chain, (&self.anchors, known), depth, purpose)
    }

    /// Whether the peer's own certificate stands among those of the authorities.
    fn knows(&self, chain: &[CertificateDer<'_>]) -> bool {
        chain.first().is_some_and(|leaf| self.certificates.iter().any(|der| der.as_ref() == leaf.as_ref()))
    }
}

fn is_certificate(object: &pem::Object) -> bool {
    matches!(object.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE")
}

/// Why there are no authorities: a file that is named for them has none.
#[derive(Debug, thiserror::Error)]
#[error("cannot load Certification Authority data, {}", self.named())]
pub struct NoAuthorities {
    file: String,
    path: String,
    /// What is wrong with the file.
    pub reason: BadFile,
}

/// What is wrong with a file of authorities.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// It cannot be read.
    #[error("{}", sys::error_text(.0))]
    Unreadable(io::Error),
    /// There is no certificate in it.
    #[error("no certificate in it")]
    Empty,
    /// None of its certificates can be read.
    #[error("no certificate in it")]
    Malformed,
}

impl NoAuthorities {
    /// The settings, as the log has them.
    fn named(&self) -> String {
        let named = [("CAfile", &self.file), ("CApath", &self.path)];
        let named = named.iter().filter(|(_, value)| !value.is_empty());
        named.map(|(name, value)| format!("{name}=\"{value}\"")).collect::<Vec<_>>().join(", ")
    }

    /// The line before the one that this is.
    pub fn warn(&self) {
        log::warn!("TLS library problem: {}: {}", self.file, self.reason);
    }
}

/// Judges a chain by these anchors; whether its first certificate is known by itself.
///
/// # Errors
/// Why nobody vouches for it.
pub(crate) fn judge(
    chain: &[CertificateDer<'_>],
    (anchors, is_known): (&[TrustAnchor<'_>], bool),
    depth: usize,
    purpose: Purpose,
) -> Result<(), Distrust> {
    let Some((leaf, issuers)) = chain.split_first() else {
        return Err(Distrust::Unusable("no certificate"));
    };
    let parsed = Certificate::parse(leaf).ok_or(Distrust::Unusable("malformed certificate"))?;
    let self_issued = parsed.is_self_issued();
    // One that stands in the file itself needs nobody else; its dates are looked at below.
    let known = self_issued && is_known;
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
    let verify_at = |usage: KeyUsage, when: UnixTime| {
        let path: Option<&dyn Fn(&webpki::VerifiedPath<'_>) -> _> = Some(&too_long);
        certificate.verify_for_usage(algorithms().all, anchors, issuers, when, usage, None, path).map(drop)
    };
    let verify = |usage: KeyUsage| verify_at(usage, UnixTime::now());
    let outcome = match purpose {
        Purpose::Client => verify(KeyUsage::client_auth()),
        Purpose::ClientOrServer => match verify(KeyUsage::client_auth()) {
            Err(webpki::Error::RequiredEkuNotFoundContext(_)) => verify(KeyUsage::server_auth()),
            outcome => outcome,
        },
        Purpose::Server => match verify(KeyUsage::server_auth()) {
            // OpenSSL looks for the issuer before it looks at the dates.
            Err(webpki::Error::CertExpired { not_after, time }) => {
                match verify_at(KeyUsage::server_auth(), not_after) {
                    Err(webpki::Error::UnknownIssuer) => Err(webpki::Error::UnknownIssuer),
                    _ => Err(webpki::Error::CertExpired { not_after, time }),
                }
            }
            outcome => outcome,
        },
    };
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
        Err(error) => Err(Distrust::of(&error, &parsed, depth, purpose)),
    }
}

/// What a peer's certificate must be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Clients.
    Client,
    /// Clients or servers: `tls_trust_server_ccerts = yes`, of 3.12.
    ClientOrServer,
    /// Servers.
    Server,
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
    /// It is for other purposes only.
    WrongPurpose(Purpose),
    /// Too many certificates up to the authority.
    TooLong(usize),
    /// It has none of the names that were demanded.
    WrongName,
    /// It has not the address that was demanded.
    WrongAddress,
    /// None of the digests, or of the TLSA records, is its own.
    NoMatch,
    /// None of the TLSA records, or of the trust anchors, is its issuers'.
    NoAnchor,
    /// It cannot be judged.
    Unusable(&'static str),
    /// webpki's own words.
    Other(String),
}

impl Distrust {
    fn of(error: &webpki::Error, certificate: &Certificate<'_>, depth: usize, purpose: Purpose) -> Self {
        match error {
            webpki::Error::UnknownIssuer => Self::UnknownIssuer(certificate.issuer_line()),
            webpki::Error::CertExpired { .. } => Self::Expired,
            webpki::Error::CertNotValidYet { .. } => Self::NotYetValid,
            webpki::Error::RequiredEkuNotFoundContext(_) => Self::WrongPurpose(purpose),
            webpki::Error::MaximumPathDepthExceeded => Self::TooLong(depth.saturating_add(1)),
            other => Self::Other(other.to_string()),
        }
    }

    /// The log line about the client `namaddr`.
    #[must_use]
    pub fn log_line(&self, namaddr: &str) -> String {
        self.line("client", namaddr)
    }

    /// The log line about a peer that is a `client` or a `server`.
    pub(crate) fn line(&self, side: &str, namaddr: &str) -> String {
        let failed = format!("certificate verification failed for {namaddr}: ");
        match self {
            Self::SelfSigned => format!("{failed}self-signed certificate"),
            Self::UnknownIssuer(issuer) => {
                format!("{failed}untrusted issuer {issuer}")
            }
            Self::WrongPurpose(_) => format!("{failed}not designated for use as a {side} certificate"),
            Self::TooLong(limit) => format!("{failed}certificate chain longer than limit({limit})"),
            Self::Expired => format!("{side} {failed}certificate has expired"),
            Self::NotYetValid => format!("{side} {failed}certificate not yet valid"),
            Self::WrongName => format!("{side} {failed}num=62:hostname mismatch"),
            Self::WrongAddress => format!("{side} {failed}num=64:IP address mismatch"),
            Self::NoAnchor => format!("CA {failed}num=65:no matching DANE TLSA records"),
            Self::NoMatch => format!("{side} {failed}num=65:no matching DANE TLSA records"),
            Self::Unusable(text) => format!("{side} {failed}{text}"),
            Self::Other(text) => format!("{side} {failed}{text}"),
        }
    }
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
            (ServerAuth, Purpose::Client, Err(Distrust::WrongPurpose(Purpose::Client))),
            (ServerAuth, Purpose::ClientOrServer, Ok(())),
            (ServerAuth, Purpose::Server, Ok(())),
            (ClientAuth, Purpose::Server, Err(Distrust::WrongPurpose(Purpose::Server))),
            (CodeSigning, Purpose::ClientOrServer, Err(Distrust::WrongPurpose(Purpose::ClientOrServer))),
        ] {
            let shown = format!("{usage:?} {purpose:?}");
            assert_eq!(authorities.judge(&[signed(usage)], 9, purpose), expected, "{shown}");
        }
    }
}
