//! DATA: asks for leave to send the message (spec smtpd 2.9).
//!
//! What follows the 354 is the work of [`crate::session::content`].

use access::replies;
use smtp::command::Token;

use crate::session::{Handled, Session, Step};
use crate::transaction::Progress;

/// Runs DATA; `line` is the command as the client sent it.
pub fn data(session: &mut Session<'_>, line: &[u8], tokens: &[Token]) -> Handled {
    if session.is_chunked() {
        session.reply(replies::DATA_AFTER_BDAT);
        return Err(Step::Next);
    }
    if session.recipients() == 0 {
        let open = session.transaction().is_some();
        session.reply(if open { replies::NO_VALID_RECIPIENTS } else { replies::NEED_RCPT });
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
    if let Err(refusal) = session.start_content(line, Progress::Data) {
        session.refuse(refusal);
        return Err(Step::Next);
    }
    session.reply(replies::START_MAIL_INPUT);
    Ok(Step::Data)
}
