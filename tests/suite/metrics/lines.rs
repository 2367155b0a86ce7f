//! What the lines of a log come to, counted as the figures count.

use std::collections::BTreeMap;

use conformance::{LogLine, Suite};
use regex_lite::Regex;

use super::exposition::Exposition;

/// A family, and the values of its labels behind `service`, in the order of the table.
type Key = (&'static str, Vec<String>);

/// A family, its labels, which programs' lines it counts, and the pattern of such a line: groups are the labels.
type Rule = (&'static str, &'static [&'static str], &'static [&'static str], &'static str);

const RULES: &[Rule] = &[
    ("postern_smtpd_sessions", &[], &["smtpd"], "^connect from "),
    ("postern_smtpd_sessions_ended", &[], &["smtpd"], "^disconnect from "),
    (
        "postern_smtpd_sessions_broken",
        &["cause", "stage"],
        &["smtpd"],
        r"^(?:[0-9A-Za-z]+: )?(lost connection|timeout|too many errors) after (\S+) ",
    ),
    (
        "postern_smtpd_actions",
        &["action", "stage", "code"],
        &["smtpd"],
        r"^[0-9A-Za-z]+: (reject|reject_warning|warn|hold|permit|info): (\S+) from \S+: (?:([45]\d\d) )?",
    ),
    (
        "postern_smtpd_proxy_verdicts",
        &["verdict", "code"],
        &["smtpd"],
        r"^proxy-(accept|reject): END-OF-MESSAGE: (\d{3})",
    ),
    ("postern_smtpd_transactions", &[], &["smtpd"], "^[0-9A-Za-z]+: client="),
    (
        "postern_smtpd_client_limits_exceeded",
        &[],
        &["smtpd"],
        r"^warning: [A-Za-z ]+ limit exceeded: \d+ from ",
    ),
    (
        "postern_smtpd_milter_actions",
        &["action", "stage"],
        &["smtpd"],
        r"^[0-9A-Za-z]+: milter-([a-z]+): (\S+) from ",
    ),
    // With smtpd_proxy_log_details.
    (
        "postern_smtpd_proxy_failures",
        &["filter", "phase", "cause"],
        &["smtpd"],
        "^proxy-failure: filter=(.*?), phase=([a-z-]+), cause=([a-z]+), elapsed=",
    ),
    // With smtpd_tls_loglevel.
    (
        "postern_smtpd_tls_handshakes",
        &["protocol"],
        &["smtpd"],
        r"^(?:[A-Za-z]+ TLS connection established from \S+: (\S+) with cipher|SSL_accept error from )",
    ),
    ("postern_pickup_messages", &[], &["pickup"], "^[0-9A-Za-z]+: uid="),
    (
        "postern_qmgr_expired",
        &["status"],
        &["qmgr"],
        "^[0-9A-Za-z]+: from=.*, status=(expired|force-expired), returned to sender$",
    ),
    ("postern_cleanup_messages", &[], &["cleanup"], "^[0-9A-Za-z]+: message-id="),
    (
        "postern_cleanup_actions",
        &["action", "where"],
        &["cleanup"],
        "^[0-9A-Za-z]+: (reject|warning|hold|info|discard): (header|body) ",
    ),
    ("postern_qmgr_active", &[], &["qmgr"], r"\(queue active\)$"),
    ("postern_qmgr_removed", &[], &["qmgr"], "^[0-9A-Za-z]+: removed$"),
    ("postern_bounce_notices", &[], &["bounce"], "^[0-9A-Za-z]+: .* notification: "),
    (
        "postern_deliveries",
        &["program", "class", "status"],
        &["discard", "error", "qmgr", "cleanup", "smtp", "local", "virtual"],
        r"^[0-9A-Za-z]+: to=.*, dsn=([245])\.\d+\.\d+, status=(\S+) \(",
    ),
    (
        "postern_delivery_failures",
        &["phase", "cause"],
        &["smtp"],
        "^[0-9A-Za-z]+: delivery-failure: .*, phase=([a-z-]+), cause=([a-z]+), elapsed=",
    ),
    ("postern_processes_failed", &[], &["master"], "^warning: process .* killed by signal "),
];

/// Of these programs' lines all are counted.
const PROGRAMS: [&str; 14] = [
    "smtpd",
    "cleanup",
    "qmgr",
    "discard",
    "error",
    "bounce",
    "anvil",
    "metrics",
    "trivial-rewrite",
    "master",
    "scache",
    "proxymap",
    "flush",
    "tlsmgr",
];

/// What the lines of the suite's own programs come to.
pub(super) fn counted(log: &[LogLine], suite: &Suite) -> BTreeMap<Key, u64> {
    let mut counts = BTreeMap::new();
    let mut add = |family, values| *counts.entry((family, values)).or_insert(0) += 1;
    let own: Vec<&LogLine> = log.iter().filter(|line| suite.is_ours(line.program())).collect();
    for (family, labels, programs, pattern) in RULES {
        let pattern = Regex::new(pattern).expect("a literal");
        for line in own.iter().filter(|line| programs.contains(&line.program())) {
            let Some(groups) = pattern.captures(&line.text) else { continue };
            let mut values: Vec<String> = Vec::new();
            if labels.first() == Some(&"program") {
                values.push(line.program().to_owned());
            }
            values.extend(
                (1..groups.len()).map(|group| groups.get(group).map_or("", |text| text.as_str()).to_owned()),
            );
            add(*family, values);
        }
    }
    for line in own.iter().filter(|line| PROGRAMS.contains(&line.program())) {
        let grave = ["warning", "error", "fatal", "panic"];
        let severity =
            grave.iter().find(|word| line.text.starts_with(&format!("{word}: "))).unwrap_or(&"info");
        add("postern_log_lines", vec![line.program().to_owned(), (*severity).to_owned()]);
    }
    counts
}

/// Where the figures are others: what the log says, and what they say.
pub(super) fn differences(expected: &BTreeMap<Key, u64>, shown: &Exposition) -> BTreeMap<Key, (u64, u64)> {
    let mut found: BTreeMap<Key, u64> = BTreeMap::new();
    let rules = RULES.iter().map(|(family, labels, ..)| (*family, *labels));
    for (family, labels) in rules.chain([("postern_log_lines", &["program", "severity"][..])]) {
        for (with, value) in shown.all(family) {
            let value_of = |label: &&str| with.get(*label).cloned().unwrap_or_default();
            let values: Vec<String> = labels.iter().map(value_of).collect();
            if family == "postern_log_lines" && !PROGRAMS.contains(&values[0].as_str()) {
                continue;
            }
            *found.entry((family, values)).or_insert(0) += value;
        }
    }
    let mut all: BTreeMap<Key, (u64, u64)> = BTreeMap::new();
    for (key, count) in expected {
        all.entry(key.clone()).or_default().0 = *count;
    }
    for (key, count) in found {
        all.entry(key).or_default().1 = count;
    }
    all.retain(|_, (log, figures)| log != figures);
    let deliveries: u64 = expected
        .iter()
        .filter(|((family, _), _)| *family == "postern_deliveries")
        .map(|(_, count)| count)
        .sum();
    for step in ["a", "b", "c", "d", "total"] {
        let count: u64 = shown
            .all("postern_delivery_delay_seconds")
            .filter(|(labels, _)| labels["step"] == step)
            .map(|(_, count)| count)
            .sum();
        if count != deliveries {
            all.insert(("postern_delivery_delay_seconds", vec![step.to_owned()]), (deliveries, count));
        }
    }
    all
}
