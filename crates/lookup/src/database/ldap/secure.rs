//! TLS to a directory: `ldaps:` and `start_tls`, with the parameters `tls_*`, as OpenLDAP's library goes about it
//! (spec tables 16).
//!
//! Without `tls_require_cert` any certificate will do. With it an authority of `tls_ca_cert_file` or `tls_ca_cert_dir` has
//! to vouch for it (the system's do not count), and it has to be the server's: by a name of a host, by an address, or by
//! the name of its subject, which counts beside the others. `localhost` is this host's own name.

use std::fs;
use std::net::IpAddr;

use config::printable;
use tls::client::{Client, Demand, Offer, Outcome, Peer, ServerCertificate, Settings};
use tls::{CipherLists, KeyPair, Wording};

use super::super::Parameters;
use super::super::servers::Wire;
use crate::OpenError;

/// The parameters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Security {
    pub(super) start_tls: bool,
    require_cert: bool,
    ca_cert_file: String,
    ca_cert_dir: String,
    cert: String,
    key: String,
    /// Of a list of GnuTLS's: the protocols. Of one of OpenSSL's: all of it.
    protocols: String,
    ciphers: String,
}

/// What a list of ciphers starts with that leaves the choice to the library: GnuTLS's, which Debian's OpenLDAP has.
const USUAL: [&str; 6] = ["NORMAL", "PERFORMANCE", "PFS", "SECURE", "SECURE128", "SYSTEM"];

const ALL: &str = ">=TLSv1.2";

/// What is needed for a handshake.
#[derive(Debug)]
pub(super) struct Context {
    client: Client,
    offer: Offer,
    require_cert: bool,
}

impl Security {
    pub(super) fn open(parameters: &Parameters, shown: &str) -> Result<Security, OpenError> {
        let text = |name: &str| parameters.text(name, "", 0).map(|text| printable(&text));
        let start_tls = parameters.flag("start_tls")?.unwrap_or(false);
        let require_cert = parameters.flag("tls_require_cert")?.unwrap_or(false);
        let (ca_cert_file, ca_cert_dir) = (text("tls_ca_cert_file")?, text("tls_ca_cert_dir")?);
        let (cert, key) = (text("tls_cert")?, text("tls_key")?);
        if !text("tls_random_file")?.is_empty() {
            log::warn!("dict_ldap_open: {shown} ignoring tls_random_file");
        }
        let suite = text("tls_cipher_suite")?;
        let (protocols, ciphers) = selection(&suite)
            .ok_or_else(|| parameters.error("not supported", "tls_cipher_suite", suite.as_bytes()))?;
        Ok(Security { start_tls, require_cert, ca_cert_file, ca_cert_dir, cert, key, protocols, ciphers })
    }

    /// Reads the files, anew for each connection. Nothing when they are of no use.
    pub(super) fn context(&self) -> Option<Context> {
        // A file without certificates is good, and vouches for nobody.
        let mut ca_file = self.ca_cert_file.as_str();
        if !ca_file.is_empty() {
            let text = fs::read(ca_file).ok()?;
            let has_any = text.windows(12).any(|window| window == b"CERTIFICATE-");
            ca_file = if has_any { ca_file } else { "" };
        }
        let pairs = match (self.cert.is_empty(), self.key.is_empty()) {
            (true, true) => Vec::new(),
            (false, false) => {
                vec![KeyPair { what: "client", certificates: self.cert.clone(), key: self.key.clone() }]
            }
            _ => return None,
        };
        let settings = Settings {
            chain_files: String::new(),
            pairs,
            ca_file: ca_file.to_owned(),
            ca_path: self.ca_cert_dir.clone(),
            append_default_ca: false,
            verify_depth: 100,
            digest: "sha256".to_owned(),
            lists: CipherLists { high: self.ciphers.clone(), ..CipherLists::default() },
            curves: "DEFAULT".to_owned(),
            wording: Wording::OfCurves,
        };
        let client = Client::new(&settings).ok()?;
        let offer = client.offer(&self.protocols, "high", &[]).ok()?;
        Some(Context { client, offer, require_cert: self.require_cert })
    }

    pub(super) fn has_certificate(&self) -> bool {
        !self.cert.is_empty()
    }
}

/// The protocols and the ciphers of a list; nothing when it asks for more than we can do.
fn selection(suite: &str) -> Option<(String, String)> {
    let everything = "HIGH".to_owned();
    let mut words = suite.split([':', ',', ' ']).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return Some((ALL.to_owned(), everything)) };
    if !USUAL.contains(&first.trim_start_matches('@')) {
        let lists = CipherLists { high: suite.to_owned(), ..CipherLists::default() };
        return lists.selects_only_known("high").then(|| (ALL.to_owned(), suite.to_owned()));
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
        (true, true) => ALL,
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
        let is_address = host.parse::<IpAddr>().is_ok();
        let peer = Peer {
            offer: &self.offer,
            server_name: Some(host).filter(|_| !is_address),
            demand: Demand::Nothing,
            session: None,
        };
        wire.protect(&self.client, peer).ok().flatten().is_some_and(|outcome| self.accepts(&outcome, host))
    }

    fn accepts(&self, outcome: &Outcome, host: &str) -> bool {
        if !self.require_cert {
            return true;
        }
        let Some(certificate) = outcome.certificate.as_ref().filter(|_| outcome.distrust.is_none()) else {
            return false;
        };
        if !host.eq_ignore_ascii_case("localhost") {
            return is_of(certificate, host);
        }
        sys::host::name().is_ok_and(|name| is_of(certificate, &name))
    }
}

/// Whether the certificate is this host's.
fn is_of(certificate: &ServerCertificate, host: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    let domain = host.find('.').map(|dot| &host[dot..]);
    let fits = |name: &str| {
        let in_domain = name.strip_prefix('*').is_some_and(|end| {
            end.starts_with('.') && domain.is_some_and(|domain| domain.eq_ignore_ascii_case(end))
        });
        name.eq_ignore_ascii_case(host) || (address.is_none() && in_domain)
    };
    let by_address = address.is_some_and(|address| certificate.addresses.contains(&address));
    let by_name = address.is_none() && certificate.dns_names.iter().any(|name| fits(name));
    by_address || by_name || std::str::from_utf8(&certificate.subject).is_ok_and(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_ciphers() {
        for (suite, protocols) in [
            ("", Some(ALL)),
            ("NORMAL", Some(ALL)),
            ("SECURE128:-VERS-TLS-ALL:+VERS-TLS1.2", Some("TLSv1.2")),
            ("NORMAL:-VERS-TLS1.0:-VERS-TLS1.1:!VERS-TLS1.2:%SERVER_PRECEDENCE", Some("TLSv1.3")),
            ("NORMAL:-VERS-ALL", None),
            ("NORMAL:-CIPHER-ALL", None),
            ("SECURE256", None),
            ("NONE", None),
            ("HIGH:!aNULL", Some(ALL)),
            ("ECDHE-RSA-AES128-GCM-SHA256", Some(ALL)),
            ("RC4", None),
            ("garbage", None),
        ] {
            assert_eq!(selection(suite).map(|both| both.0).as_deref(), protocols, "{suite}");
        }
    }

    #[test]
    fn names_of_hosts() {
        let certificate = |subject: &str, names: &[&str], address: Option<&str>| ServerCertificate {
            subject: subject.as_bytes().to_vec(),
            dns_names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: address.iter().filter_map(|address| address.parse().ok()).collect(),
            ..ServerCertificate::default()
        };
        for (shown, host, expected) in [
            (certificate("x", &["ldap.example.com"], None), "LDAP.example.com", true),
            (certificate("x", &["*.example.com"], None), "ldap.example.com", true),
            (certificate("x", &["*.example.com"], None), "a.ldap.example.com", false),
            (certificate("x", &["*.example.com"], None), "example.com", false),
            (certificate("ldap.example.com", &["other.example"], None), "ldap.example.com", true),
            (certificate("*.example.com", &[], None), "ldap.example.com", true),
            (certificate("x", &[], Some("192.0.2.1")), "192.0.2.1", true),
            (certificate("x", &["192.0.2.1"], None), "192.0.2.1", false),
            (certificate("192.0.2.1", &[], Some("192.0.2.2")), "192.0.2.1", true),
            (certificate("*.0.2.1", &[], None), "192.0.2.1", false),
            (certificate("", &[], None), "ldap.example.com", false),
        ] {
            assert_eq!(is_of(&shown, host), expected, "{shown:?} {host}");
        }
    }
}
