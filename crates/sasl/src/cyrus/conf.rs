//! `smtpd.conf`, the file of Cyrus SASL's library: where it lies, how it is read, what of it can be done.
//!
//! A line is `name: value`; the name is letters, digits, `-` and `_`, in any case, or nothing at all, and ends at the colon, so
//! that a space before that is an error; there has to be a value. Of two lines with one name the first counts. `#` starts a comment
//! at the start of a line only (observed, libsasl2 2.1.28). What the library would do and this one cannot is refused;
//! what neither knows is passed over, as there, with a warning.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is read of a line at once.
const PIECE: usize = 4095;

/// A file that is longer is none.
const SIZE_LIMIT: u64 = 1 << 20;

/// Where Debian's `saslauthd` listens.
const SASLAUTHD: &str = "/var/run/saslauthd/mux";

/// Where the library has its passwords.
const SASLDB: &str = "/etc/sasldb2";

/// The least number of iterations of SCRAM, and the usual one.
const ITERATIONS: u32 = 4096;

/// What a plain password is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verifier {
    /// The secret in `sasldb`.
    Auxprop,
    /// What `saslauthd` says.
    Saslauthd,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    /// `pwcheck_method`
    pub(crate) verifiers: Vec<Verifier>,
    /// `mech_list`, as written; nothing means all that there are.
    pub(crate) mechanisms: Option<Vec<String>>,
    /// `saslauthd_path`
    pub(crate) saslauthd: PathBuf,
    /// `sasldb_path`
    pub(crate) sasldb: PathBuf,
    /// `scram_iteration_counter`
    pub(crate) iterations: u32,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// Not in the form of such a file; the library says this and no more.
    #[error("error when parsing configuration file")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where in it; 0 when it cannot be read.
        line: usize,
    },
    /// It asks for what is not there.
    #[error("{}, line {line}: {name}: {value}: not supported: {why}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Where in it.
        line: usize,
        /// As written.
        name: String,
        /// As written, or the word of it that is meant.
        value: String,
        /// What there is.
        why: &'static str,
    },
}

/// What the library knows beyond what is read here, and what would have to be there for it.
const OF_OTHERS: [(&str, &str); 12] = [
    ("authdaemond_path", "Courier's authdaemond is not asked"),
    ("canon_user_plugin", "user names are taken as the library's own code takes them"),
    ("keytab", "there is no Kerberos"),
    ("ldapdb_", "no LDAP directory is asked; saslauthd can ask one"),
    ("ntlm_", "there is no NTLM"),
    ("opiekeys", "there are no one-time passwords"),
    ("otp_mda", "there are no one-time passwords"),
    ("plugin_list", "there are no plug-ins"),
    ("reauth_timeout", "a DIGEST-MD5 login is made once"),
    ("sql_", "no SQL server is asked; saslauthd can ask one"),
    ("srp_mda", "there is no SRP"),
    ("srvtab", "there is no Kerberos"),
];

/// Mechanisms that the library has, or a plug-in of it, and this server does not.
const OTHER_MECHANISMS: [&str; 9] =
    ["GSSAPI", "GSS-SPNEGO", "GS2-", "KERBEROS_V4", "NTLM", "OTP", "SRP", "PASSDSS", "ANONYMOUS"];

/// What the library ignores.
const HARMLESS: [&str; 2] = ["log_level", "sasldb_mapsize"];

impl Default for Conf {
    fn default() -> Self {
        Self {
            verifiers: vec![Verifier::Auxprop],
            mechanisms: None,
            saslauthd: SASLAUTHD.into(),
            sasldb: SASLDB.into(),
            iterations: ITERATIONS,
        }
    }
}

impl Conf {
    /// Reads `NAME.conf` from the first of the folders that has it. Without one everything is as the library has it.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn find(name: &str, folders: &[PathBuf]) -> Result<Self, ConfError> {
        for folder in folders {
            let path = folder.join(format!("{name}.conf"));
            match fs::metadata(&path) {
                Ok(metadata) if metadata.len() > SIZE_LIMIT => {
                    return Err(ConfError::Parse { path, line: 0 });
                }
                _ => {}
            }
            match fs::read(&path) {
                Ok(bytes) => return Self::parse(&bytes, &path),
                // The library passes over what it cannot open.
                Err(error) => {
                    if error.kind() != ErrorKind::NotFound && error.kind() != ErrorKind::NotADirectory {
                        log::warn!("open {}: {}", path.display(), sys::error_text(&error));
                    }
                }
            }
        }
        Ok(Self::default())
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, ConfError> {
        let mut conf = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (index, text) in lines(bytes).enumerate() {
            let broken = || ConfError::Parse { path: path.to_path_buf(), line: index + 1 };
            let text = trimmed(text);
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let end = text.iter().position(|byte| !is_of_name(byte)).unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            let value = rest.strip_prefix(b":").ok_or_else(broken).map(trimmed)?;
            if value.is_empty() {
                return Err(broken());
            }
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            if seen.contains(&name) {
                continue;
            }
            conf.set(&name, value, path, index + 1)?;
            seen.push(name);
        }
        Ok(conf)
    }

    fn set(&mut self, name: &str, bytes: &[u8], path: &Path, line: usize) -> Result<(), ConfError> {
        let value = &*String::from_utf8_lossy(bytes);
        let refused = |value: &str, why| ConfError::Unsupported {
            path: path.to_path_buf(),
            line,
            name: name.to_owned(),
            value: value.to_owned(),
            why,
        };
        match name {
            "pwcheck_method" => {
                let verifier = |word: &str| match word.to_ascii_lowercase().as_str() {
                    "auxprop" => Ok(Verifier::Auxprop),
                    "saslauthd" => Ok(Verifier::Saslauthd),
                    _ => Err(refused(word, "there are auxprop and saslauthd")),
                };
                self.verifiers = value.split_ascii_whitespace().map(verifier).collect::<Result<_, _>>()?;
            }
            "auxprop_plugin" => {
                if let Some(word) =
                    value.split_ascii_whitespace().find(|word| !word.eq_ignore_ascii_case("sasldb"))
                {
                    return Err(refused(word, "there is sasldb"));
                }
            }
            "mech_list" => {
                // A comma is part of a word, which is unknown then.
                let words: Vec<_> = value.split_ascii_whitespace().map(str::to_ascii_uppercase).collect();
                let other = |word: &&String| {
                    OTHER_MECHANISMS
                        .iter()
                        .any(|name| if name.ends_with('-') { word.starts_with(name) } else { word == name })
                };
                if let Some(word) = words.iter().find(other) {
                    return Err(refused(word, "there is no such mechanism in this server"));
                }
                self.mechanisms = Some(words);
            }
            "saslauthd_path" => self.saslauthd = OsStr::from_bytes(bytes).into(),
            "sasldb_path" => self.sasldb = OsStr::from_bytes(bytes).into(),
            "scram_iteration_counter" => {
                self.iterations = value.parse().unwrap_or(0).clamp(ITERATIONS, 1 << 20);
            }
            "auto_transition" => {
                if !["no", "off", "0", "false"].iter().any(|no| value.eq_ignore_ascii_case(no)) {
                    return Err(refused(value, "secrets are not written"));
                }
            }
            name if HARMLESS.contains(&name) => {}
            name => {
                let other = OF_OTHERS.iter().find(|(known, _)| {
                    if known.ends_with('_') { name.starts_with(known) } else { name == *known }
                });
                if let Some((_, why)) = other {
                    return Err(refused(value, why));
                }
                log::warn!("{}, line {line}: {name}: not known, and ignored", path.display());
            }
        }
        Ok(())
    }
}

/// The lines as the library reads them: longer ones come in pieces, and each ends at its first NUL.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pieces = bytes.split_inclusive(|&byte| byte == b'\n').flat_map(|line| line.chunks(PIECE));
    pieces.map(|piece| piece.split(|&byte| byte == 0).next().unwrap_or_default())
}

/// Without white space at both ends, as the C library knows it: with the vertical tab.
fn trimmed(mut text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    while let [first, rest @ ..] = text
        && is_space(first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_space(last)
    {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Conf, ConfError, Verifier};

    fn parse(text: &str) -> Result<Conf, ConfError> {
        Conf::parse(text.as_bytes(), Path::new("/etc/postfix/sasl/smtpd.conf"))
    }

    #[test]
    fn files() {
        let conf = parse(
            "# c\n\n  PWCHECK_METHOD: auxprop  saslauthd\r\n auxprop_plugin:sasldb\nmech_list: plain LOGIN, cram-md5\n\
             mech_list: none\nsaslauthd_path: /run/x/mux\nsasldb_path: /x/db\nlog_level: 7\nfoo: bar\n",
        )
        .expect("a good file");
        assert_eq!(conf.verifiers, [Verifier::Auxprop, Verifier::Saslauthd]);
        assert_eq!(conf.mechanisms.expect("a list"), ["PLAIN", "LOGIN,", "CRAM-MD5"]);
        assert_eq!(
            (conf.saslauthd.as_path(), conf.sasldb.as_path()),
            (Path::new("/run/x/mux"), Path::new("/x/db"))
        );
        assert_eq!(parse("").expect("nothing"), Conf::default());
        // A line in two pieces, of which the second is a line too, or none.
        let long = format!("foo: {}bar: y", "x".repeat(4090));
        assert!(parse(&long[..long.len() - 3]).is_err());
        for text in [": x\n", "a: b\0c d", "\x0b#", "\x0ba: b\x0b", "foo: \u{e9}", &long] {
            assert_eq!(parse(text).expect(text), Conf::default());
        }
    }

    #[test]
    fn files_that_are_refused() {
        for (text, expected) in [
            ("mech_list PLAIN", "error when parsing configuration file"),
            ("mech_list : PLAIN", "error when parsing configuration file"),
            ("mech_list:", "error when parsing configuration file"),
            ("foo!: bar", "error when parsing configuration file"),
            (
                "mech_list: plain gssapi",
                "/etc/postfix/sasl/smtpd.conf, line 1: mech_list: GSSAPI: not supported: there is no such mechanism in \
                 this server",
            ),
            (
                "\npwcheck_method: saslauthd authdaemond",
                "/etc/postfix/sasl/smtpd.conf, line 2: pwcheck_method: authdaemond: not supported: there are auxprop and \
                 saslauthd",
            ),
            (
                "auxprop_plugin: sql",
                "/etc/postfix/sasl/smtpd.conf, line 1: auxprop_plugin: sql: not supported: there is sasldb",
            ),
            (
                "ldapdb_uri: ldap://localhost",
                "/etc/postfix/sasl/smtpd.conf, line 1: ldapdb_uri: ldap://localhost: not supported: no LDAP directory is \
                 asked; saslauthd can ask one",
            ),
        ] {
            assert_eq!(parse(text).expect_err(text).to_string(), expected, "{text}");
        }
    }
}
