//! The settings of the server, read once at start and typed; and which it does not serve yet.

pub mod classes;
pub mod client_limits;
pub mod debug_peers;
pub mod dns;
pub mod params;
pub mod policy;
pub mod sasl;
pub mod tempfail;
pub mod tls;
pub mod tls_log_level;
pub mod tls_unhonoured;
pub mod unsupported;
pub mod upstream;
pub mod verify;
pub mod words;
