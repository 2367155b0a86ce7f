//! Looking up an address in all the forms that Postfix tries (spec tables 22).

use std::net::IpAddr;

use address::{AddressLiteral, external};

use crate::list::{ListError, StringList};
use crate::{Delimiter, KeyForm, LookupError, Maps};

/// The domains of this machine.
#[derive(Debug, Default)]
pub struct OwnDomains {
    /// `myorigin`
    pub myorigin: Vec<u8>,
    /// `mydestination`
    pub mydestination: StringList,
    /// `inet_interfaces` and `proxy_interfaces`
    pub addresses: Vec<IpAddr>,
}

impl OwnDomains {
    /// Whether `domain` is this machine's own (spec trivial-rewrite 11): it is listed in `mydestination`, or is an
    /// address literal of one of the machine's own addresses.
    ///
    /// # Errors
    ///
    /// `mydestination` could not tell.
    pub fn has(&self, domain: &[u8]) -> Result<bool, ListError> {
        let domain = domain.strip_suffix(b".").unwrap_or(domain);
        if domain.is_empty() || domain.ends_with(b".") {
            return Ok(false);
        }
        if self.mydestination.matches(domain)? {
            return Ok(true);
        }
        let Some(inside) = domain.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) else {
            return Ok(false);
        };
        match AddressLiteral::parse_inside(inside) {
            // An IPv4 address is known in its IPv6 clothes too (observed).
            Ok(literal) => Ok(self.addresses.contains(&literal.0.to_canonical())),
            // What only has the form of an address is no address of ours, and no mistake (observed).
            Err(_) if AddressLiteral::check(domain) => Ok(false),
            Err(error) => {
                log::warn!("{error}");
                Ok(false)
            }
        }
    }

    /// Whether `domain` is the origin or this machine's own, so that bare user names are looked up for it.
    ///
    /// # Errors
    ///
    /// The list of local domains could not tell; it has been logged.
    fn are_looked_up_bare(&self, domain: &[u8]) -> Result<bool, LookupError> {
        if domain.eq_ignore_ascii_case(&self.myorigin) {
            return Ok(true);
        }
        self.has(domain).map_err(|error| {
            log::warn!("{error}");
            LookupError::Retry
        })
    }
}

/// Address lookup over a list of tables.
#[derive(Debug)]
pub struct AddressMaps<'a> {
    maps: &'a Maps,
    delimiter: &'a Delimiter,
}

/// A result, and the extension that the key found did not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The table's value.
    pub value: Vec<u8>,
    /// The unmatched extension with its delimiter; empty if there is none.
    pub extension: Vec<u8>,
}

/// Which forms of a key are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// The external form only.
    External,
    /// The external form, then the internal one if it differs.
    ExternalThenInternal,
}

impl<'a> AddressMaps<'a> {
    /// A lookup over `maps`.
    #[must_use]
    pub fn new(maps: &'a Maps, delimiter: &'a Delimiter) -> AddressMaps<'a> {
        AddressMaps { maps, delimiter }
    }

    /// One key, given in internal form.
    pub fn find_key(&self, key: &[u8], form: KeyForm, query: Query) -> Result<Option<Vec<u8>>, LookupError> {
        self.find_quoted(&external(key), key, form, query)
    }

    /// As [`AddressMaps::find_key`], for a local part that stands alone: an `@` in it begins no domain.
    fn find_local_part(&self, local_part: &[u8], query: Query) -> Result<Option<Vec<u8>>, LookupError> {
        let mut quoted = external(&[local_part, b"@"].concat());
        quoted.pop();
        self.find_quoted(&quoted, local_part, KeyForm::Partial, query)
    }

    fn find_quoted(
        &self,
        quoted: &[u8],
        key: &[u8],
        form: KeyForm,
        query: Query,
    ) -> Result<Option<Vec<u8>>, LookupError> {
        if let Some(value) = self.maps.find(quoted, form)? {
            return Ok(Some(value));
        }
        if query == Query::ExternalThenInternal && quoted != key {
            return self.maps.find(key, form);
        }
        Ok(None)
    }

    /// The general order: `user+ext@domain`, `user@domain`, for local domains `user+ext` and `user`, then
    /// `@domain`.
    pub fn find(
        &self,
        address: &[u8],
        query: Query,
        own_domains: &OwnDomains,
    ) -> Result<Option<Found>, LookupError> {
        if address.is_empty() {
            return Ok(None);
        }
        let at = address.iter().rposition(|c| *c == b'@');
        let (local_part, domain) = address.split_at(at.unwrap_or(address.len()));
        if self.maps.is_empty() {
            // The list of local domains is asked all the same, and may fail (observed, 3.7.11).
            if let Some(name) = domain.strip_prefix(b"@") {
                own_domains.are_looked_up_bare(name)?;
            }
            return Ok(None);
        }
        if let Some(value) = self.find_key(address, KeyForm::Full, query)? {
            return Ok(Some(Found { value, extension: Vec::new() }));
        }
        let split = self.delimiter.split(local_part);
        let (user, extension) = split.unwrap_or((local_part, b""));
        let found = |value: Vec<u8>, extension: &[u8]| Some(Found { value, extension: extension.to_vec() });
        if split.is_some()
            && let Some(value) = self.find_key(&[user, domain].concat(), KeyForm::Partial, query)?
        {
            return Ok(found(value, extension));
        }
        let Some(name) = domain.strip_prefix(b"@") else { return Ok(None) };
        if own_domains.are_looked_up_bare(name)? {
            if let Some(value) = self.find_local_part(local_part, query)? {
                return Ok(found(value, b""));
            }
            if split.is_some()
                && let Some(value) = self.find_local_part(user, query)?
            {
                return Ok(found(value, extension));
            }
        }
        // The domain alone is not an address; it is asked as it is.
        Ok(self.maps.find(domain, KeyForm::Partial)?.and_then(|value| found(value, b"")))
    }
}
