//! Where mail is kept for those who read it: mailbox files ([`Mbox`]) with every lock that other programs may heed
//! ([`Locking`]), and maildirs ([`maildir`]).
//!
//! Nothing here changes whose rights are used: the caller lends them. A delivery is either whole and on the disk, or a
//! [`Failure`], and then nothing of it is left. [`file_limit`] is how long a file may become. Source: spec local-delivery 10 and 11.

#![forbid(unsafe_code)]

mod failure;
mod limit;
mod locking;
pub mod maildir;
mod mbox;

pub use failure::Failure;
pub use limit::file_limit;
pub use locking::{Locking, LockingError};
pub use mbox::{Dotlock, Mbox, Target};
