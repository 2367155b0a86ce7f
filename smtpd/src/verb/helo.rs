//! HELO and EHLO, and the EHLO keywords that may be discarded.

use std::iter;

use access::client::list::Untold;
use access::client::protocol::Protocol;
use access::client::text;
use access::replies;
use milter::Event;
use smtp::command::Token;

use crate::log;
use crate::session::{Handled, Session, Step};
use crate::settings::tls::Demand;

/// Runs HELO.
pub(crate) fn helo(session: &mut Session<'_, '_>, _: &[u8], tokens: &[Token]) -> Handled {
    if tokens.len() < 2 {
        session.reply(replies::HELO_SYNTAX);
        return Err(Step::Next);
    }
    greet(session, tokens)?;
    let text = format!("250 {}", session.params.access.myhostname);
    session.reply(text);
    Ok(Step::Next)
}

/// Runs EHLO.
pub(crate) fn ehlo(session: &mut Session<'_, '_>, _: &[u8], tokens: &[Token]) -> Handled {
    if tokens.len() < 2 {
        session.reply(replies::EHLO_SYNTAX);
        return Err(Step::Next);
    }
    let refused = greet(session, tokens)?;
    session.protocol = Protocol::Esmtp;
    if !refused && let Some(words) = session.discard.log_text(session.params.access.dialect) {
        log::discarding_keywords(&words);
    }
    if session.discard_unknown {
        let client = maillog::shown(&session.client.namaddr);
        ::log::warn!("don't know what EHLO features to announce to {client}");
        session.local_data_error();
        return Err(Step::Close);
    }
    if refused {
        return ehlo_of_the_refused(session);
    }
    for line in announcement(session)?.lines() {
        session.reply(line);
    }
    Ok(Step::Next)
}

/// Room for the usual reply to EHLO.
const ANNOUNCEMENT: usize = 384;

/// A client that a mail filter has refused is greeted, and told no more than it must know to understand the refusal.
fn ehlo_of_the_refused(session: &mut Session<'_, '_>) -> Handled {
    let host = &session.params.access.myhostname;
    let text = if session.hides("ENHANCEDSTATUSCODES") {
        format!("250 {host}")
    } else {
        format!("250-{host}\n250 ENHANCEDSTATUSCODES")
    };
    for line in text.lines() {
        session.reply(line);
    }
    Ok(Step::Next)
}

/// What HELO and EHLO have in common: restrictions and mail filters, then a new start with the new name. Whether a filter
/// refuses the client for good, who hears of it later.
fn greet(session: &mut Session<'_, '_>, tokens: &[Token]) -> Result<bool, Step> {
    let sent = text::join(&tokens[1..]);
    let name = text::censored(&sent, session.params.access.smtputf8_enable);
    // Restrictions see the name as it was sent now, and made harmless later on (observed, 3.7.11).
    if !session.params.access.delay_reject
        && let Some(text) = session.check_helo(&sent)
    {
        session.reply(text);
        return Err(Step::Next);
    }
    let before = session.helo.replace(name);
    let told = session.tell_in_transaction(&Event::Helo(tokens[1].text));
    if let Some(text) = told.as_deref().filter(|text| text.starts_with(b"421")) {
        session.reply(text);
        return Err(Step::Close);
    }
    session.ungreet_milters(before.is_some());
    session.reset();
    session.transcript_end();
    Ok(told.is_some_and(|text| text.starts_with(b"5")))
}

/// Whether a feature of some clients is announced to this one.
fn is_for(session: &mut Session<'_, '_>, feature: &str, answer: Result<bool, Untold>) -> Result<bool, Step> {
    if session.discard.has(feature) {
        return Ok(false);
    }
    session.told(answer, format_args!("EHLO feature {feature} should be announced to"))
}

/// The lines of the EHLO reply, in Postfix's order.
fn announcement(session: &mut Session<'_, '_>) -> Result<String, Step> {
    session.look_at_filters();
    let params = session.params;
    let xverp = is_for(session, "XVERP", session.verp_allowed())?;
    let xclient = is_for(session, "XCLIENT", session.xclient_allowed)?;
    let xforward = is_for(session, "XFORWARD", session.xforward_allowed)?;
    let size = match session.size_limit() {
        0 => "SIZE".to_string(),
        limit => format!("SIZE {limit}"),
    };
    let mechanisms = match &session.sasl.offer {
        Some(offer) => {
            let words = offer.announced.clone();
            is_for(session, "AUTH", session.is_told_of_auth())?.then_some(words)
        }
        None => None,
    };
    let auth = mechanisms.as_ref().map(|words| format!("AUTH {words}")).unwrap_or_default();
    let old_auth = mechanisms.as_ref().map(|words| format!("AUTH={words}")).unwrap_or_default();
    let broken_clients = params.sasl.as_ref().is_some_and(|sasl| sasl.broken_clients);
    let offers_tls = params.tls.demand != Demand::None && session.tls.is_none();
    let candidates: [(&str, &str, bool); 17] = [
        ("PIPELINING", "PIPELINING", true),
        ("SIZE", &size, true),
        ("VRFY", "VRFY", !params.disable_vrfy_command),
        ("ETRN", "ETRN", true),
        ("STARTTLS", "STARTTLS", offers_tls),
        ("AUTH", &auth, mechanisms.is_some()),
        ("AUTH", &old_auth, mechanisms.is_some() && broken_clients),
        ("XVERP", "XVERP", xverp),
        ("XCLIENT", "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT", xclient),
        ("XFORWARD", "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT", xforward),
        ("ENHANCEDSTATUSCODES", "ENHANCEDSTATUSCODES", true),
        ("8BITMIME", "8BITMIME", true),
        ("DSN", "DSN", true),
        ("SMTPUTF8", "SMTPUTF8", params.access.smtputf8_enable),
        ("CHUNKING", "CHUNKING", true),
        ("REQUIRETLS", "REQUIRETLS", session.offers_requiretls()),
        ("PRDR", "PRDR", session.offers_prdr()),
    ];
    let mut lines = String::with_capacity(ANNOUNCEMENT);
    let own = iter::once(params.access.myhostname.as_str());
    let features =
        candidates.into_iter().filter(|(keyword, _, announced)| *announced && !session.hides(keyword));
    let mut last = 0;
    for line in own.chain(features.map(|(_, line, _)| line)) {
        last = lines.len();
        lines.extend(["250-", line, "\n"]);
    }
    lines.replace_range(last..last + 4, "250 ");
    Ok(lines)
}
