//! Names that nobody has (spec local-delivery 13).

use ipc::delivery::Completion;
use lookup::KeyForm;

use crate::attributes::Attributes;
use crate::expansion::Expansion;
use crate::params::UserMaps;

impl Expansion<'_> {
    /// What is done with mail for a name that nobody has.
    pub(crate) fn unknown(&self, at: &Attributes) -> Completion {
        if self.meets("unknown", &[&at.localpart.whole]) {
            return Completion::All;
        }
        let params = self.params();
        match self.transport(at, &self.tables.fallback_transports, &params.fallback_transport) {
            Ok(Some(transport)) => return self.delivery.pass(&at.sender, &at.recipient, &transport),
            Ok(None) => {}
            Err(completion) => return completion,
        }
        if !params.luser_relay.is_empty() {
            return self.luser_relay(at);
        }
        let user = &at.localpart.user;
        if [&b"mailer-daemon"[..], b"postmaster"].iter().any(|name| user.eq_ignore_ascii_case(name)) {
            log::warn!("required alias not found: {}", maillog::shown(user));
            return self.sent(at, "discarded");
        }
        self.bounce_unknown(at)
    }

    fn bounce_unknown(&self, at: &Attributes) -> Completion {
        self.undelivered(at, "5.1.1", [b"unknown user: \"", &at.localpart.user[..], b"\""].concat())
    }

    fn luser_relay(&self, at: &Attributes) -> Completion {
        let values = at.values(self.params().delimiter.set.first().copied());
        let address = match values.expand(&self.params().luser_relay, None) {
            Ok(expanded) => expanded.text,
            Err(faults) => {
                faults.iter().for_each(|fault| log::warn!("{fault}"));
                Vec::new()
            }
        };
        if self.canonical(&address).eq_ignore_ascii_case(&at.recipient.address) {
            return self.bounce_unknown(at);
        }
        // Two steps, as the depth of a loop shows (observed, 3.7.11).
        let mut inner = at.deeper().deeper();
        inner.unmatched = None;
        self.address(&inner, &address)
    }

    /// The transport that a table or a parameter has for a user.
    ///
    /// # Errors
    /// The table could not tell.
    pub(crate) fn transport(
        &self,
        at: &Attributes,
        tables: &UserMaps,
        otherwise: &str,
    ) -> Result<Option<String>, Completion> {
        Ok(self
            .mapped(at, tables)?
            .map(|found| String::from_utf8_lossy(&found).into_owned())
            .or_else(|| (!otherwise.is_empty()).then(|| otherwise.to_owned())))
    }

    /// What tables have for a user.
    ///
    /// # Errors
    /// They could not tell.
    pub(crate) fn mapped(&self, at: &Attributes, tables: &UserMaps) -> Result<Option<Vec<u8>>, Completion> {
        tables
            .get()
            .find(&at.localpart.user, KeyForm::Full)
            .map_err(|_| self.undelivered(at, "4.3.0", "table lookup failure"))
    }
}
