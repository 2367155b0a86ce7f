//! What parameters are when nobody sets them, as the postconf of each version prints it.

use std::path::PathBuf;

use conformance::{Instance, Suite, peers_root, require, run};

use super::plans;
use crate::dialogue::{greeted, talk};

/// Debian's postconf of a version.
fn postconf_of(minor: u32) -> PathBuf {
    let root = if minor == 7 {
        peers_root()
    } else {
        peers_root().with_file_name(format!("3.{minor}")).join("root")
    };
    root.join("usr/sbin/postconf")
}

/// All lines but those that tell of the machine, of the process, or of what Postern adds.
fn comparable(text: &str) -> Vec<String> {
    let is_own = |name: &str| {
        [
            "postern_",
            "milter_log_details",
            "anvil_shared_counters",
            "backoff_jitter",
            "metrics_",
            "maillog_copies",
            "maillog_events",
            "smtpd_duplicate_time",
        ]
        .iter()
        .any(|own| name.starts_with(own))
            || name.ends_with("_sessions_per_process")
            || name.ends_with("_deliveries_per_process")
            || name.ends_with("mtp_log_details")
            || (name.starts_with("smtpd_proxy_")
                && !matches!(
                    name,
                    "smtpd_proxy_ehlo" | "smtpd_proxy_filter" | "smtpd_proxy_options" | "smtpd_proxy_timeout"
                ))
    };
    let is_left_out = |line: &str| {
        let name = line.split(' ').next().unwrap_or_default();
        matches!(name, "mail_version" | "milter_macro_v" | "process_id") || is_own(name)
    };
    text.lines().filter(|line| !is_left_out(line)).map(str::to_owned).collect()
}

fn differences(instance: &Instance, minor: u32, option: &str) -> Vec<String> {
    let folder = instance.home().join("etc");
    let arguments = ["-c", folder.to_str().expect("the suite's folders have plain names"), option];
    let theirs = run(&postconf_of(minor), &arguments, &[], b"");
    assert_eq!(theirs.status, Some(0), "3.{minor}: {}", theirs.err());
    let ours = instance.run("postconf", &[option]);
    assert_eq!(ours.status, Some(0), "3.{minor}: {}", ours.err());
    let (theirs, ours) = (comparable(&theirs.out()), comparable(&ours.out()));
    assert!(theirs.len() > 800, "3.{minor}: {} lines", theirs.len());
    let missing = theirs.iter().filter(|line| !ours.contains(line)).map(|line| format!("- {line}"));
    let more = ours.iter().filter(|line| !theirs.contains(line)).map(|line| format!("+ {line}"));
    let mut differences: Vec<_> = missing.chain(more).collect();
    if differences.is_empty() && theirs != ours {
        differences.push("the order".into());
    }
    differences
}

#[test]
fn postconf_prints_what_that_of_the_version_prints() {
    require!(Suite::under_test().command("postconf").is_some(), "needs postconf");
    for (minor, plan) in plans("defaults") {
        if !postconf_of(minor).exists() {
            continue;
        }
        let instance = plan.prepare();
        for option in ["-d", "-dx"] {
            let differences = differences(&instance, minor, option);
            assert!(differences.is_empty(), "3.{minor} {option}:\n{}", differences.join("\n"));
        }
    }
}

/// What a version does not have counts for nothing there, right or wrong: nobody reads it.
#[test]
fn parameters_of_other_versions_are_nothing() {
    for (minor, mut plan) in plans("versions-absent") {
        let wrong = [
            ("tls_legacy_public_key_fingerprints", minor >= 11),
            ("requiretls_enable", minor < 11),
            ("smtpd_hide_client_session", minor < 10),
            ("tls_trust_server_ccerts", minor < 12),
        ];
        for (name, _) in wrong.iter().filter(|(_, is_absent)| *is_absent) {
            plan.set(name, "neither yes nor no");
        }
        plan.set("smtpd_reject_filter_maps", "static:{550 5.1.1 filtered}");
        plan.set("smtpd_tls_security_level", "may");
        if minor < 12 {
            plan.set("socketmap_max_query_size", "0");
        }
        let instance = plan.start();
        let filtered = "550 5.1.1 filtered";
        let unknown = if minor >= 11 { filtered } else { "500 5.5.2 Error: command not recognized" };
        talk(&mut greeted(&instance), &[("FOO", unknown), ("QUIT", "221")]);
    }
}
