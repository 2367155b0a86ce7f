//! QUIT: the end of the session.

use access::replies;
use smtp::command::Token;

use crate::session::{Handled, Session, Step};

/// Runs QUIT.
pub(crate) fn quit(session: &mut Session<'_, '_>, _: &[u8], _: &[Token]) -> Handled {
    session.reply(replies::BYE);
    Ok(Step::Close)
}
