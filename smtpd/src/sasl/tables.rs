//! Lists and tables about logins, opened once.

use access::client::list::Clients;
use lookup::Opening;
use lookup::list::{Parents, StringList};

use crate::settings::params::SmtpdParams;

/// Lists and tables about logins; the lists are absent where logins are not enabled.
#[derive(Debug, Default)]
pub struct SaslTables {
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
    pub fn open(params: &SmtpdParams) -> Result<Self, String> {
        let Some(sasl) = &params.sasl else {
            return Ok(Self::default());
        };
        let exceptions = "smtpd_sasl_exceptions_networks";
        let parents = Parents::of(exceptions, params.access.parent_domain_matches_subdomains.as_bytes())
            .map_err(|error| error.to_string())?;
        let filter = "smtpd_sasl_mechanism_filter";
        Ok(Self {
            exceptions: Some(Clients::open(exceptions, &sasl.exceptions_networks, parents)?),
            mechanism_filter: Some(
                StringList::open(filter, sasl.mechanism_filter.as_bytes(), Opening::Survive)
                    .map_err(|error| error.to_string())?,
            ),
        })
    }
}
