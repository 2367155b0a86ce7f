//! The tables of mailboxes, users and groups. What they say decides whose rights are used: results of regular expressions that
//! take something of the address are refused, and so are sources that nobody vouches for (spec tables 20).

use config::Config;
use lookup::list::StringList;
use lookup::{AddressMaps, Delimiter, Flags, LookupError, Maps, Opening, OwnDomains, Query};
use server::Fatal;

/// The tables of a process.
pub(crate) struct Tables {
    /// `virtual_mailbox_maps`
    pub(crate) mailboxes: Maps,
    /// `virtual_uid_maps`
    pub(crate) uids: Maps,
    /// `virtual_gid_maps`
    pub(crate) gids: Maps,
    delimiter: Delimiter,
    own_domains: OwnDomains,
}

impl Tables {
    pub(crate) fn open(config: &Config) -> Result<Self, Fatal> {
        let globals = config.globals();
        let opening =
            if globals.daemon_table_open_error_is_fatal { Opening::FatalErrors } else { Opening::Survive };
        let mut flags = Flags::LOCK
            .with(Flags::FOLD_FIX)
            .with(Flags::NO_REGSUB)
            .with(Flags::NO_PROXY)
            .with(Flags::NO_UNAUTH);
        if globals.smtputf8_enable {
            flags = flags.with(Flags::UTF8);
        }
        let fatal = |error: lookup::OpenError| Fatal::new(error.to_string());
        let open = |name: &str| Maps::open(name, &config.bytes(name)?, flags, opening).map_err(fatal);
        let mydestination = config.bytes("mydestination")?;
        Ok(Self {
            mailboxes: open("virtual_mailbox_maps")?,
            uids: open("virtual_uid_maps")?,
            gids: open("virtual_gid_maps")?,
            delimiter: Delimiter::new(globals),
            own_domains: OwnDomains {
                myorigin: globals.myorigin.clone().into_bytes(),
                mydestination: StringList::open("mydestination", &mydestination, opening).map_err(fatal)?,
                addresses: globals.reached_addresses(config)?,
            },
        })
    }

    /// What one of the tables has for an address.
    pub(crate) fn find(&self, maps: &Maps, address: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let found = AddressMaps::new(maps, &self.delimiter).find(
            address,
            Query::ExternalThenInternal,
            &self.own_domains,
        )?;
        Ok(found.map(|found| found.value))
    }

    pub(crate) fn changed(&self) -> Option<&str> {
        [&self.mailboxes, &self.uids, &self.gids].into_iter().find_map(Maps::changed)
    }
}
