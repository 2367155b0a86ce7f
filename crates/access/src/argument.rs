//! The arguments of restrictions.

use std::sync::Arc;

use dns::RecordType;
use dnsbl::DnsList;

use crate::dnsbl::list::{About, Listing};
use crate::fingerprint::Fingerprint;
use crate::lists::AccessTable;
use crate::policy::settings::PolicyService;
use crate::subject::Of;

/// The argument of a restriction.
#[derive(Debug, Clone)]
pub enum Argument {
    /// None.
    Nothing,
    /// A table.
    Table(Arc<AccessTable>),
    /// A table of fingerprints, and which it is asked for.
    Fingerprints {
        /// The table.
        table: Arc<AccessTable>,
        /// In this order.
        order: Vec<Fingerprint>,
    },
    /// A policy service.
    Policy(Arc<PolicyService>),
    /// Seconds.
    Seconds(u64),
    /// A table that is asked about the servers of a domain.
    ServerTable {
        /// The table.
        table: Arc<AccessTable>,
        /// Whose domain.
        of: Of,
        /// A, MX or NS.
        server: RecordType,
        /// The restriction, for the log.
        restriction: &'static str,
    },
    /// A list in the DNS.
    DnsList {
        /// Which.
        list: Arc<DnsList>,
        /// What it is asked about.
        about: About,
        /// What being listed leads to.
        listing: Listing,
    },
}
