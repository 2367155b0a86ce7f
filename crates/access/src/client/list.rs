//! Lists of clients, by name and address.

use lookup::Opening;
use lookup::list::{HostList, Parents};

use crate::client::Client;

/// Whether a client is in a list; a list that cannot tell is an error.
#[derive(Debug)]
pub struct Clients(HostList);

/// A list could not tell; the log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untold;

impl Clients {
    /// Opens a list; `name` is the parameter.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn open(name: &str, value: &str, parents: Parents) -> Result<Self, String> {
        HostList::open(name, value.as_bytes(), parents, Opening::Survive)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Whether the client's name or address is in the list. A client without an address is in none.
    ///
    /// # Errors
    /// The list cannot tell.
    pub fn has(&self, client: &Client) -> Result<bool, Untold> {
        match client.ip() {
            _ if self.0.is_empty() => Ok(false),
            None => Ok(false),
            Some(ip) => self.0.matches(&client.name, ip).map_err(|error| {
                log::warn!("{error}");
                Untold
            }),
        }
    }
}
