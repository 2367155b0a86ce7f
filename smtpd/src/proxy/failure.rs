//! What went wrong with a filter, and what that means for the client and for the other filters.

use maillog::Cause;

use super::counters::Phase;
use crate::mail::refusal::Refusal;

/// A conversation, or one command of it, that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reply for the client.
    pub refusal: Refusal,
    /// The transaction is spoilt: the filter did not answer, or answered something else than was asked. A 4xx or 5xx
    /// reply, in any place, spoils nothing.
    pub(crate) spoils: bool,
    /// When it happened.
    pub phase: Phase,
    /// What it was.
    pub cause: Cause,
}

impl Failure {
    /// One that the client sees as trouble of our own.
    pub fn generic(phase: Phase, cause: Cause) -> Self {
        Self { refusal: Refusal::generic(), spoils: true, phase, cause }
    }

    /// A spool that cannot be written or read.
    pub(crate) fn of_spool() -> Self {
        Self::generic(Phase::Content, Cause::Unreachable)
    }

    /// The same with nothing of the filter's own words.
    #[must_use]
    pub(crate) fn in_our_words(self) -> Self {
        let text = Refusal::generic().text;
        Self { refusal: Refusal { text, ..self.refusal }, ..self }
    }

    /// The filter is not there, or not fit for work.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self.phase, Phase::Connect | Phase::Greeting | Phase::Ehlo | Phase::Xforward)
    }

    /// Another filter may do better: this one is out, or says at MAIL that it leaves.
    pub(crate) fn is_worth_another(&self) -> bool {
        let leaves = self.cause == Cause::Lost || self.refusal.text.starts_with(b"421");
        self.is_outage() || (self.phase == Phase::Mail && leaves)
    }

    /// A filter that is being restarted looks like that.
    pub(crate) fn may_be_restart(&self) -> bool {
        self.cause == Cause::Refused || (self.cause == Cause::Lost && self.is_worth_another())
    }
}
