//! Who there is, and with which password: names in their usual form, `sasldb`, and what a plain password is compared with.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::conf::{Conf, Verifier};
use super::fault::Fault;
use super::saslauthd;

/// The longest name the library takes.
const NAME_LIMIT: usize = 1024;

/// The property that holds a plain secret.
const PASSWORD: &[u8] = b"userPassword";

/// Reads the value of a key in a Berkeley DB file of type hash; nothing when there is no such key, or no such file.
pub type ReadDatabase = fn(&Path, &[u8]) -> io::Result<Option<Vec<u8>>>;

/// The accounts of a server.
#[derive(Debug)]
pub(super) struct Accounts {
    verifiers: Vec<Verifier>,
    saslauthd: PathBuf,
    sasldb: PathBuf,
    read: ReadDatabase,
    /// `smtpd_sasl_local_domain`, when there is one: what is put behind a name without a realm.
    local_domain: Option<String>,
    /// `myhostname`: the realm of secrets whose owner has none.
    hostname: String,
}

/// Without white space at its ends, as isspace(3) has it.
pub(super) fn trim(name: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = name.iter().position(|byte| !is_space(byte)).unwrap_or(name.len());
    let end = name.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &name[start..end]
}

impl Accounts {
    pub(super) fn new(conf: &Conf, hostname: &str, local_domain: Option<&str>, read: ReadDatabase) -> Self {
        Self {
            verifiers: conf.verifiers.clone(),
            saslauthd: conf.saslauthd.clone(),
            sasldb: conf.sasldb.clone(),
            read,
            local_domain: local_domain.map(str::to_owned),
            hostname: hostname.to_owned(),
        }
    }

    /// The realm that clients are told of.
    pub(super) fn realm(&self) -> &str {
        self.local_domain.as_deref().unwrap_or(&self.hostname)
    }

    /// The name of this server.
    pub(super) fn hostname(&self) -> &str {
        &self.hostname
    }

    /// A name as it is known: without white space around it, with a realm where names have one.
    pub(super) fn canonical(&self, name: &[u8]) -> Result<Vec<u8>, Fault> {
        let name = trim(name);
        if name.is_empty() {
            return Err(Fault::Failure.because("All-whitespace username."));
        }
        let mut known = name.to_vec();
        if let Some(domain) = &self.local_domain
            && !name.contains(&b'@')
        {
            known.push(b'@');
            known.extend_from_slice(domain.as_bytes());
        }
        if known.len() > NAME_LIMIT {
            return Err(Fault::Overflow);
        }
        Ok(known)
    }

    /// The plain secret of a user.
    pub(super) fn secret(&self, user: &[u8]) -> Result<Vec<u8>, Fault> {
        let (name, realm) = self.divide(user);
        let realm = realm.unwrap_or(self.realm().as_bytes());
        match (self.read)(&self.sasldb, &[name, realm, PASSWORD].join(&0)) {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => Err(Fault::Authentication),
            Err(error) => {
                log::warn!(
                    "SASL authentication problem: unable to open Berkeley db {}: {error}",
                    self.sasldb.display()
                );
                Err(Fault::Failure)
            }
        }
    }

    /// A name, and the realm behind the last `@` of it.
    fn divide<'u>(&self, user: &'u [u8]) -> (&'u [u8], Option<&'u [u8]>) {
        match user.iter().rposition(|&byte| byte == b'@') {
            Some(at) => (&user[..at], Some(&user[at + 1..])),
            None => (user, None),
        }
    }

    /// Whether this is the user's password: one of the verifiers has to say so.
    pub(super) fn verify(&self, service: &str, user: &[u8], password: &[u8]) -> Result<(), Fault> {
        let mut result = Err(Fault::Mechanism);
        for verifier in &self.verifiers {
            result = match verifier {
                Verifier::Auxprop => self.secret(user).and_then(|secret| {
                    verify_slices_are_equal(&secret, password).map_err(|_| Fault::Authentication)
                }),
                Verifier::Saslauthd => {
                    let (name, realm) = self.divide(user);
                    let fields = [name, password, service.as_bytes(), realm.unwrap_or_default()];
                    saslauthd::verify(&self.saslauthd, fields)
                }
            };
            if result.is_ok() {
                break;
            }
        }
        result
    }
}
