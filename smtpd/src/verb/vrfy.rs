//! VRFY: is told nothing but whether the address would be accepted (spec smtpd 2.12).

use access::client::text;
use access::path::{Kind, Utf8};
use access::replies;
use smtp::command::Token;

use crate::session::limits::Event;
use crate::session::{Handled, Session, Step};

/// Runs VRFY.
pub(crate) fn vrfy(session: &mut Session<'_, '_>, _: &[u8], tokens: &[Token]) -> Handled {
    if session.params.disable_vrfy_command {
        session.reply(replies::VRFY_DISABLED);
        return Err(Step::Next);
    }
    let utf8 = session.params.access.smtputf8_enable;
    let offered = utf8 && !session.discard.has("SMTPUTF8");
    let declared = offered && tokens.len() > 2 && tokens.last().is_some_and(|token| token.is("smtputf8"));
    let words = &tokens[1..tokens.len() - usize::from(declared)];
    if words.is_empty() {
        session.reply(if utf8 { replies::VRFY_SYNTAX_UTF8 } else { replies::VRFY_SYNTAX });
        return Err(Step::Next);
    }
    if let Some(text) = session.refused_by_milters() {
        session.reply(text);
        return Err(Step::Next);
    }
    if let Some(reply) = session.rate_limit(Event::Recipient) {
        session.reply(reply);
        return Err(Step::Next);
    }
    // Here, unlike in MAIL and RCPT, a missing end quote is no error (observed, 3.7.11).
    let argument = text::join(words);
    let Some(address) = session.address(&Token::whole(&argument), Kind::Verify, Utf8::declared_if(declared))
    else {
        session.reply(replies::BAD_RECIPIENT);
        return Err(Step::Next);
    };
    // What MAIL declared does not count here (observed).
    if !declared && session.params.access.strict_smtputf8 && !address.is_ascii() {
        // The open transaction goes with it, as in 3.7.
        session.reset();
        session.reply(replies::DECLARE_SMTPUTF8);
        return Err(Step::Next);
    }
    if !session.params.access.is_exempt_recipient(&address)
        && let Some(text) = session.check_recipient(&address)
    {
        session.reply(text);
        return Err(Step::Next);
    }
    session.reply([b"252 2.0.0 ", &argument[..]].concat());
    Ok(Step::Next)
}
