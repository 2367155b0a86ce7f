//! Room in the queue's file system, tested at MAIL (spec smtpd 2.6 row 14).

use access::replies;
use access::settings::classes::Classes;
use access::space;

use crate::log;
use crate::session::Session;
use crate::transaction::phase::Upcoming;

/// The reply, after its log lines, when there is too little room; with a filter there is nothing to be stored here.
pub(crate) fn short(session: &mut Session<'_, '_, Upcoming>) -> Option<&'static str> {
    if session.services.proxy.as_ref().is_some_and(|proxy| !proxy.speed_adjust) {
        return None;
    }
    let free = space::short(&session.params.access)?;
    session.transcript.error(Classes::RESOURCE);
    log::reject(&session.request(None, None), "MAIL", replies::NO_STORAGE.as_bytes());
    log::no_space(free);
    Some(replies::NO_STORAGE)
}
