//! ETRN: asks for a delivery attempt of a domain's mail (RFC 1985; spec smtpd 2.13).
//!
//! A domain in `fast_flush_domains` is handed to the flush service; without that service the answer is its own.

use access::replies;
use address::DomainName;
use ipc::flush::{Status, send_site};
use smtp::command::Token;

use crate::log;
use crate::session::standing::Standing;
use crate::session::{Handled, Session, Step};

/// Runs ETRN.
pub(crate) fn etrn(session: &mut Session<'_, '_>, _: &[u8], tokens: &[Token]) -> Handled {
    if let Some(text) = out_of_place(session, tokens) {
        session.reply(text);
        return Err(Step::Next);
    }
    if let Some(text) = session.refused_by_milters() {
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
    if session.params.submitter.is_some() {
        log::etrn_stand_alone();
        session.reply(replies::ETRN_UNABLE);
        return Err(Step::Next);
    }
    let (reply, result) = match flush(session, domain) {
        Status::Ok => (replies::ETRN_STARTED.into(), Ok(Step::Next)),
        Status::Denied => {
            log::etrn_rejected(domain, &session.client);
            ([b"459 <", domain, b">: service unavailable"].concat(), Err(Step::Next))
        }
        Status::Bad => {
            log::etrn_bad(domain, &session.client);
            (replies::ETRN_UNABLE.into(), Err(Step::Next))
        }
        Status::Fail => {
            log::flush_unreachable();
            (replies::ETRN_UNABLE.into(), Err(Step::Next))
        }
    };
    session.reply(reply);
    result
}

/// Asks the flush service, unless the domain is not served.
fn flush(session: &Standing<'_>, domain: &[u8]) -> Status {
    match session.tables.flush_domains.matches(domain) {
        Ok(true) => {
            let path = format!("public/{}", session.params.flush_service_name);
            send_site(&path, session.params.access.ipc_timeout, &String::from_utf8_lossy(domain))
        }
        Ok(false) => Status::Denied,
        Err(error) => {
            ::log::warn!("{error}");
            Status::Fail
        }
    }
}

fn out_of_place(session: &Session<'_, '_>, tokens: &[Token]) -> Option<&'static str> {
    if session.params.access.helo_required && session.helo.is_none() {
        Some(replies::ETRN_HELO_FIRST)
    } else if session.transaction().is_some() {
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
