//! The mail of a session on its way: into the queue by way of cleanup, or to the content filter.
//!
//! All that exists only while a mail transaction is open is in the [`Transaction`], and goes with it: RSET, HELO, EHLO, the
//! end of data drop it whole. What outlives it (client, HELO name, counters) is the session's.

use crate::mail::content::Content;
use crate::mail::envelope::Envelope;
use crate::mail::origin::Forwarded;
use crate::mail::refusal::Refusal;
use crate::proxy::Announced;
use crate::transaction::destination::{Destination, Ended, Outcome};
use crate::transaction::receiving::Receiving;

pub mod bounce;
pub mod content;
pub mod destination;
pub mod handover;
pub mod received;
pub mod receiving;
pub mod submission;

/// What log lines have in place of a queue ID that is not known.
pub const NO_QUEUE_ID: &str = "NOQUEUE";

/// Where a session is between two transactions, or in one. Whether the client has greeted is another matter: it may send
/// mail without, and greet anew at any time.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one in a session, and MAIL needs no memory of its own"
)]
pub enum Phase {
    /// There is no transaction.
    Idle(Upcoming),
    /// There is one, from an accepted MAIL on.
    Mail(Transaction),
}

impl Default for Phase {
    fn default() -> Self {
        Self::Idle(Upcoming::default())
    }
}

/// What there is for the transaction to come.
#[derive(Debug, Default)]
pub struct Upcoming {
    /// XFORWARD data.
    pub forwarded: Option<Forwarded>,
    /// The SIZE of a MAIL that failed, which still counts for the next one, as in Postfix.
    pub(crate) announced_size: u64,
    /// A chunk came without a transaction, or ended it: those that follow are discarded, up to the last or to RSET.
    pub(crate) discards_chunks: bool,
}

/// An open mail transaction.
#[derive(Debug)]
pub struct Transaction {
    /// What MAIL and RCPT said.
    pub envelope: Envelope,
    /// The SIZE of MAIL.
    pub(crate) announced_size: u64,
    /// XFORWARD told who the client is.
    pub(crate) client_is_forwarded: bool,
    /// The message is counted among those that will want the filter.
    pub announced: Option<Announced>,
    /// The connection to cleanup or to the filter, once a recipient was accepted; it is gone when there is a verdict.
    pub destination: Option<Destination>,
    /// How far it has come.
    pub progress: Progress,
    /// Refused recipients above `smtpd_recipient_limit`.
    pub(crate) overshoot: u32,
}

/// How far a transaction has come.
#[derive(Debug)]
pub enum Progress {
    /// Recipients are being given.
    Recipients,
    /// The message follows DATA.
    Data(Receiving),
    /// The message comes in chunks.
    Chunks(Receiving),
    /// A chunk failed: those that follow are discarded, up to the last or to RSET.
    Discarding,
}

impl Transaction {
    /// The queue ID, once it is known; there is none with a filter.
    pub fn queue_id(&self) -> Option<&str> {
        self.destination.as_ref().and_then(Destination::queue_id)
    }

    /// Whether BDAT has been used.
    pub(crate) fn is_chunked(&self) -> bool {
        matches!(self.progress, Progress::Chunks(_) | Progress::Discarding)
    }

    /// What has been received of the message.
    pub fn receiving(&self) -> Option<&Receiving> {
        match &self.progress {
            Progress::Data(receiving) | Progress::Chunks(receiving) => Some(receiving),
            Progress::Recipients | Progress::Discarding => None,
        }
    }

    /// Finishes the message: what became of it. Without a destination nothing did.
    pub fn finish(&mut self, content: Content) -> Ended {
        // Whoever waits for the filter is not kept waiting for the verdict.
        self.announced = None;
        match self.destination.take() {
            Some(destination) => destination.finish(&self.envelope, content),
            None => Ended::Known(Outcome::Refused(Refusal::generic())),
        }
    }
}
