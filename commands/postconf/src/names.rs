//! Names that are not as others: given up, set by programs, or of another version.

use config::table;

/// Names that Postfix gave up. They still act, through the defaults of their successors.
pub(crate) const LEGACY: &[&str] = &[
    "authorized_verp_clients",
    "fallback_relay",
    "lmtp_per_record_deadline",
    "postscreen_blacklist_action",
    "postscreen_dnsbl_ttl",
    "postscreen_dnsbl_whitelist_threshold",
    "postscreen_whitelist_interfaces",
    "smtp_per_record_deadline",
    "smtpd_client_connection_limit_exceptions",
    "smtpd_per_record_deadline",
    "tlsproxy_client_level",
    "tlsproxy_client_policy",
    "virtual_maps",
];

/// Names that programs set themselves, whatever main.cf says.
pub(crate) const READ_ONLY: &[&str] = &["postern_version", "process_id", "process_name", "service_name"];

/// What a name that nobody uses may be about.
pub(crate) fn about(name: &str) -> String {
    if let Some(row) = table::find(name) {
        let since = if row.since().is_empty() { "a version after 3.7" } else { row.since() };
        let effect = if row.has_effect() { "" } else { ", without effect here" };
        return format!("; known to Postfix since {since}{effect}");
    }
    config::nearest(name).map(|nearest| format!("; did you mean \"{nearest}\"?")).unwrap_or_default()
}

pub(crate) fn is_listed(list: &[&str], name: &[u8]) -> bool {
    list.iter().any(|listed| listed.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program obeys is not said to be without effect.
    #[test]
    fn names_of_later_versions() {
        for (name, expected) in [
            ("smtpd_hide_client_session", "; known to Postfix since 3.10"),
            ("smtpd_reject_filter_maps", "; known to Postfix since 3.11"),
            ("smtpd_client_ipv4_prefix_length", "; known to Postfix since 3.8"),
            ("force_mime_input_conversion", "; known to Postfix since 3.9"),
            ("non_empty_end_of_header_action", "; known to Postfix since 3.11"),
            ("maillog_file_permissions", "; known to Postfix since 3.9"),
            ("relocated_prefix_enable", "; known to Postfix since 3.11"),
            ("non_bdb_migration_level", "; known to Postfix since 3.11"),
            ("requiretls_enable", "; known to Postfix since 3.11"),
            ("full_name_encoding_charset", "; known to Postfix since 3.10"),
            ("use_srv_lookup", "; known to Postfix since 3.8"),
            ("socketmap_max_reply_size", "; known to Postfix since 3.10"),
            ("smtpd_tls_enable_rpk", "; known to Postfix since 3.9, without effect here"),
        ] {
            assert_eq!(about(name), expected, "{name}");
        }
    }
}
