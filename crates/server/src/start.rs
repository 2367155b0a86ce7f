//! What a service knows about how it was started, and what it can ask for.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use config::Config;

use crate::flow::FlowPipe;
use crate::permits::Permits;
use crate::uses::{Uses, Visit};

/// An error that ends the process at start; the text is what is logged after `fatal: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal {
    text: String,
    /// See [`Fatal::if_used`].
    matters_if_used: bool,
}

impl Fatal {
    /// With this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), matters_if_used: false }
    }

    /// Of a service that many a sound configuration has in its master.cf and never uses: `postfix reload` warns of it,
    /// and is not refused, as the mail system has always worked with it.
    pub fn if_used(text: impl Into<String>) -> Self {
        Self { text: text.into(), matters_if_used: true }
    }

    pub(crate) fn matters_if_used(&self) -> bool {
        self.matters_if_used
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl std::error::Error for Fatal {}

impl From<config::Error> for Fatal {
    fn from(error: config::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<maillog::Error> for Fatal {
    fn from(error: maillog::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<maillog::LogFileError> for Fatal {
    fn from(error: maillog::LogFileError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<String> for Fatal {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Fatal {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// The service's type in master.cf: `-t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Inet,
    /// UNIX stream.
    Unix,
    /// UNIX datagram.
    UnixDatagram,
    /// FIFO.
    Fifo,
    /// UNIX stream over which connected sockets are handed in.
    Pass,
}

impl Transport {
    pub(crate) fn parse(text: Option<&str>, accepted: &[Self]) -> Result<Self, Fatal> {
        let text = text.ok_or_else(|| Fatal::new("no transport type specified"))?;
        accepted
            .iter()
            .copied()
            .find(|known| known.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| Fatal::new(format!("unsupported transport type: {text}")))
    }

    /// The name in master.cf, and in the accept lock's file name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Unix => "unix",
            Self::UnixDatagram => "unix-dgram",
            Self::Fifo => "fifo",
            Self::Pass => "pass",
        }
    }
}

/// What master tells about the service's process limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProcessLimit {
    /// More than one, or not known.
    #[default]
    Some,
    /// Exactly one: `-l`.
    One,
    /// None at all: `-z`, maxproc 0.
    Unlimited,
}

/// What a service cannot do without (spec master 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requires {
    /// The process limit in master.cf, when it must be one or zero.
    pub limit: Option<ProcessLimit>,
    /// `unpriv = n` in master.cf: it changes users itself.
    pub privileged: bool,
}

impl Requires {
    /// Nothing in particular.
    pub const NOTHING: Self = Self { limit: None, privileged: false };
    /// A process limit of 1.
    pub const LIMIT_ONE: Self = Self { limit: Some(ProcessLimit::One), privileged: false };
    /// A process limit of 0.
    pub const LIMIT_ZERO: Self = Self { limit: Some(ProcessLimit::Unlimited), privileged: false };
    /// A start as root, without `-u`.
    pub const PRIVILEGED: Self = Self { limit: None, privileged: true };
}

/// How long the process lives; a service may change it in its post-jail step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Requests (multi and event: connections) until it leaves; `None` is unlimited. Starts as `max_use`.
    pub max_use: Option<u32>,
    /// Idle time until it leaves; `None` is unlimited. Starts as `max_idle`.
    pub max_idle: Option<Duration>,
    /// Age at which it leaves whatever it does; starts as `-r`.
    pub retire: Option<Duration>,
    /// Time without a pass of its loop after which the watchdog kills it.
    pub watchdog: Duration,
}

/// How the process was started.
#[derive(Debug)]
pub struct Start {
    /// main.cf with the `-o` options of this service.
    pub config: Config,
    /// First field in master.cf: `-n`.
    pub service_name: String,
    /// Second field in master.cf: `-t`. `Unix` when stand-alone.
    pub transport: Transport,
    /// The process limit.
    pub limit: ProcessLimit,
    /// The service's own arguments.
    pub arguments: Vec<OsString>,
    /// `-S`: the client is on standard input and output, and there is no master.
    pub stand_alone: bool,
    /// The flow control pipe; none without a master.
    pub flow: Option<FlowPipe>,
    /// Limit of each read and write on internal streams: `ipc_timeout`.
    pub ipc_timeout: Duration,
    /// How long the process lives.
    pub lifetime: Lifetime,
    /// The right to open files for work.
    pub permits: Permits,
    /// The requests that the process may serve, for a single server.
    pub uses: Uses,
}

impl Start {
    /// A client is there, from now on.
    #[must_use]
    pub fn visit(&self) -> Visit<'_> {
        Visit::new(&self.uses, self.lifetime.watchdog)
    }

    /// Refuses arguments, for the services that take none.
    ///
    /// # Errors
    /// `unexpected command-line argument: X`.
    pub fn no_arguments(&self) -> Result<(), Fatal> {
        match self.arguments.first() {
            None => Ok(()),
            Some(first) => {
                Err(Fatal::new(format!("unexpected command-line argument: {}", first.to_string_lossy())))
            }
        }
    }
}
