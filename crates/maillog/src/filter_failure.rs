//! The extra line about a filter that failed (`smtpd_proxy_log_details`, `milter_log_details`).
//!
//! It does not begin like one of Postfix's, so that log readers count what they counted before.

use std::fmt;
use std::time::Duration;

/// Why a filter failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nobody took the connection at all: what a filter that is being restarted looks like.
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
    /// Every filter rests after earlier failures.
    Resting,
}

impl Cause {
    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Reply => "reply",
            Self::Settings => "settings",
            Self::Resting => "resting",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the line tells.
pub struct FilterFailure<'f> {
    /// `proxy` or `milter`.
    pub kind: &'f str,
    /// Where the filter is.
    pub filter: &'f dyn fmt::Display,
    /// The part of the conversation in which it failed.
    pub phase: &'f str,
    /// Why.
    pub cause: Cause,
    /// Since when the filter had its time.
    pub elapsed: Duration,
    /// What it said last.
    pub said: Option<&'f str>,
}

impl fmt::Display for FilterFailure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, filter, phase, cause, .. } = self;
        let elapsed = self.elapsed.as_secs_f64();
        write!(f, "{kind}-failure: filter={filter}, phase={phase}, cause={cause}, elapsed={elapsed:.2}")?;
        self.said.map_or(Ok(()), |said| write!(f, ", said=\"{said}\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines() {
        let mut failure = FilterFailure {
            kind: "milter",
            filter: &"inet:127.0.0.1:8891",
            phase: "end-of-message",
            cause: Cause::Timeout,
            elapsed: Duration::from_millis(300_104),
            said: None,
        };
        let common =
            "-failure: filter=inet:127.0.0.1:8891, phase=end-of-message, cause=timeout, elapsed=300.10";
        assert_eq!(failure.to_string(), format!("milter{common}"));
        failure.kind = "proxy";
        failure.said = Some("354 go ahead");
        assert_eq!(failure.to_string(), format!("proxy{common}, said=\"354 go ahead\""));
    }
}
