//! One restriction: what it is called, what it takes, what it does.

use dns::RecordType;

use crate::argument::Argument;
use crate::dnsbl::list::{About, Listing};
use crate::facts::Facts;
use crate::subject::Of;
use crate::verdict::{Scope, Verdict};

/// What follows a restriction's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// `type:name`.
    Table,
    /// A table of fingerprints, perhaps with the order in which it is asked.
    Fingerprints,
    /// A policy service.
    Policy,
    /// `type:name`, a table that is asked about servers of this kind.
    ServerTable(Of, RecordType),
    /// `domain` or `domain=pattern`, a list in the DNS.
    DnsList(About, Listing),
    /// A number of seconds.
    Seconds,
}

/// What a permit of this restriction is about, for `smtpd_log_access_permit_actions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The subject of the list.
    List,
    /// The client.
    Client,
    /// The recipient.
    Recipient,
}

/// The function of a restriction.
pub type Check = fn(&Facts<'_>, &Argument, &Scope<'_>) -> Verdict;

/// One restriction.
#[derive(Debug)]
pub struct Restriction {
    /// Name, lower case.
    pub name: &'static str,
    /// Old name.
    pub(crate) old_name: Option<&'static str>,
    /// Argument.
    pub takes: Takes,
    /// Whether what follows it in a list can never run.
    pub is_last: bool,
    /// What its permit is about.
    pub subject: Subject,
    /// Function.
    pub check: Check,
}

impl Restriction {
    pub(super) const fn new(name: &'static str, check: Check) -> Self {
        Self { name, old_name: None, takes: Takes::Nothing, is_last: false, subject: Subject::List, check }
    }

    pub(super) const fn old(mut self, name: &'static str) -> Self {
        self.old_name = Some(name);
        self
    }

    pub(super) const fn last(mut self) -> Self {
        self.is_last = true;
        self
    }

    pub(super) const fn takes(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }

    pub(super) const fn about(mut self, subject: Subject) -> Self {
        self.subject = subject;
        self
    }
}
