//! What became of a message that went to a filter.

use access::settings::classes::Classes;

use super::spooled::Spooled;
use super::verdict::DividedMessage;
use crate::mail::refusal::Refusal;

/// What a filter made of a message.
#[derive(Debug)]
pub enum Outcome {
    /// It said this.
    Answered(Answer),
    /// No filter could be reached, and the message is to go to the queue without one.
    Unfiltered(Box<Spooled>),
    /// The filter took it for some recipients and not for others.
    Divided(Box<DividedMessage>),
}

impl Outcome {
    /// The filter said this to the message.
    pub fn answered(reply: Vec<u8>) -> Self {
        Self::Answered(Answer::new(reply))
    }

    /// The conversation with the filter has failed.
    pub fn broken() -> Self {
        Self::Answered(Answer::broken())
    }
}

/// The one answer to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The filter's final reply, verbatim: as logged and, unless we have our own reason, as sent.
    pub reply: Vec<u8>,
    /// Whether the filter took the message: the reply's first byte is `2`.
    pub accepted: bool,
    /// Whether the postmaster wants to know.
    pub class: Classes,
}

impl Answer {
    /// The filter said this to the message.
    pub fn new(reply: Vec<u8>) -> Self {
        let accepted = reply.first() == Some(&b'2');
        let class = if accepted { Classes::NONE } else { Classes::POLICY };
        Self { reply, accepted, class }
    }

    /// The conversation with the filter has failed.
    pub fn broken() -> Self {
        let Refusal { text, class } = Refusal::generic();
        Self { reply: text, accepted: false, class }
    }
}
