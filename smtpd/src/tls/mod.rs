//! TLS of a session: settings, what a process opens for it, the handshake and its log lines.
//!
//! `session.tls` is there after a handshake. [`TlsServer`] is what it takes; where that is missing, STARTTLS gets 454.
//! Refused at start: an unknown level, and what [`tls_settings`] cannot leave out. Source: spec tls-sasl 1 to 11.

mod names;
mod received;
mod server;
mod tickets;

pub(crate) use received::comment;
pub(crate) use server::TlsServer;
