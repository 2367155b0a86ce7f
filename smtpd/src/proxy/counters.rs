//! What is counted of each filter, and the extra line about a failure (`smtpd_proxy_log_details`).
//!
//! Neither line begins like one of Postfix's, so that log readers, which count `proxy-accept`, `proxy-reject`, `reject`
//! and `warning` lines, count what they counted before.

use std::fmt;

/// The part of the conversation in which something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connecting.
    Connect,
    /// Waiting for the greeting.
    Greeting,
    /// EHLO or LHLO.
    Ehlo,
    /// XFORWARD.
    Xforward,
    /// MAIL, and the RSET before it.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// Content.
    Content,
    /// The reply to the message.
    Verdict,
}

impl Phase {
    const ALL: [Self; 9] = [
        Self::Connect,
        Self::Greeting,
        Self::Ehlo,
        Self::Xforward,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Content,
        Self::Verdict,
    ];

    /// The name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Ehlo => "ehlo",
            Self::Xforward => "xforward",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Content => "content",
            Self::Verdict => "verdict",
        }
    }
}

/// Counters of one filter in one process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections made.
    pub connections: u64,
    /// Messages given to it.
    pub messages: u64,
    /// Of these, answered with 2xx.
    pub accepted: u64,
    /// With 5xx.
    pub rejected: u64,
    /// With 4xx, or anything else.
    pub deferred: u64,
    /// Connections that had ended when they were wanted again.
    pub stale: u64,
    failed: [u64; 9],
}

impl Counters {
    /// Counts a conversation that failed.
    pub fn fail(&mut self, phase: Phase) {
        self.failed[phase as usize] += 1;
    }

    /// Counts a verdict by its first digit.
    pub fn verdict(&mut self, digit: Option<u8>) {
        match digit {
            Some(b'2') => self.accepted += 1,
            Some(b'5') => self.rejected += 1,
            _ => self.deferred += 1,
        }
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, messages, accepted, rejected, deferred, stale, .. } = self;
        write!(f, "connections={connections} messages={messages} accepted={accepted} rejected={rejected} ")?;
        write!(f, "deferred={deferred} stale={stale}")?;
        for (phase, count) in Phase::ALL.into_iter().zip(self.failed).filter(|(_, count)| *count > 0) {
            write!(f, " failed/{}={count}", phase.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line() {
        let mut counters = Counters { connections: 2, messages: 3, ..Counters::default() };
        [Some(b'2'), Some(b'5'), None].into_iter().for_each(|digit| counters.verdict(digit));
        counters.fail(Phase::Verdict);
        counters.fail(Phase::Connect);
        assert_eq!(
            counters.to_string(),
            "connections=2 messages=3 accepted=1 rejected=1 deferred=1 stale=0 failed/connect=1 failed/verdict=1"
        );
    }
}
