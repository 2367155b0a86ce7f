//! The settings of the server, read once at start and typed.

pub mod access;
pub mod classes;
pub mod client_limits;
pub mod debug_peers;
pub mod dns;
pub mod milters;
pub mod params;
pub mod policy;
pub mod sasl;
pub mod tempfail;
pub mod tls;
pub mod tls_log_level;
pub mod tls_unhonoured;
pub mod upstream;
pub mod verify;
pub mod words;
