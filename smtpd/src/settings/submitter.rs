//! How the server of `sendmail -bs` submits what it has taken.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use config::{Config, Environment, Error};

/// What messages are submitted with.
#[derive(Debug, Clone)]
pub struct Submitter {
    /// postdrop.
    pub postdrop: PathBuf,
    /// Its environment.
    pub environment: Vec<(OsString, OsString)>,
}

impl Submitter {
    /// As main.cf has it.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let environment = Environment::export(config)?.apply(std::env::vars_os());
        Ok(Self { postdrop: Path::new(&config.globals().command_directory).join("postdrop"), environment })
    }
}
