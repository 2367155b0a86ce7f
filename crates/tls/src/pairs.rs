//! The older parameters: a file for the key and one for the certificates, an algorithm each.
//!
//! That is what their names say. What is loaded goes by what is in the files, as in Postfix: there is room for one chain
//! of each algorithm, and a key goes to the certificates of its own algorithm, also those of another pair (observed,
//! 3.7.11: an RSA pair beside an EC certificate with the RSA key serves RSA).

use std::mem::Discriminant;

use rustls::SignatureAlgorithm;
use rustls::pki_types::CertificateDer;

use crate::certificate::{Certificate, PublicKey};
use crate::chain::{self, Chain, Key, PemFile, Pending, is_certificate, is_key, key};
use crate::pem;

/// A file of certificates and a file with a key.
#[derive(Debug, Clone, Default)]
pub struct KeyPair {
    /// What messages call it: `RSA`, `ECDSA`, `DSA`.
    pub what: &'static str,
    /// Certificates.
    pub certificates: String,
    /// Key.
    pub key: String,
}

/// Room for the chain of an algorithm.
struct Room {
    algorithm: Discriminant<PublicKey>,
    certificates: Vec<CertificateDer<'static>>,
    key: Option<Key>,
    /// Where the key is from.
    place: String,
}

/// Chains as they are put together.
#[derive(Default)]
struct Rooms(Vec<Room>);

/// The chains of `smtpd_tls_chain_files`, or else those of the older parameters; nothing when they are of no use, which was
/// told.
pub(crate) fn load_any(list: &str, older: &[KeyPair]) -> Option<Vec<Chain>> {
    if !list.is_empty() {
        let files: Result<Vec<_>, _> = chain::split_list(list).map(PemFile::read).collect();
        return match files.and_then(|files| chain::load(&files, list)) {
            Ok(chains) => Some(chains),
            Err(text) => {
                log::warn!("{text}");
                log::warn!("error loading private keys and certificates from: {list}: disabling TLS support");
                None
            }
        };
    }
    load(older)
        .inspect_err(|fault| {
            log::warn!("{}", fault.told);
            if let Some(reason) = &fault.reason {
                log::warn!("TLS library problem: {reason}");
            }
        })
        .ok()
}

/// Why there are no chains.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The text of a warning, in Postfix's words.
    told: String,
    /// What Postfix leaves to its library to tell, with the file's name.
    reason: Option<String>,
}

impl From<String> for Fault {
    fn from(told: String) -> Self {
        Self { told, reason: None }
    }
}

/// The chains of these pairs; none for an algorithm that is not for us.
///
/// # Errors
/// What cannot be used.
pub(crate) fn load(pairs: &[KeyPair]) -> Result<Vec<Chain>, Fault> {
    let mut rooms = Rooms::default();
    for KeyPair { what, certificates, key } in pairs {
        if certificates == key {
            rooms.add_whole(certificates)?;
        } else {
            rooms.add(what, certificates, key)?;
        }
    }
    let mut chains = Vec::new();
    for Room { certificates, key, place, .. } in rooms.0 {
        if let (Some(key), false) = (key, certificates.is_empty()) {
            Pending { place, key, certificates }.finish(&mut chains)?;
        }
    }
    Ok(chains)
}

impl Rooms {
    fn of(&mut self, public_key: PublicKey) -> &mut Room {
        let algorithm = std::mem::discriminant(&public_key);
        let at = self.0.iter().position(|room| room.algorithm == algorithm).unwrap_or_else(|| {
            self.0.push(Room { algorithm, certificates: Vec::new(), key: None, place: String::new() });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    /// Certificates from one file, their key from another. `what` is `RSA`.
    fn add(&mut self, what: &str, certificates: &str, key_file: &str) -> Result<(), Fault> {
        let fault = |object: &str, file: &str, reason: String| Fault {
            told: format!("cannot get {what} {object} from file \"{file}\": disabling TLS support"),
            reason: Some(format!("{file}: {reason}")),
        };
        let no_certificate = |reason: String| fault("certificate", certificates, reason);
        let no_key = |reason: String| fault("private key", key_file, reason);
        let objects = read(certificates).map_err(no_certificate)?;
        let chain: Vec<_> = objects
            .into_iter()
            .filter(is_certificate)
            .map(|object| CertificateDer::from(object.der))
            .collect();
        let first = chain.first().ok_or_else(|| no_certificate("no certificate in it".to_owned()))?;
        if let Some(bad) = chain.iter().position(|der| Certificate::parse(der).is_none()) {
            return Err(no_certificate(format!("certificate {} is damaged", bad + 1)));
        }
        let leaf = Certificate::parse(first).ok_or_else(|| no_certificate("it is damaged".to_owned()))?;
        let room = self.of(leaf.public_key());
        room.key = room.key.take().filter(|key| key.fits(&chain));
        room.certificates = chain;
        let mut keys = (1..).zip(read(key_file).map_err(no_key)?).filter(|(_, object)| is_key(object));
        let (first, object) = keys.next().ok_or_else(|| no_key("no private key in it".to_owned()))?;
        if let Some((second, _)) = keys.next() {
            log::warn!("ignoring 2nd key at index {second} in {key_file} after 1st at {first}");
        }
        let key = key(object).ok_or_else(|| no_key("the private key is damaged, or encrypted".to_owned()))?;
        let room = self.of(key.public_key());
        if room.certificates.is_empty() {
            return Err(Fault::from(format!(
                "{what} private key in {key_file} does not match public key in {certificates}: disabling TLS support"
            )));
        }
        if !key.fits(&room.certificates) {
            return Err(no_key(format!("the key is not that of the certificate in {certificates}")));
        }
        (room.key, room.place) = (Some(key), format!("key in {key_file}"));
        Ok(())
    }

    /// A file with a key and its certificates in any order; it takes no other's room.
    fn add_whole(&mut self, name: &str) -> Result<(), String> {
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
                None => Err(complain(format!(
                    "error loading certificate (PEM object number {number}) from {name}"
                ))),
            })
            .collect::<Result<_, _>>()?;
        let place = format!("key at index {first} in {name}");
        if certificates.is_empty() {
            return Err(complain(format!("No certs for {place}")));
        }
        let room = self.of(key.public_key());
        let is_taken = room.key.is_some() || !room.certificates.is_empty();
        if is_taken || !key.fits(&certificates) {
            return Err(complain(format!("{place} does not match next certificate")));
        }
        (room.key, room.certificates, room.place) = (Some(key), certificates, place);
        Ok(())
    }
}

/// The objects of a file, or why there are none.
fn read(name: &str) -> Result<Vec<pem::Object>, String> {
    let text = std::fs::read(name).map_err(|error| sys::error_text(&error))?;
    pem::objects(&text).map_err(|at| format!("PEM object {} is damaged", at.0))
}

impl Key {
    /// The algorithm, in the words of certificates; no more of it is looked at.
    fn public_key(&self) -> PublicKey {
        let Self::Usable(key) = self else { return PublicKey::Dsa };
        match key.algorithm() {
            SignatureAlgorithm::RSA => PublicKey::Rsa(0),
            SignatureAlgorithm::ECDSA => PublicKey::Ec(""),
            SignatureAlgorithm::ED25519 => PublicKey::Ed25519,
            SignatureAlgorithm::ED448 => PublicKey::Ed448,
            _ => PublicKey::Other,
        }
    }
}
