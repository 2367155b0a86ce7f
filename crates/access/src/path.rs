//! Addresses of MAIL, RCPT and VRFY (spec smtpd 2.5).

use address::path::{ForwardPath, ReversePath, Strictness};
use smtp::command::Token;

use crate::facts::Facts;
use crate::log;

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
pub fn extract(facts: &Facts<'_>, token: &Token, kind: Kind, utf8: Utf8) -> Option<Vec<u8>> {
    // A missing end quote is answered without a word in the log.
    if token.unterminated {
        return None;
    }
    let address = parse(facts, token.text, kind).filter(|address| is_acceptable(facts, address, utf8));
    if address.is_none() {
        log::illegal_address(facts.client, kind.command(), token.text);
    }
    address
}

fn parse(facts: &Facts<'_>, text: &[u8], kind: Kind) -> Option<Vec<u8>> {
    let strict = facts.params.strict_rfc821_envelopes && kind != Kind::Verify;
    let strictness = if strict { Strictness::Strict } else { Strictness::Lenient };
    let mailbox = match kind {
        Kind::Sender => ReversePath::parse(text, strictness).ok()?.into_mailbox(),
        Kind::Recipient | Kind::Verify => ForwardPath::parse(text, strictness).ok()?.into_mailbox(),
    };
    Some(mailbox.into_internal())
}

/// Whether the domain is one: a matter for trivial-rewrite.
fn is_acceptable(facts: &Facts<'_>, address: &[u8], utf8: Utf8) -> bool {
    if address.is_empty() || facts.params.submits {
        return true;
    }
    // trivial-rewrite is asked in any case: it warns of what is wrong with the domain.
    let resolved = facts.services.resolver.resolve(facts.sender.unwrap_or_default(), address);
    let domain = address.iter().rposition(|&byte| byte == b'@').map_or(&b""[..], |at| &address[at + 1..]);
    // `ß` is ASCII for this purpose: it folds to `ss` (observed).
    !resolved.is_bad()
        && (utf8 == Utf8::Declared || domain.is_ascii() || lookup::fold(domain, true).is_ascii())
}
