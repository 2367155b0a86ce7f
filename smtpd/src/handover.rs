//! Hand-over of a message to `cleanup` (smtpd chapter, section 5).

use crate::destination::{Content, Dots, Outcome, Piece, Refusal};
use crate::transaction::{Recipient, Transaction};

/// A message on its way to cleanup.
#[derive(Debug)]
pub struct Handover {
    queue_id: String,
}

impl Handover {
    /// The queue ID that cleanup chose.
    pub fn queue_id(&self) -> &str {
        &self.queue_id
    }

    /// Sends the records of a recipient.
    pub fn recipient(&mut self, _rcpt: &Recipient) -> Result<(), Refusal> {
        Err(Refusal::generic())
    }

    /// Starts the content segment.
    pub fn start_content(&mut self, _transaction: &Transaction) {}

    /// Sends a piece of a line.
    pub fn content(&mut self, _bytes: &[u8], _dots: Dots, _piece: Piece) {}

    /// Ends the message and reads the verdict.
    pub fn finish(self, _transaction: &Transaction, _content: Content) -> Outcome {
        Outcome::Refused(Refusal::generic())
    }

    /// Closes the connection: cleanup deletes the queue file.
    pub fn abort(self) {}
}
