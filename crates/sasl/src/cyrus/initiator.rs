//! The other side of a login: a client that proves to a server who it is, as Postfix's clients do it with libsasl2 2.1.28
//! (spec tls-sasl 21).
//!
//! [`Initiator::start`] chooses the strongest mechanism of those that a server offers, and [`Initiator::step`] answers the
//! server's challenges, each of them text in base64. What a server says is bounded by the line that it came in; how often
//! it may ask is the caller's to bound, though no mechanism here takes more than two challenges.

mod digest_md5;
mod scram;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::accounts::trim;
use super::base64::{decode, encode};
use super::fault::Fault;
use super::scram::Hash;
use super::{MUTUAL, OPEN, PASSWORD, cram_md5};
use crate::mechanism::{Mechanism, Properties, SecurityOptions};

/// What a token file may have: tokens have up to some thousand bytes.
const TOKEN_LIMIT: u64 = 64 * 1024;
/// Marks a password that is the name of a file with a token in it.
const TOKEN_FILE: &str = "file:";
const CHALLENGE_LIMIT: usize = 1024;

/// What the client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scram(Hash),
    DigestMd5,
    External,
    CramMd5,
    Plain,
    Login,
    Anonymous,
    XOAuth2,
    OAuthBearer,
}

/// The strongest first, as the library has them.
const MECHANISMS: [(&str, Kind, Properties); 13] = [
    ("SCRAM-SHA-512", Kind::Scram(Hash::Sha512), MUTUAL),
    ("SCRAM-SHA-384", Kind::Scram(Hash::Sha384), MUTUAL),
    ("SCRAM-SHA-256", Kind::Scram(Hash::Sha256), MUTUAL),
    ("SCRAM-SHA-224", Kind::Scram(Hash::Sha224), MUTUAL),
    ("SCRAM-SHA-1", Kind::Scram(Hash::Sha1), MUTUAL),
    ("DIGEST-MD5", Kind::DigestMd5, OPEN.union(Properties::MUTUAL_AUTH)),
    ("EXTERNAL", Kind::External, Properties::ACTIVE),
    ("CRAM-MD5", Kind::CramMd5, OPEN),
    ("PLAIN", Kind::Plain, PASSWORD),
    ("LOGIN", Kind::Login, PASSWORD),
    ("ANONYMOUS", Kind::Anonymous, OPEN.union(Properties::ANONYMOUS)),
    // The library has them only with plug-ins that Debian does not have: they are for who asks for them.
    ("OAUTHBEARER", Kind::OAuthBearer, PASSWORD),
    ("XOAUTH2", Kind::XOAuth2, PASSWORD),
];

/// Who logs in, and where.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'i> {
    /// The name.
    pub user: &'i str,
    /// The password or the token; `file:PATH` for a token in a file, which is read at each login.
    pub password: &'i str,
    /// `smtp`, `lmtp` or `ldap`.
    pub service: &'static str,
    /// The server's name.
    pub host: &'i str,
    /// Whom to act as; empty when nothing is said of it.
    pub act_as: &'i str,
    /// The server knows this client by its certificate, so that `EXTERNAL` makes sense.
    pub has_certificate: bool,
    /// Tokens may be used, where the server offers that.
    pub has_token: bool,
}

/// Why there is no login; `Display` is the library's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

/// A login has begun.
#[derive(Debug)]
pub struct Start {
    /// The mechanism that was chosen.
    pub mechanism: &'static str,
    /// What is said with its name, in base64, if the mechanism begins with that.
    pub initial: Option<String>,
    /// Who answers from here.
    pub initiator: Initiator,
}

/// A login on its way.
#[derive(Debug)]
pub struct Initiator {
    state: State,
}

#[derive(Debug)]
enum State {
    Scram(Box<scram::Exchange>),
    ScramProof(scram::Proof),
    DigestMd5 {
        user: String,
        password: String,
        uri: String,
        host: String,
        act_as: String,
    },
    DigestMd5Proof(Vec<u8>),
    CramMd5 {
        user: String,
        password: String,
    },
    Login {
        user: String,
        password: String,
    },
    LoginPassword(String),
    /// A server that does not take a token says why, and waits for this.
    TokenRefused(&'static [u8]),
    Done,
}

/// Whether one of these is what there is, but for channel bindings, which there are not.
fn needs_binding(offered: &str) -> bool {
    let plain = offered.split_ascii_whitespace().filter_map(|word| {
        let end = word.len().checked_sub("-PLUS".len())?;
        let (name, tail) = word.split_at_checked(end)?;
        tail.eq_ignore_ascii_case("-PLUS").then_some(name)
    });
    plain.into_iter().any(|name| MECHANISMS.iter().any(|(known, ..)| known.eq_ignore_ascii_case(name)))
}

fn choose(
    offered: &str,
    options: SecurityOptions,
    has_token: bool,
) -> Option<&'static (&'static str, Kind, Properties)> {
    MECHANISMS.iter().find(|(name, kind, properties)| {
        let is_separator = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        let is_offered = offered.split(is_separator).any(|word| word.eq_ignore_ascii_case(name));
        let is_known = !matches!(kind, Kind::OAuthBearer | Kind::XOAuth2) || has_token;
        is_offered
            && is_known
            && options.allow(&Mechanism { name: (*name).to_owned(), properties: *properties })
    })
}

impl Initiator {
    /// Whether one of the mechanisms can be used.
    #[must_use]
    pub fn can_start(offered: &str, options: SecurityOptions, has_token: bool) -> bool {
        choose(offered, options, has_token).is_some()
    }

    /// Whether nothing of the login is left: where a mechanism is mutual, the server has shown that it knows the secret.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Chooses a mechanism of a list with spaces, and begins.
    ///
    /// # Errors
    /// None of them can be used, or the identity is none for it; what else is to be said has been logged.
    pub fn start(offered: &str, options: SecurityOptions, identity: &Identity<'_>) -> Result<Start, Refusal> {
        let Some((mechanism, kind, _)) = choose(offered, options, identity.has_token) else {
            if !needs_binding(offered) {
                return Err(Fault::Mechanism.because("No worthy mechs found").into());
            }
            return Err(Fault::Mechanism.into());
        };
        let user = || trimmed(identity.user);
        let owned = |text: &str| text.to_owned();
        let act_as = identity.act_as;
        let (initial, state) = match kind {
            Kind::Scram(hash) => {
                let (first, exchange) = scram::start(
                    (*hash, mechanism),
                    user()?.as_bytes(),
                    act_as.as_bytes(),
                    identity.password.as_bytes(),
                )?;
                (Some(first), State::Scram(Box::new(exchange)))
            }
            Kind::DigestMd5 => {
                let uri = format!("{}/{}", identity.service, identity.host);
                let (user, password) = (owned(identity.user), owned(identity.password));
                let (host, act_as) = (owned(identity.host), owned(act_as));
                (None, State::DigestMd5 { user, password, uri, host, act_as })
            }
            Kind::External if !identity.has_certificate => return Err(Fault::Mechanism.into()),
            Kind::External => (Some(act_as.as_bytes().to_vec()), State::Done),
            Kind::CramMd5 => {
                let (user, password) = (owned(identity.user), owned(identity.password));
                (None, State::CramMd5 { user, password })
            }
            Kind::Plain => {
                let text = [act_as, user()?, identity.password].join("\0");
                (Some(text.into_bytes()), State::Done)
            }
            Kind::Login => {
                let (user, password) = (owned(identity.user), owned(identity.password));
                (None, State::Login { user, password })
            }
            Kind::Anonymous => {
                let host = sys::host::name().unwrap_or_default();
                (Some(format!("anonymous@{host}").into_bytes()), State::Done)
            }
            Kind::OAuthBearer => {
                let (user, token) = (scram::escaped(user()?.as_bytes()), token(identity.password)?);
                let head = [b"n,a=", &*user, b",\x01host=", identity.host.as_bytes()].concat();
                let tail = format!("\x01auth=Bearer {token}\x01\x01");
                (Some([&*head, tail.as_bytes()].concat()), State::TokenRefused(b"\x01"))
            }
            Kind::XOAuth2 => {
                let text = format!("user={}\x01auth=Bearer {}\x01\x01", user()?, token(identity.password)?);
                (Some(text.into_bytes()), State::TokenRefused(b""))
            }
        };
        let initial = initial.map(|bytes| text(&bytes));
        Ok(Start { mechanism, initial, initiator: Self { state } })
    }

    /// Answers a challenge.
    ///
    /// # Errors
    /// The challenge makes no sense, or shows that the server does not know the password.
    pub fn step(&mut self, challenge: &[u8]) -> Result<String, Refusal> {
        let challenge = decode(challenge)?;
        let (answer, next) = match std::mem::replace(&mut self.state, State::Done) {
            State::Scram(exchange) => {
                let (answer, proof) = exchange.step(&challenge)?;
                (answer, State::ScramProof(proof))
            }
            State::ScramProof(proof) => {
                proof.check(&challenge)?;
                (Vec::new(), State::Done)
            }
            State::DigestMd5 { user, password, uri, host, act_as } => {
                let identity = digest_md5::Identity {
                    user: &user,
                    password: &password,
                    uri: &uri,
                    host: &host,
                    act_as: &act_as,
                };
                let (answer, proof) = digest_md5::respond(&identity, &challenge)?;
                (answer, State::DigestMd5Proof(proof))
            }
            State::DigestMd5Proof(proof) => {
                digest_md5::check(&proof, &challenge)?;
                (Vec::new(), State::Done)
            }
            State::CramMd5 { user, password } => {
                if challenge.len() > CHALLENGE_LIMIT {
                    return Err(Fault::Protocol.because("CRAM-MD5 input longer than 1024 bytes").into());
                }
                let user = trimmed(&user)?.as_bytes();
                (cram_md5::answer(user, password.as_bytes(), &challenge), State::Done)
            }
            State::Login { user, password } => {
                (trimmed(&user)?.as_bytes().to_vec(), State::LoginPassword(password))
            }
            State::LoginPassword(password) => (password.into_bytes(), State::Done),
            State::TokenRefused(answer) => (answer.to_vec(), State::Done),
            State::Done => {
                log::warn!("SASL authentication problem: attempting client step after doneflag");
                return Err(Fault::Failure.into());
            }
        };
        self.state = next;
        Ok(text(&answer))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&encode(bytes)).into_owned()
}

/// A name as the library sends it.
fn trimmed(user: &str) -> Result<&str, Fault> {
    let name = std::str::from_utf8(trim(user.as_bytes())).unwrap_or(user);
    if name.is_empty() {
        return Err(Fault::Failure.because("All-whitespace username."));
    }
    Ok(name)
}

/// The token that a password is, or that is in the file that it names. Other programs renew such files.
fn token(password: &str) -> Result<String, Fault> {
    let Some(path) = password.strip_prefix(TOKEN_FILE) else { return Ok(password.to_owned()) };
    let unusable =
        |why: &dyn std::fmt::Display| Fault::Failure.because(format_args!("token file {path}: {why}"));
    let mut text = String::new();
    let file = File::open(Path::new(path)).map_err(|error| unusable(&sys::error_text(&error)))?;
    file.take(TOKEN_LIMIT).read_to_string(&mut text).map_err(|error| unusable(&sys::error_text(&error)))?;
    let token = text.trim();
    // It goes into a message with fields; what stands between them cannot be in it.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unusable(&"there is no token in it"));
    }
    Ok(token.to_owned())
}
