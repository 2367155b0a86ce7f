//! What is done with a request when a restriction cannot tell.

use config::{Config, Error};

/// What is done when nothing certain is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TempfailAction {
    /// `defer`: the request is refused at once, for now.
    Defer,
    /// `defer_if_permit`: unless something else refuses it.
    DeferIfPermit,
}

impl TempfailAction {
    /// Reads the parameter of this name.
    ///
    /// # Errors
    /// It has another value.
    pub fn new(config: &Config, name: &str) -> Result<Self, Error> {
        let value = config.text(name)?;
        match value.to_ascii_lowercase().as_str() {
            "defer" => Ok(Self::Defer),
            "defer_if_permit" => Ok(Self::DeferIfPermit),
            _ => Err(config.wrong(name, format!("bad configuration: {name} = {value}"))),
        }
    }
}
