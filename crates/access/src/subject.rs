//! Whose name a restriction looks at: client, HELO, sender or recipient.

/// Whose name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The client's verified name.
    Client,
    /// The client's unverified name.
    ReverseClient,
    /// The HELO argument.
    Helo,
    /// The sender.
    Sender,
    /// The recipient.
    Recipient,
}

impl Of {
    /// The words of replies about it.
    pub fn class(self) -> &'static str {
        match self {
            Of::Client => "Client host",
            Of::ReverseClient => "Unverified Client host",
            Of::Helo => "Helo command",
            Of::Sender => "Sender address",
            Of::Recipient => "Recipient address",
        }
    }
}
