//! RSET: the transaction, its recipients and its XFORWARD data are forgotten.

use access::replies;
use smtp::command::Token;

use crate::session::{Handled, Session, Step};

/// Runs RSET.
pub(crate) fn rset(session: &mut Session<'_, '_>, _: &[u8], tokens: &[Token]) -> Handled {
    if tokens.len() != 1 {
        session.reply(replies::RSET_SYNTAX);
        return Err(Step::Next);
    }
    session.reset();
    session.transcript_end();
    session.reply(replies::OK);
    Ok(Step::Next)
}
