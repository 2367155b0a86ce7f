//! Addresses of this site as others are to see them: `smtp_generic_maps` (spec smtp-client 7.6).

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use addressing::{Rewrite, RewriteService};
use config::Config;
use ipc::client::Timers;
use ipc::rewrite::Rule;
use lookup::{Flags, Form, Mapping, Maps, Opening};
use message::header::Addresses;
use message::mime::Header;
use server::Fatal;

use crate::own_addresses::OwnAddresses;
use crate::protocol::Protocol;

/// The tables, and who brings what they say to standard form.
#[derive(Debug)]
pub(crate) struct Generic {
    maps: Maps,
    propagates: bool,
    token_limit: usize,
    rewriting: Mutex<RewriteService>,
}

impl Generic {
    pub(crate) fn open(config: &Config, protocol: Protocol) -> Result<Self, Fatal> {
        const PROPAGATED: &str = "propagate_unmatched_extensions";
        let globals = config.globals();
        let name = protocol.parameter("smtp_generic_maps");
        let flags = Flags::LOCK.with(Flags::FOLD_FIX);
        let flags = if globals.smtputf8_enable { flags.with(Flags::UTF8) } else { flags };
        let maps = Maps::open(&name, &config.bytes(&name)?, flags, Opening::Survive)
            .map_err(|error| Fatal::new(error.to_string()))?;
        let known = ["canonical", "virtual", "alias", "forward", "include", "generic"];
        let propagated = config
            .known_words(PROPAGATED, PROPAGATED, |word| known.into_iter().find(|known| *known == word))?;
        let timers = Timers { timeout: globals.ipc_timeout, idle: globals.ipc_idle, ttl: globals.ipc_ttl };
        let service = config.text("rewrite_service_name")?;
        Ok(Self {
            maps,
            propagates: propagated.contains(&"generic"),
            token_limit: usize::try_from(config.integer("header_address_token_limit")?).unwrap_or(usize::MAX),
            rewriting: Mutex::new(RewriteService::new(&service, timers)),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.maps.is_empty()
    }

    pub(crate) fn changed(&self) -> Option<&str> {
        self.maps.changed()
    }

    /// What stands for an address of an envelope.
    pub(crate) fn envelope<'a>(&self, own: &OwnAddresses, address: &'a [u8]) -> Cow<'a, [u8]> {
        if self.is_empty() || address.is_empty() {
            return Cow::Borrowed(address);
        }
        self.map(own, address, Form::Internal).map_or(Cow::Borrowed(address), Cow::Owned)
    }

    /// The header with other addresses, if there are any to be had; its further lines begin with a tab.
    pub(crate) fn header(&self, own: &OwnAddresses, header: &Header<'_>) -> Option<Vec<u8>> {
        let has_addresses = header.known.is_some_and(|known| known.addresses != Addresses::None);
        if self.is_empty() || !has_addresses {
            return None;
        }
        let text = addressing::rewrite_header(
            header.text,
            header.name_length,
            self.token_limit,
            |address| match self.map(own, address, Form::External) {
                Some(other) => {
                    let is_other = other != address;
                    (other, is_other)
                }
                None => (address.to_vec(), false),
            },
        )?;
        Some(text.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\n\t"[..]))
    }

    fn map(&self, own: &OwnAddresses, address: &[u8], form: Form) -> Option<Vec<u8>> {
        let mapping = Mapping { maps: &self.maps, delimiter: &own.delimiter, propagates: self.propagates };
        let mut rewriting = self.rewriting.lock().unwrap_or_else(PoisonError::into_inner);
        let found =
            mapping.map(address, form, &own.domains, |address| rewriting.rewrite(Rule::Local, address));
        let (title, shown) = (self.maps.title(), maillog::shown(address));
        // As in Postfix: the queue manager tries again later, with another process.
        let found = found
            .unwrap_or_else(|_| maillog::fatal(format_args!("{title} map lookup problem for {shown}")))?;
        if found.len() > 1 {
            log::warn!("multi-valued {title} result for {shown}");
        }
        found.into_iter().next()
    }
}
