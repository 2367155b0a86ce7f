//! `local_header_rewrite_clients`: whose headers are completed with our own domain (spec access 12).

use config::list::words_with_groups;
use lookup::KeyForm;

use crate::access::ccert_checks;
use crate::access::lists::AccessTable;
use crate::access::logins::is_authenticated;
use crate::destination::RewriteContext;
use crate::replies;
use crate::session::Session;

/// A compiled item of the list.
#[derive(Debug)]
pub enum Item {
    /// `permit_inet_interfaces`
    InetInterfaces,
    /// `permit_mynetworks`
    Mynetworks,
    /// `permit_sasl_authenticated`
    SaslAuthenticated,
    /// `permit_tls_clientcerts`
    TlsClientcerts,
    /// `permit_tls_all_clientcerts`
    TlsAllClientcerts,
    /// A word that is none: told about each time it is met, and skipped.
    Unknown(String),
    /// `check_address_map type:table`, or a bare table.
    Table(AccessTable),
}

/// Compiles the list.
///
/// # Errors
/// The text of a fatal line, for a table type that is not there.
pub fn compile(value: &str, utf8: bool) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    for word in words_with_groups(value.as_bytes()) {
        let word = String::from_utf8_lossy(word);
        items.push(match word.to_ascii_lowercase().as_str() {
            "permit_inet_interfaces" => Item::InetInterfaces,
            "permit_mynetworks" => Item::Mynetworks,
            "permit_sasl_authenticated" => Item::SaslAuthenticated,
            "permit_tls_clientcerts" => Item::TlsClientcerts,
            "permit_tls_all_clientcerts" => Item::TlsAllClientcerts,
            "check_address_map" => continue,
            _ if word.contains(':') => Item::Table(AccessTable::open(&word, utf8)?),
            _ => Item::Unknown(word.into_owned()),
        });
    }
    Ok(items)
}

/// The context for this client.
///
/// # Errors
/// The reply, when a table cannot tell.
pub fn context(session: &Session<'_>) -> Result<RewriteContext, &'static str> {
    let client = &session.client;
    for item in &session.tables.local_header_rewrite {
        let matches = match item {
            Item::InetInterfaces => {
                client.connected_from.is_some_and(|ip| session.params.own_addresses.contains(&ip))
            }
            Item::Mynetworks => {
                session.tables.mynetworks.has(client).map_err(|_| replies::TEMPORARY_LOOKUP_ERROR)?
            }
            Item::SaslAuthenticated => is_authenticated(session.sasl.user()),
            Item::TlsClientcerts => ccert_checks::is_listed(session, "permit_tls_clientcerts")
                .map_err(|_| replies::TEMPORARY_LOOKUP_ERROR)?,
            Item::TlsAllClientcerts => {
                ccert_checks::is_known(session).map_err(|_| replies::TEMPORARY_LOOKUP_ERROR)?
            }
            Item::Unknown(word) => {
                log::warn!("parameter local_header_rewrite_clients: invalid request: {word}");
                false
            }
            Item::Table(table) => table
                .find(&client.address, KeyForm::Full)
                .map_err(|_| replies::TEMPORARY_LOOKUP_ERROR)?
                .is_some(),
        };
        if matches {
            return Ok(RewriteContext::Local);
        }
    }
    Ok(RewriteContext::Remote)
}
