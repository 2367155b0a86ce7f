//! Addresses that the client names (spec smtpd 2.5).

use access::client::list::Untold;
use access::path::{self, Kind, Utf8};
use smtp::command::Token;

use crate::session::Session;

impl Session<'_> {
    /// The address in internal form; `None` when it is none, after the log line about it.
    pub fn address(&self, token: &Token, kind: Kind, utf8: Utf8) -> Option<Vec<u8>> {
        path::extract(&self.own_facts(), token, kind, utf8)
    }

    /// Whether `strict_smtputf8` wants SMTPUTF8 to be declared for this address.
    pub(crate) fn must_declare_smtputf8(&self, address: &[u8]) -> bool {
        let declared = self.envelope().is_some_and(|envelope| envelope.smtputf8);
        self.params.access.strict_smtputf8 && !declared && !address.is_ascii()
    }

    /// Recipients accepted so far.
    pub fn recipients(&self) -> usize {
        self.envelope().map_or(0, |envelope| envelope.recipients)
    }

    /// Whether the client may use XVERP.
    ///
    /// # Errors
    /// The list cannot tell.
    pub(crate) fn verp_allowed(&self) -> Result<bool, Untold> {
        self.tables.verp_clients.has(&self.client)
    }
}
