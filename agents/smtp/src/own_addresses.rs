//! How addresses are looked up as keys: extensions, and the domains that are this host's.

use config::Config;
use lookup::list::StringList;
use lookup::{Delimiter, Opening, OwnDomains};
use server::Fatal;

/// What a table with addresses for keys is asked with.
#[derive(Debug)]
pub(crate) struct OwnAddresses {
    pub(crate) delimiter: Delimiter,
    pub(crate) domains: OwnDomains,
}

impl OwnAddresses {
    pub(crate) fn open(config: &Config) -> Result<Self, Fatal> {
        let globals = config.globals();
        let mydestination =
            StringList::open("mydestination", &config.bytes("mydestination")?, Opening::Survive)
                .map_err(|error| Fatal::new(error.to_string()))?;
        Ok(Self {
            delimiter: Delimiter::new(globals),
            domains: OwnDomains {
                myorigin: globals.myorigin.clone().into_bytes(),
                mydestination,
                addresses: globals.reached_addresses(config)?,
            },
        })
    }
}
