//! Defaults that are not a text of the table, one by one: for `postconf`, which shows what a program
//! would compute but must not stop for a fault in a parameter that nobody asked for.

use crate::config::Settings;
use crate::dictionary::Dictionary;
use crate::error::Error;
use crate::hostname;
use crate::interfaces::{self, Protocols};
use crate::networks;

/// The names of the parameters that [`compute`] knows.
pub const COMPUTED: &[&str] = &["mydomain", "myhostname", "mynetworks", "process_id"];

/// The default of one of the [`COMPUTED`] parameters, with a main.cf of these settings.
///
/// # Errors
/// What a program would stop for.
pub fn compute(name: &str, dictionary: &Dictionary) -> Result<Vec<u8>, Error> {
    let mut settings = Settings::of_dictionary(dictionary.clone());
    match name {
        "process_id" => return Ok(std::process::id().to_string().into_bytes()),
        "myhostname" => return hostname::default_myhostname(&settings),
        _ => {}
    }
    let myhostname = match settings.dictionary.get(b"myhostname") {
        Some(entry) => settings.expand(&entry.value, Some(&entry.origin))?,
        None => hostname::default_myhostname(&settings)?,
    };
    settings.computed.insert("mydomain", hostname::default_mydomain(&myhostname));
    settings.computed.insert("myhostname", myhostname);
    match name {
        "mydomain" => settings.bytes(name),
        "mynetworks" => {
            let own = interfaces::own_addresses(&settings, Protocols::probe(&settings)?)?;
            Ok(networks::default_mynetworks(&settings, &own)?.into_bytes())
        }
        _ => Err(Error::new(format!("{name} has no computed default"))),
    }
}
