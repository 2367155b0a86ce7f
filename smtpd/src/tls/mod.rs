//! TLS of a session: settings, what a process opens for it, the handshake and its log lines.
//!
//! `session.tls` is there after a handshake. [`TlsServer`] is what it takes; where that is missing, STARTTLS gets 454.
//! Refused at start: an unknown level, and what [`unhonoured`] cannot leave out. Source: spec tls-sasl 1 to 11.

mod handshake;
mod log_level;
mod names;
mod params;
mod received;
mod server;
mod tickets;
mod unhonoured;

pub use handshake::NoTls;
pub use log_level::LogLevel;
pub use params::{Demand, TlsParams};
pub use received::comment;
pub use server::TlsServer;
