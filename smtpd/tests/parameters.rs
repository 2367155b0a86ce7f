//! No parameter of the server is accepted and ignored: each has a place in the code that reads it, or is named here with
//! the reason why it needs none.

#![allow(missing_docs, reason = "a test's name says what it shows")]

use std::fs;
use std::path::Path;

/// Parameters that no code names, and why.
const NEEDS_NONE: &[(&str, &str)] = &[
    ("alias_maps", "part of the default of local_recipient_maps"),
    ("reject_tempfail_action", "the default of others"),
    ("openssl_path", "of postfix tls, a script"),
];

/// TLS as another library does it: these tune the library that Postfix uses, or are of later versions.
const OF_TLS: &[&str] = &["smtpd_tls_", "tls_", "tlsproxy_", "requiretls_"];

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of ours").flatten() {
        let path = entry.path();
        if path.is_dir() {
            // The table names them all.
            if path.file_name().is_some_and(|name| name != "table") {
                sources(&path, text);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("text"));
        }
    }
}

/// Some names are put together: `unverified_{class}_reject_code`.
fn is_named(name: &str, text: &str) -> bool {
    let quoted = |name: &str| text.contains(&format!("\"{name}\""));
    quoted(name)
        || text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == name)
        || name
            .strip_prefix("unverified_")
            .and_then(|rest| rest.split_once('_'))
            .is_some_and(|(_, rest)| text.contains(&format!("_{rest}\"")))
}

#[test]
fn every_parameter_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut text = String::new();
    for folder in ["smtpd/src", "crates"] {
        sources(&root.join(folder), &mut text);
    }
    let has_prefix = |name: &str, list: &[&str]| list.iter().any(|prefix| name.starts_with(prefix));
    let ignored: Vec<&str> = config::table::all()
        .filter(|row| row.programs().any(|program| program == "smtpd"))
        .map(|row| row.name())
        .filter(|name| !NEEDS_NONE.iter().any(|(known, _)| known == name))
        .filter(|name| !has_prefix(name, OF_TLS))
        .filter(|name| !is_named(name, &text))
        .collect();
    assert!(ignored.is_empty(), "parameters of smtpd that nothing reads: {ignored:?}");
}
