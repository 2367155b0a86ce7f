//! ETRN: asks for a delivery attempt of a domain's mail (RFC 1985; smtpd chapter, section 2.13).
//!
//! The flush service is not there yet. `fast_flush_domains` other than empty is refused at start (see
//! [`crate::unsupported`]); with an empty list every domain gets Postfix's answer for a domain not in the list.

use address::DomainName;
use smtp::command::Token;

use crate::log;
use crate::replies;
use crate::session::{Handled, Session, Step};

/// Runs ETRN.
pub fn etrn(session: &mut Session<'_>, tokens: &[Token]) -> Handled {
    if let Some(text) = out_of_place(session, tokens) {
        session.reply(text);
        return Err(Step::Next);
    }
    let argument = &tokens[1].text;
    let domain = argument.strip_prefix(b"@").or_else(|| argument.strip_prefix(b"#")).unwrap_or(argument);
    if !is_domain(domain) {
        session.reply(replies::ETRN_BAD_DOMAIN);
        return Err(Step::Next);
    }
    if let Some(text) = session.check_etrn(domain) {
        session.reply(text);
        return Err(Step::Next);
    }
    log::etrn_rejected(domain, &session.client);
    session.reply([b"459 <", domain, b">: service unavailable"].concat());
    Err(Step::Next)
}

fn out_of_place(session: &Session<'_>, tokens: &[Token]) -> Option<&'static str> {
    if session.params.helo_required && session.helo.is_none() {
        Some(replies::ETRN_HELO_FIRST)
    } else if session.transaction.is_some() {
        Some(replies::ETRN_IN_TRANSACTION)
    } else if tokens.len() != 2 {
        Some(replies::ETRN_SYNTAX)
    } else {
        None
    }
}

/// A host name, or an address in brackets.
fn is_domain(text: &[u8]) -> bool {
    let literal = text.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    match literal {
        Some(inner) => {
            let inner = inner.strip_prefix(b"IPv6:").unwrap_or(inner);
            address::host_address(inner).is_ok()
        }
        None => DomainName::check(text).is_ok(),
    }
}
