//! The fast flush service, as its clients see it (spec ipc 15).
//!
//! One request a connection, `request` and what belongs to it; the answer is a `status`.

use std::time::Duration;

use crate::announce::Protocol;
use crate::client::one_shot;

/// What the service answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// The site or queue ID is none.
    Bad,
    /// The site is not in `fast_flush_domains`.
    Denied,
    /// The service could not be reached, or failed; logged.
    Fail,
}

impl Status {
    fn from_wire(status: i32) -> Status {
        match status {
            0 => Status::Ok,
            3 => Status::Bad,
            4 => Status::Denied,
            _ => Status::Fail,
        }
    }
}

/// Schedules all mail for a site. `path` is the service's socket, such as `public/flush`.
pub fn send_site(path: &str, timeout: Duration, site: &str) -> Status {
    Status::from_wire(one_shot(path, Protocol::FLUSH, timeout, |request| {
        request.string("request", "send_site").string("site", site)
    }))
}

/// Schedules one deferred message.
pub fn send_file(path: &str, timeout: Duration, queue_id: &str) -> Status {
    Status::from_wire(one_shot(path, Protocol::FLUSH, timeout, |request| {
        request.string("request", "send_file").string("queue_id", queue_id)
    }))
}
