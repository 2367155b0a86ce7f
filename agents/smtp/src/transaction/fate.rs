//! What a server has said to each recipient.

use ipc::delivery::Recipient;

/// What it has said to one of them.
#[derive(Debug)]
pub(super) enum Fate {
    /// Nothing so far.
    Open(Recipient),
    Accepted(Recipient),
    /// It is not taken, and no other server is asked.
    Over,
    /// Another server may take it.
    Kept(Recipient),
}

impl Fate {
    /// This server may still take it.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Accepted(_))
    }

    /// The recipient, unless all that is to be told of him was told.
    pub(super) fn undone(self) -> Option<Recipient> {
        match self {
            Self::Open(recipient) | Self::Accepted(recipient) | Self::Kept(recipient) => Some(recipient),
            Self::Over => None,
        }
    }
}
