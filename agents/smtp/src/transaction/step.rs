//! What is said to a server in a transaction.

use std::time::Duration;

use crate::details;
use crate::settings::TimeLimits;

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// One of the two, by its place.
    Xforward(usize),
    Mail,
    /// Of a recipient, by its place.
    Rcpt(usize),
    Data,
    /// Ends a probe.
    Reset,
}

impl Step {
    /// What is told where no reply comes.
    pub(super) fn stage(self) -> &'static str {
        match self {
            Self::Xforward(0) => "sending XFORWARD name/address",
            Self::Xforward(_) => "sending XFORWARD protocol/helo_name",
            Self::Mail => "sending MAIL FROM",
            Self::Rcpt(_) => "sending RCPT TO",
            Self::Data => "sending DATA command",
            Self::Reset => "sending final RSET",
        }
    }

    /// As it is called where a reply is told.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Xforward(0) => "XFORWARD name/address",
            Self::Xforward(_) => "XFORWARD helo/protocol",
            Self::Mail => "MAIL FROM",
            Self::Rcpt(_) => "RCPT TO",
            Self::Data => "DATA",
            Self::Reset => "RSET",
        }
    }

    /// For the log.
    pub(super) fn phase(self) -> details::Phase {
        match self {
            Self::Xforward(_) => details::Phase::Xforward,
            Self::Mail => details::Phase::Mail,
            Self::Rcpt(_) => details::Phase::Rcpt,
            Self::Data => details::Phase::Data,
            Self::Reset => details::Phase::Reset,
        }
    }

    /// How long its reply is waited for.
    pub(super) fn limit(self, limits: &TimeLimits) -> Duration {
        match self {
            Self::Xforward(_) => limits.xforward,
            Self::Mail => limits.mail,
            Self::Rcpt(_) => limits.rcpt,
            Self::Data => limits.data_init,
            Self::Reset => limits.rset,
        }
    }
}
