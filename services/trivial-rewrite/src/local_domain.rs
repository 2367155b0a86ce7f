//! Is a domain this machine's own? (spec trivial-rewrite 11)

use address::AddressLiteral;
use lookup::list::ListError;
use lookup::{LocalDomains, LookupError};

use crate::params::Params;

/// Whether mail for `domain` is local: it is listed in `mydestination`, or is an address literal of one of
/// our own addresses.
///
/// # Errors
///
/// `mydestination` could not tell.
pub fn is_local(params: &Params, domain: &[u8]) -> Result<bool, ListError> {
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    if domain.is_empty() || domain.ends_with(b".") {
        return Ok(false);
    }
    if params.mydestination.matches(domain)? {
        return Ok(true);
    }
    let Some(inside) = domain.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) else {
        return Ok(false);
    };
    match AddressLiteral::parse_inside(inside) {
        // An IPv4 address is known in its IPv6 clothes too (observed).
        Ok(literal) => Ok(params.own_addresses.contains(&literal.0.to_canonical())),
        // What only has the form of an address is no address of ours, and no mistake (observed).
        Err(_) if AddressLiteral::check(domain) => Ok(false),
        Err(error) => {
            log::warn!("{error}");
            Ok(false)
        }
    }
}

impl LocalDomains for Params {
    fn is_local(&self, domain: &[u8]) -> Result<bool, LookupError> {
        if domain.eq_ignore_ascii_case(&self.myorigin) {
            return Ok(true);
        }
        is_local(self, domain).map_err(|error| {
            log::warn!("{error}");
            LookupError::Retry
        })
    }
}
