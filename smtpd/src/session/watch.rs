//! What a session knows of its own messages, to recognize one that comes twice.

use duplicates::{Fingerprint, Fingerprinting};

/// The state.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Of the transaction in hand.
    pub(crate) digest: Option<Fingerprinting>,
    /// The message that has ended, and its reply, until the client says something.
    pub(crate) unread: Option<(Fingerprint, Vec<u8>)>,
}
