//! Lists and tables about logins, opened once.

use access::client::list::Clients;
use lookup::Opening;
use lookup::list::{Parents, StringList};

use crate::settings::params::SmtpdParams;

/// Lists and tables about logins; the lists are absent where logins are not enabled.
#[derive(Debug, Default)]
pub(crate) struct SaslTables {
    /// `smtpd_sasl_exceptions_networks`
    pub exceptions: Option<Clients>,
    /// `smtpd_sasl_mechanism_filter`
    pub(crate) mechanism_filter: Option<StringList>,
}

impl SaslTables {
    /// Opens all.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub(crate) fn open(params: &SmtpdParams) -> Result<Self, String> {
        let Some(sasl) = &params.sasl else {
            return Ok(Self::default());
        };
        let exceptions = "smtpd_sasl_exceptions_networks";
        let filter = "smtpd_sasl_mechanism_filter";
        Ok(Self {
            // `parent_domain_matches_subdomains` does not know this list (observed, 3.7.11, 3.10.3, 3.11.7).
            exceptions: Some(Clients::open(exceptions, &sasl.exceptions_networks, Parents::NeedDot)?),
            mechanism_filter: Some(
                StringList::open(filter, sasl.mechanism_filter.as_bytes(), Opening::Survive)
                    .map_err(|error| error.to_string())?,
            ),
        })
    }
}
