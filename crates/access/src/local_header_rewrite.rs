//! `local_header_rewrite_clients`: whose headers are completed with our own domain (spec access 12).

use config::list::words_with_groups;
use lookup::KeyForm;

use crate::ccert_checks;
use crate::facts::Facts;
use crate::lists::AccessTable;
use crate::logins::is_authenticated;
use crate::replies;

/// Where the message comes from, as far as header rewriting is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewriteContext {
    /// `local` in queue files, `LOCAL` in XFORWARD SOURCE.
    Local,
    /// `remote` in queue files, `REMOTE` in XFORWARD SOURCE.
    Remote,
}

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
    /// `check_address_map` without a table behind it: what stands there.
    NoTable(String),
    /// `check_address_map type:table`, or a bare table.
    Table(AccessTable),
}

/// Compiles the list.
///
/// # Errors
/// The text of a fatal line: `daemon_table_open_error_is_fatal`.
pub fn compile(value: &str, utf8: bool) -> Result<Vec<Item>, String> {
    lookup::titled("local_header_rewrite_clients", || items(value, utf8))
}

fn items(value: &str, utf8: bool) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut words = words_with_groups(value.as_bytes()).map(String::from_utf8_lossy);
    while let Some(word) = words.next() {
        items.push(match word.to_ascii_lowercase().as_str() {
            "permit_inet_interfaces" => Item::InetInterfaces,
            "permit_mynetworks" => Item::Mynetworks,
            "permit_sasl_authenticated" => Item::SaslAuthenticated,
            "permit_tls_clientcerts" => Item::TlsClientcerts,
            "permit_tls_all_clientcerts" => Item::TlsAllClientcerts,
            "check_address_map" => {
                let name = words.next().unwrap_or(word);
                if name.contains(':') {
                    Item::Table(AccessTable::open(&name, utf8)?)
                } else {
                    Item::NoTable(name.into_owned())
                }
            }
            _ if word.contains(':') => Item::Table(AccessTable::open(&word, utf8)?),
            _ => Item::Unknown(word.into_owned()),
        });
    }
    Ok(items)
}

fn no_table(name: &str) -> String {
    format!("restriction check_address_map: bad argument \"{name}\": need maptype:mapname")
}

impl Item {
    /// What is wrong with it, in the words that the log gets when a client meets it.
    pub fn mistake(&self) -> Option<String> {
        match self {
            Self::Unknown(word) => Some(format!("invalid request: {word}")),
            Self::NoTable(name) => Some(no_table(name)),
            _ => None,
        }
    }
}

/// The context for this client.
///
/// # Errors
/// The reply, when a table cannot tell.
pub fn context(items: &[Item], facts: &Facts<'_>) -> Result<RewriteContext, &'static str> {
    let client = facts.client;
    for item in items {
        let matches = match item {
            Item::InetInterfaces => {
                client.connected_from.is_some_and(|ip| facts.params.own_addresses.contains(&ip))
            }
            Item::Mynetworks => {
                facts.tables.mynetworks.has(client).map_err(|_| replies::TEMPORARY_LOOKUP_ERROR)?
            }
            Item::SaslAuthenticated => is_authenticated(facts.user),
            Item::TlsClientcerts => ccert_checks::is_listed(facts, "permit_tls_clientcerts")
                .map_err(|_| replies::TEMPORARY_LOOKUP_ERROR)?,
            Item::TlsAllClientcerts => {
                ccert_checks::is_known(facts).map_err(|_| replies::TEMPORARY_LOOKUP_ERROR)?
            }
            Item::Unknown(word) => {
                log::warn!("parameter local_header_rewrite_clients: invalid request: {word}");
                false
            }
            Item::NoTable(name) => {
                // Postfix's process ends with a panic behind these words.
                log::warn!("{}", no_table(name));
                return Err(replies::CONFIGURATION_ERROR);
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
