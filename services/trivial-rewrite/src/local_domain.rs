//! Is a domain this machine's own? (spec trivial-rewrite 11)

use lookup::list::ListError;
use lookup::{LocalDomains, LookupError, is_own_domain};

use crate::params::Params;

/// Whether mail for `domain` is local.
///
/// # Errors
///
/// `mydestination` could not tell.
pub fn is_local(params: &Params, domain: &[u8]) -> Result<bool, ListError> {
    is_own_domain(domain, &params.mydestination, &params.own_addresses)
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
