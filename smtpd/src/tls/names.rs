//! `tls_server_sni_maps`: certificates by the name the client asked for (spec tls-sasl 4).
//!
//! The value is the contents of chain files, in base64: as `postmap -F` puts them into indexed files, and as other
//! tables make of file names when they are opened.

use access::lists::flags;
use address::DomainName;
use lookup::{Flags, KeyForm, Maps, Opening};
use tls::{Named, PemFile};

/// How many entries are looked at before a start or reload.
const EXAMINED: u32 = 10_000;

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

    /// Tells of each value that a handshake could not use.
    pub(super) fn examine(&self) {
        let mut left = EXAMINED;
        self.0.each(|table, key, value| {
            let key = config::printable(key);
            let checked = match chain(value, &key) {
                Some((files, name)) => tls::check_chain(&files, &name),
                None => Err(format!("{key}: malformed BASE64 value")),
            };
            if let Err(text) = checked {
                log::warn!("tls_server_sni_maps: {table}: {text}");
            }
            left -= 1;
            left > 0
        });
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
                Ok(Some(value)) => match chain(&value, name) {
                    Some((files, name)) => return Named::Files(files, name),
                    None => {
                        log::warn!("tls_server_sni_maps: {name} map lookup problem: malformed BASE64 value");
                        return Named::Failed;
                    }
                },
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

/// The files that a value is, and what they are called.
fn chain(value: &[u8], name: &str) -> Option<(Vec<PemFile>, String)> {
    let text = lookup::base64::decode(value)?;
    let name = format!("SNI data for {name}");
    Some((vec![PemFile { name: name.clone(), text }], name))
}
