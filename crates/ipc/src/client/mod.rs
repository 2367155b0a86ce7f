//! The three ways in which a program talks to another one's socket (spec ipc 1.2).
//!
//! * `one_shot`: connect, one request, one `status`, close; any failure is status -1.
//! * [`Persistent::request`]: a connection kept between requests, the same request again for ever.
//! * [`Persistent::try_request`]: the same with two tries.
//!
//! [`Stream`] is a connected socket with the time limit of every read and write; [`connect_wait`] is for
//! clients that must succeed.

mod one_shot;
mod persistent;
mod stream;

pub(crate) use one_shot::one_shot;
pub(crate) use persistent::Failure;
pub use persistent::{Persistent, Timers};
pub use stream::{Stream, connect_wait};
