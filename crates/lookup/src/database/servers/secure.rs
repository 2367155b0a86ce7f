//! TLS to a server of any kind: the files that it needs, and whose the server's certificate is.

use std::fs;
use std::io;
use std::net::IpAddr;

use tls::client::{Client, Demand, NoClient, Offer, Order, Outcome, Peer, ServerCertificate, Settings};
use tls::{BadFile, CipherLists, HandshakeError, KeyPair, Wording};

use super::Wire;

/// Every version that we have.
pub(in crate::database) const ALL_PROTOCOLS: &str = ">=TLSv1.2";
/// Every cipher, likewise.
pub(in crate::database) const ALL_CIPHERS: &str = "HIGH";

/// Files of certificates, none of which is needed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::database) struct Files {
    pub(in crate::database) ca_file: String,
    pub(in crate::database) ca_path: String,
    pub(in crate::database) cert: String,
    pub(in crate::database) key: String,
}

/// Why there can be no handshake.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "mysql", feature = "pgsql")),
    expect(dead_code, reason = "not all engines tell")
)]
pub(in crate::database) enum NoContext {
    /// The file of authorities is of no use.
    Authorities(BadFile),
    /// Another file cannot be read.
    File(io::Error),
    /// Certificate and key are of no use; why is in the log.
    Identity,
    /// Nothing is left of the ciphers.
    Ciphers,
}

impl Files {
    /// Certificate and key, where there are both.
    fn pairs(&self) -> Result<Vec<KeyPair>, NoContext> {
        let pairs = match (self.cert.is_empty(), self.key.is_empty()) {
            (true, true) => Vec::new(),
            (false, false) => {
                vec![KeyPair { what: "client", certificates: self.cert.clone(), key: self.key.clone() }]
            }
            _ => return Err(NoContext::Identity),
        };
        for file in pairs.iter().flat_map(|pair| [&pair.certificates, &pair.key]) {
            fs::metadata(file).map_err(NoContext::File)?;
        }
        Ok(pairs)
    }
}

impl From<NoClient> for NoContext {
    fn from(why: NoClient) -> NoContext {
        match why {
            NoClient::Authorities(authorities) => NoContext::Authorities(authorities.reason),
            NoClient::Identity | NoClient::Digest(_) => NoContext::Identity,
        }
    }
}

/// What is needed for a handshake.
#[derive(Debug)]
pub(in crate::database) struct Context {
    client: Client,
    offer: Offer,
}

impl Context {
    /// Reads the files, anew for each connection: as who runs the program, and in its chroot.
    pub(in crate::database) fn new(
        files: &Files,
        protocols: &str,
        ciphers: &str,
    ) -> Result<Context, NoContext> {
        // What is wrong with these is told behind what is wrong with the authorities.
        let (pairs, mistake) = match files.pairs() {
            Ok(pairs) => (pairs, None),
            Err(mistake) => (Vec::new(), Some(mistake)),
        };
        let settings = Settings {
            chain_files: String::new(),
            pairs,
            ca_file: files.ca_file.clone(),
            ca_path: files.ca_path.clone(),
            append_default_ca: false,
            verify_depth: 100,
            digest: "sha256".to_owned(),
            lists: CipherLists { high: ciphers.to_owned(), ..CipherLists::default() },
            curves: "DEFAULT".to_owned(),
            wording: Wording::OfCurves,
            order: Order::default(),
        };
        let client = Client::new(&settings)?;
        if let Some(mistake) = mistake {
            return Err(mistake);
        }
        let offer = client.offer(protocols, "high", &[]).map_err(|_| NoContext::Ciphers)?;
        if offer.is_for_tls13_only() && !offer.unknown_cipher_words().is_empty() {
            return Err(NoContext::Ciphers);
        }
        Ok(Context { client, offer })
    }

    /// The same where a file of authorities without any is good, and vouches for nobody.
    #[cfg(any(feature = "ldap", feature = "mysql"))]
    pub(in crate::database) fn lenient(
        files: &Files,
        protocols: &str,
        ciphers: &str,
    ) -> Result<Context, NoContext> {
        match Context::new(files, protocols, ciphers) {
            Err(NoContext::Authorities(BadFile::Empty)) => {
                let files = Files { ca_file: String::new(), ..files.clone() };
                Context::new(&files, protocols, ciphers)
            }
            outcome => outcome,
        }
    }

    /// Puts TLS around a connection with this server, whatever its certificate.
    pub(in crate::database) fn protect(
        &self,
        wire: &mut Wire,
        host: &str,
    ) -> Result<Outcome, HandshakeError> {
        let is_name = !host.is_empty() && !host.starts_with('/') && host.parse::<IpAddr>().is_err();
        let peer = Peer {
            offer: &self.offer,
            server_name: Some(host).filter(|_| is_name),
            demand: Demand::Nothing,
            session: None,
        };
        wire.protect(&self.client, peer)
    }
}

/// When the name of a certificate's subject counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::database) enum Subject {
    /// Beside the other names.
    #[cfg(feature = "ldap")]
    Counts,
    /// When there are no others.
    #[cfg(any(feature = "mysql", feature = "pgsql"))]
    CountsAlone,
}

/// Whether the certificate is this host's.
pub(in crate::database) fn is_of(certificate: &ServerCertificate, host: &str, subject: Subject) -> bool {
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
    let subject_counts = match subject {
        #[cfg(feature = "ldap")]
        Subject::Counts => true,
        #[cfg(any(feature = "mysql", feature = "pgsql"))]
        Subject::CountsAlone => {
            certificate.dns_names.is_empty() && (address.is_none() || certificate.addresses.is_empty())
        }
    };
    let by_subject = || subject_counts && std::str::from_utf8(&certificate.subject).is_ok_and(fits);
    by_address || by_name || by_subject()
}

#[cfg(all(test, feature = "ldap"))]
mod tests {
    use super::*;

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
            #[cfg(any(feature = "mysql", feature = "pgsql"))]
            {
                let is_bare = shown.dns_names.is_empty() && shown.addresses.is_empty();
                let by_subject = shown.subject != b"x";
                let alone = expected && (is_bare || !by_subject);
                assert_eq!(is_of(&shown, host, Subject::CountsAlone), alone, "{shown:?} {host}");
            }
            assert_eq!(is_of(&shown, host, Subject::Counts), expected, "{shown:?} {host}");
        }
    }
}
