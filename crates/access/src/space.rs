//! Room in the queue's file system (spec smtpd 2.6 row 14).

use std::path::Path;

use crate::settings::AccessParams;

/// How many bytes are free, when these are too few.
pub fn short(params: &AccessParams) -> Option<u64> {
    let free = match sys::disk::free(Path::new(".")) {
        Ok(free) => free.bytes(),
        Err(error) => {
            log::warn!("statvfs .: {error}");
            return None;
        }
    };
    let wanted = [params.queue_minfree, params.message_room];
    wanted.into_iter().any(|room| room > 0 && room >= free).then_some(free)
}
