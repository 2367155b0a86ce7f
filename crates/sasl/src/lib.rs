//! Who logs in, as an SMTP server asks it: the client side of Dovecot's authentication protocol, version 1 (spec tls-sasl
//! 18 and 19), and what Cyrus SASL's library does, without the library ([`cyrus`]). [`Backend`] is one or the other.
//! And how an SMTP client shows a server who it is: [`cyrus::initiator`].
//!
//! [`mechanism`] has what a server offers and which of it a configuration lets pass, [`mod@line`] the lines of the
//! protocol, [`connection`] a socket with its handshake, [`client`] the requests, with a connection that is opened
//! when needed and again when it was lost, [`dialogue`] the steps of one login.
//!
//! Lines are fields separated by tabs and end in LF. Everything that comes from the server is bounded: the length of
//! a line, the number of lines of a handshake, the time an answer may take. A server that breaks a bound is one that
//! has gone.
//!
//! ```
//! use sasl::{Mechanism, SecurityOptions};
//!
//! let options = SecurityOptions::parse("noanonymous, noplaintext").unwrap();
//! let plain = Mechanism::parse(b"PLAIN\tplaintext").unwrap();
//! assert!(!options.allow(&plain));
//! ```

#![forbid(unsafe_code)]

pub mod backend;
pub mod client;
pub mod connection;
pub mod cyrus;
pub mod dialogue;
pub mod line;
pub mod mechanism;

pub use backend::Backend;
pub use client::{Client, Clients, Lent, Settings};
pub use dialogue::{Answer, Failure, Login};
pub use mechanism::{Mechanism, SecurityOptions, UnknownOption};

/// SHA-1 of a password, as a table of refused logins has it.
#[must_use]
pub fn sha1(password: &[u8]) -> Vec<u8> {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    digest(&SHA1_FOR_LEGACY_USE_ONLY, password).as_ref().to_vec()
}
