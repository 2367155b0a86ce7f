//! NOOP: does nothing, whatever stands behind it.

use access::replies;
use smtp::command::Token;

use crate::session::{Handled, Session, Step};

/// Runs NOOP.
pub(crate) fn noop(session: &mut Session<'_, '_>, _: &[u8], _: &[Token]) -> Handled {
    session.reply(replies::OK);
    Ok(Step::Next)
}
