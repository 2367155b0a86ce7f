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

    /// Whether the client's name or address is in the list; one without an address may be in it by name.
    ///
    /// # Errors
    /// The list cannot tell.
    pub fn has(&self, client: &Client) -> Result<bool, Untold> {
        if self.0.is_empty() {
            return Ok(false);
        }
        let found = match client.ip() {
            Some(ip) => self.0.matches(&client.name, ip),
            // The word that stands in the address's place is no key (observed, 3.7.11).
            None => self.0.matches_name(&client.name),
        };
        found.map_err(|error| {
            log::warn!("{error}");
            Untold
        })
    }
}
