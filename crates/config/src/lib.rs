//! main.cf and master.cf: grammar, expansion, the parameter table, typed settings, diagnostics.
//!
//! What was written and what it means are two steps: [`Dictionary`] holds the raw text of main.cf
//! with the place of each line; [`Config`] adds `-o` options and the defaults of the [`table`],
//! expands `$name`, converts and checks, and computes what depends on the machine ([`Globals`]).
//! Each program makes its own struct of typed fields from a `Config`, once, when it starts.
//!
//! ```no_run
//! use config::{Config, ConfigDir, Override};
//!
//! # fn main() -> Result<(), config::Error> {
//! let directory = ConfigDir::from_environment();
//! let overrides = [Override::parse(b"smtpd_banner=$myhostname ESMTP")?];
//! let config = Config::load("smtpd", &directory, &overrides)?;
//! let banner = config.text("smtpd_banner")?;
//! let timeout = config.time("smtpd_timeout")?;
//! let hostname = &config.globals().myhostname;
//! # Ok(()) }
//! ```
//!
//! Errors have Postfix's own text first and then file and line. The crate logs warnings through the
//! `log` facade and never ends the process.

#![forbid(unsafe_code)]

pub mod accounts;
mod assignment;
pub mod compat;
mod complaint;
mod config;
pub mod defaults;
mod dictionary;
mod directory;
mod environment;
mod error;
pub mod expand;
pub mod families;
mod faults;
mod globals;
pub mod hostname;
mod interfaces;
mod level;
pub mod list;
pub mod logical_lines;
pub mod mastercf;
pub mod mastercf_arguments;
pub mod mastercf_endpoint;
mod nearest;
mod networks;
mod own_setting;
mod ports;
pub mod preflight;
mod settings;
pub mod table;
pub mod value;
pub mod version;

pub use accounts::{Account, Accounts};
pub use assignment::{Assignment, Malformed};
pub use complaint::Complaint;
pub use config::{Config, Override};
pub use dictionary::{Dictionary, Entry};
pub use directory::{ConfigDir, DEFAULT_DIRECTORY, ENVIRONMENT};
pub use environment::Environment;
pub use error::{Error, Origin, printable};
pub use faults::Faults;
pub use globals::{Globals, MigrationLevel};
pub use interfaces::{InterfaceAddress, Protocols};
pub use level::{CompatibilityLevel, NEWEST as NEWEST_LEVEL};
pub use logical_lines::{LogicalLine, LogicalLines};
pub use nearest::nearest;
pub use own_setting::OwnSetting;
pub use ports::KnownPorts;

/// Reads `bytes` as a main.cf and expands every value in it: the door for fuzzing. Whatever the
/// bytes, it returns.
pub fn fuzz_main_cf(bytes: &[u8]) {
    let mut dictionary = Dictionary::default();
    if dictionary.parse(bytes, "main.cf").is_err() {
        return;
    }
    let settings = settings::Settings::of_dictionary(dictionary);
    settings.read_everything();
}
