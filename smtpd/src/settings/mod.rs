//! The settings of the server, read once at start and typed.

pub(crate) mod client_limits;
pub(crate) mod debug_peers;
pub mod params;
pub mod sasl;
pub mod stand_alone;
pub mod submitter;
pub mod tls;
pub mod upstream;
