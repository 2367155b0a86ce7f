//! The settings of `debug_peer_list` (spec smtpd 1.1).

use config::{Config, Error};

/// The settings.
#[derive(Debug, Clone)]
pub(crate) struct DebugPeers {
    /// `debug_peer_list`
    pub list: String,
    /// `debug_peer_level`
    pub level: u8,
}

impl DebugPeers {
    /// Reads the settings.
    ///
    /// # Errors
    /// A parameter that cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let level = config.integer("debug_peer_level")?;
        Ok(Self { list: config.text("debug_peer_list")?, level: u8::try_from(level).unwrap_or(u8::MAX) })
    }
}
