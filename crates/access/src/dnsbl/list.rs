//! What restrictions make of lists.

use dnsbl::DnsList;

use crate::subject::Of;

/// What is wrong with the pattern of a list, as it is logged.
pub fn fault(list: &DnsList) -> Option<String> {
    list.fault().map(|fault| format!("RBL reply error: {fault}"))
}

/// What being listed leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// `reject_rbl_client` and the like.
    Block,
    /// `permit_dnswl_client`, `permit_rhswl_client`.
    Allow,
}

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The client's address.
    Address,
    /// A name.
    Name(Of),
}
