//! Where a session is with its mail: before a transaction, at its recipients, or at its message.

use crate::mail::origin::Forwarded;
use crate::transaction::destination::Destination;
use crate::transaction::receiving::Receiving;
use crate::transaction::{By, Incoming, Recipients, Transaction};

/// Where a session is between two transactions, or in one. Whether the client has greeted is another matter: it may send
/// mail without, and greet anew at any time.
#[derive(Debug)]
pub(crate) enum Phase {
    /// There is no transaction.
    Idle(Upcoming),
    /// Recipients are being given, from an accepted MAIL on.
    Recipients(Box<Recipients>),
    /// The message comes, from an accepted DATA or first BDAT on.
    Content(Box<Incoming>),
}

impl Default for Phase {
    fn default() -> Self {
        Self::Idle(Upcoming::default())
    }
}

/// What there is for the transaction to come.
#[derive(Debug, Default)]
pub(crate) struct Upcoming {
    /// XFORWARD data.
    pub forwarded: Option<Box<Forwarded>>,
    /// The SIZE of a MAIL that failed, which still counts for the next one, as in Postfix.
    pub(crate) announced_size: u64,
    /// The AUTH of the MAIL that is being checked.
    pub(crate) sasl_sender: Option<Vec<u8>>,
    /// A chunk came without a transaction, or ended it: those that follow are discarded, up to the last or to RSET.
    pub(crate) discards_chunks: bool,
}

/// A look at a phase.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View<'p> {
    /// There is no transaction.
    Idle(&'p Upcoming),
    /// Recipients are being given.
    Recipients(&'p Recipients),
    /// The message comes.
    Content(&'p Incoming),
    /// There is a verdict, or the message was given up.
    Ended(&'p Transaction),
}

/// A phase, whether or not it is known which: what log lines, restrictions and replies go by.
pub(crate) trait InPhase {
    /// What there is.
    fn view(&self) -> View<'_>;

    /// The open transaction, to change it.
    fn transaction_mut(&mut self) -> Option<&mut Transaction>;
}

impl Phase {
    /// Chunks that follow are of no use. What was opened is given up with the transaction.
    pub(crate) fn discard_chunks(&mut self) {
        match std::mem::take(self) {
            Self::Idle(upcoming) => *self = Self::Idle(Upcoming { discards_chunks: true, ..upcoming }),
            Self::Recipients(mut recipients) => {
                recipients.discards_chunks = true;
                *self = Self::Recipients(recipients);
            }
            Self::Content(incoming) => {
                *self = Self::Recipients(Box::new(Recipients {
                    transaction: incoming.transaction,
                    destination: Some(incoming.message.destination),
                    discards_chunks: true,
                }));
            }
        }
    }

    /// What has been opened.
    pub(crate) fn into_destination(self) -> Option<Destination> {
        match self {
            Self::Idle(_) => None,
            Self::Recipients(recipients) => recipients.destination,
            Self::Content(incoming) => Some(incoming.message.destination),
        }
    }
}

impl InPhase for Phase {
    fn view(&self) -> View<'_> {
        match self {
            Self::Idle(upcoming) => View::Idle(upcoming),
            Self::Recipients(recipients) => View::Recipients(recipients),
            Self::Content(incoming) => View::Content(incoming),
        }
    }

    fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        match self {
            Self::Idle(_) => None,
            Self::Recipients(recipients) => Some(&mut recipients.transaction),
            Self::Content(incoming) => Some(&mut incoming.transaction),
        }
    }
}

impl InPhase for Upcoming {
    fn view(&self) -> View<'_> {
        View::Idle(self)
    }

    fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        None
    }
}

impl InPhase for Recipients {
    fn view(&self) -> View<'_> {
        View::Recipients(self)
    }

    fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        Some(&mut self.transaction)
    }
}

impl InPhase for Incoming {
    fn view(&self) -> View<'_> {
        View::Content(self)
    }

    fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        Some(&mut self.transaction)
    }
}

impl InPhase for Transaction {
    fn view(&self) -> View<'_> {
        View::Ended(self)
    }

    fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        Some(self)
    }
}

impl<'p> View<'p> {
    /// The open transaction.
    pub(crate) fn transaction(self) -> Option<&'p Transaction> {
        match self {
            Self::Idle(_) => None,
            Self::Recipients(recipients) => Some(&recipients.transaction),
            Self::Content(incoming) => Some(&incoming.transaction),
            Self::Ended(transaction) => Some(transaction),
        }
    }

    /// The queue ID, once it is known; there is none with a filter.
    pub(crate) fn queue_id(self) -> Option<&'p str> {
        match self {
            Self::Recipients(recipients) => recipients.destination.as_ref().and_then(Destination::queue_id),
            Self::Content(incoming) => incoming.message.destination.queue_id(),
            Self::Idle(_) | Self::Ended(_) => None,
        }
    }

    /// What has been received of the message.
    pub(crate) fn receiving(self) -> Option<&'p Receiving> {
        match self {
            Self::Content(incoming) => Some(&incoming.message.receiving),
            Self::Idle(_) | Self::Recipients(_) | Self::Ended(_) => None,
        }
    }

    /// SIZE as announced for this transaction or, by a MAIL that failed, for the next one.
    pub(crate) fn announced_size(self) -> u64 {
        match self {
            Self::Idle(upcoming) => upcoming.announced_size,
            _ => self.transaction().map_or(0, |transaction| transaction.announced_size),
        }
    }

    /// The AUTH parameter of MAIL.
    pub(crate) fn sasl_sender(self) -> Option<&'p [u8]> {
        match self {
            Self::Idle(upcoming) => upcoming.sasl_sender.as_deref(),
            _ => self.transaction()?.envelope.sasl_sender.as_deref(),
        }
    }

    /// BDAT has been used, and was neither ended nor forgotten.
    pub(crate) fn is_chunked(self) -> bool {
        matches!(self, Self::Content(Incoming { by: By::Bdat, .. })) || self.discards_chunks()
    }

    /// Whether chunks are of no use.
    pub(crate) fn discards_chunks(self) -> bool {
        match self {
            Self::Idle(upcoming) => upcoming.discards_chunks,
            Self::Recipients(recipients) => recipients.discards_chunks,
            Self::Content(_) | Self::Ended(_) => false,
        }
    }
}
