//! Everything that is opened once, before the process enters its jail: match lists, lookup tables, restrictions.
//!
//! It is read by all sessions and changed by none.

use std::sync::Arc;

use lookup::list::{DomainList, Parents, StringList};
use lookup::{Delimiter, Flags, Maps, Opening, Tell};

use crate::access::compile::{self, Classes, List, Place};
use crate::access::dns_tables::DnsTables;
use crate::access::dnsbl::DnsList;
use crate::access::lists::{self, OpenTables, flags};
use crate::access::local_header_rewrite;
use crate::access::observer::LookupWatch;
use crate::client::list::Clients;
use crate::sasl::SaslTables;
use crate::settings::params::SmtpdParams;
use crate::settings::words::words;
use crate::tables::command_filter::CommandFilter;

pub mod command_filter;

/// The restriction lists, compiled.
#[derive(Debug, Default)]
pub struct Restrictions {
    /// `smtpd_client_restrictions`
    pub client: List,
    /// `smtpd_helo_restrictions`
    pub helo: List,
    /// `smtpd_sender_restrictions`
    pub sender: List,
    /// `smtpd_relay_restrictions`
    pub relay: List,
    /// `smtpd_recipient_restrictions`
    pub recipient: List,
    /// `smtpd_data_restrictions`
    pub data: List,
    /// `smtpd_end_of_data_restrictions`
    pub end_of_data: List,
    /// `smtpd_etrn_restrictions`
    pub etrn: List,
}

/// Where each list stands.
const PLACES: [(&str, &str); 8] = [
    ("smtpd_client_restrictions", "Client host"),
    ("smtpd_helo_restrictions", "Helo command"),
    ("smtpd_sender_restrictions", "Sender address"),
    ("smtpd_relay_restrictions", "Recipient address"),
    ("smtpd_recipient_restrictions", "Recipient address"),
    ("smtpd_data_restrictions", "Data command"),
    ("smtpd_end_of_data_restrictions", "End-of-data"),
    ("smtpd_etrn_restrictions", "Etrn command"),
];

/// The one entry of `smtpd_forbidden_commands`' default that is a regular expression: what does not start with a
/// letter. Other expressions need a table type that is not there.
const NOT_A_LETTER: &str = "regexp:{{/^[^A-Z]/ Bogus}}";

/// `smtpd_forbidden_commands`
#[derive(Debug)]
struct ForbiddenCommands {
    words: StringList,
    not_a_letter: bool,
}

impl ForbiddenCommands {
    fn open(value: &str) -> Result<Self, String> {
        let mut kept = Vec::new();
        let mut not_a_letter = false;
        for word in config::list::words_with_groups(value.as_bytes()) {
            if word == NOT_A_LETTER.as_bytes() {
                not_a_letter = true;
                continue;
            }
            kept.extend_from_slice(word);
            kept.push(b' ');
        }
        let words = StringList::open("smtpd_forbidden_commands", &kept, Opening::Survive)
            .map_err(|error| error.to_string())?;
        Ok(Self { words, not_a_letter })
    }

    fn has(&self, word: &[u8]) -> bool {
        let first_is_letter = word.first().is_some_and(u8::is_ascii_alphabetic);
        (self.not_a_letter && !first_is_letter)
            || self.words.matches(word).unwrap_or_else(|error| {
                log::warn!("{error}");
                false
            })
    }
}

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
    pub local_recipient: Maps,
    /// `virtual_mailbox_maps`
    pub virtual_mailbox: Maps,
    /// `relay_recipient_maps`
    pub relay_recipient: Maps,
}

impl AddressTables {
    fn open(params: &SmtpdParams) -> Result<Self, String> {
        let open = |name: &str| -> Result<Maps, String> {
            let value = params.address_tables.get(name).map_or("", String::as_str);
            Maps::open(name, value.as_bytes(), flags(params.smtputf8_enable), Opening::Survive)
                .map_err(|error| error.to_string())
        };
        Ok(Self {
            recipient_canonical: open("recipient_canonical_maps")?,
            sender_canonical: open("sender_canonical_maps")?,
            canonical: open("canonical_maps")?,
            virtual_alias: open("virtual_alias_maps")?,
            local_recipient: open("local_recipient_maps")?,
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

/// All tables of the server.
#[derive(Debug)]
pub struct Tables {
    /// `mynetworks`
    pub mynetworks: Clients,
    /// `smtpd_authorized_xclient_hosts`
    pub xclient_hosts: Clients,
    /// `smtpd_authorized_xforward_hosts`
    pub xforward_hosts: Clients,
    /// `smtpd_authorized_verp_clients`
    pub verp_clients: Clients,
    /// `smtpd_client_event_limit_exceptions`
    pub limit_exceptions: Clients,
    /// `smtpd_forbid_bare_newline_exclusions`
    pub bare_newline_exclusions: Clients,
    /// `fast_flush_domains`
    pub flush_domains: DomainList,
    /// `relay_domains`
    pub relay_domains: DomainList,
    /// The restriction lists.
    pub restrictions: Restrictions,
    /// `local_header_rewrite_clients`
    pub local_header_rewrite: Vec<local_header_rewrite::Item>,
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
    /// `smtpd_reject_filter_maps`
    pub reject_filters: Maps,
    /// `smtpd_reject_footer_maps`
    pub reject_footers: Maps,
    /// `smtpd_discard_ehlo_keyword_address_maps`
    pub discard_ehlo_keywords: Maps,
    /// `smtpd_command_filter`
    pub command_filter: Option<CommandFilter>,
    /// `debug_peer_list`
    pub debug_peers: Clients,
    /// Lists and tables about logins.
    pub sasl: SaslTables,
    forbidden_commands: ForbiddenCommands,
    permit_log: StringList,
    /// `smtpd_restriction_classes`
    pub classes: Classes,
    opened: OpenTables,
    /// What is wrong in values that lists are made of: the parameter, and the words for the log.
    mistakes: Vec<(String, String)>,
}

impl Tables {
    /// Opens all.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn open(params: &SmtpdParams) -> Result<Self, String> {
        Self::open_watched(params, None)
    }

    /// Opens all; `watch` is told of each look-up in an access table.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn open_watched(params: &SmtpdParams, watch: Option<LookupWatch>) -> Result<Self, String> {
        let clients = |name: &str, value: &str| {
            let parents = Parents::of(name, params.parent_domain_matches_subdomains.as_bytes());
            Clients::open(name, value, parents)
        };
        // Parent domains never match where a client gets rights (spec smtpd 3).
        let strict = |name: &str, value: &str| Clients::open(name, value, Parents::NeedDot);
        let maps = |name: &str, value: &str| lists::maps(name, value, params.smtputf8_enable);
        // Replies and addresses of clients are asked for as they are (observed).
        let as_it_is = |name: &str, value: &str| lists::maps_with(name, value, Flags::LOCK);
        let mut opened = OpenTables::new(params.smtputf8_enable, params.policy.clone()).watched(watch);
        let mut mistakes = Vec::new();
        let (restrictions, classes) = restrictions(params, &mut opened, &mut mistakes)?;
        Ok(Self {
            mynetworks: clients("mynetworks", &params.mynetworks)?,
            xclient_hosts: strict("smtpd_authorized_xclient_hosts", &params.authorized_xclient_hosts)?,
            xforward_hosts: strict("smtpd_authorized_xforward_hosts", &params.authorized_xforward_hosts)?,
            verp_clients: strict("smtpd_authorized_verp_clients", &params.authorized_verp_clients)?,
            limit_exceptions: clients(
                "smtpd_client_event_limit_exceptions",
                &params.client_event_limit_exceptions,
            )?,
            bare_newline_exclusions: clients(
                "smtpd_forbid_bare_newline_exclusions",
                &params.forbid_bare_newline_exclusions,
            )?,
            flush_domains: DomainList::open(
                "fast_flush_domains",
                params.fast_flush_domains.as_bytes(),
                Parents::of("fast_flush_domains", params.parent_domain_matches_subdomains.as_bytes()),
                Opening::Survive,
            )
            .map_err(|error| error.to_string())?,
            relay_domains: DomainList::open(
                "relay_domains",
                params.relay_domains.as_bytes(),
                Parents::of("relay_domains", params.parent_domain_matches_subdomains.as_bytes()),
                Opening::Survive,
            )
            .map_err(|error| error.to_string())?,
            restrictions,
            local_header_rewrite: local_header_rewrite::compile(
                &params.local_header_rewrite_clients,
                params.smtputf8_enable,
            )?,
            delimiter: Delimiter {
                set: params.recipient_delimiter.as_bytes().to_vec(),
                double_bounce_sender: params.double_bounce_sender.as_bytes().to_vec(),
                owner_request_special: params.owner_request_special,
            },
            addresses: AddressTables::open(params)?,
            dns: DnsTables::open(params)?,
            maps_rbl: words(&params.dns.maps_rbl_domains).map(DnsList::parse).collect(),
            relay_clientcerts: maps("relay_clientcerts", &params.tls.relay_clientcerts)?,
            reject_filters: as_it_is("smtpd_reject_filter_maps", &params.reject_filter_maps)?,
            reject_footers: as_it_is("smtpd_reject_footer_maps", &params.reject_footer_maps)?,
            discard_ehlo_keywords: as_it_is(
                "smtpd_discard_ehlo_keyword_address_maps",
                &params.discard_ehlo_keyword_address_maps,
            )?,
            command_filter: CommandFilter::open(&params.command_filter)?,
            debug_peers: clients("debug_peer_list", &params.debug_peers.list)?,
            sasl: SaslTables::open(params)?,
            forbidden_commands: ForbiddenCommands::open(&params.forbidden_commands)?,
            permit_log: StringList::open(
                "smtpd_log_access_permit_actions",
                params.log_access_permit_actions.as_bytes(),
                Opening::Survive,
            )
            .map_err(|error| error.to_string())?,
            classes,
            opened,
            mistakes,
        })
    }

    /// What is wrong in the values that these were made of, and stops nobody; not the tables that could not be opened
    /// (see [`lookup::gather`]), but for those of restrictions. A parameter, and the words for the log.
    pub fn mistakes(&self) -> impl Iterator<Item = (&str, String)> {
        let lists = self.mistakes.iter().map(|(parameter, text)| (parameter.as_str(), text.clone()));
        let dns_lists = self.maps_rbl.iter().filter_map(DnsList::fault);
        let rewriting = self.local_header_rewrite.iter().filter_map(local_header_rewrite::Item::mistake);
        lists
            .chain(dns_lists.map(|fault| ("maps_rbl_domains", fault.to_string())))
            .chain(rewriting.map(|text| ("local_header_rewrite_clients", text)))
    }

    /// Whether a working instance of a restriction keeps strangers from relaying.
    pub fn protects_relay(&self) -> bool {
        let lists = &self.restrictions;
        [&lists.recipient, &lists.relay].iter().any(|list| list.protects_relay(&self.classes))
    }

    /// Whether the command is one that only other protocols have.
    pub fn forbidden_command(&self, word: &[u8]) -> bool {
        self.forbidden_commands.has(word)
    }

    /// Whether a permit of this name is to be logged.
    pub fn logs_permit(&self, word: &str) -> bool {
        !self.permit_log.is_empty()
            && self.permit_log.matches(word.as_bytes()).unwrap_or_else(|error| {
                log::warn!("{error}");
                false
            })
    }

    /// The name of a table whose file has changed.
    pub fn changed(&self) -> Option<&str> {
        let addresses = self.addresses.all().into_iter().find_map(Maps::changed);
        let filter = self.command_filter.as_ref().and_then(CommandFilter::changed);
        let own = self
            .reject_filters
            .changed()
            .or(self.reject_footers.changed())
            .or(self.discard_ehlo_keywords.changed())
            .or(filter);
        self.opened
            .changed()
            .or(addresses)
            .or_else(|| self.dns.changed())
            .or(own)
            .or_else(|| self.sasl.changed())
    }
}

/// Compiles every list.
fn restrictions(
    params: &SmtpdParams,
    opened: &mut OpenTables,
    mistakes: &mut Vec<(String, String)>,
) -> Result<(Restrictions, Classes), String> {
    let texts = &params.restrictions;
    let lists = [
        &texts.client,
        &texts.helo,
        &texts.sender,
        &texts.relay,
        &texts.recipient,
        &texts.data,
        &texts.end_of_data,
        &texts.etrn,
    ];
    // Postfix opens what the lists name, then what the classes name; its warnings come in that order.
    let parameters = PLACES.iter().map(|(parameter, _)| *parameter).zip(lists);
    let class_parameters = texts.classes.iter().map(|(name, text)| (name.as_str(), text));
    for (parameter, text) in parameters.chain(class_parameters) {
        let (done, faults) = lookup::gather(Tell::Log, || opened.open_all(text));
        done?;
        mistakes.extend(faults.iter().map(|fault| (parameter.to_string(), fault.told())));
    }
    let mut classes: Classes = texts.classes.iter().map(|(name, _)| (name.clone(), Arc::default())).collect();
    for (name, text) in &texts.classes {
        let list = compile::list(text, &Place::Class, &classes, opened);
        mistakes.extend(list.mistakes().map(|text| (name.clone(), text)));
        classes.insert(name.clone(), Arc::new(list));
    }
    for (name, _) in &texts.classes {
        if classes[name].contains_itself(name, &classes) {
            mistakes.push((name.clone(), format!("restriction class `{name}' contains itself")));
        }
    }
    let mut compiled = lists.into_iter().zip(&PLACES).map(|(text, (parameter, class))| {
        let list = compile::list(text, &Place::List(class), &classes, opened);
        mistakes.extend(list.mistakes().map(|text| (parameter.to_string(), text)));
        list
    });
    let mut next = || compiled.next().unwrap_or_default();
    let restrictions = Restrictions {
        client: next(),
        helo: next(),
        sender: next(),
        relay: next(),
        recipient: next(),
        data: next(),
        end_of_data: next(),
        etrn: next(),
    };
    drop(compiled);
    Ok((restrictions, classes))
}
