//! Everything that is opened once, before the process enters its jail: match lists, lookup tables, restrictions.
//!
//! It is read by all sessions and changed by none.

use access::client::list::Clients;
use access::dnsbl::list::fault;
use access::restrictions::Restrictions;
use access::wording::Wording;
use access::{lists, local_header_rewrite};
use lookup::list::{DomainList, Parents, StringList};
use lookup::{Flags, Maps, Opening};

use crate::sasl::SaslTables;
use crate::settings::params::SmtpdParams;
use crate::tables::command_filter::CommandFilter;

pub(crate) mod command_filter;

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

/// All tables of the server.
#[derive(Debug)]
pub(crate) struct Tables {
    /// `smtpd_authorized_xclient_hosts`
    pub(crate) xclient_hosts: Clients,
    /// `smtpd_authorized_xforward_hosts`
    pub(crate) xforward_hosts: Clients,
    /// `smtpd_authorized_verp_clients`
    pub(crate) verp_clients: Clients,
    /// `smtpd_client_event_limit_exceptions`
    pub(crate) limit_exceptions: Clients,
    /// `smtpd_forbid_bare_newline_exclusions`
    pub(crate) bare_newline_exclusions: Clients,
    /// `fast_flush_domains`
    pub(crate) flush_domains: DomainList,
    /// Those that restrictions look at.
    pub access: access::tables::Tables,
    /// The restriction lists.
    pub restrictions: Restrictions,
    /// `local_header_rewrite_clients`
    pub local_header_rewrite: Vec<local_header_rewrite::Item>,
    /// `smtpd_reject_filter_maps`, `smtpd_reject_footer_maps`
    pub wording: Wording,
    /// `smtpd_discard_ehlo_keyword_address_maps`
    pub(crate) discard_ehlo_keywords: Maps,
    /// `smtpd_command_filter`
    pub command_filter: Option<CommandFilter>,
    /// `debug_peer_list`
    pub(crate) debug_peers: Clients,
    /// `smtpd_milter_maps`
    pub milters: Maps,
    /// Lists and tables about logins.
    pub sasl: SaslTables,
    /// `smtpd_noop_commands`
    noop_commands: StringList,
    forbidden_commands: ForbiddenCommands,
}

impl Tables {
    /// Opens all.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub(crate) fn open(params: &SmtpdParams) -> Result<Self, String> {
        let parents = |name: &str| {
            Parents::of(name, params.access.parent_domain_matches_subdomains.as_bytes())
                .map_err(|error| error.to_string())
        };
        let clients = |name: &str, value: &str| Clients::open(name, value, parents(name)?);
        // Parent domains never match where a client gets rights (spec smtpd 3).
        let strict = |name: &str, value: &str| Clients::open(name, value, Parents::NeedDot);
        // Addresses of clients are asked for as they are (observed).
        let as_it_is = |name: &str, value: &str| lists::maps_with(name, value, Flags::LOCK);
        // In Postfix's order, as far as an error of the first is told before one of the second.
        let noop_commands = StringList::open("smtpd_noop_commands", &params.noop_commands, Opening::Survive)
            .map_err(|error| error.to_string())?;
        let forbidden_commands = ForbiddenCommands::open(&params.forbidden_commands)?;
        let verp_clients = strict("smtpd_authorized_verp_clients", &params.authorized_verp_clients)?;
        let xclient_hosts = strict("smtpd_authorized_xclient_hosts", &params.authorized_xclient_hosts)?;
        let xforward_hosts = strict("smtpd_authorized_xforward_hosts", &params.authorized_xforward_hosts)?;
        let name = "smtpd_client_event_limit_exceptions";
        let limit_exceptions = clients(name, &params.client_event_limit_exceptions)?;
        let access = access::tables::Tables::open(&params.access)?;
        let restrictions = Restrictions::open(&params.access, None)?;
        Ok(Self {
            noop_commands,
            forbidden_commands,
            xclient_hosts,
            xforward_hosts,
            verp_clients,
            limit_exceptions,
            // Its parent domains match as those of mynetworks, which it is by default (observed, 3.10.3).
            bare_newline_exclusions: Clients::open(
                "smtpd_forbid_bare_newline_exclusions",
                &params.forbid_bare_newline_exclusions,
                parents("mynetworks")?,
            )?,
            flush_domains: DomainList::open(
                "fast_flush_domains",
                params.fast_flush_domains.as_bytes(),
                parents("fast_flush_domains")?,
                Opening::Survive,
            )
            .map_err(|error| error.to_string())?,
            access,
            restrictions,
            local_header_rewrite: local_header_rewrite::compile(
                &params.access.local_header_rewrite_clients,
                params.access.smtputf8_enable,
            )?,
            wording: Wording::open(&params.access)?,
            discard_ehlo_keywords: as_it_is(
                "smtpd_discard_ehlo_keyword_address_maps",
                &params.discard_ehlo_keyword_address_maps,
            )?,
            command_filter: CommandFilter::open(&params.command_filter)?,
            debug_peers: clients("debug_peer_list", &params.debug_peers.list)?,
            milters: as_it_is("smtpd_milter_maps", &params.milters.maps)?,
            sasl: SaslTables::open(params)?,
        })
    }

    /// What is wrong in the values that these were made of, and stops nobody; not the tables that could not be opened
    /// (see [`lookup::gather`]), but for those of restrictions. A parameter, and the words for the log.
    pub(crate) fn mistakes(&self) -> impl Iterator<Item = (&str, String)> {
        let dns_lists = self.access.maps_rbl.iter().filter_map(fault);
        let rewriting = self.local_header_rewrite.iter().filter_map(local_header_rewrite::Item::mistake);
        self.restrictions
            .mistakes()
            .chain(dns_lists.map(|fault| ("maps_rbl_domains", fault)))
            .chain(rewriting.map(|text| ("local_header_rewrite_clients", text)))
    }

    /// Whether the command does nothing.
    pub(crate) fn is_noop(&self, word: &[u8]) -> bool {
        // Most servers have none.
        !self.noop_commands.is_empty()
            && self.noop_commands.matches(word).unwrap_or_else(|error| {
                log::warn!("{error}");
                false
            })
    }

    /// Whether the command is one that only other protocols have.
    pub(crate) fn forbidden_command(&self, word: &[u8]) -> bool {
        self.forbidden_commands.has(word)
    }

    /// The name of a table whose file has changed.
    pub(crate) fn changed(&self) -> Option<&str> {
        let filter = self.command_filter.as_ref().and_then(CommandFilter::changed);
        let own = self
            .wording
            .changed()
            .or(self.discard_ehlo_keywords.changed())
            .or(self.milters.changed())
            .or(filter);
        self.restrictions.changed().or_else(|| self.access.changed()).or(own)
    }
}
