//! Logins that a server has refused, so that it is not asked again with the same password (spec tls-sasl 21).
//!
//! An entry of the table: the key is `HOST;USER`, the value `TIME;DIGEST;STATUS;TEXT`, where DIGEST is that of the password,
//! SHA-1 in base64.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::Config;
use lookup::Flags;
use lookup::build::Sizes;
use lookup::changes::{self, Changes, Missing};
use server::Fatal;

use super::Credentials;
use crate::answer::Answer;
use crate::protocol::Protocol;

/// The reply to a login that is remembered.
const REFUSED: u16 = 535;
/// Where the table is: no process of this client writes files.
const PROXY: &str = "proxy:";

/// What is remembered.
#[derive(Debug)]
pub(crate) struct Failures {
    table: Box<dyn Changes>,
    name: String,
    limit: Duration,
}

/// A refusal that was remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: String,
    pub(crate) text: String,
}

impl Failures {
    /// Nothing where nothing is to be remembered.
    pub(super) fn open(config: &Config, protocol: Protocol) -> Result<Option<Self>, Fatal> {
        let parameter = protocol.parameter("smtp_sasl_auth_cache_name");
        let reference = config.text(&parameter)?;
        if reference.is_empty() {
            return Ok(None);
        }
        let Some(name) = reference.strip_prefix(PROXY) else {
            // As Postfix, which leaves out the last quote.
            let text = format!("SASL authentication cache name \"{reference}\" must start with \"{PROXY}");
            return Err(config.wrong(&parameter, text).into());
        };
        let sizes = Sizes { lmdb_map_size: config.globals().lmdb_map_size.unsigned_abs() };
        let table = changes::open(reference.as_bytes(), Flags::LOCK, sizes, Missing::Made)
            .map_err(|error| Fatal::new(error.to_string()))?;
        let limit = config.time(&protocol.parameter("smtp_sasl_auth_cache_time"))?;
        Ok(Some(Self { table, name: name.to_owned(), limit }))
    }

    /// What a server said to this login, if it still counts.
    pub(crate) fn find(&self, host: &str, credentials: &Credentials) -> Option<Refusal> {
        let key = key(host, credentials);
        let value = self.table.lookup(key.as_bytes()).unwrap_or_else(|_| {
            log::warn!("SASL auth failure map {}: lookup failed for {key}", self.name);
            None
        })?;
        let refusal = current(&value, credentials, now(), self.limit);
        if refusal.is_none() {
            // Its time is over, or the password is another one now; what fails here was logged.
            let _ = self.table.delete(key.as_bytes());
        }
        refusal
    }

    /// A server has said this to a login.
    pub(crate) fn remember(&self, host: &str, credentials: &Credentials, answer: &Answer) {
        if answer.code() != REFUSED {
            return;
        }
        let line = answer.text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = String::from_utf8_lossy(line);
        let value = format!("{};{};{};{text}", now(), digest(credentials), answer.status);
        // What fails here was logged.
        let _ = self.table.update(key(host, credentials).as_bytes(), value.as_bytes());
    }
}

fn key(host: &str, credentials: &Credentials) -> String {
    format!("{host};{}", credentials.user)
}

fn digest(credentials: &Credentials) -> String {
    STANDARD.encode(sasl::sha1(credentials.password.as_bytes()))
}

/// The refusal of an entry that is about this password, and not too old.
fn current(value: &[u8], credentials: &Credentials, now: u64, limit: Duration) -> Option<Refusal> {
    let value = String::from_utf8_lossy(value);
    let mut fields = value.splitn(4, ';');
    let time: u64 = fields.next()?.parse().ok()?;
    (now <= time.saturating_add(limit.as_secs())).then_some(())?;
    (fields.next()? == digest(credentials)).then_some(())?;
    let (status, text) = (fields.next()?.to_owned(), fields.next()?.to_owned());
    Some(Refusal { status, text })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let joe = Credentials { user: "joe".into(), password: "secret".into() };
        // As Postfix has written it (3.7.11).
        let entry = b"1796051579;5en6G6MezRroT3XKqkdPOmY/BfQ=;5.7.8;535 5.7.8 no; such user";
        let found = |entry: &[u8], now| current(entry, &joe, now, Duration::from_secs(10));
        let refusal = Refusal { status: "5.7.8".into(), text: "535 5.7.8 no; such user".into() };
        assert_eq!(found(entry, 1_796_051_589), Some(refusal));
        assert_eq!(found(entry, 1_796_051_590), None);
        let other = Credentials { password: "other".into(), ..joe.clone() };
        assert_eq!(current(entry, &other, 1_796_051_579, Duration::from_secs(10)), None);
        for entry in [&b""[..], b"x;y;z;t", b"1796051579", b"1796051579;5en6G6MezRroT3XKqkdPOmY/BfQ="] {
            assert_eq!(found(entry, 0), None);
        }
        assert_eq!(key("mx.test", &joe), "mx.test;joe");
    }
}
