//! Room in the queue's file system (spec smtpd 2.6 row 14).

use std::path::Path;

use metrics::Fault;

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
    // Services may want different room.
    let wanted = params.queue_minfree.max(params.message_room);
    let subject = format_args!("queue, less than {wanted} bytes");
    if wanted > 0 && wanted >= free {
        metrics::fault(Fault::Disk, &subject, &format_args!("{free} bytes free"));
        return Some(free);
    }
    metrics::fault_over(Fault::Disk, &subject);
    None
}
