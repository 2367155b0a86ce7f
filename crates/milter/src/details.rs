//! The extra line about a Milter that failed (`milter_log_details`).

use std::time::Duration;

use maillog::{Cause, FilterFailure};

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

/// Tells the log. The time is that since the event began of which the filter was to be told.
pub(crate) fn tell(filter: &str, phase: Phase, cause: Cause, elapsed: Duration) {
    let phase = phase.name();
    log::info!("{}", FilterFailure { kind: "milter", filter: &filter, phase, cause, elapsed, said: None });
}
