//! Names of hosts: what is a valid one, and what this host is called when main.cf is silent.

use std::os::unix::ffi::OsStringExt;

use crate::error::{Error, printable};
use crate::settings::Settings;

const MAX_LENGTH: usize = 255;
const MAX_LABEL: usize = 63;
const SHOWN: usize = 100;

/// Why a name is no host name, in the words of Postfix's warning.
pub fn fault(name: &[u8]) -> Option<String> {
    let shown = printable(&name[..name.len().min(SHOWN)]);
    if name.is_empty() {
        return Some("empty hostname".to_owned());
    }
    let mut label = 0;
    for (at, byte) in name.iter().enumerate() {
        let next = name.get(at + 1);
        match byte {
            b'.' if label == 0 || next.is_none() => return Some(format!("misplaced delimiter: {shown}")),
            b'.' => label = 0,
            b'-' if label == 0 || next.is_none_or(|next| *next == b'.') => {
                return Some(format!("misplaced hyphen: {shown}"));
            }
            b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                label += 1;
                if label > MAX_LABEL {
                    return Some(format!("hostname label too long: {shown}"));
                }
            }
            other => return Some(format!("invalid character {other}(decimal): {shown}")),
        }
    }
    if name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.')) {
        return Some(format!("numeric hostname: {shown}"));
    }
    if name.len() > MAX_LENGTH {
        return Some(format!("bad length {} for {shown}...", name.len()));
    }
    None
}

/// The default of `myhostname`: the system's name, made complete with a domain. No name service is
/// asked.
pub(crate) fn default_myhostname(settings: &Settings) -> Result<Vec<u8>, Error> {
    let name = nix::unistd::gethostname().map_err(|e| Error::io("gethostname".to_owned(), e.into()))?;
    let name = name.into_vec();
    if let Some(fault) = fault(&name) {
        log::warn!("valid_hostname: {fault}");
        return Err(Error::new("unable to use my own hostname"));
    }
    if name.contains(&b'.') {
        return Ok(name);
    }
    let domain = match settings.dictionary.get(b"mydomain") {
        Some(entry) => settings.expand(&entry.value, Some(&entry.origin))?,
        None => b"localdomain".to_vec(),
    };
    Ok([&name[..], b".", &domain].concat())
}

/// The default of `mydomain`: what comes after the first dot of `myhostname`.
pub(crate) fn default_mydomain(myhostname: &[u8]) -> Vec<u8> {
    match myhostname.iter().position(|byte| *byte == b'.') {
        Some(dot) => myhostname[dot + 1..].to_vec(),
        None => b"localdomain".to_vec(),
    }
}

/// A parameter that must be a host name.
pub(crate) fn checked(settings: &Settings, name: &str, main_cf: &str) -> Result<String, Error> {
    let value = settings.bytes(name)?;
    let text = printable(&value);
    match fault(&value) {
        None => Ok(text),
        Some(fault) => {
            log::warn!("valid_hostname: {fault}");
            let text = format!("file {main_cf}: parameter {name}: bad parameter value: {text}");
            Err(Error::at(text, settings.origin(name)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        let label = "a".repeat(64);
        let long = format!("{0}.{0}.{0}.{0}.{0}", "a".repeat(60));
        let cases = [
            ("mx.example.com", None),
            ("a_b-c.d", None),
            ("1.2.3.a", None),
            ("", Some("empty hostname".to_owned())),
            (".a", Some("misplaced delimiter: .a".to_owned())),
            ("a.", Some("misplaced delimiter: a.".to_owned())),
            ("a..b", Some("misplaced delimiter: a..b".to_owned())),
            ("-a", Some("misplaced hyphen: -a".to_owned())),
            ("a-.b", Some("misplaced hyphen: a-.b".to_owned())),
            ("a b", Some("invalid character 32(decimal): a b".to_owned())),
            ("1.2", Some("numeric hostname: 1.2".to_owned())),
            (&label, Some(format!("hostname label too long: {label}"))),
            (&long, Some(format!("bad length 304 for {}...", &long[..100]))),
        ];
        for (name, expected) in cases {
            assert_eq!(fault(name.as_bytes()), expected, "{name:?}");
        }
    }
}
