//! STARTTLS (spec tls-sasl 2.3; RFC 3207).
//!
//! After the reply [`crate::conversation`] drops what came in clear text, and runs the handshake.

use access::replies;
use access::settings::classes::Classes;
use smtp::command::Token;

use crate::log;
use crate::session::{Handled, Session, Step};
use crate::settings::tls::Demand;

/// Runs STARTTLS.
pub(crate) fn starttls(session: &mut Session<'_, '_>, _: &[u8], tokens: &[Token]) -> Handled {
    if let Some(text) = refusal(session, tokens) {
        session.reply(text);
        return Err(Step::Next);
    }
    // What was said in clear text may have been said by anybody.
    let greeted = session.helo.take().is_some();
    session.ungreet_milters(greeted);
    session.reset();
    session.reply(replies::READY_TO_START_TLS);
    Ok(Step::StartTls)
}

fn refusal(session: &mut Session<'_, '_>, tokens: &[Token]) -> Option<String> {
    if tokens.len() != 1 {
        return Some(replies::STARTTLS_SYNTAX.into());
    }
    if session.tls.is_some() {
        return Some(replies::TLS_ALREADY_ACTIVE.into());
    }
    if session.params.tls.demand == Demand::None || session.discard.has("STARTTLS") {
        return Some(replies::NOT_IMPLEMENTED.into());
    }
    if let Some(text) = session.security_refused_by_milters() {
        return Some(String::from_utf8_lossy(&text).into_owned());
    }
    if session.services.tls.is_none() {
        session.transcript.error(Classes::SOFTWARE);
        return Some(replies::TLS_NOT_AVAILABLE.into());
    }
    if session.too_many_tls_sessions_so_far() {
        log::tls_refused("STARTTLS request", &session.client, &session.services.service_name);
        let namaddr = String::from_utf8_lossy(&session.client.namaddr);
        return Some(format!("454 4.7.0 Error: too many new TLS sessions from {namaddr}"));
    }
    None
}
