//! AUTH while there is no SASL: refused as Postfix refuses it with `smtpd_sasl_auth_enable = no`.
//!
//! Any other setting of that parameter is refused at start, see [`crate::unsupported`].

use crate::limits::Event;
use crate::replies;
use crate::session::{Handled, Session, Step};

/// Runs AUTH.
pub fn auth(session: &mut Session<'_>) -> Handled {
    if let Some(reply) = session.rate_limit(Event::Auth) {
        session.reply(reply);
        return Err(Step::Next);
    }
    if session.params.helo_required && session.helo.is_none() {
        session.reply(replies::HELO_FIRST);
    } else {
        session.reply(replies::AUTH_NOT_ENABLED);
    }
    Err(Step::Next)
}
