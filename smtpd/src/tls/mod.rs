//! TLS of a session.
//!
//! `session.tls` is there after a handshake; the settings are [`TlsParams`].

mod params;

pub use params::{Demand, TlsParams};
