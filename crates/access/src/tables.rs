//! Lookup tables and match lists that restrictions look at, opened once.

use config::list::text_words;
use dnsbl::DnsList;
use lookup::list::{DomainList, Parents};
use lookup::{Delimiter, Maps, Opening};

use crate::client::list::Clients;
use crate::dns_tables::DnsTables;
use crate::lists::{self, flags};
use crate::settings::AccessParams;

/// The tables of unlisted-recipient and unlisted-sender checks.
#[derive(Debug)]
pub struct AddressTables {
    /// `recipient_canonical_maps`
    pub recipient_canonical: Maps,
    /// `sender_canonical_maps`
    pub sender_canonical: Maps,
    /// `canonical_maps`
    pub canonical: Maps,
    /// `virtual_alias_maps`
    pub virtual_alias: Maps,
    /// `local_recipient_maps`
    pub(crate) local_recipient: Maps,
    /// `virtual_mailbox_maps`
    pub virtual_mailbox: Maps,
    /// `relay_recipient_maps`
    pub(crate) relay_recipient: Maps,
}

impl AddressTables {
    fn open(params: &AccessParams) -> Result<Self, String> {
        let open = |name: &str| -> Result<Maps, String> {
            let value = params.address_tables.get(name).map_or("", String::as_str);
            Maps::open(name, value.as_bytes(), flags(params.smtputf8_enable), Opening::Survive)
                .map_err(|error| error.to_string())
        };
        // In Postfix's order.
        Ok(Self {
            local_recipient: open("local_recipient_maps")?,
            sender_canonical: open("sender_canonical_maps")?,
            recipient_canonical: open("recipient_canonical_maps")?,
            canonical: open("canonical_maps")?,
            virtual_alias: open("virtual_alias_maps")?,
            virtual_mailbox: open("virtual_mailbox_maps")?,
            relay_recipient: open("relay_recipient_maps")?,
        })
    }

    fn all(&self) -> [&Maps; 7] {
        [
            &self.recipient_canonical,
            &self.sender_canonical,
            &self.canonical,
            &self.virtual_alias,
            &self.local_recipient,
            &self.virtual_mailbox,
            &self.relay_recipient,
        ]
    }
}

/// What restrictions look at.
#[derive(Debug)]
pub struct Tables {
    /// `mynetworks`
    pub mynetworks: Clients,
    /// `relay_domains`
    pub relay_domains: DomainList,
    /// How local parts are split at `recipient_delimiter`.
    pub delimiter: Delimiter,
    /// Tables of addresses.
    pub addresses: AddressTables,
    /// What restrictions that ask the DNS need.
    pub dns: DnsTables,
    /// `maps_rbl_domains`
    pub maps_rbl: Vec<DnsList>,
    /// `relay_clientcerts`
    pub relay_clientcerts: Maps,
    /// `smtpd_sender_login_maps`, which Postfix opens whether there are logins or not.
    pub(crate) sender_login: Maps,
}

impl Tables {
    /// Opens all.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn open(params: &AccessParams) -> Result<Self, String> {
        let parents = |name: &str| {
            Parents::of(name, params.parent_domain_matches_subdomains.as_bytes())
                .map_err(|error| error.to_string())
        };
        let maps = |name: &str, value: &str| lists::maps(name, value, params.smtputf8_enable);
        // In Postfix's order, as far as they are together here.
        let mynetworks = Clients::open("mynetworks", &params.mynetworks, parents("mynetworks")?)?;
        let relay_domains = DomainList::open(
            "relay_domains",
            params.relay_domains.as_bytes(),
            parents("relay_domains")?,
            Opening::Survive,
        )
        .map_err(|error| error.to_string())?;
        // Fingerprints are no UTF-8: who is asked over a socket folds the key himself (observed, 3.7.11).
        let relay_clientcerts = lists::maps("relay_clientcerts", &params.relay_clientcerts, false)?;
        let addresses = AddressTables::open(params)?;
        Ok(Self {
            mynetworks,
            relay_domains,
            delimiter: params.delimiter.clone(),
            addresses,
            dns: DnsTables::open(params)?,
            maps_rbl: text_words(&params.dns.maps_rbl_domains).map(DnsList::parse).collect(),
            relay_clientcerts,
            sender_login: maps("smtpd_sender_login_maps", &params.sender_login_maps)?,
        })
    }

    /// The name of a table whose file has changed.
    pub fn changed(&self) -> Option<&str> {
        let addresses = self.addresses.all().into_iter().find_map(Maps::changed);
        addresses.or_else(|| self.dns.changed()).or_else(|| self.sender_login.changed())
    }
}
