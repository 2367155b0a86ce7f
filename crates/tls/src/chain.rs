//! Keys with their certificates, from files (spec tls-sasl 3).
//!
//! A chain file is key, certificate, issuers, and perhaps the next key; several files are read as one. What cannot be
//! used is told in Postfix's words.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::{CertifiedKey, SigningKey};

use crate::certificate::{Certificate, PublicKey};
use crate::pem::{self, Object};

/// A key and its certificates.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) public_key: PublicKey,
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct PemFile {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub text: Vec<u8>,
}

impl PemFile {
    /// Reads a file.
    ///
    /// # Errors
    /// The text of a warning.
    pub fn read(name: &str) -> Result<Self, String> {
        match std::fs::read(name) {
            Ok(text) => Ok(Self { name: name.to_string(), text }),
            Err(error) => Err(format!("error opening chain file: {name}: {}", sys::error_text(&error))),
        }
    }
}

/// The names in `PREFIX_tls_chain_files`.
pub(crate) fn split_list(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ', '\t', '\r', '\n']).filter(|name| !name.is_empty())
}

/// A key that waits for its certificates, or has some.
pub(crate) struct Pending {
    pub(crate) place: String,
    pub(crate) key: Key,
    pub(crate) certificates: Vec<CertificateDer<'static>>,
}

/// A private key.
pub(crate) enum Key {
    Usable(Arc<dyn SigningKey>),
    /// DSA is not for us: its chain is left out.
    Dsa,
}

/// What would be wrong with these files as a chain; `list` is what they are called together.
///
/// # Errors
/// The text of a warning.
pub fn check(files: &[PemFile], list: &str) -> Result<(), String> {
    load(files, list).map(drop)
}

/// The chains in these files, one an algorithm; `list` is the parameter's value.
///
/// # Errors
/// The text of a warning.
pub(crate) fn load(files: &[PemFile], list: &str) -> Result<Vec<Chain>, String> {
    let mut chains = Vec::new();
    let mut pending: Option<Pending> = None;
    for file in files {
        let name = &file.name;
        let objects = pem::objects(&file.text)
            .map_err(|at| format!("error loading PEM object number {} from {name}", at.0))?;
        for (number, object) in (1..).zip(objects) {
            if is_certificate(&object) {
                let Some(pending) = &mut pending else {
                    return Err(format!("error loading chain from {name}: key not first"));
                };
                if Certificate::parse(&object.der).is_none() {
                    return Err(format!(
                        "error loading certificate (PEM object number {number}) from {name}"
                    ));
                }
                pending.certificates.push(CertificateDer::from(object.der));
                if pending.certificates.len() == 1 && !pending.key.fits(&pending.certificates) {
                    return Err(format!("{} does not match next certificate", pending.place));
                }
            } else if is_key(&object) {
                if let Some(before) = pending.take() {
                    if before.certificates.is_empty() {
                        let place = before.place;
                        return Err(format!(
                            "error loading certificate chain: {place} not followed by a certificate"
                        ));
                    }
                    before.finish(&mut chains)?;
                }
                let place = format!("key at index {number} in {name}");
                let key = key(object).ok_or_else(|| {
                    format!("error loading private key (PEM object number {number}) from {name}")
                })?;
                pending = Some(Pending { place, key, certificates: Vec::new() });
            } else {
                log::warn!("loading {name}: ignoring PEM type: {}", object.label);
            }
        }
    }
    match pending {
        None => return Err(format!("No PEM data in {list}")),
        Some(pending) if pending.certificates.is_empty() => {
            return Err(format!("No certs for {}", pending.place));
        }
        Some(pending) => pending.finish(&mut chains)?,
    }
    Ok(chains)
}

impl Pending {
    fn certified(&self) -> Option<CertifiedKey> {
        match &self.key {
            Key::Usable(key) => Some(CertifiedKey::new(self.certificates.clone(), key.clone())),
            Key::Dsa => None,
        }
    }

    pub(crate) fn finish(self, chains: &mut Vec<Chain>) -> Result<(), String> {
        let Some(certified) = self.certified() else {
            log::warn!("DSA keys and certificates are not supported, ignored: {}", self.place);
            return Ok(());
        };
        let leaf = self.certificates.first().and_then(|der| Certificate::parse(der));
        let public_key = leaf.map_or(PublicKey::Other, |leaf| leaf.public_key());
        let kind = std::mem::discriminant(&public_key);
        if chains.iter().any(|chain| std::mem::discriminant(&chain.public_key) == kind) {
            return Err(format!(
                "error loading certificate chain: {}: a chain of this algorithm came before",
                self.place
            ));
        }
        chains.push(Chain { certified: Arc::new(certified), public_key });
        Ok(())
    }
}

impl Key {
    /// Whether the first of these certificates is this key's.
    pub(crate) fn fits(&self, certificates: &[CertificateDer<'_>]) -> bool {
        match self {
            Self::Usable(key) => {
                let certificate = certificates.first().and_then(|der| Certificate::parse(der));
                match (certificate, key.public_key()) {
                    (Some(certificate), Some(spki)) => certificate.spki == spki.as_ref(),
                    _ => false,
                }
            }
            Self::Dsa => {
                let leaf = certificates.first().and_then(|der| Certificate::parse(der));
                leaf.is_some_and(|leaf| leaf.public_key() == PublicKey::Dsa)
            }
        }
    }
}

pub(crate) fn is_certificate(object: &Object) -> bool {
    matches!(object.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE")
}

pub(crate) fn is_key(object: &Object) -> bool {
    matches!(object.label.as_str(), "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "DSA PRIVATE KEY")
}

/// `id-dsa`, as it stands in a PKCS#8 key.
const DSA: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];

pub(crate) fn key(object: Object) -> Option<Key> {
    let der = match object.label.as_str() {
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(object.der)),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(object.der)),
        "DSA PRIVATE KEY" => return Some(Key::Dsa),
        _ if object.der.get(..32).unwrap_or(&object.der).windows(DSA.len()).any(|part| part == DSA) => {
            return Some(Key::Dsa);
        }
        _ => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(object.der)),
    };
    any_supported_type(&der).ok().map(Key::Usable)
}
