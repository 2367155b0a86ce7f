//! `tls_server_sni_maps`: certificates by the name the client asked for (spec tls-sasl 4).
//!
//! The value is the contents of chain files, in base64: as `postmap -F` puts them into indexed files, and as other
//! tables make of file names when they are opened.

use access::lists::flags;
use address::DomainName;
use lookup::{Flags, KeyForm, Maps, Opening};
use tls::{Named, PemFile};

/// The tables.
#[derive(Debug)]
pub(super) struct ServerNames(Maps);

impl ServerNames {
    /// Opens the tables; nothing when there are none.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub(super) fn open(value: &str) -> Result<Option<Self>, String> {
        if value.trim().is_empty() {
            return Ok(None);
        }
        // No UTF-8: who is asked over a socket folds the key himself (observed, 3.7.11).
        let flags = flags(false).with(Flags::FILE_VALUES);
        let maps = Maps::open("tls_server_sni_maps", value.as_bytes(), flags, Opening::Survive)
            .map_err(|error| error.to_string())?;
        Ok(Some(Self(maps)))
    }

    /// The chain of a name, or of the domains it is in. What is no name of a host is not looked up.
    pub(super) fn find(&self, asked_for: &[u8], namaddr: &str) -> Named {
        if DomainName::check(asked_for).is_err() {
            log::warn!("TLS SNI from {namaddr} is invalid: {}", maillog::shown(asked_for));
            return Named::Unknown;
        }
        // It is ASCII. A table that tells capital letters apart is asked for the name as it is (observed, 3.7.11).
        let name = &*String::from_utf8_lossy(asked_for);
        let mut key = name;
        loop {
            match self.0.find(key.as_bytes(), KeyForm::Full) {
                Ok(Some(value)) => return chain(name, &value),
                Ok(None) => {}
                Err(_) => {
                    log::warn!("tls_server_sni_maps: {key} map lookup problem");
                    return Named::Failed;
                }
            }
            // `a.b.c`, `.b.c`, `.c`
            let labels = key.strip_prefix('.').unwrap_or(key);
            match labels.find('.') {
                Some(dot) => key = &labels[dot..],
                None => break,
            }
        }
        log::info!("TLS SNI {name} from {namaddr} not matched, using default chain");
        Named::Unknown
    }
}

fn chain(name: &str, value: &[u8]) -> Named {
    match lookup::base64::decode(value) {
        Some(text) => {
            let name = format!("SNI data for {name}");
            Named::Files(vec![PemFile { name: name.clone(), text }], name)
        }
        None => {
            log::warn!("tls_server_sni_maps: {name} map lookup problem: malformed BASE64 value");
            Named::Failed
        }
    }
}
