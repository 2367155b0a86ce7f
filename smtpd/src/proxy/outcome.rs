//! What became of a message that went to a filter.

use super::spooled::Spooled;
use super::verdict::DividedMessage;
use crate::mail::refusal::Refusal;
use crate::settings::classes::Classes;

/// What a filter made of a message.
#[derive(Debug)]
pub enum Outcome {
    /// The filter's final reply, verbatim; `accepted` when its first byte is `2`.
    Answered {
        /// The reply text as logged and, unless we have our own reason, as sent.
        reply: Vec<u8>,
        /// Whether the filter took the message.
        accepted: bool,
        /// Whether the postmaster wants to know.
        class: Classes,
    },
    /// No filter could be reached, and the message is to go to the queue without one.
    Unfiltered(Box<Spooled>),
    /// The filter took it for some recipients and not for others.
    Divided(Box<DividedMessage>),
}

impl Outcome {
    /// The filter said this to the message.
    pub fn answered(reply: Vec<u8>) -> Self {
        let accepted = reply.first() == Some(&b'2');
        let class = if accepted { Classes::NONE } else { Classes::POLICY };
        Self::Answered { reply, accepted, class }
    }

    /// The conversation with the filter has failed.
    pub fn broken() -> Self {
        let Refusal { text, class } = Refusal::generic();
        Self::Answered { reply: text, accepted: false, class }
    }
}
