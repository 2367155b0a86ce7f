//! Parameters that later versions warn of, because they will go or are gone (spec main-cf 16).

/// A name, the version 3.N that warns of it from, and what to do instead; as 3.10.3 and 3.11.7 say it. 3.9 is taken to say
/// what 3.10 says.
#[rustfmt::skip]
const DEPRECATED: &[(&str, u32, &str)] = &[
    ("authorized_verp_clients", 11, "specify \"smtpd_authorized_verp_clients\""),
    ("disable_dns_lookups", 9, "specify \"smtp_dns_support_level\""),
    ("fallback_relay", 11, "specify \"smtp_fallback_relay\""),
    ("lmtp_cname_overrides_servername", 11, "do not specify"),
    ("lmtp_enforce_tls", 9, "lmtp_tls_security_level"),
    ("lmtp_per_record_deadline", 11, "specify \"lmtp_per_request_deadline\""),
    ("lmtp_tls_enforce_peername", 11, "specify \"lmtp_tls_security_level\""),
    ("lmtp_tls_per_site", 9, "specify \"lmtp_tls_policy_maps\""),
    ("lmtp_use_tls", 9, "specify \"lmtp_tls_security_level\""),
    ("postscreen_blacklist_action", 11, "specify \"postscreen_denylist_action\""),
    ("postscreen_dnsbl_ttl", 11, "specify \"postscreen_dnsbl_max_ttl\""),
    ("postscreen_dnsbl_whitelist_threshold", 11, "specify \"postscreen_dnsbl_allowlist_threshold\""),
    ("postscreen_enforce_tls", 9, "specify \"postscreen_tls_security_level\""),
    ("postscreen_use_tls", 9, "specify \"postscreen_tls_security_level\""),
    ("postscreen_whitelist_interfaces", 11, "specify \"postscreen_allowlist_interfaces\""),
    ("smtp_cname_overrides_servername", 11, "do not specify"),
    ("smtp_enforce_tls", 9, "specify \"smtp_tls_security_level\""),
    ("smtp_per_record_deadline", 11, "specify \"smtp_per_request_deadline\""),
    ("smtp_tls_enforce_peername", 11, "specify \"smtp_tls_security_level\""),
    ("smtp_tls_per_site", 9, "specify \"smtp_tls_policy_maps\""),
    ("smtp_use_tls", 9, "specify \"smtp_tls_security_level\""),
    ("smtpd_client_connection_limit_exceptions", 11, "specify \"smtpd_client_event_limit_exceptions\""),
    ("smtpd_enforce_tls", 9, "specify \"smtpd_tls_security_level\""),
    ("smtpd_per_record_deadline", 11, "specify \"smtpd_per_request_deadline\""),
    ("smtpd_tls_dh1024_param_file", 9, "do not specify (leave at default)"),
    ("smtpd_tls_eecdh_grade", 9, "do not specify (leave at default)"),
    ("smtpd_use_tls", 9, "specify \"smtpd_tls_security_level\""),
    ("tlsproxy_client_enforce_tls", 9, "specify \"tlsproxy_client_security_level\""),
    ("tlsproxy_client_level", 11, "specify \"tlsproxy_client_security_level\""),
    ("tlsproxy_client_per_site", 9, "specify \"tlsproxy_client_policy_maps\""),
    ("tlsproxy_client_policy", 11, "specify \"tlsproxy_client_policy_maps\""),
    ("tlsproxy_client_use_tls", 9, "specify \"tlsproxy_client_security_level\""),
    ("tlsproxy_enforce_tls", 9, "specify \"tlsproxy_tls_security_level\""),
    ("tlsproxy_use_tls", 9, "specify \"tlsproxy_tls_security_level\""),
    ("virtual_maps", 11, "specify \"virtual_alias_maps\""),
];

/// Names that a version 3.N does not have any more.
const REMOVED: &[(&str, u32, &str)] = &[("tlsproxy_client_loglevel_parameter", 12, "do not specify")];

/// The version 3.N that tells where to read more.
const DETAILS_SINCE: u32 = 11;

/// What is said of a name that is set, beside Postfix 3.`minor`.
pub(crate) fn warning(name: &[u8], minor: u32) -> Option<String> {
    let find = |list: &'static [(&'static str, u32, &'static str)]| {
        list.iter().find(|(listed, since, _)| listed.as_bytes() == name && *since <= minor)
    };
    if let Some((name, _, advice)) = find(REMOVED) {
        return Some(format!("support for parameter {name} has been removed; instead, {advice}"));
    }
    let (name, _, advice) = find(DEPRECATED)?;
    Some(format!("support for parameter \"{name}\" will be removed; instead, {advice}"))
}

/// What is said after all of these.
pub(crate) fn details(minor: u32) -> Option<&'static str> {
    (minor >= DETAILS_SINCE).then_some("See https://www.postfix.org/DEPRECATION_README.html for details")
}

#[cfg(test)]
mod tests {
    use super::{DEPRECATED, warning};

    #[test]
    fn by_version() {
        assert!(DEPRECATED.is_sorted_by_key(|(name, ..)| *name));
        for (name, minor, warns) in [
            ("smtpd_use_tls", 7, false),
            ("smtpd_use_tls", 10, true),
            ("virtual_maps", 10, false),
            ("virtual_maps", 11, true),
            ("tlsproxy_client_loglevel_parameter", 11, false),
            ("tlsproxy_client_loglevel_parameter", 12, true),
            ("smtpd_tls_security_level", 12, false),
        ] {
            assert_eq!(warning(name.as_bytes(), minor).is_some(), warns, "{name} in 3.{minor}");
        }
    }
}
