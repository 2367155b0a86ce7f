//! The mail of a session on its way: into the queue by way of cleanup, or to the content filter.
//!
//! All that exists only while a mail transaction is open is in the [`Transaction`], and goes with it: RSET, HELO, EHLO, the
//! end of data drop it whole. What outlives it (client, HELO name, counters) is the session's.

use std::mem;

use crate::mail::content::Content;
use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::refusal::Refusal;
use crate::proxy::Announced;
use crate::transaction::content::Message;
use crate::transaction::destination::{Destination, Ended};
use crate::transaction::receiving::{Receiving, Rules};

pub(crate) mod bounce;
pub(crate) mod content;
pub(crate) mod destination;
pub(crate) mod handover;
pub(crate) mod phase;
pub(crate) mod received;
pub(crate) mod receiving;
pub(crate) mod submission;

/// An open mail transaction.
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
    /// How far it has come.
    pub progress: Progress,
    /// Refused recipients above `smtpd_recipient_limit`.
    pub(crate) overshoot: u32,
}

/// How far a transaction has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Recipients are being given; with the first that was accepted there is a connection to cleanup or to the filter.
    Recipients(Option<Destination>),
    /// The message follows DATA.
    Data(Message),
    /// The message comes in chunks.
    Chunks(Message),
    /// A chunk failed: those that follow are discarded, up to the last or to RSET. What was opened is given up with the
    /// transaction.
    Discarding(Option<Destination>),
    /// There is a verdict, or the message was given up.
    Ended,
}

impl Progress {
    fn into_destination(self) -> Option<Destination> {
        match self {
            Self::Recipients(destination) | Self::Discarding(destination) => destination,
            Self::Data(message) | Self::Chunks(message) => Some(message.destination),
            Self::Ended => None,
        }
    }
}

impl Transaction {
    /// The queue ID, once it is known; there is none with a filter.
    pub(crate) fn queue_id(&self) -> Option<&str> {
        match &self.progress {
            Progress::Recipients(destination) | Progress::Discarding(destination) => {
                destination.as_ref().and_then(Destination::queue_id)
            }
            Progress::Data(message) | Progress::Chunks(message) => message.destination.queue_id(),
            Progress::Ended => None,
        }
    }

    /// Whether BDAT has been used.
    pub(crate) fn is_chunked(&self) -> bool {
        matches!(self.progress, Progress::Chunks(_) | Progress::Discarding(_))
    }

    /// What has been received of the message.
    pub(crate) fn receiving(&self) -> Option<&Receiving> {
        match &self.progress {
            Progress::Data(message) | Progress::Chunks(message) => Some(&message.receiving),
            Progress::Recipients(_) | Progress::Discarding(_) | Progress::Ended => None,
        }
    }

    /// The message, once the client has leave to send it.
    pub(crate) fn message_mut(&mut self) -> Option<&mut Message> {
        match &mut self.progress {
            Progress::Data(message) | Progress::Chunks(message) => Some(message),
            Progress::Recipients(_) | Progress::Discarding(_) | Progress::Ended => None,
        }
    }

    /// Where the mail goes, as far as that is open.
    pub(crate) fn destination_mut(&mut self) -> Option<&mut Destination> {
        match &mut self.progress {
            Progress::Recipients(destination) | Progress::Discarding(destination) => destination.as_mut(),
            Progress::Data(message) | Progress::Chunks(message) => Some(&mut message.destination),
            Progress::Ended => None,
        }
    }

    /// Hands an accepted recipient on; `command` is the RCPT command line as the client sent it.
    ///
    /// # Errors
    /// The reply, when the destination does not want it.
    pub(crate) fn add(&mut self, rcpt: Recipient, command: &[u8]) -> Result<(), Refusal> {
        if let Some(destination) = self.destination_mut() {
            destination.recipient(&rcpt, command)?;
        }
        self.envelope.recipients += 1;
        self.envelope.first_recipient.get_or_insert(rcpt.address);
        Ok(())
    }

    /// The message begins: the destination has given leave. `how` is how the content comes.
    pub(crate) fn begin(&mut self, how: fn(Message) -> Progress, rules: Rules) {
        self.progress = match mem::replace(&mut self.progress, Progress::Ended) {
            Progress::Recipients(Some(destination)) => {
                how(Message { destination, receiving: Receiving::new(rules) })
            }
            other => other,
        };
    }

    /// Chunks that follow are of no use.
    pub(crate) fn discard_chunks(&mut self) {
        let destination = mem::replace(&mut self.progress, Progress::Ended).into_destination();
        self.progress = Progress::Discarding(destination);
    }

    /// Finishes the message: what became of it; nothing when none was on its way.
    pub(crate) fn finish(&mut self, content: Content) -> Option<Ended> {
        // Whoever waits for the filter is not kept waiting for the verdict.
        self.announced = None;
        match mem::replace(&mut self.progress, Progress::Ended) {
            Progress::Data(message) | Progress::Chunks(message) => {
                Some(message.destination.finish(&self.envelope, content))
            }
            Progress::Recipients(_) | Progress::Discarding(_) | Progress::Ended => None,
        }
    }

    /// Gives up what was opened.
    pub(crate) fn abandon(&mut self) {
        if let Some(destination) = mem::replace(&mut self.progress, Progress::Ended).into_destination() {
            destination.abort();
        }
    }
}
