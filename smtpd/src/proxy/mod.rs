//! The before-queue content filter: the conversation of one mail transaction with it.

use crate::destination::{Content, Dots, Outcome, Piece, Refusal};

/// A conversation with the filter.
#[derive(Debug)]
pub struct ProxyConversation {}

impl ProxyConversation {
    /// Adds a recipient: forwards the client's RCPT command.
    pub fn recipient(&mut self, _command: &[u8]) -> Result<(), Refusal> {
        Err(Refusal::generic())
    }

    /// Forwards DATA.
    pub fn data(&mut self, _command: &[u8]) -> Result<(), Refusal> {
        Err(Refusal::generic())
    }

    /// Forwards a piece of a line of content.
    pub fn content(&mut self, _bytes: &[u8], _dots: Dots, _piece: Piece) {}

    /// Ends the message.
    pub fn finish(self, _content: Content) -> Outcome {
        Outcome::Refused(Refusal::generic())
    }

    /// Leaves the filter without a message.
    pub fn abort(self) {}
}
