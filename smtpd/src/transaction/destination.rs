//! Where the mail of this service goes: into the queue by way of `cleanup`, or to the before-queue content filter.
//!
//! One [`Destination`] serves one mail transaction. The session opens it at the first recipient that passed its
//! checks (or at MAIL, with `smtpd_delay_open_until_valid_rcpt = no`), hands it each accepted recipient, asks it for
//! leave to send content, streams the content through it, and finishes it. What is not finished is aborted; neither
//! side then keeps a message. See the smtpd chapters on the proxy filter (4) and the hand-over to cleanup (5).
//!
//! An operation that fails answers with a [`Refusal`]: the whole reply for the client. Trouble while content is
//! written is remembered and told by [`Destination::finish`], because the client's content has to be read to its end
//! all the same.
//!
//! Opening is a matter of each side: `Handover::open` connects to cleanup and sends the envelope,
//! `ProxyConversation::open(&ProxyParams, &Envelope)` goes through connect, EHLO, XFORWARD and MAIL (or only
//! starts a spool, with `speed_adjust`); both answer `Result<Self, Refusal>`.

use crate::mail::content::{Content, Dots, Piece};
use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::refusal::Refusal;
use crate::proxy::{self, Answer, DividedMessage, ProxyConversation, Spooled};
use crate::transaction::handover::Handover;
use crate::transaction::submission::Submission;

/// What became of a message.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// In the queue, safely.
    Queued(String),
    /// The filter has answered.
    Answered(Answer),
    /// Not taken, with the reply that follows from cleanup's status.
    Refused(Refusal),
}

impl Outcome {
    /// Somebody has taken the message.
    pub(crate) fn is_accepted(&self) -> bool {
        match self {
            Self::Queued(_) => true,
            Self::Answered(answer) => answer.accepted,
            Self::Refused(_) => false,
        }
    }
}

impl From<Result<String, Refusal>> for Outcome {
    fn from(queued: Result<String, Refusal>) -> Self {
        queued.map_or_else(Self::Refused, Self::Queued)
    }
}

/// What a destination made of a message.
#[derive(Debug)]
pub(crate) enum Ended {
    /// This became of it.
    Known(Outcome),
    /// No filter could be reached, and the message is to go to the queue without one.
    Unfiltered(Box<Spooled>),
    /// The filter took it for some recipients and not for others.
    Divided(Box<DividedMessage>),
}

impl From<proxy::Outcome> for Ended {
    fn from(outcome: proxy::Outcome) -> Self {
        match outcome {
            proxy::Outcome::Answered(answer) => Self::Known(Outcome::Answered(answer)),
            proxy::Outcome::Unfiltered(message) => Self::Unfiltered(message),
            proxy::Outcome::Divided(message) => Self::Divided(message),
        }
    }
}

/// The ways mail can go.
#[derive(Debug)]
pub(crate) enum Destination {
    /// To the queue.
    Cleanup(Handover),
    /// Through the filter.
    Proxy(ProxyConversation),
    /// To the queue as a user's.
    Postdrop(Submission),
}

impl Destination {
    /// Waits until it is known what log lines call the message, if that was not so before: then this is the time for
    /// the first of them, and it is `true`.
    pub(crate) fn begin(&mut self) -> bool {
        match self {
            Self::Cleanup(handover) => handover.begin(),
            Self::Proxy(_) | Self::Postdrop(_) => false,
        }
    }

    /// The queue ID for log lines, as cleanup told it; `None` (`NOQUEUE`) with a filter.
    pub(crate) fn queue_id(&self) -> Option<&str> {
        match self {
            Self::Cleanup(handover) => handover.queue_id(),
            Self::Proxy(_) => None,
            Self::Postdrop(submission) => Some(submission.queue_id()),
        }
    }

    /// Adds an accepted recipient; `command` is the RCPT command line as the client sent it.
    pub(crate) fn recipient(&mut self, rcpt: &Recipient, command: &[u8]) -> Result<(), Refusal> {
        match self {
            Self::Cleanup(handover) => handover.recipient(rcpt),
            Self::Proxy(proxy) => proxy.recipient(rcpt, command)?,
            Self::Postdrop(submission) => submission.recipient(rcpt),
        }
        Ok(())
    }

    /// Asks for leave to send content; `command` is the DATA command as received, or `DATA` for BDAT.
    pub(crate) fn data(&mut self, envelope: &Envelope, command: &[u8]) -> Result<(), Refusal> {
        match self {
            Self::Cleanup(handover) => handover.start_content(envelope),
            Self::Proxy(proxy) => proxy.data(command)?,
            Self::Postdrop(submission) => submission.start_content(),
        }
        Ok(())
    }

    /// Writes a piece of a line of content, without its line end. Bytes of a header of ours are [`Dots::Plain`].
    pub(crate) fn content(&mut self, bytes: &[u8], dots: Dots, piece: Piece) {
        match self {
            Self::Cleanup(handover) => handover.content(bytes, dots, piece),
            Self::Proxy(proxy) => proxy.content(bytes, dots, piece),
            Self::Postdrop(submission) => submission.content(bytes, dots, piece),
        }
    }

    /// Ends the message and waits for the verdict. With [`Content::Bad`] the message is abandoned: cleanup sees the
    /// connection close, the filter sees QUIT; what is returned then only serves the log.
    pub(crate) fn finish(self, envelope: &Envelope, content: Content) -> Ended {
        match self {
            Self::Cleanup(handover) => Ended::Known(handover.finish(envelope, content).into()),
            Self::Proxy(proxy) => proxy.finish(content).into(),
            Self::Postdrop(submission) => Ended::Known(submission.finish(content).into()),
        }
    }

    /// Abandons the transaction: RSET, a new HELO, a lost client, a refusal at end of data.
    pub(crate) fn abort(self) {
        match self {
            Self::Cleanup(handover) => handover.abort(),
            Self::Proxy(proxy) => proxy.abort(),
            Self::Postdrop(submission) => submission.abort(),
        }
    }
}
