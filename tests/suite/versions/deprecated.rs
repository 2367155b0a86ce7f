//! Parameters that will go: what postconf says of those that are set, by version.

use std::collections::BTreeSet;

use conformance::{Suite, require};

use super::plans;

/// A parameter, and what is to be used instead of it; of those that 3.7 has all, of which 3.9 and later warn; of the names of
/// old ones some, of which 3.11 warns.
const SINCE_9: &[(&str, &str)] = &[
    ("disable_dns_lookups", "specify \"smtp_dns_support_level\""),
    ("lmtp_enforce_tls", "lmtp_tls_security_level"),
    ("smtp_tls_per_site", "specify \"smtp_tls_policy_maps\""),
    ("smtpd_tls_eecdh_grade", "do not specify (leave at default)"),
    ("smtpd_use_tls", "specify \"smtpd_tls_security_level\""),
    ("tlsproxy_client_use_tls", "specify \"tlsproxy_client_security_level\""),
];
const SINCE_11: &[(&str, &str)] = &[
    ("fallback_relay", "specify \"smtp_fallback_relay\""),
    ("smtp_cname_overrides_servername", "do not specify"),
    ("smtp_tls_enforce_peername", "specify \"smtp_tls_security_level\""),
    ("virtual_maps", "specify \"virtual_alias_maps\""),
];
const DETAILS: &str = "See https://www.postfix.org/DEPRECATION_README.html for details";

fn value(name: &str) -> &'static str {
    if name.ends_with("_site") || name.starts_with("fallback") || name.ends_with("_maps") {
        ""
    } else if name.ends_with("_grade") {
        "auto"
    } else {
        "no"
    }
}

#[test]
fn postconf_warns_of_parameters_that_will_go() {
    require!(Suite::under_test().command("postconf").is_some(), "needs postconf");
    for (minor, mut plan) in plans("deprecated") {
        for (name, _) in SINCE_9.iter().chain(SINCE_11) {
            plan.set(name, value(name));
        }
        let instance = plan.prepare();
        let told = |arguments: &[&str]| {
            let outcome = instance.run("postconf", arguments);
            assert_eq!(outcome.status, Some(0), "3.{minor} {arguments:?}: {}", outcome.err());
            let text = outcome.err();
            let lines = text.lines().filter(|line| line.contains("support for") || line.contains("README"));
            let lines: Vec<_> = lines
                .map(|line| {
                    let said = line.split_once("warning: ").map_or(line, |(_, said)| said);
                    // What Postern adds: the place.
                    said.split_once(" (/").map_or(said, |(said, _)| said).to_owned()
                })
                .collect();
            lines
        };
        let file = instance.home().join("etc/main.cf");
        let expected: BTreeSet<_> = [(9, SINCE_9), (11, SINCE_11)]
            .iter()
            .filter(|(since, _)| *since <= minor)
            .flat_map(|(_, list)| list.iter())
            .map(|(name, advice)| {
                format!(
                    "{}: support for parameter \"{name}\" will be removed; instead, {advice}",
                    file.display()
                )
            })
            .collect();
        let mut lines = told(&["-n"]);
        if minor >= 11 {
            assert_eq!(lines.pop().as_deref(), Some(DETAILS), "3.{minor}");
        }
        assert_eq!(lines.iter().cloned().collect::<BTreeSet<_>>(), expected, "3.{minor}");
        assert_eq!(lines.len(), expected.len(), "3.{minor}");
        assert_eq!(told(&["mail_name"]).len(), if minor >= 11 { expected.len() + 1 } else { expected.len() });
        if minor >= 9 {
            assert!(told(&["-qn"]).is_empty(), "3.{minor}");
        }
        assert!(told(&["-d"]).is_empty(), "3.{minor}");
    }
}
