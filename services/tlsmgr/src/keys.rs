//! The keys of session tickets (spec tls-sasl 10).
//!
//! There are at most two. The current one makes new tickets for half of `smtpd_tls_session_cache_timeout`; then another
//! takes its place, and the old one is good for reading tickets for as long again.

use ipc::tlsmgr::{KEY, KEY_NAME};

/// A key, in the form it is handed out.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; KEY],
    /// Last second of making tickets, UNIX time.
    expires: i64,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Key").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// The current key and the one before it.
#[derive(Debug, Default)]
pub struct Keys {
    current: Option<Key>,
    previous: Option<Key>,
}

impl Keys {
    /// The key for new tickets; makes one when it is time, of bytes that `random` gives. `half_life` in seconds.
    ///
    /// # Errors
    /// Those of `random`.
    pub fn current<E>(
        &mut self,
        now: i64,
        half_life: i64,
        random: impl FnOnce() -> Result<[u8; KEY - 8], E>,
    ) -> Result<[u8; KEY], E> {
        if let Some(key) = self.current.as_ref().filter(|key| now <= key.expires) {
            return Ok(key.bytes);
        }
        let expires = now.saturating_add(half_life).saturating_sub(1);
        let mut bytes = [0; KEY];
        bytes[..KEY - 8].copy_from_slice(&random()?);
        bytes[KEY - 8..].copy_from_slice(&expires.to_ne_bytes());
        self.previous = self.current.replace(Key { bytes, expires });
        Ok(bytes)
    }

    /// The key of this name, while it is good for reading tickets.
    #[must_use]
    pub fn named(&self, name: &[u8], now: i64, half_life: i64) -> Option<[u8; KEY]> {
        let good =
            |key: &&Key| key.bytes[..KEY_NAME] == *name && now <= key.expires.saturating_add(half_life);
        [&self.current, &self.previous].into_iter().flatten().find(good).map(|key| key.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_take_turns() {
        let mut keys = Keys::default();
        let mut at = |now, fill: u8| keys.current(now, 100, || Ok::<_, ()>([fill; KEY - 8])).unwrap();
        let first = at(1000, 1);
        assert_eq!(first[KEY - 8..], 1099i64.to_ne_bytes());
        assert_eq!(at(1099, 2), first);
        let second = at(1100, 2);
        assert_ne!(second, first);
        let named = |fill: u8, now| keys.named(&[fill; KEY_NAME], now, 100);
        assert_eq!(named(1, 1199), Some(first));
        assert_eq!(named(1, 1200), None);
        assert_eq!(named(2, 1200), Some(second));
        assert_eq!(named(3, 1200), None);
    }
}
