//! Lists and tables about logins, opened once.

use lookup::list::{Parents, StringList};
use lookup::{Maps, Opening};

use crate::access::lists::flags;
use crate::client::list::Clients;
use crate::settings::params::SmtpdParams;

/// Lists and tables about logins; the lists are absent where logins are not enabled.
#[derive(Debug, Default)]
pub struct SaslTables {
    /// `smtpd_sasl_exceptions_networks`
    pub exceptions: Option<Clients>,
    /// `smtpd_sasl_mechanism_filter`
    pub mechanism_filter: Option<StringList>,
    /// `smtpd_sender_login_maps`
    pub sender_login: Option<Maps>,
}

impl SaslTables {
    /// Opens all.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn open(params: &SmtpdParams) -> Result<Self, String> {
        // Postfix opens it in any case.
        let sender_login = Some(sender_login(params)?);
        let Some(sasl) = &params.sasl else {
            return Ok(Self { sender_login, ..Self::default() });
        };
        let exceptions = "smtpd_sasl_exceptions_networks";
        let parents = Parents::of(exceptions, params.parent_domain_matches_subdomains.as_bytes());
        let filter = "smtpd_sasl_mechanism_filter";
        Ok(Self {
            exceptions: Some(Clients::open(exceptions, &sasl.exceptions_networks, parents)?),
            mechanism_filter: Some(
                StringList::open(filter, sasl.mechanism_filter.as_bytes(), Opening::Survive)
                    .map_err(|error| error.to_string())?,
            ),
            sender_login,
        })
    }

    /// The name of a table whose file has changed.
    pub fn changed(&self) -> Option<&str> {
        self.sender_login.as_ref().and_then(Maps::changed)
    }
}

fn sender_login(params: &SmtpdParams) -> Result<Maps, String> {
    let name = "smtpd_sender_login_maps";
    let value = params.sender_login_maps.as_bytes();
    Maps::open(name, value, flags(params.smtputf8_enable), Opening::Survive)
        .map_err(|error| error.to_string())
}
