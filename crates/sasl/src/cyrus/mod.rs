//! What Cyrus SASL's library does for a server, without the library: its configuration file, its mechanisms, its words.
//!
//! [`conf`] has the file, `accounts` the passwords and `saslauthd`, a module each mechanism. A login is an [`Exchange`]
//! that takes the client's messages one by one. The lines of the log and the reasons that clients are told are those
//! of Postfix with libsasl2 2.1.28 (spec tls-sasl 20).

mod accounts;
mod base64;
pub mod conf;
mod cram_md5;
mod digest_md5;
mod fault;
pub mod initiator;
mod plain;
mod saslauthd;
mod scram;

use std::sync::Arc;

use crate::dialogue::Answer;
use crate::line::Request;
use crate::mechanism::{Mechanism, Properties, SecurityOptions};

use accounts::Accounts;
pub use accounts::ReadDatabase;
use conf::Conf;
use fault::Fault;
use scram::Hash;

/// A mechanism, with what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scram(Hash),
    DigestMd5,
    CramMd5,
    Plain,
    Login,
}

const DICTIONARY: Properties = Properties::DICTIONARY;
const OPEN: Properties = DICTIONARY.union(Properties::ACTIVE);
const PASSWORD: Properties = OPEN.union(Properties::PLAINTEXT);
const MUTUAL: Properties = DICTIONARY.union(Properties::MUTUAL_AUTH);

/// All that there are, the strongest first: the order of a server without `mech_list`.
const MECHANISMS: [(&str, Kind, Properties); 9] = [
    ("SCRAM-SHA-512", Kind::Scram(Hash::Sha512), MUTUAL),
    ("SCRAM-SHA-384", Kind::Scram(Hash::Sha384), MUTUAL),
    ("SCRAM-SHA-256", Kind::Scram(Hash::Sha256), MUTUAL),
    ("SCRAM-SHA-224", Kind::Scram(Hash::Sha224), MUTUAL),
    ("SCRAM-SHA-1", Kind::Scram(Hash::Sha1), MUTUAL),
    ("DIGEST-MD5", Kind::DigestMd5, OPEN.union(Properties::MUTUAL_AUTH)),
    ("CRAM-MD5", Kind::CramMd5, OPEN),
    ("PLAIN", Kind::Plain, PASSWORD),
    ("LOGIN", Kind::Login, PASSWORD),
];

/// What logins are answered from, for all sessions of a process.
#[derive(Debug)]
pub struct Cyrus {
    accounts: Accounts,
    mechanisms: Vec<&'static (&'static str, Kind, Properties)>,
    iterations: u32,
    /// Makes the salts of SCRAM.
    salt_key: [u8; 32],
}

impl Cyrus {
    /// From the file, `myhostname`, `smtpd_sasl_local_domain`, and what reads `sasldb`.
    #[must_use]
    pub fn new(conf: &Conf, hostname: &str, local_domain: Option<&str>, read: ReadDatabase) -> Arc<Self> {
        let mechanisms = match &conf.mechanisms {
            None => MECHANISMS.iter().collect(),
            Some(names) => {
                names.iter().filter_map(|name| MECHANISMS.iter().find(|(known, ..)| known == name)).collect()
            }
        };
        let mut salt_key = [0; 32];
        // Without randomness no login begins: a challenge takes some, too.
        let _ = aws_lc_rs::rand::fill(&mut salt_key);
        let accounts = Accounts::new(conf, hostname, local_domain, read);
        Arc::new(Self { accounts, mechanisms, iterations: conf.iterations, salt_key })
    }

    /// What can be used.
    pub(crate) fn mechanisms(&self) -> impl Iterator<Item = Mechanism> {
        self.mechanisms
            .iter()
            .map(|(name, _, properties)| Mechanism { name: (*name).to_owned(), properties: *properties })
    }

    /// Starts a login.
    pub(crate) fn start(
        self: &Arc<Self>,
        request: &Request<'_>,
        options: SecurityOptions,
    ) -> (Answer, Option<Exchange>) {
        let first = match request.initial_response.map(base64::decode).transpose() {
            Ok(first) => first,
            Err(fault) => return (not_base64(fault, None), None),
        };
        let kind = match self.choose(request.mechanism, options) {
            Ok(kind) => kind,
            Err(fault) => return (refused(fault, None), None),
        };
        let exchange = Exchange {
            cyrus: Arc::clone(self),
            service: request.service.to_owned(),
            named: None,
            state: State::Start(kind),
        };
        exchange.step(first)
    }

    fn choose(&self, name: &[u8], options: SecurityOptions) -> Result<Kind, Fault> {
        let named = |(known, ..): &&&(&str, Kind, Properties)| known.as_bytes().eq_ignore_ascii_case(name);
        let Some((name, kind, properties)) = self.mechanisms.iter().find(named) else {
            let name = String::from_utf8_lossy(name);
            return Err(Fault::Mechanism.because(format_args!("Couldn't find mech {name}")));
        };
        if options.allow(&Mechanism { name: (*name).to_owned(), properties: *properties }) {
            return Ok(*kind);
        }
        let in_clear = properties.contains(Properties::PLAINTEXT) && options.forbids_plaintext();
        Err(if in_clear { Fault::Encryption } else { Fault::Mechanism })
    }
}

/// Who logs in, as far as it is known.
struct Person<'p> {
    accounts: &'p Accounts,
    service: &'p str,
    /// For the log, and for whoever asks who has logged in.
    named: &'p mut Option<Vec<u8>>,
}

impl Person<'_> {
    /// Takes the name of whom the password belongs to.
    fn authenticate(&mut self, name: &[u8]) -> Result<(), Fault> {
        let known = self.accounts.canonical(name);
        // White space alone is a name without letters, in the log.
        *self.named = known
            .as_ref()
            .map_or((known == Err(Fault::Failure) && !name.is_empty()).then(Vec::new), |name| {
                Some(name.clone())
            });
        known.map(drop)
    }

    /// Takes the name of whom the client wants to be, if it says so; nobody may be another.
    fn act_as(&mut self, name: &[u8]) -> Result<(), Fault> {
        let name = accounts::trim(name);
        if name.is_empty() {
            return Ok(());
        }
        let other = self.accounts.canonical(name).inspect_err(|_| *self.named = Some(name.to_vec()))?;
        let same = self.named.as_ref() == Some(&other);
        *self.named = Some(other);
        if same {
            Ok(())
        } else {
            Err(Fault::Authentication.because("Requested identity not authenticated identity"))
        }
    }

    fn verify(&self, password: &[u8]) -> Result<(), Fault> {
        self.accounts.verify(self.service, self.named.as_deref().unwrap_or_default(), password)
    }

    fn secret(&self) -> Result<Vec<u8>, Fault> {
        self.accounts.secret(self.named.as_deref().unwrap_or_default())
    }
}

/// What a login waits for.
#[derive(Debug)]
enum State {
    /// The client's first message, or none.
    Start(Kind),
    /// The response to the challenge of CRAM-MD5.
    CramMd5(Vec<u8>),
    /// The response to the challenge with this nonce.
    DigestMd5(Vec<u8>),
    /// The password of this user.
    Login(Vec<u8>),
    /// The client's proof.
    Scram(Box<scram::Exchange>),
    /// Anything: the client has seen that this server knows the secret.
    Proven,
}

/// A login that waits for its client's response.
#[derive(Debug)]
pub(crate) struct Exchange {
    cyrus: Arc<Cyrus>,
    service: String,
    named: Option<Vec<u8>>,
    state: State,
}

impl Exchange {
    /// Passes on the client's response.
    pub(crate) fn proceed(self, response: &[u8]) -> (Answer, Option<Self>) {
        match base64::decode(response) {
            Ok(message) => self.step(Some(message)),
            Err(fault) => (not_base64(fault, self.named), None),
        }
    }

    fn step(mut self, message: Option<Vec<u8>>) -> (Answer, Option<Self>) {
        match self.next(message) {
            Ok(Some((challenge, state))) => {
                self.state = state;
                (Answer::Challenge(base64::encode(&challenge)), Some(self))
            }
            Ok(None) => (Answer::LoggedIn(self.named.unwrap_or_default()), None),
            Err(fault) => (refused(fault, self.named), None),
        }
    }

    /// The challenge to go on with, or the end.
    fn next(&mut self, message: Option<Vec<u8>>) -> Result<Option<(Vec<u8>, State)>, Fault> {
        let cyrus = Arc::clone(&self.cyrus);
        let mut person = Person { accounts: &cyrus.accounts, service: &self.service, named: &mut self.named };
        let state = std::mem::replace(&mut self.state, State::Proven);
        Ok(match (state, message) {
            (State::Start(Kind::CramMd5), Some(_)) => {
                return Err(Fault::Protocol.because("Remote sent first but mech does not allow it."));
            }
            (State::Start(Kind::CramMd5), None) => {
                let challenge = cram_md5::challenge(cyrus.accounts.hostname())?;
                Some((challenge.clone(), State::CramMd5(challenge)))
            }
            (State::Start(Kind::DigestMd5), _) => {
                let nonce = digest_md5::nonce()?;
                Some((digest_md5::challenge(&nonce, cyrus.accounts.realm()), State::DigestMd5(nonce)))
            }
            (State::Start(Kind::Login), None) => Some((b"Username:".to_vec(), State::Start(Kind::Login))),
            (State::Start(Kind::Login), Some(name)) => {
                Some((b"Password:".to_vec(), State::Login(plain::login_name(name)?)))
            }
            (State::Start(kind), None) => Some((Vec::new(), State::Start(kind))),
            (State::Start(Kind::Plain), Some(message)) => {
                plain::plain(&mut person, &message)?;
                None
            }
            (State::Start(Kind::Scram(hash)), Some(message)) => {
                let of_hash = |(_, kind, _): &&(&'static str, Kind, Properties)| *kind == Kind::Scram(hash);
                let name = MECHANISMS.iter().find(of_hash).map_or("SCRAM", |(name, ..)| name);
                let salts = (&cyrus.salt_key[..], cyrus.iterations);
                let (challenge, exchange) = scram::start(&mut person, (hash, name), salts, &message)?;
                Some((challenge, State::Scram(Box::new(exchange))))
            }
            (State::Login(name), message) => {
                plain::login(&mut person, &name, &message.unwrap_or_default())?;
                None
            }
            (State::CramMd5(challenge), message) => {
                cram_md5::response(&mut person, &challenge, &message.unwrap_or_default())?;
                None
            }
            (State::DigestMd5(nonce), message) => {
                let proof = digest_md5::respond(&mut person, &nonce, &message.unwrap_or_default())?;
                Some((proof, State::Proven))
            }
            (State::Scram(exchange), message) => {
                let proof = exchange.finish(&mut person, &message.unwrap_or_default())?;
                Some((proof, State::Proven))
            }
            (State::Proven, _) => None,
        })
    }
}

/// However it is called, the client has done it.
fn not_base64(fault: Fault, user: Option<Vec<u8>>) -> Answer {
    Answer::Refused { user, reason: fault.to_string().into_bytes() }
}

fn refused(fault: Fault, user: Option<Vec<u8>>) -> Answer {
    let reason = fault.to_string().into_bytes();
    if fault.is_temporary() { Answer::Deferred { user, reason } } else { Answer::Refused { user, reason } }
}
