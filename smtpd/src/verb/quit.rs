//! QUIT: the end of the session.

use smtp::command::Token;

use crate::replies;
use crate::session::{Handled, Session, Step};

/// Runs QUIT.
pub fn quit(session: &mut Session<'_>, _: &[u8], _: &[Token]) -> Handled {
    session.reply(replies::BYE);
    Ok(Step::Close)
}
