//! The mail of a session on its way: into the queue by way of cleanup, or to the content filter.
//!
//! All that exists only while a mail transaction is open is in the [`Transaction`], and goes with it: RSET, HELO, EHLO, the
//! end of data drop it whole. What outlives it (client, HELO name, counters) is the session's. How far it has come is
//! another type each: [`Recipients`], then [`Incoming`].

use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::refusal::Refusal;
use crate::proxy::Announced;
use crate::transaction::content::Message;
use crate::transaction::destination::Destination;

pub(crate) mod bounce;
pub(crate) mod content;
pub(crate) mod destination;
pub(crate) mod handover;
pub(crate) mod phase;
pub(crate) mod received;
pub(crate) mod receiving;
pub(crate) mod submission;

/// A mail transaction, however far it has come. By itself it is one that has its verdict.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// What MAIL and RCPT said.
    pub envelope: Envelope,
    /// The SIZE of MAIL.
    pub(crate) announced_size: u64,
    /// XFORWARD told who the client is.
    pub(crate) client_is_forwarded: bool,
    /// The message is counted among those that will want the filter.
    pub announced: Option<Announced>,
    /// Refused recipients above `smtpd_recipient_limit`.
    pub(crate) overshoot: u32,
}

/// A transaction whose recipients are being given.
#[derive(Debug)]
pub(crate) struct Recipients {
    /// What has been said so far.
    pub(crate) transaction: Transaction,
    /// The connection to cleanup or to the filter: from the first recipient on that was accepted, or from MAIL on.
    pub(crate) destination: Option<Destination>,
    /// A chunk failed: those that follow are discarded, up to the last or to RSET.
    pub(crate) discards_chunks: bool,
}

/// A transaction whose message comes.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// What was said before.
    pub(crate) transaction: Transaction,
    /// The message.
    pub(crate) message: Message,
    /// The command that it comes with.
    pub(crate) by: By,
}

/// The command that content comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// DATA: all of it.
    Data,
    /// BDAT: in chunks.
    Bdat,
}

impl Recipients {
    /// Hands an accepted recipient on; `command` is the RCPT command line as the client sent it.
    ///
    /// # Errors
    /// The reply, when the destination does not want it.
    pub(crate) fn add(&mut self, rcpt: Recipient, command: &[u8]) -> Result<(), Refusal> {
        if let Some(destination) = &mut self.destination {
            destination.recipient(&rcpt, command)?;
        }
        let envelope = &mut self.transaction.envelope;
        envelope.recipients += 1;
        envelope.first_recipient.get_or_insert(rcpt.address);
        Ok(())
    }
}
