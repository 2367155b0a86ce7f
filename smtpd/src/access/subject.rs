//! Whose name a restriction looks at: client, HELO, sender or recipient.

use crate::access::{Facts, Scope};
use crate::client::UNKNOWN;

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
    /// The name or address, when there is one to look at.
    pub fn name<'f>(self, facts: &Facts<'f>) -> Option<&'f [u8]> {
        let client = &facts.session.client;
        match self {
            Of::Client => Some(&client.name[..]).filter(|name| *name != UNKNOWN),
            Of::ReverseClient => Some(&client.reverse_name[..]).filter(|name| *name != UNKNOWN),
            Of::Helo => facts.helo,
            Of::Sender => facts.sender.filter(|sender| !sender.is_empty()),
            Of::Recipient => facts.recipient.filter(|recipient| !recipient.is_empty()),
        }
    }

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

    /// What access table results are about: a client by name and address.
    pub fn scope<'f>(self, facts: &Facts<'f>) -> Option<Scope<'f>> {
        let name = self.name(facts)?;
        let name = if self == Of::Client { &facts.session.client.namaddr } else { name };
        Some(Scope { name, class: self.class() })
    }
}
