//! Addresses that the client names (spec smtpd 2.5).

use access::client::list::Untold;
use access::path::{self, Kind, Utf8};
use smtp::command::Token;

use crate::session::Session;
use crate::session::standing::Standing;
use crate::transaction::Recipients;
use crate::transaction::phase::InPhase;

impl<P: InPhase> Session<'_, '_, P> {
    /// The address in internal form; `None` when it is none, after the log line about it.
    pub(crate) fn address(&self, token: &Token, kind: Kind, utf8: Utf8) -> Option<Vec<u8>> {
        path::extract(&self.own_facts(), token, kind, utf8)
    }
}

impl Session<'_, '_, Recipients> {
    /// Whether `strict_smtputf8` wants SMTPUTF8 to be declared for this address.
    pub(crate) fn must_declare_smtputf8(&self, address: &[u8]) -> bool {
        self.params.access.strict_smtputf8 && !self.phase.transaction.envelope.smtputf8 && !address.is_ascii()
    }
}

impl Standing<'_> {
    /// Whether the client may use XVERP.
    ///
    /// # Errors
    /// The list cannot tell.
    pub(crate) fn verp_allowed(&self) -> Result<bool, Untold> {
        self.tables.verp_clients.has(&self.client)
    }
}
