//! What is opened once for all addresses of a process.

use lookup::list::StringList;
use lookup::{Flags, Mapping, Maps, OpenError, Opening, OwnDomains, fold};

use crate::masquerade::Masquerade;
use crate::params::{AddressClass, AddressClasses, CanonicalParams, MappingParams};

/// Tables with one address for another, and the addresses that they are for.
#[derive(Debug)]
pub(crate) struct CanonicalTable {
    pub(crate) maps: Maps,
    classes: AddressClasses,
}

impl CanonicalTable {
    /// Whether it has something to say about addresses of this class.
    pub(crate) fn is_for(&self, class: AddressClass) -> bool {
        !self.maps.is_empty() && self.classes.has(class)
    }
}

/// Tables and lists.
#[derive(Debug)]
pub struct Tables {
    pub(crate) canonical: CanonicalTable,
    pub(crate) sender_canonical: CanonicalTable,
    pub(crate) recipient_canonical: CanonicalTable,
    pub(crate) masquerade: Masquerade,
    pub(crate) virtual_alias: Maps,
    pub(crate) sender_bcc: Maps,
    pub(crate) recipient_bcc: Maps,
    pub(crate) own_domains: OwnDomains,
    /// `smtputf8_enable`: case is that of Unicode.
    utf8: bool,
}

impl Tables {
    /// Opens all.
    ///
    /// # Errors
    /// A text that names no table; with `daemon_table_open_error_is_fatal`, any table that cannot be opened.
    pub fn open(mapping: &MappingParams, opening: Opening) -> Result<Self, OpenError> {
        let utf8 = mapping.smtputf8_enable;
        let flags = Flags::LOCK.with(Flags::FOLD_FIX);
        let flags = if utf8 { flags.with(Flags::UTF8) } else { flags };
        let maps = |name: &str, value: &[u8]| Maps::open(name, value, flags, opening);
        let canonical = |params: &CanonicalParams| -> Result<CanonicalTable, OpenError> {
            Ok(CanonicalTable { maps: maps(params.name, &params.maps)?, classes: params.classes.clone() })
        };
        let list = |name: &str, value: &[u8]| StringList::open(name, value, opening);
        Ok(Tables {
            canonical: canonical(&mapping.canonical)?,
            sender_canonical: canonical(&mapping.sender_canonical)?,
            recipient_canonical: canonical(&mapping.recipient_canonical)?,
            masquerade: Masquerade::new(
                &mapping.masquerade_domains,
                list("masquerade_exceptions", &mapping.masquerade_exceptions)?,
            ),
            virtual_alias: maps("virtual_alias_maps", &mapping.virtual_alias_maps)?,
            sender_bcc: maps("sender_bcc_maps", &mapping.sender_bcc_maps)?,
            recipient_bcc: maps("recipient_bcc_maps", &mapping.recipient_bcc_maps)?,
            own_domains: OwnDomains {
                myorigin: mapping.myorigin.clone(),
                mydestination: list("mydestination", &mapping.mydestination)?,
                addresses: mapping.own_addresses.clone(),
            },
            utf8,
        })
    }

    /// The canonical tables that an address of this class goes through, in their order.
    pub(crate) fn canonical_for(&self, class: AddressClass) -> impl Iterator<Item = &CanonicalTable> {
        let first = match class {
            AddressClass::EnvelopeSender | AddressClass::HeaderSender => &self.sender_canonical,
            AddressClass::EnvelopeRecipient | AddressClass::HeaderRecipient => &self.recipient_canonical,
        };
        [first, &self.canonical].into_iter().filter(move |table| table.is_for(class))
    }

    /// A canonical table as it is to be asked.
    pub(crate) fn canonical_mapping<'a>(table: &'a CanonicalTable, params: &'a MappingParams) -> Mapping<'a> {
        Mapping { maps: &table.maps, delimiter: &params.delimiter, propagates: params.propagates_canonical }
    }

    /// Whether two addresses differ in case at most.
    pub(crate) fn is_same(&self, one: &[u8], other: &[u8]) -> bool {
        one.eq_ignore_ascii_case(other)
            || !(one.is_ascii() && other.is_ascii()) && self.fold(one) == self.fold(other)
    }

    /// An address without its case.
    pub(crate) fn fold(&self, address: &[u8]) -> Vec<u8> {
        fold(address, self.utf8)
    }

    /// The name of a table whose file has changed, if any.
    pub fn changed(&self) -> Option<&str> {
        let canonical = [&self.canonical, &self.sender_canonical, &self.recipient_canonical];
        let maps = [&self.virtual_alias, &self.sender_bcc, &self.recipient_bcc];
        let mut maps = canonical.into_iter().map(|table| &table.maps).chain(maps);
        maps.find_map(Maps::changed).or_else(|| self.masquerade.changed_table())
    }
}
