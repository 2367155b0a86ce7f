//! Keys with their certificates, from files (spec tls-sasl 3).
//!
//! A chain file is key, certificate, issuers, and perhaps the next key; several files are read as one. The older
//! parameters name a file for the key and one for the certificates. What cannot be used is told in Postfix's words.

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

/// A key that waits for its certificates, or has some.
struct Pending {
    place: String,
    key: Key,
    certificates: Vec<CertificateDer<'static>>,
}

/// A private key.
enum Key {
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
                if pending.certificates.len() == 1 && !pending.matches() {
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

/// The chain of the older parameters; nothing for an algorithm that is not for us. `what` is `RSA`.
///
/// # Errors
/// The text of a warning.
pub(crate) fn load_pair(what: &str, certificates: &str, key_file: &str) -> Result<Option<Chain>, String> {
    if certificates == key_file {
        return load_whole(certificates);
    }
    let no_certificate = || format!("cannot get {what} certificate from file \"{certificates}\"");
    let no_key = || format!("cannot get {what} private key from file \"{key_file}\"");
    let read = |name: &str| std::fs::read(name).ok().and_then(|text| pem::objects(&text).ok());
    let objects = read(certificates).ok_or_else(no_certificate)?;
    let chain: Vec<_> =
        objects.into_iter().filter(is_certificate).map(|object| CertificateDer::from(object.der)).collect();
    if chain.is_empty() || chain.iter().any(|der| Certificate::parse(der).is_none()) {
        return Err(no_certificate());
    }
    let mut keys = (1..).zip(read(key_file).ok_or_else(no_key)?).filter(|(_, object)| is_key(object));
    let (first, object) = keys.next().ok_or_else(no_key)?;
    if let Some((second, _)) = keys.next() {
        log::warn!("ignoring 2nd key at index {second} in {key_file} after 1st at {first}");
    }
    let key = key(object).ok_or_else(no_key)?;
    let pending = Pending { place: String::new(), key, certificates: chain };
    if !pending.matches() {
        return Err(format!("{what} private key in {key_file} does not match public key in {certificates}"));
    }
    let mut chains = Vec::new();
    pending.finish(&mut chains)?;
    Ok(chains.pop())
}

/// A file with a key and its certificates in any order.
fn load_whole(name: &str) -> Result<Option<Chain>, String> {
    let problem =
        || format!("error loading private keys and certificates from: {name}: disabling TLS support");
    let complain = |text: String| {
        log::warn!("{text}");
        problem()
    };
    let objects = pem::objects(&PemFile::read(name)?.text)
        .map_err(|at| complain(format!("error loading PEM object number {} from {name}", at.0)))?;
    let (keys, other): (Vec<_>, Vec<_>) = (1..).zip(objects).partition(|(_, object)| is_key(object));
    let mut keys = keys.into_iter();
    let Some((first, object)) = keys.next() else {
        return Err(complain(format!("No private key found in {name}")));
    };
    if let Some((second, _)) = keys.next() {
        log::warn!("ignoring 2nd key at index {second} in {name} after 1st at {first}");
    }
    let key = key(object).ok_or_else(|| {
        complain(format!("error loading private key (PEM object number {first}) from {name}"))
    })?;
    let certificates: Vec<_> = other
        .into_iter()
        .filter(|(_, object)| is_certificate(object))
        .map(|(number, object)| match Certificate::parse(&object.der) {
            Some(_) => Ok(CertificateDer::from(object.der)),
            None => {
                Err(complain(format!("error loading certificate (PEM object number {number}) from {name}")))
            }
        })
        .collect::<Result<_, _>>()?;
    let place = format!("key at index {first} in {name}");
    let pending = Pending { place, key, certificates };
    if pending.certificates.is_empty() {
        return Err(complain(format!("No certs for {}", pending.place)));
    }
    if !pending.matches() {
        return Err(complain(format!("{} does not match next certificate", pending.place)));
    }
    let mut chains = Vec::new();
    pending.finish(&mut chains)?;
    Ok(chains.pop())
}

impl Pending {
    fn certified(&self) -> Option<CertifiedKey> {
        match &self.key {
            Key::Usable(key) => Some(CertifiedKey::new(self.certificates.clone(), key.clone())),
            Key::Dsa => None,
        }
    }

    /// Whether the first certificate is this key's.
    fn matches(&self) -> bool {
        match &self.key {
            Key::Usable(key) => {
                let certificate = self.certificates.first().and_then(|der| Certificate::parse(der));
                match (certificate, key.public_key()) {
                    (Some(certificate), Some(spki)) => certificate.spki == spki.as_ref(),
                    _ => false,
                }
            }
            Key::Dsa => true,
        }
    }

    fn finish(self, chains: &mut Vec<Chain>) -> Result<(), String> {
        let Some(certified) = self.certified() else {
            log::warn!("DSA keys and certificates are not supported, ignored");
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

fn is_certificate(object: &Object) -> bool {
    matches!(object.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE")
}

fn is_key(object: &Object) -> bool {
    matches!(object.label.as_str(), "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "DSA PRIVATE KEY")
}

/// `id-dsa`, as it stands in a PKCS#8 key.
const DSA: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];

fn key(object: Object) -> Option<Key> {
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
