//! How far an attempt at a destination has come, for the extra line about one that failed (`smtp_log_details`) and for the
//! figures.
//!
//! The line does not begin like one of Postfix's, so that log readers count what they counted before.

use std::cell::Cell;
use std::fmt;
use std::io::ErrorKind;
use std::time::Instant;

use delivery::Status;
use metrics::{Activity, Family};
use queue::QueueId;

/// A part of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Lookup,
    Policy,
    Connect,
    Greeting,
    Hello,
    StartTls,
    Handshake,
    Login,
    Xforward,
    Mail,
    Rcpt,
    Data,
    Content,
    EndOfData,
    Reset,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Policy => "policy",
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Hello => "ehlo",
            Self::StartTls => "starttls",
            Self::Handshake => "handshake",
            Self::Login => "auth",
            Self::Xforward => "xforward",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Content => "content",
            Self::EndOfData => "end-of-data",
            Self::Reset => "rset",
        }
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Nobody took the connection.
    Refused,
    /// No connection for another reason.
    Unreachable,
    /// The connection ended.
    Lost,
    /// The server was silent for too long.
    Timeout,
    /// What the server said.
    Reply,
    /// Anything else: what stands behind `dsn=` tells it.
    Other,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Reply => "reply",
            Self::Other => "other",
        }
    }

    /// Why there is no connection.
    pub(crate) fn of_connecting(error: ErrorKind) -> Self {
        match error {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Unreachable,
        }
    }
}

/// Which part of an attempt it is in, and since when.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    phase: Phase,
    since: Instant,
    /// What has happened to the connection.
    broken: Cell<Option<Cause>>,
}

impl Progress {
    /// A part that begins now.
    pub(crate) fn at(phase: Phase) -> Self {
        metrics::stage(phase.name(), Activity::Delivery);
        Self { phase, since: Instant::now(), broken: Cell::new(None) }
    }

    /// There is nothing more to be had of the connection.
    pub(crate) fn broke(&self, cause: Cause) {
        self.broken.set(Some(cause));
    }

    fn cause(&self, status: &Status) -> Cause {
        let said = if status.is_of_server() { Cause::Reply } else { Cause::Other };
        self.broken.get().unwrap_or(said)
    }
}

/// An attempt that failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure<'f> {
    /// As it was written.
    pub(crate) destination: &'f str,
    /// The server, or `none`.
    pub(crate) relay: &'f str,
    pub(crate) progress: &'f Progress,
    pub(crate) status: &'f Status,
}

impl Failure<'_> {
    /// Logs it.
    pub(crate) fn log(&self, id: &QueueId) {
        log::info!("{id}: {self}");
    }

    /// Counts it, also for its destination where figures of that are wanted.
    pub(crate) fn count(&self, measured: Option<&str>) {
        let (phase, cause) = (self.progress.phase.name(), self.progress.cause(self.status).name());
        metrics::count(Family::DeliveryFailures, &[phase, cause]);
        if let Some(destination) = measured {
            metrics::count(Family::DestinationFailures, &[destination, phase, cause]);
        }
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, relay, progress, status } = self;
        write!(
            out,
            "delivery-failure: destination={}, relay={relay}, phase={}, cause={}, elapsed={:.2}, dsn={}",
            maillog::shown(destination.as_bytes()),
            progress.phase.name(),
            progress.cause(status).name(),
            progress.since.elapsed().as_secs_f64(),
            status.code()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line() {
        let progress = Progress::at(Phase::EndOfData);
        let line = |status: &Status| {
            let failure = Failure {
                destination: "example.com\n",
                relay: "mx.example.com[192.0.2.1]:25",
                progress: &progress,
                status,
            };
            failure.to_string()
        };
        let head = "delivery-failure: destination=example.com?, relay=mx.example.com[192.0.2.1]:25, \
                    phase=end-of-data, cause=";
        let refusal = Status::of_reply("5.7.1", "no", b"mx.example.com", b"550 5.7.1 no");
        let cases = [
            (refusal, None, "reply, elapsed=0.00, dsn=5.7.1"),
            (Status::new("5.6.0", "nesting"), None, "other, elapsed=0.00, dsn=5.6.0"),
            (Status::new("4.4.2", "lost"), Some(Cause::Timeout), "timeout, elapsed=0.00, dsn=4.4.2"),
        ];
        for (status, broken, end) in cases {
            progress.broken.set(broken);
            assert_eq!(line(&status), format!("{head}{end}"));
        }
    }
}
