//! STARTTLS while there is no TLS: refused as Postfix refuses it with no TLS level set.
//!
//! A TLS level is refused at start, see [`crate::unsupported`].

use smtp::command::Token;

use crate::replies;
use crate::session::{Handled, Session, Step};

/// Runs STARTTLS.
pub fn starttls(session: &mut Session<'_>, tokens: &[Token]) -> Handled {
    session.reply(if tokens.len() == 1 { replies::NOT_IMPLEMENTED } else { replies::STARTTLS_SYNTAX });
    Err(Step::Next)
}
