//! TLS to a directory: `ldaps:` and `start_tls`, with the parameters `tls_*`, as OpenLDAP's library goes about it
//! (spec tables 16).
//!
//! Without `tls_require_cert` any certificate will do. With it an authority of `tls_ca_cert_file` or `tls_ca_cert_dir` has
//! to vouch for it (the system's do not count), and it has to be the server's: by a name of a host, by an address, or by
//! the name of its subject, which counts beside the others. `localhost` is this host's own name.

use config::printable;
use tls::CipherLists;
use tls::client::Outcome;

use super::super::Parameters;
use super::super::servers::Wire;
use super::super::servers::secure::{self, ALL_CIPHERS, ALL_PROTOCOLS, Files, Subject, is_of};
use crate::OpenError;

/// The parameters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Security {
    pub(super) start_tls: bool,
    require_cert: bool,
    files: Files,
    /// Of a list of GnuTLS's: the protocols. Of one of OpenSSL's: all of it.
    protocols: String,
    ciphers: String,
}

/// What a list of ciphers starts with that leaves the choice to the library: GnuTLS's, which Debian's OpenLDAP has.
const USUAL: [&str; 6] = ["NORMAL", "PERFORMANCE", "PFS", "SECURE", "SECURE128", "SYSTEM"];

/// What is needed for a handshake.
#[derive(Debug)]
pub(super) struct Context {
    context: secure::Context,
    require_cert: bool,
}

impl Security {
    pub(super) fn open(parameters: &Parameters, shown: &str) -> Result<Security, OpenError> {
        let text = |name: &str| parameters.text(name, "", 0).map(|text| printable(&text));
        let start_tls = parameters.flag("start_tls")?.unwrap_or(false);
        let require_cert = parameters.flag("tls_require_cert")?.unwrap_or(false);
        let files = Files {
            ca_file: text("tls_ca_cert_file")?,
            ca_path: text("tls_ca_cert_dir")?,
            cert: text("tls_cert")?,
            key: text("tls_key")?,
        };
        if !text("tls_random_file")?.is_empty() {
            log::warn!("dict_ldap_open: {shown} ignoring tls_random_file");
        }
        let suite = text("tls_cipher_suite")?;
        let (protocols, ciphers) = selection(&suite)
            .ok_or_else(|| parameters.error("not supported", "tls_cipher_suite", suite.as_bytes()))?;
        Ok(Security { start_tls, require_cert, files, protocols, ciphers })
    }

    /// Reads the files, anew for each connection. Nothing when they are of no use.
    pub(super) fn context(&self) -> Option<Context> {
        let context = secure::Context::lenient(&self.files, &self.protocols, &self.ciphers).ok()?;
        Some(Context { context, require_cert: self.require_cert })
    }

    pub(super) fn has_certificate(&self) -> bool {
        !self.files.cert.is_empty()
    }
}

/// The protocols and the ciphers of a list; nothing when it asks for more than we can do.
fn selection(suite: &str) -> Option<(String, String)> {
    let everything = ALL_CIPHERS.to_owned();
    let mut words = suite.split([':', ',', ' ']).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return Some((ALL_PROTOCOLS.to_owned(), everything)) };
    if !USUAL.contains(&first.trim_start_matches('@')) {
        let lists = CipherLists { high: suite.to_owned(), ..CipherLists::default() };
        return lists.selects_only_known("high").then(|| (ALL_PROTOCOLS.to_owned(), suite.to_owned()));
    }
    let (mut tls12, mut tls13) = (true, true);
    for word in words {
        let (wanted, version) = match (word.strip_prefix("+VERS-"), word.strip_prefix(['-', '!'])) {
            (Some(version), _) => (true, version),
            (None, Some(other)) => (false, other.strip_prefix("VERS-")?),
            // Options, of which none makes anything less safe.
            _ if word.starts_with('%') => continue,
            _ => return None,
        };
        match version {
            "TLS1.2" => tls12 = wanted,
            "TLS1.3" => tls13 = wanted,
            "ALL" | "TLS-ALL" => (tls12, tls13) = (wanted, wanted),
            "SSL3.0" | "TLS1.0" | "TLS1.1" | "DTLS-ALL" | "DTLS1.0" | "DTLS1.2" => {}
            _ => return None,
        }
    }
    let protocols = match (tls12, tls13) {
        (true, true) => ALL_PROTOCOLS,
        (true, false) => "TLSv1.2",
        (false, true) => "TLSv1.3",
        (false, false) => return None,
    };
    Some((protocols.to_owned(), everything))
}

impl Context {
    /// Puts TLS around a connection with this server. False when it could not be done, or the server is not the one that
    /// was meant.
    pub(super) fn protect(&self, wire: &mut Wire, host: &str) -> bool {
        // The library has none there (observed, 3.7.11 with OpenLDAP 2.5).
        if wire.is_local() {
            return false;
        }
        self.context.protect(wire, host).is_ok_and(|outcome| self.accepts(&outcome, host))
    }

    fn accepts(&self, outcome: &Outcome, host: &str) -> bool {
        if !self.require_cert {
            return true;
        }
        let Some(certificate) = outcome.certificate.as_ref().filter(|_| outcome.distrust.is_none()) else {
            return false;
        };
        if !host.eq_ignore_ascii_case("localhost") {
            return is_of(certificate, host, Subject::Counts);
        }
        sys::host::name().is_ok_and(|name| is_of(certificate, &name, Subject::Counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_ciphers() {
        for (suite, protocols) in [
            ("", Some(ALL_PROTOCOLS)),
            ("NORMAL", Some(ALL_PROTOCOLS)),
            ("SECURE128:-VERS-TLS-ALL:+VERS-TLS1.2", Some("TLSv1.2")),
            ("NORMAL:-VERS-TLS1.0:-VERS-TLS1.1:!VERS-TLS1.2:%SERVER_PRECEDENCE", Some("TLSv1.3")),
            ("NORMAL:-VERS-ALL", None),
            ("NORMAL:-CIPHER-ALL", None),
            ("SECURE256", None),
            ("NONE", None),
            ("HIGH:!aNULL", Some(ALL_PROTOCOLS)),
            ("ECDHE-RSA-AES128-GCM-SHA256", Some(ALL_PROTOCOLS)),
            ("RC4", None),
            ("garbage", None),
        ] {
            assert_eq!(selection(suite).map(|both| both.0).as_deref(), protocols, "{suite}");
        }
    }
}
