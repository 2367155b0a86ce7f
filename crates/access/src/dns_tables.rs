//! What restrictions that ask the DNS have open: the resolver, the reply filter, tables and lists of their own.

use std::net::IpAddr;

use dns::{Answer, Failure, FailureKind, Filtering, Options, RecordType, Resolver, TextOf};
use lookup::list::{HostList, Parents, StringList};
use lookup::{KeyForm, Maps, Opening, OwnDomains};

use crate::lists;
use crate::settings::AccessParams;

/// The resolver and its company.
#[derive(Debug)]
pub struct DnsTables {
    resolver: Resolver,
    text: TextOf,
    /// `smtpd_dns_reply_filter`
    reply_filter: Maps,
    /// `rbl_reply_maps`
    pub(crate) rbl_replies: Maps,
    /// `permit_mx_backup_networks`
    pub(crate) backup_networks: HostList,
    /// Postfix asks its own `mydestination` here, not trivial-rewrite (observed).
    pub own_domains: OwnDomains,
}

impl DnsTables {
    /// Opens all.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn open(params: &AccessParams) -> Result<Self, String> {
        let dns = &params.dns;
        let maps = |name: &str, value: &str| lists::maps(name, value, params.smtputf8_enable);
        let name = "permit_mx_backup_networks";
        let parents = Parents::of(name, params.parent_domain_matches_subdomains.as_bytes())
            .map_err(|error| error.to_string())?;
        let backup_networks =
            HostList::open(name, dns.permit_mx_backup_networks.as_bytes(), parents, Opening::Survive)
                .map_err(|error| error.to_string())?;
        Ok(Self {
            resolver: Resolver::default(),
            text: if params.dialect.joins_dns_texts() { TextOf::AllStrings } else { TextOf::FirstString },
            reply_filter: maps("smtpd_dns_reply_filter", &dns.smtpd_dns_reply_filter)?,
            rbl_replies: maps("rbl_reply_maps", &dns.rbl_reply_maps)?,
            backup_networks,
            own_domains: OwnDomains {
                myorigin: params.myorigin.clone().into_bytes(),
                mydestination: StringList::open(
                    "mydestination",
                    dns.mydestination.as_bytes(),
                    Opening::Survive,
                )
                .map_err(|error| error.to_string())?,
                addresses: dns.reached_addresses.clone(),
            },
        })
    }

    /// Looks up the records of one type.
    ///
    /// # Errors
    /// There are none, or it cannot be told.
    pub fn lookup(&self, name: &[u8], wanted: RecordType) -> Result<Answer, Failure> {
        let filter = |text: &str| self.filter(text);
        let filter: Option<dns::Filter<'_>> = if self.reply_filter.is_empty() { None } else { Some(&filter) };
        self.resolver.lookup(name, wanted, Options { text: self.text, ..Options::default() }, filter)
    }

    /// Looks up types in turn until there are records of one, or a failure that ends the search. Of several failures
    /// the gravest counts.
    ///
    /// # Errors
    /// No type has records.
    pub(crate) fn lookup_any(
        &self,
        name: &[u8],
        types: &[RecordType],
        ends: impl Fn(RecordType, FailureKind) -> bool,
    ) -> Result<(), Failure> {
        let mut worst: Option<Failure> = None;
        for &wanted in types {
            let failure = match self.lookup(name, wanted) {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            let ended = ends(wanted, failure.kind);
            if ended || worst.as_ref().is_none_or(|worst| failure.kind > worst.kind) {
                worst = Some(failure);
            }
            if ended {
                break;
            }
        }
        worst.map_or(Ok(()), Err)
    }

    fn filter(&self, text: &str) -> Filtering {
        match self.reply_filter.find(text.as_bytes(), KeyForm::Full) {
            Ok(None) => Filtering::Keep,
            Ok(Some(action)) if action.eq_ignore_ascii_case(b"IGNORE") => Filtering::Drop,
            Ok(Some(action)) => {
                log::warn!(
                    "smtpd_dns_reply_filter: unknown DNS filter action: \"{}\"",
                    maillog::shown(&action)
                );
                Filtering::Fault
            }
            Err(_) => Filtering::Fault,
        }
    }

    /// Whether the name is one of this host's.
    pub(crate) fn is_own_name(&self, name: &[u8]) -> bool {
        let name = name.strip_suffix(b".").unwrap_or(name);
        self.own_domains.mydestination.matches(name).unwrap_or_else(|error| {
            log::warn!("{error}");
            false
        })
    }

    /// Whether the address is one of this host's, or of a proxy in front of it.
    pub(crate) fn is_own_address(&self, address: IpAddr) -> bool {
        self.own_domains.addresses.contains(&address)
    }

    /// The name of a table whose file has changed.
    pub fn changed(&self) -> Option<&str> {
        self.reply_filter.changed().or(self.rbl_replies.changed())
    }
}
