//! The settings of the server, read once at start and typed; and which it does not serve yet.

pub mod dns_params;
pub mod params;
pub mod unsupported;
