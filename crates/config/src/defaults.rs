//! Defaults that are not a text of the table, one by one: for `postconf`, which shows what a program
//! would compute but must not stop for a fault in a parameter that nobody asked for.

use std::borrow::Cow;

use crate::dictionary::Dictionary;
use crate::error::Error;
use crate::expand::{Expander, Names};
use crate::hostname;
use crate::interfaces::{self, Protocols};
use crate::networks;
use crate::settings::Settings;

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
    for name in ["inet_interfaces", "inet_protocols"] {
        expand_with_written(&mut settings, dictionary, name);
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

/// What main.cf itself says.
struct Written<'a>(&'a Dictionary);

impl Names for Written<'_> {
    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.0.get(name).map(|entry| Cow::Borrowed(entry.value.as_slice()))
    }
}

/// Where postconf looks for the host's own addresses it knows no defaults yet: what these parameters have of other names is
/// nothing when main.cf does not set those (observed, 3.7.11).
fn expand_with_written(settings: &mut Settings, dictionary: &Dictionary, name: &str) {
    if let Some(entry) = dictionary.get(name.as_bytes()) {
        let expanded = Expander::recursive(&Written(dictionary)).expand(&entry.value);
        // A fault is told of where the value is read.
        if let Ok(value) = expanded {
            settings.dictionary.set(name.as_bytes(), &value, entry.origin.clone());
        }
    }
}
