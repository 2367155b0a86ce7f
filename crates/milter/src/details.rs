//! The extra line about a filter that failed (`milter_log_details`).
//!
//! It does not begin like one of Postfix's, so that log readers count what they counted before.

use std::time::Duration;

use crate::event::Event;

/// The part of the conversation in which something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Connecting.
    Connect,
    /// Agreeing on versions and steps.
    Negotiation,
    /// Telling it something, and its answer.
    Event(&'static str),
}

impl Phase {
    pub(crate) fn of(event: &Event<'_>) -> Self {
        Self::Event(match event {
            Event::Connect { .. } => "client",
            Event::Helo(_) => "helo",
            Event::Mail(_) => "mail",
            Event::Rcpt(_) => "rcpt",
            Event::Data => "data",
            Event::Unknown(_) => "unknown",
            Event::Header { .. } => "header",
            Event::EndOfHeaders => "end-of-headers",
            Event::Body(_) => "body",
            Event::EndOfMessage => "end-of-message",
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Negotiation => "negotiation",
            Self::Event(name) => name,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nobody took the connection.
    Refused,
    /// No connection for another reason.
    Unreachable,
    /// The connection ended.
    Lost,
    /// The filter was silent for too long.
    Timeout,
    /// It said something that is no answer, or not one that is wanted.
    Reply,
    /// A setting of ours cannot be used.
    Settings,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Reply => "reply",
            Self::Settings => "settings",
        }
    }
}

/// Tells the log. The time is that since the event began of which the filter was to be told.
pub(crate) fn tell(filter: &str, phase: Phase, cause: Cause, elapsed: Duration) {
    let (phase, cause, elapsed) = (phase.name(), cause.name(), elapsed.as_secs_f64());
    log::info!("milter-failure: filter={filter}, phase={phase}, cause={cause}, elapsed={elapsed:.2}");
}
