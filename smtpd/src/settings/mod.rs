//! The settings of the server, read once at start and typed.

pub(crate) mod client_limits;
pub(crate) mod debug_peers;
pub(crate) mod params;
pub(crate) mod sasl;
pub(crate) mod stand_alone;
pub(crate) mod submitter;
pub(crate) mod tls;
pub(crate) mod upstream;
