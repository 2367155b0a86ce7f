//! Session tickets in the form of RFC 5077, section 4, with keys that all processes share (spec tls-sasl
//! 10).
//!
//! Key name (16 bytes), IV (16), AES-256-CBC ciphertext, HMAC-SHA256 over all of that. Keys are those of tlsmgr, so
//! Postfix's processes can read the outside of our tickets and we that of theirs; the state inside is each library's
//! own. Ours begins with a mark: whatever has none is a ticket that cannot be resumed, never an error.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{hmac, rand};
use rustls::server::ProducesTickets;

const NAME: usize = 16;
const IV: usize = 16;
const MAC: usize = 32;
/// Stands before the state. OpenSSL's begins with the tag of a SEQUENCE.
const MARK: &[u8] = b"Postern\x01";

/// A key, as tlsmgr hands it out.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKey {
    /// Stands in the ticket in clear.
    pub name: [u8; 16],
    /// AES-256.
    pub cipher: [u8; 32],
    /// HMAC-SHA256.
    pub mac: [u8; 32],
    /// When it is of no use any more, in seconds of UNIX time.
    pub expires: i64,
}

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TicketKey").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Where keys come from.
pub trait TicketKeys: Send + Sync + std::fmt::Debug {
    /// The key for new tickets.
    fn current(&self) -> Option<TicketKey>;
    /// The key of this name, while it is valid.
    fn named(&self, name: &[u8; 16]) -> Option<TicketKey>;
    /// How long a session may be resumed.
    fn lifetime(&self) -> Duration;
}

/// The tickets of one connection.
#[derive(Debug)]
pub(crate) struct Tickets {
    pub(crate) keys: Arc<dyn TicketKeys>,
    /// Whose connection it is, if its tickets are to be logged.
    pub(crate) logged_as: Option<String>,
}

impl Tickets {
    fn log(&self, what: &str, key: &TicketKey) {
        if let Some(peer) = &self.logged_as {
            log::info!("{peer}: {what} session ticket, key expiration: {}", key.expires);
        }
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.keys.lifetime().as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.current()?;
        self.log("Issuing", &key);
        seal(&key, plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let name = ticket.first_chunk::<NAME>()?;
        let key = self.keys.named(name)?;
        let plain = open(&key, ticket)?;
        self.log("Decrypting", &key);
        plain.strip_prefix(MARK).map(<[u8]>::to_vec)
    }
}

fn seal(key: &TicketKey, plain: &[u8]) -> Option<Vec<u8>> {
    let mut iv = [0; IV];
    rand::fill(&mut iv).ok()?;
    let cipher = UnboundCipherKey::new(&AES_256, &key.cipher).ok()?;
    let mut body = [MARK, plain].concat();
    PaddedBlockEncryptingKey::cbc_pkcs7(cipher)
        .ok()?
        .less_safe_encrypt(&mut body, EncryptionContext::Iv128(FixedLength::from(&iv)))
        .ok()?;
    let mut ticket = [&key.name[..], &iv, &body].concat();
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key.mac), &ticket);
    ticket.extend_from_slice(mac.as_ref());
    Some(ticket)
}

fn open(key: &TicketKey, ticket: &[u8]) -> Option<Vec<u8>> {
    let (sealed, mac) = ticket.split_last_chunk::<MAC>()?;
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key.mac), sealed, mac).ok()?;
    let (iv, body) = sealed.get(NAME..)?.split_first_chunk::<IV>()?;
    let cipher = UnboundCipherKey::new(&AES_256, &key.cipher).ok()?;
    let mut body = body.to_vec();
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let plain = PaddedBlockDecryptingKey::cbc_pkcs7(cipher).ok()?.decrypt(&mut body, context).ok()?;
    Some(plain.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_the_kernels() {
        assert_eq!(option_env!("AWS_LC_SYS_NO_JITTER_ENTROPY"), Some("1"), ".cargo/config.toml is not read");
    }

    #[test]
    fn what_was_sealed_opens_and_nothing_else() {
        let key = TicketKey { name: [1; 16], cipher: [2; 32], mac: [3; 32], expires: 0 };
        let ticket = seal(&key, b"state").unwrap();
        assert_eq!(ticket[..16], [1; 16]);
        assert_eq!(open(&key, &ticket).unwrap(), [MARK, b"state"].concat());
        for at in 0..ticket.len() {
            let mut bent = ticket.clone();
            bent[at] ^= 1;
            assert_eq!(open(&key, &bent), None, "{at}");
        }
        for length in 0..ticket.len() {
            assert_eq!(open(&key, &ticket[..length]), None, "{length}");
        }
    }
}
