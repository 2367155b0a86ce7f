//! Why a message, or a part of its transaction, goes no further.

use access::replies;
use access::settings::classes::Classes;

/// A whole reply for the client: lines joined with CRLF, without the CRLF of the last line. It may come from a filter,
/// so nothing is known about its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reply.
    pub text: Vec<u8>,
    /// Whether the postmaster wants to know.
    pub class: Classes,
}

impl Refusal {
    /// The reply for every failure of our own side; the cause is in the log, never in the reply.
    pub fn generic() -> Self {
        Self { text: replies::QUEUE_FILE_WRITE_ERROR.into(), class: Classes::SOFTWARE }
    }

    /// One of our own replies, which itself tells the kind of error.
    pub(crate) fn ours(text: &str) -> Self {
        Self { text: text.into(), class: replies::fault(text.as_bytes()) }
    }

    /// What a filter said.
    pub fn foreign(text: Vec<u8>) -> Self {
        Self { text, class: Classes::NONE }
    }
}
