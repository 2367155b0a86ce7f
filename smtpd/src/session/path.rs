//! Addresses of MAIL, RCPT and VRFY (spec smtpd 2.5).

use std::time::SystemTime;

use address::path::{ForwardPath, ReversePath, Strictness};
use smtp::command::Token;

use crate::client::list::Untold;
use crate::log;
use crate::session::Session;

/// Which command the address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// MAIL.
    Sender,
    /// RCPT.
    Recipient,
    /// VRFY: never strict.
    Verify,
}

impl Kind {
    fn command(self) -> &'static str {
        match self {
            Self::Sender => "MAIL",
            Self::Recipient => "RCPT",
            Self::Verify => "VRFY",
        }
    }
}

/// Whether SMTPUTF8 was declared: without it a domain has to be ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Utf8 {
    /// It was.
    Declared,
    /// It was not.
    NotDeclared,
}

impl Utf8 {
    /// From a test.
    pub fn declared_if(declared: bool) -> Self {
        if declared { Self::Declared } else { Self::NotDeclared }
    }
}

/// The address in internal form; `None` when it is none, after the log line about it.
pub fn extract(session: &Session<'_>, token: &Token, kind: Kind, utf8: Utf8) -> Option<Vec<u8>> {
    // A missing end quote is answered without a word in the log.
    if token.unterminated {
        return None;
    }
    let address = parse(session, token.text, kind).filter(|address| is_acceptable(session, address, utf8));
    if address.is_none() {
        log::illegal_address(&session.client, kind.command(), token.text);
    }
    address
}

fn parse(session: &Session<'_>, text: &[u8], kind: Kind) -> Option<Vec<u8>> {
    let strict = session.params.access.strict_rfc821_envelopes && kind != Kind::Verify;
    let strictness = if strict { Strictness::Strict } else { Strictness::Lenient };
    let mailbox = match kind {
        Kind::Sender => ReversePath::parse(text, strictness).ok()?.into_mailbox(),
        Kind::Recipient | Kind::Verify => ForwardPath::parse(text, strictness).ok()?.into_mailbox(),
    };
    Some(mailbox.into_internal())
}

/// Whether the domain is one: a matter for trivial-rewrite.
fn is_acceptable(session: &Session<'_>, address: &[u8], utf8: Utf8) -> bool {
    if address.is_empty() {
        return true;
    }
    // trivial-rewrite is asked in any case: it warns of what is wrong with the domain.
    let sender = session.sender().unwrap_or_default();
    let resolved = session.services.access.resolver.resolve(sender, address);
    let domain = address.iter().rposition(|&byte| byte == b'@').map_or(&b""[..], |at| &address[at + 1..]);
    // `ß` is ASCII for this purpose: it folds to `ss` (observed).
    !resolved.is_bad() && (utf8 == Utf8::Declared || lookup::fold(domain, true).is_ascii())
}

impl Session<'_> {
    /// Whether `strict_smtputf8` wants SMTPUTF8 to be declared for this address.
    pub fn must_declare_smtputf8(&self, address: &[u8]) -> bool {
        let declared = self.envelope().is_some_and(|envelope| envelope.smtputf8);
        self.params.access.strict_smtputf8 && !declared && !address.is_ascii()
    }

    /// `postmaster`, and the sender of address probes, are accepted without any restriction (spec smtpd trap 17).
    pub fn is_exempt_recipient(&self, address: &[u8]) -> bool {
        if address.eq_ignore_ascii_case(b"postmaster") {
            return true;
        }
        self.is_probe_sender(address)
    }

    /// `address_verify_sender` in full form; `None` when probes have the null sender.
    fn probe_sender(&self) -> Option<Vec<u8>> {
        let probe = self.params.access.address_verify_sender.as_bytes();
        if probe.is_empty() || probe == b"<>" {
            None
        } else if probe.contains(&b'@') {
            Some(probe.to_vec())
        } else {
            Some([probe, b"@", self.params.myorigin.as_bytes()].concat())
        }
    }

    /// Whether probes come from this address, or have lately.
    fn is_probe_sender(&self, address: &[u8]) -> bool {
        let ttl = self.params.access.address_verify_sender_ttl;
        self.probe_sender()
            .is_some_and(|probe| ipc::verify::is_probe_sender(address, &probe, ttl, SystemTime::now()))
    }

    /// A sender of probes without the time in it; others as they are.
    pub fn plain_sender(&self, sender: Vec<u8>) -> Vec<u8> {
        match self.probe_sender() {
            Some(probe) if self.is_probe_sender(&sender) => probe,
            _ => sender,
        }
    }

    /// Recipients accepted so far.
    pub fn recipients(&self) -> usize {
        self.envelope().map_or(0, |envelope| envelope.recipients)
    }

    /// Whether the client may use XVERP.
    ///
    /// # Errors
    /// The list cannot tell.
    pub fn verp_allowed(&self) -> Result<bool, Untold> {
        self.tables.verp_clients.has(&self.client)
    }
}
