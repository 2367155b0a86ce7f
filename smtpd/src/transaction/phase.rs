//! Where a session is with its mail: in a transaction, or before one.

use crate::mail::origin::Forwarded;
use crate::transaction::{Progress, Transaction};

/// Where a session is between two transactions, or in one. Whether the client has greeted is another matter: it may send
/// mail without, and greet anew at any time.
#[derive(Debug)]
pub(crate) enum Phase {
    /// There is no transaction.
    Idle(Upcoming),
    /// There is one, from an accepted MAIL on.
    Mail(Box<Transaction>),
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
    /// There is one.
    Mail(&'p Transaction),
}

/// A phase, whether or not it is known which: what log lines, restrictions and replies go by.
pub(crate) trait InPhase {
    /// What there is.
    fn view(&self) -> View<'_>;

    /// The open transaction, to change it.
    fn transaction_mut(&mut self) -> Option<&mut Transaction>;
}

impl Phase {
    /// Chunks that follow are of no use.
    pub(crate) fn discard_chunks(&mut self) {
        match self {
            Self::Idle(upcoming) => upcoming.discards_chunks = true,
            Self::Mail(transaction) => transaction.discard_chunks(),
        }
    }
}

impl InPhase for Phase {
    fn view(&self) -> View<'_> {
        match self {
            Self::Idle(upcoming) => View::Idle(upcoming),
            Self::Mail(transaction) => View::Mail(transaction),
        }
    }

    fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        match self {
            Self::Idle(_) => None,
            Self::Mail(transaction) => Some(transaction),
        }
    }
}

impl InPhase for Transaction {
    fn view(&self) -> View<'_> {
        View::Mail(self)
    }

    fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        Some(self)
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

impl<'p> View<'p> {
    /// SIZE as announced for this transaction or, by a MAIL that failed, for the next one.
    pub(crate) fn announced_size(self) -> u64 {
        match self {
            Self::Idle(upcoming) => upcoming.announced_size,
            Self::Mail(transaction) => transaction.announced_size,
        }
    }

    /// The AUTH parameter of MAIL.
    pub(crate) fn sasl_sender(self) -> Option<&'p [u8]> {
        match self {
            Self::Idle(upcoming) => upcoming.sasl_sender.as_deref(),
            Self::Mail(transaction) => transaction.envelope.sasl_sender.as_deref(),
        }
    }

    /// BDAT has been used, and was neither ended nor forgotten.
    pub(crate) fn is_chunked(self) -> bool {
        match self {
            Self::Idle(upcoming) => upcoming.discards_chunks,
            Self::Mail(transaction) => transaction.is_chunked(),
        }
    }

    /// Whether chunks are of no use.
    pub(crate) fn discards_chunks(self) -> bool {
        match self {
            Self::Idle(upcoming) => upcoming.discards_chunks,
            Self::Mail(transaction) => matches!(transaction.progress, Progress::Discarding(_)),
        }
    }
}
