//! Where log lines go, and Postfix's line format (spec master 4).
//!
//! Libraries and programs log through the `log` facade; this crate is its back end. A line goes to syslog, or
//! as a datagram to postlogd when `maillog_file` is set, and for commands to stderr as well:
//!
//! | call | text |
//! |---|---|
//! | [`log::info!`] | `TEXT` |
//! | [`log::warn!`] | `warning: TEXT` |
//! | [`log::error!`] | `error: TEXT`; the 13th is fatal |
//! | [`log::debug!`], [`log::trace!`] | `TEXT`, only when verbose (`-v`, `-v -v`) |
//! | [`fatal`] | `fatal: TEXT`, hooks, one second, exit 1 |
//! | [`panic()`] | `panic: TEXT`, one second, abort |
//!
//! Where `maillog_copies` or `maillog_events` ask for more ([`Copies`]), all lines go by way of postlogd, which passes them on to
//! syslog where there is no `maillog_file`.
//!
//! A program calls [`early`] first, with the name it was started by, and [`configure`] once main.cf is read.
//!
//! ```
//! maillog::early("smtpd");
//! log::info!("connect from {}", maillog::shown(b"unknown[192.0.2.1]"));
//! ```

#![forbid(unsafe_code)]

mod address;
mod copies;
mod exit;
mod file;
mod filter_failure;
mod line;
mod logger;
mod postlog;
mod settings;
mod stall;
mod syslog;

pub use self::syslog::Facility;
pub use address::AddressFormat;
pub use copies::{Copies, Destination, Form, Place};
pub use exit::{catch_panics, contain_panics, fatal, fatal_status, on_fatal, panic};
pub use file::{LogFile, LogFileError};
pub use filter_failure::{Cause, FilterFailure};
pub use line::{MESSAGE_LIMIT, Severity, Shown, shown};
pub use logger::{
    Raised, configure, direct, early, ident, init, prepare_fatal, process_name, raise_verbose, report,
    session_number, set_session_number, set_verbose, shows_utf8, silently, stderr, stderr_only,
    stderr_only_in_ascii, verbose,
};
pub use settings::{Error, Settings};
