//! The table of restrictions: every name that a list may hold, with its argument and its function.
//!
//! To add a restriction, add an entry here and a function in its family's file.

use dns::RecordType;

use crate::access::compile::Argument;
use crate::access::dnsbl::{self, About, Listing};
use crate::access::server_checks::check_server_access;
use crate::access::subject::Of;
use crate::access::{Facts, Scope, Verdict};
use crate::access::{
    address_checks, ccert_checks, client_checks, generic, helo_checks, logins, map_checks, mx_backup, policy,
    relay_checks, unknown_domain, unlisted, verify,
};

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
    pub old_name: Option<&'static str>,
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
    const fn new(name: &'static str, check: Check) -> Self {
        Self { name, old_name: None, takes: Takes::Nothing, is_last: false, subject: Subject::List, check }
    }

    const fn old(mut self, name: &'static str) -> Self {
        self.old_name = Some(name);
        self
    }

    const fn last(mut self) -> Self {
        self.is_last = true;
        self
    }

    const fn takes(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }

    /// A check of a table by the servers of a domain.
    const fn servers(name: &'static str, of: Of, server: RecordType) -> Self {
        Self::new(name, check_server_access).takes(Takes::ServerTable(of, server))
    }

    /// A check of a list in the DNS.
    const fn dns_list(name: &'static str, about: About, listing: Listing) -> Self {
        let restriction = Self::new(name, dnsbl::check_list).takes(Takes::DnsList(about, listing));
        match listing {
            Listing::Block => restriction,
            Listing::Allow => restriction.about(Subject::Client),
        }
    }

    const fn about(mut self, subject: Subject) -> Self {
        self.subject = subject;
        self
    }
}

/// Every restriction there is.
pub static RESTRICTIONS: &[Restriction] = &[
    Restriction::new("permit", generic::permit).last(),
    Restriction::new("reject", generic::reject).last(),
    Restriction::new("defer", generic::defer).last(),
    Restriction::new("defer_if_permit", generic::defer_if_permit),
    Restriction::new("defer_if_reject", generic::defer_if_reject),
    Restriction::new("reject_unauth_pipelining", generic::reject_unauth_pipelining),
    Restriction::new("reject_plaintext_session", generic::reject_plaintext_session),
    Restriction::new("reject_multi_recipient_bounce", generic::reject_multi_recipient_bounce),
    Restriction::new("sleep", generic::sleep).takes(Takes::Seconds),
    Restriction::new("check_policy_service", policy::check_policy_service).takes(Takes::Policy),
    Restriction::new("permit_inet_interfaces", client_checks::permit_inet_interfaces).about(Subject::Client),
    Restriction::new("permit_mynetworks", client_checks::permit_mynetworks).about(Subject::Client),
    Restriction::new("permit_sasl_authenticated", logins::permit_sasl_authenticated).about(Subject::Client),
    Restriction::new("permit_tls_clientcerts", ccert_checks::permit_tls_clientcerts).about(Subject::Client),
    Restriction::new("permit_tls_all_clientcerts", ccert_checks::permit_tls_all_clientcerts)
        .about(Subject::Client),
    Restriction::new("reject_unknown_client_hostname", client_checks::reject_unknown_client_hostname)
        .old("reject_unknown_client"),
    Restriction::new(
        "reject_unknown_reverse_client_hostname",
        client_checks::reject_unknown_reverse_client_hostname,
    ),
    Restriction::new("reject_invalid_helo_hostname", helo_checks::reject_invalid_helo_hostname)
        .old("reject_invalid_hostname"),
    Restriction::new("reject_non_fqdn_helo_hostname", helo_checks::reject_non_fqdn_helo_hostname)
        .old("reject_non_fqdn_hostname"),
    Restriction::new("permit_naked_ip_address", helo_checks::permit_naked_ip_address),
    Restriction::new("reject_non_fqdn_sender", address_checks::reject_non_fqdn_sender),
    Restriction::new("reject_non_fqdn_recipient", address_checks::reject_non_fqdn_recipient),
    Restriction::new("permit_auth_destination", relay_checks::permit_auth_destination)
        .about(Subject::Recipient),
    Restriction::new("reject_unauth_destination", relay_checks::reject_unauth_destination),
    Restriction::new("defer_unauth_destination", relay_checks::defer_unauth_destination),
    Restriction::new("reject_unlisted_sender", unlisted::reject_unlisted_sender),
    Restriction::new("reject_unlisted_recipient", unlisted::reject_unlisted_recipient)
        .old("check_recipient_maps"),
    Restriction::new("check_client_access", map_checks::check_client_access).takes(Takes::Table),
    Restriction::new(
        "check_reverse_client_hostname_access",
        map_checks::check_reverse_client_hostname_access,
    )
    .takes(Takes::Table),
    Restriction::new("check_helo_access", map_checks::check_helo_access).takes(Takes::Table),
    Restriction::new("check_sender_access", map_checks::check_sender_access).takes(Takes::Table),
    Restriction::new("check_recipient_access", map_checks::check_recipient_access).takes(Takes::Table),
    Restriction::new("check_etrn_access", map_checks::check_etrn_access).takes(Takes::Table),
    Restriction::servers("check_client_a_access", Of::Client, RecordType::A),
    Restriction::servers("check_client_mx_access", Of::Client, RecordType::Mx),
    Restriction::servers("check_client_ns_access", Of::Client, RecordType::Ns),
    Restriction::servers("check_reverse_client_hostname_a_access", Of::ReverseClient, RecordType::A),
    Restriction::servers("check_reverse_client_hostname_mx_access", Of::ReverseClient, RecordType::Mx),
    Restriction::servers("check_reverse_client_hostname_ns_access", Of::ReverseClient, RecordType::Ns),
    Restriction::servers("check_helo_a_access", Of::Helo, RecordType::A),
    Restriction::servers("check_helo_mx_access", Of::Helo, RecordType::Mx),
    Restriction::servers("check_helo_ns_access", Of::Helo, RecordType::Ns),
    Restriction::servers("check_sender_a_access", Of::Sender, RecordType::A),
    Restriction::servers("check_sender_mx_access", Of::Sender, RecordType::Mx),
    Restriction::servers("check_sender_ns_access", Of::Sender, RecordType::Ns),
    Restriction::servers("check_recipient_a_access", Of::Recipient, RecordType::A),
    Restriction::servers("check_recipient_mx_access", Of::Recipient, RecordType::Mx),
    Restriction::servers("check_recipient_ns_access", Of::Recipient, RecordType::Ns),
    Restriction::dns_list("reject_rbl_client", About::Address, Listing::Block).old("reject_rbl"),
    Restriction::new("reject_maps_rbl", dnsbl::reject_maps_rbl),
    Restriction::dns_list("reject_rhsbl_client", About::Name(Of::Client), Listing::Block),
    Restriction::dns_list("reject_rhsbl_reverse_client", About::Name(Of::ReverseClient), Listing::Block),
    Restriction::dns_list("reject_rhsbl_helo", About::Name(Of::Helo), Listing::Block),
    Restriction::dns_list("reject_rhsbl_sender", About::Name(Of::Sender), Listing::Block),
    Restriction::dns_list("reject_rhsbl_recipient", About::Name(Of::Recipient), Listing::Block),
    Restriction::dns_list("permit_dnswl_client", About::Address, Listing::Allow),
    Restriction::dns_list("permit_rhswl_client", About::Name(Of::Client), Listing::Allow),
    Restriction::new("permit_mx_backup", mx_backup::permit_mx_backup).about(Subject::Recipient),
    Restriction::new("reject_unknown_helo_hostname", unknown_domain::reject_unknown_helo_hostname)
        .old("reject_unknown_hostname"),
    Restriction::new("reject_unknown_sender_domain", unknown_domain::reject_unknown_sender_domain)
        .old("reject_unknown_address"),
    Restriction::new("reject_unknown_recipient_domain", unknown_domain::reject_unknown_recipient_domain),
    Restriction::new("reject_unverified_sender", verify::reject_unverified_sender),
    Restriction::new("reject_unverified_recipient", verify::reject_unverified_recipient),
    Restriction::new("check_relay_domains", relay_checks::check_relay_domains)
        .last()
        .about(Subject::Recipient),
    Restriction::new("check_sasl_access", logins::check_sasl_access).takes(Takes::Table),
    Restriction::new("check_ccert_access", ccert_checks::check_ccert_access).takes(Takes::Fingerprints),
    Restriction::new("reject_sender_login_mismatch", logins::reject_sender_login_mismatch),
    Restriction::new(
        "reject_authenticated_sender_login_mismatch",
        logins::reject_authenticated_sender_login_mismatch,
    ),
    Restriction::new(
        "reject_unauthenticated_sender_login_mismatch",
        logins::reject_unauthenticated_sender_login_mismatch,
    ),
    Restriction::new("reject_known_sender_login_mismatch", logins::reject_known_sender_login_mismatch),
];

/// The restrictions of which a server needs one in its relay or recipient list (spec access 4).
pub static RELAY_PROTECTION: &[&str] = &[
    "reject_unauth_destination",
    "defer_unauth_destination",
    "reject",
    "defer",
    "defer_if_permit",
    "check_relay_domains",
];

/// The restriction of this name, whatever the case.
pub fn find(word: &str) -> Option<&'static Restriction> {
    RESTRICTIONS.iter().find(|restriction| {
        restriction.name.eq_ignore_ascii_case(word)
            || restriction.old_name.is_some_and(|old| old.eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn names_in_any_case() {
        assert!(find("REJECT_unknown_CLIENT").is_some());
    }
}
