//! No parameter is accepted and ignored: each that Postfix's program reads is read by Postern's program of that name, or told of
//! when it is set. A name that no source has is read by nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Parameters of programs that Postern has which no source names, and why that is no loss.
const NOT_READ: [(&str, &str); 9] = [
    ("lmtp_sasl_path", "has no effect in Postfix either, with smtp_sasl_type = cyrus"),
    ("local_destination_concurrency_limit", "qmgr puts the transport's name before the rest"),
    ("mail_release_date", "tells of the programs, for $mail_release_date"),
    ("postscreen_cache_map", "a table in the default of proxy_write_maps"),
    ("postscreen_forbidden_commands", "a table in the default of proxy_read_maps"),
    ("smtp_sasl_path", "the same"),
    ("sun_mailtool_compatibility", "Postfix's local warns, and does nothing else"),
    ("tls_null_cipherlist", "the grade null is told of"),
    ("tlsproxy_service_name", "of postscreen and smtp"),
];
/// What programs put before the rest of a name.
const PREFIXES: [&str; 5] =
    ["smtpd_tls_", "smtp_tls_", "lmtp_tls_", "unverified_recipient_", "unverified_sender_"];
/// Parameters of later versions that a source names to say that they do nothing.
const TOLD: [&str; 11] = [
    "lmtp_tls_enable_rpk",
    "smtp_tls_enable_rpk",
    "smtp_tls_trace_size_limit",
    "smtp_tlsrpt_enable",
    "smtp_tlsrpt_skip_reused_handshakes",
    "smtp_tlsrpt_socket_name",
    "smtpd_tls_enable_rpk",
    "smtpd_tls_loglevel_maps",
    "smtpd_tls_trace_size_limit",
    "tls_trace_rate_limit",
    "tls_ffdhe_auto_groups",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A row of the table in the source.
struct Row {
    programs: Vec<String>,
    is_later: bool,
    is_obeyed: bool,
}

/// What stands between `before` and the next quotation mark.
fn quoted<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once('"').map(|(name, _)| name)
}

fn rows() -> BTreeMap<String, Row> {
    const KINDS: [&str; 8] = ["text", "raw", "int", "nint", "long", "boolean", "nbool", "time"];
    let mut rows = BTreeMap::new();
    for entry in fs::read_dir(repository().join("crates/config/src/table")).expect("it is there").flatten() {
        let text = fs::read_to_string(entry.path()).expect("Rust is text");
        for line in text.lines().map(str::trim) {
            let is_row = line.split_once("(\"").is_some_and(|(kind, _)| KINDS.contains(&kind));
            let Some(name) = quoted(line, "(\"").filter(|_| is_row) else { continue };
            let by = quoted(line, ".by(\"").unwrap_or_default();
            rows.insert(
                name.to_owned(),
                Row {
                    programs: by.split(',').map(str::to_owned).collect(),
                    is_later: line.contains(".later("),
                    is_obeyed: line.contains(".obeyed()"),
                },
            );
        }
    }
    rows
}

fn source(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("the source is there").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("config/src/table") {
            source(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let whole = fs::read_to_string(&path).expect("Rust is text");
            // What tests name, nobody reads.
            *text += whole.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(&whole);
        }
    }
}

fn ours() -> BTreeSet<String> {
    let list = fs::read_to_string(repository().join("programs")).expect("the list of programs");
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let words = lines.map(|line| line.split_whitespace().take(1).collect::<Vec<_>>());
    let names = words.filter_map(|words| words.first().map(|name| (*name).to_owned()));
    names.chain(["all".to_owned()]).collect()
}

#[test]
fn none_is_accepted_and_ignored() {
    let mut text = String::new();
    for folder in ["agents", "cleanup", "commands", "crates", "master", "qmgr", "services", "smtpd"] {
        source(&repository().join(folder), &mut text);
    }
    let words: BTreeSet<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect();
    // The client makes the one name of the other.
    let of_smtp = |name: &str| name.strip_prefix("lmtp_").map(|rest| format!("smtp_{rest}"));
    let is_read = |name: &str| {
        words.contains(name) || of_smtp(name).is_some_and(|of_smtp| words.contains(of_smtp.as_str()))
    };
    let is_told = |name: &str| {
        TOLD.contains(&name) || of_smtp(name).is_some_and(|of_smtp| TOLD.contains(&of_smtp.as_str()))
    };
    let is_named = |name: &str| {
        let rest = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
        is_read(name)
            || rest.is_some_and(|rest| {
                text.contains(&format!("\"{rest}\""))
                    || text.contains(&format!("unverified_{{side}}_{rest}\""))
            })
    };
    let ours = ours();
    let rows = rows();
    assert!(rows.len() > 900, "the table has another form: {} rows", rows.len());
    let mut wrong = Vec::new();
    for (name, row) in &rows {
        let is_excused = NOT_READ.iter().any(|(excused, _)| excused == name);
        let of_ours = row.programs.iter().any(|program| ours.contains(program));
        if of_ours && !is_excused && !is_named(name) {
            wrong.push(format!("{name} is read by nobody"));
        }
        // What postconf says of a name that the version in force does not know.
        if row.is_later && is_read(name) != row.is_obeyed && !is_told(name) {
            let marked = if row.is_obeyed { "obeyed" } else { "without effect" };
            wrong.push(format!("{name} is marked as {marked}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
