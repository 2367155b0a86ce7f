//! The table of restrictions: every name that a list may hold, with its argument and its function.
//!
//! To add a restriction, add an entry here and a function in its family's file.

use dns::RecordType;

use crate::dnsbl::list::{About, Listing};
use crate::restriction::{Restriction, Subject, Takes};
use crate::server_checks::check_server_access;
use crate::subject::Of;
use crate::{
    address_checks, ccert_checks, client_checks, dnsbl, generic, helo_checks, logins, map_checks, mx_backup,
    policy, relay_checks, unknown_domain, unlisted, verify,
};

/// A check of a table by the servers of a domain.
const fn servers(name: &'static str, of: Of, server: RecordType) -> Restriction {
    Restriction::new(name, check_server_access).takes(Takes::ServerTable(of, server))
}

/// A check of a list in the DNS.
const fn dns_list(name: &'static str, about: About, listing: Listing) -> Restriction {
    let restriction = Restriction::new(name, dnsbl::check::check_list).takes(Takes::DnsList(about, listing));
    match listing {
        Listing::Block => restriction,
        Listing::Allow => restriction.about(Subject::Client),
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
    Restriction::new("check_policy_service", policy::check::check_policy_service).takes(Takes::Policy),
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
    servers("check_client_a_access", Of::Client, RecordType::A),
    servers("check_client_mx_access", Of::Client, RecordType::Mx),
    servers("check_client_ns_access", Of::Client, RecordType::Ns),
    servers("check_reverse_client_hostname_a_access", Of::ReverseClient, RecordType::A),
    servers("check_reverse_client_hostname_mx_access", Of::ReverseClient, RecordType::Mx),
    servers("check_reverse_client_hostname_ns_access", Of::ReverseClient, RecordType::Ns),
    servers("check_helo_a_access", Of::Helo, RecordType::A),
    servers("check_helo_mx_access", Of::Helo, RecordType::Mx),
    servers("check_helo_ns_access", Of::Helo, RecordType::Ns),
    servers("check_sender_a_access", Of::Sender, RecordType::A),
    servers("check_sender_mx_access", Of::Sender, RecordType::Mx),
    servers("check_sender_ns_access", Of::Sender, RecordType::Ns),
    servers("check_recipient_a_access", Of::Recipient, RecordType::A),
    servers("check_recipient_mx_access", Of::Recipient, RecordType::Mx),
    servers("check_recipient_ns_access", Of::Recipient, RecordType::Ns),
    dns_list("reject_rbl_client", About::Address, Listing::Block).old("reject_rbl"),
    Restriction::new("reject_maps_rbl", dnsbl::check::reject_maps_rbl),
    dns_list("reject_rhsbl_client", About::Name(Of::Client), Listing::Block),
    dns_list("reject_rhsbl_reverse_client", About::Name(Of::ReverseClient), Listing::Block),
    dns_list("reject_rhsbl_helo", About::Name(Of::Helo), Listing::Block),
    dns_list("reject_rhsbl_sender", About::Name(Of::Sender), Listing::Block),
    dns_list("reject_rhsbl_recipient", About::Name(Of::Recipient), Listing::Block),
    dns_list("permit_dnswl_client", About::Address, Listing::Allow),
    dns_list("permit_rhswl_client", About::Name(Of::Client), Listing::Allow),
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
