//! Server names that are no names of hosts, and handshakes that go on without them.
//!
//! rustls ends a handshake in which the client asks for a server name that cannot be one (RFC 6066, section 3). OpenSSL
//! takes any text, and Postfix goes on with the default chain. So such a name is hidden from rustls: the type of its
//! extension is replaced by one that nobody knows. What the client sent is hashed by both sides, and in TLS 1.2 signed
//! by a client that has a certificate; so it is put back wherever rustls hashes it ([`restoring`] makes suites whose
//! hash does so) and where the signature is verified ([`restored`]).
//!
//! rustls gives its hashes no context: while a thread runs a step of a handshake it holds what was hidden in that one
//! ([`Hiding`]).

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::LazyLock;

use rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use rustls::crypto::{CipherSuiteCommon, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::{SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};

use crate::hello::Hello;

/// The longest name; one that is longer ends the handshake with OpenSSL as well.
const NAME_LIMIT: usize = 255;

/// The beginning of a ClientHello, as rustls saw it and as the client sent it.
#[derive(Debug)]
struct Hidden {
    seen: Vec<u8>,
    sent: Vec<u8>,
}

thread_local! {
    static HIDDEN: RefCell<Vec<Hidden>> = const { RefCell::new(Vec::new()) };
}

/// For as long as it lives, what this thread hides is put back.
/// What is hidden in one handshake; rustls meets it in the thread that runs a step of it.
#[derive(Debug, Default)]
pub(crate) struct Hiding(Vec<Hidden>);

impl Hiding {
    /// Runs a step of the handshake.
    pub(crate) fn during<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let swap = |own: &mut Vec<Hidden>| HIDDEN.with_borrow_mut(|here| std::mem::swap(here, own));
        swap(&mut self.0);
        let outcome = step();
        swap(&mut self.0);
        outcome
    }
}

/// The name that a ClientHello asks for, whatever it is: the one name in the list, as OpenSSL reads it.
pub(crate) fn asked_for<'h>(hello: &Hello<'h>) -> Option<&'h [u8]> {
    let list = hello.server_names()?;
    let name = list.host_name()?;
    (name.len() <= NAME_LIMIT && !name.contains(&0)).then_some(name)
}

/// Where in a ClientHello two bytes are to be replaced for rustls to take it, and by which.
pub(crate) fn hide(message: &[u8]) -> Option<(usize, [u8; 2])> {
    let hello = Hello::parse(message)?;
    let name = asked_for(&hello)?;
    if ServerName::try_from(name).is_ok() {
        return None;
    }
    let at = hello.server_names()?.at;
    let unknown = (0xff00..=0xffff_u16).find(|&kind| !hello.has_extension(kind))?.to_be_bytes();
    let sent = message.get(..at + 2)?.to_vec();
    let mut seen = sent.clone();
    seen[at..].copy_from_slice(&unknown);
    HIDDEN.with_borrow_mut(|hidden| hidden.push(Hidden { seen, sent }));
    Some((at, unknown))
}

/// Handshake messages as the client sent them.
pub(crate) fn restored(messages: &[u8]) -> Cow<'_, [u8]> {
    HIDDEN.with_borrow(|hidden| {
        let mut restored = Cow::Borrowed(messages);
        for Hidden { seen, sent } in hidden {
            // The random bytes of the client are part of it: it is in no other place.
            if let Some(at) = restored.windows(seen.len()).position(|window| window == seen) {
                restored.to_mut()[at..at + sent.len()].copy_from_slice(sent);
            }
        }
        restored
    })
}

/// A suite whose hash is one of [`restored`] messages.
pub(crate) fn restoring(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    static SUITES: LazyLock<Vec<SupportedCipherSuite>> =
        LazyLock::new(|| aws_lc_rs::ALL_CIPHER_SUITES.iter().map(|suite| restoring_suite(*suite)).collect());
    SUITES.iter().find(|own| own.suite() == suite.suite()).copied().unwrap_or(suite)
}

/// Made once a process: rustls wants suites that last for ever.
fn restoring_suite(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
        suite: common.suite,
        hash_provider: Box::leak(Box::new(RestoringHash(common.hash_provider))),
        confidentiality_limit: common.confidentiality_limit,
    };
    match suite {
        SupportedCipherSuite::Tls12(suite) => {
            let suite = Tls12CipherSuite {
                common: common(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: suite.aead_alg,
            };
            SupportedCipherSuite::Tls12(Box::leak(Box::new(suite)))
        }
        SupportedCipherSuite::Tls13(suite) => {
            let suite = Tls13CipherSuite {
                common: common(&suite.common),
                hkdf_provider: suite.hkdf_provider,
                aead_alg: suite.aead_alg,
                quic: None,
            };
            SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))
        }
    }
}

struct RestoringHash(&'static dyn Hash);

impl Hash for RestoringHash {
    fn start(&self) -> Box<dyn Context> {
        Box::new(Restoring(self.0.start()))
    }

    fn hash(&self, data: &[u8]) -> Output {
        self.0.hash(&restored(data))
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0.algorithm()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

/// rustls gives it a ClientHello, or as much of one as it wants to hash, in one piece.
struct Restoring(Box<dyn Context>);

impl Context for Restoring {
    fn fork_finish(&self) -> Output {
        self.0.fork_finish()
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(Self(self.0.fork()))
    }

    fn finish(self: Box<Self>) -> Output {
        self.0.finish()
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(&restored(data));
    }
}
