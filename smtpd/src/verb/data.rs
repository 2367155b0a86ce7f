//! DATA: asks for leave to send the message (spec smtpd 2.9).
//!
//! What follows the 354 is the work of [`crate::session::content`].

use access::replies;
use smtp::command::Token;

use crate::session::{Handled, Session, Step};
use crate::transaction::By;
use crate::transaction::phase::InPhase;

/// Runs DATA; `line` is the command as the client sent it.
pub(crate) fn data(session: &mut Session<'_, '_>, line: &[u8], tokens: &[Token]) -> Handled {
    if session.phase.view().is_chunked() {
        session.reply(replies::DATA_AFTER_BDAT);
        return Err(Step::Next);
    }
    let Some(within) = session.at_recipients() else {
        session.reply(replies::NEED_RCPT);
        return Err(Step::Next);
    };
    if within.phase.transaction.envelope.recipients == 0 {
        session.reply(replies::NO_VALID_RECIPIENTS);
        return Err(Step::Next);
    }
    if tokens.len() != 1 {
        session.reply(replies::DATA_SYNTAX);
        return Err(Step::Next);
    }
    if let Some(text) = session.check_data() {
        session.reply(text);
        return Err(Step::Next);
    }
    if let Some(text) = session.tell_of_data() {
        session.reply(text);
        return Err(Step::Next);
    }
    if let Err(refusal) = session.start_content(line, By::Data) {
        session.refuse(refusal);
        return Err(Step::Next);
    }
    session.reply(replies::START_MAIL_INPUT);
    Ok(Step::Data)
}
