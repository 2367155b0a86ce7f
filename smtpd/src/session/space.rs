//! Room in the queue's file system, tested at MAIL (spec smtpd 2.6 row 14).

use std::path::Path;

use crate::log;
use crate::replies;
use crate::session::Session;
use crate::settings::classes::Classes;

/// The reply, after its log lines, when there is too little room; with a filter there is nothing to be stored here.
pub fn short(session: &mut Session<'_>) -> Option<&'static str> {
    let params = session.params;
    if session.services.proxy.as_ref().is_some_and(|proxy| !proxy.speed_adjust) {
        return None;
    }
    let free = match sys::disk::free(Path::new(".")) {
        Ok(free) => free.bytes(),
        Err(error) => {
            ::log::warn!("statvfs .: {error}");
            return None;
        }
    };
    let wanted = [params.queue_minfree, params.message_room];
    if !wanted.into_iter().any(|room| room > 0 && room >= free) {
        return None;
    }
    session.transcript.error(Classes::RESOURCE);
    log::reject(&session.request(None, None), "MAIL", replies::NO_STORAGE.as_bytes());
    log::no_space(free);
    Some(replies::NO_STORAGE)
}
