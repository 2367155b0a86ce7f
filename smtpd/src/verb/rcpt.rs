//! RCPT: adds a recipient to the transaction (spec smtpd 2.8).

use access::path::{Kind, Utf8};
use access::replies;
use smtp::command::Token;
use smtp::parameter::{Offer, RcptParameters, Refused, split};

use crate::log;
use crate::mail::envelope::Recipient;
use crate::session::limits::Event;
use crate::session::{Handled, Session, Step};
use crate::transaction::Recipients;

/// Runs RCPT; `line` is the command as the client sent it.
pub(crate) fn rcpt(session: &mut Session<'_, '_>, line: &[u8], tokens: &[Token]) -> Handled {
    let out_of_place =
        if session.transaction().is_none() { replies::NEED_MAIL } else { replies::RCPT_AFTER_BDAT };
    let recipients = session.at_recipients().filter(|session| !session.phase.discards_chunks);
    let Some(mut session) = recipients else {
        session.reply(out_of_place);
        return Err(Step::Next);
    };
    if tokens.len() < 3 || !tokens[1].is("to:") {
        session.reply(replies::RCPT_SYNTAX);
        return Err(Step::Next);
    }
    if let Some(reply) = session.rate_limit(Event::Recipient) {
        session.reply(reply);
        return Err(Step::Next);
    }
    let declared = Utf8::declared_if(session.phase.transaction.envelope.smtputf8);
    let Some(address) = session.address(&tokens[2], Kind::Recipient, declared) else {
        session.reply(replies::BAD_RECIPIENT);
        return Err(Step::Next);
    };
    let parameters = parameters(&mut session, &tokens[3..])?;
    if session.phase.transaction.envelope.recipients >= session.params.recipient_limit {
        return session.too_many_recipients();
    }
    if session.must_declare_smtputf8(&address) {
        session.reply(replies::DECLARE_SMTPUTF8);
        return Err(Step::Next);
    }
    if !session.params.access.is_exempt_recipient(&address)
        && let Some(text) = session.check_recipient(&address)
    {
        session.tell_of_refused(&tokens[2..], &text);
        session.reply(text);
        return Err(Step::Next);
    }
    if session.phase.transaction.envelope.recipients > 0 && session.takes_one_recipient() {
        return session.too_many_recipients();
    }
    if let Some(text) = session.tell_of_rcpt(&tokens[2..], &address) {
        session.reply(text);
        return Err(Step::Next);
    }
    let rcpt = Recipient {
        dsn_orig_rcpt: parameters.orcpt.unwrap_or_else(|| typed(&tokens[2])),
        notify: parameters.notify.map_or(0, smtp::parameter::Notify::flags),
        address,
    };
    if let Err(refusal) = session.hand_on(rcpt, line) {
        session.refuse(refusal);
        return Err(Step::Next);
    }
    session.reply(replies::RECIPIENT_OK);
    Ok(Step::Next)
}

fn parameters(session: &mut Session<'_, '_, Recipients>, tokens: &[Token]) -> Result<RcptParameters, Step> {
    let offer = Offer { dsn: !session.hides("DSN"), smtputf8: false, requiretls: false, verp: None };
    let mut parameters = RcptParameters::default();
    for token in tokens {
        if let Err(refused) = parameters.apply(token, &offer) {
            if refused == Refused::BadNotify {
                log_unknown_notify(token.text);
            }
            session.reply(refused.reply().text());
            return Err(Step::Next);
        }
    }
    Ok(parameters)
}

/// A word of NOTIFY= that is none gets a line in the log.
fn log_unknown_notify(option: &[u8]) {
    let value = split(option).1.unwrap_or_default();
    let known = |word: &&[u8]| {
        ["NEVER", "SUCCESS", "FAILURE", "DELAY"].iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
    };
    let unknown = value.split(|&byte| byte == b',').filter(|word| !word.is_empty()).find(|word| !known(word));
    if let Some(word) = unknown {
        log::unknown_notify(word, value);
    }
}

/// The original recipient for delivery reports when the client names none: the address as typed.
fn typed(token: &Token) -> Vec<u8> {
    let text = token.text;
    let inner = text.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")).unwrap_or(text);
    [b"rfc822;", inner].concat()
}
