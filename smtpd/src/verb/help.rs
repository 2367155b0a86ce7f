//! HELP: names the commands, whatever stands behind it; known since 3.9 (observed, 3.10.3).

use access::replies;
use smtp::command::Token;

use crate::session::{Handled, Session, Step};

/// Runs HELP.
pub(crate) fn help(session: &mut Session<'_, '_>, _: &[u8], _: &[Token]) -> Handled {
    session.reply(replies::COMMANDS);
    Ok(Step::Next)
}
