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
//! `ProxyConversation::open(&ProxyParams, &Transaction)` goes through connect, EHLO, XFORWARD and MAIL (or only
//! starts a spool, with `speed_adjust`); both answer `Result<Self, Refusal>`.

use crate::access::local_header_rewrite::RewriteContext;
use crate::proxy::{DividedMessage, ProxyConversation, Spooled};
use crate::settings::classes::Classes;
use crate::transaction::handover::Handover;
use crate::transaction::{Recipient, Transaction};

/// A whole reply for the client: lines joined with CRLF, without the CRLF of the last line. It may come from a filter,
/// so nothing is known about its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reply.
    pub text: Vec<u8>,
    /// Whether the postmaster wants to know.
    pub class: Classes,
}

impl Refusal {
    /// The reply for every failure of our own side; the cause is in the log, never in the reply.
    pub fn generic() -> Self {
        Self { text: b"451 4.3.0 Error: queue file write error".to_vec(), class: Classes::SOFTWARE }
    }

    /// What a filter said.
    pub fn foreign(text: Vec<u8>) -> Self {
        Self { text, class: Classes::NONE }
    }
}

/// The client as log and queue file shall name it: the real one, or the one that XFORWARD told about.
///
/// Unknown values are the text `unknown`, or absent where the type is optional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Name.
    pub name: Vec<u8>,
    /// Address as text, IPv6 without prefix.
    pub address: Vec<u8>,
    /// Address with the `IPv6:` prefix of RFC 5321.
    pub rfc_address: Vec<u8>,
    /// Port.
    pub port: Vec<u8>,
    /// `name[address]`, with the port if so configured; only the name when the address is unknown.
    pub namaddr: Vec<u8>,
    /// HELO argument.
    pub helo: Option<Vec<u8>>,
    /// `SMTP` or `ESMTP`, or whatever XFORWARD said.
    pub protocol: Vec<u8>,
    /// Queue ID at the upstream server, from XFORWARD IDENT.
    pub ident: Option<Vec<u8>>,
    /// Whether headers are completed with local domains (`rewrite_context`, XFORWARD SOURCE).
    pub rewrite_context: RewriteContext,
    /// XFORWARD data were received in this transaction: a filter gets no Received: header of ours.
    pub forwarded: bool,
}

/// How leading dots stand in a line of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dots {
    /// As received after DATA: a dot of the content stands doubled.
    Stuffed,
    /// As received in a BDAT chunk, or made by us.
    Plain,
}

/// Whether a piece of content ends its line. Lines longer than `line_length_limit` come in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The end of the line (or the whole of it).
    Last,
    /// More of the same line follows.
    More,
}

/// Whether the content arrived as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Complete: it may be accepted.
    Good,
    /// Too big, or refused by us: nobody may take it for a message.
    Bad,
}

/// What became of a message.
#[derive(Debug)]
pub enum Outcome {
    /// In the queue, safely.
    Queued(String),
    /// The filter's final reply, verbatim; `accepted` when its first byte is `2`.
    Answered {
        /// The reply text as logged and, unless we have our own reason, as sent.
        reply: Vec<u8>,
        /// Whether the filter took the message.
        accepted: bool,
        /// Whether the postmaster wants to know.
        class: Classes,
    },
    /// No filter could be reached, and the message is to go to the queue without one.
    Unfiltered(Box<Spooled>),
    /// The filter took it for some recipients and not for others.
    Divided(Box<DividedMessage>),
    /// Not taken, with the reply that follows from cleanup's status.
    Refused(Refusal),
}

impl Outcome {
    /// The filter said this to the message.
    pub fn answered(reply: Vec<u8>) -> Self {
        let accepted = reply.first() == Some(&b'2');
        let class = if accepted { Classes::NONE } else { Classes::POLICY };
        Self::Answered { reply, accepted, class }
    }

    /// The conversation with the filter has failed.
    pub fn broken() -> Self {
        let Refusal { text, class } = Refusal::generic();
        Self::Answered { reply: text, accepted: false, class }
    }
}

/// The two ways mail can go.
#[derive(Debug)]
pub enum Destination {
    /// To the queue.
    Cleanup(Handover),
    /// Through the filter.
    Proxy(ProxyConversation),
}

impl Destination {
    /// Waits until it is known what log lines call the message, if that was not so before: then this is the time for
    /// the first of them, and it is `true`.
    pub fn begin(&mut self) -> bool {
        match self {
            Self::Cleanup(handover) => handover.begin(),
            Self::Proxy(_) => false,
        }
    }

    /// The queue ID for log lines, as cleanup told it; `None` (`NOQUEUE`) with a filter.
    pub fn queue_id(&self) -> Option<&str> {
        match self {
            Self::Cleanup(handover) => handover.queue_id(),
            Self::Proxy(_) => None,
        }
    }

    /// Adds an accepted recipient; `command` is the RCPT command line as the client sent it.
    pub fn recipient(&mut self, rcpt: &Recipient, command: &[u8]) -> Result<(), Refusal> {
        match self {
            Self::Cleanup(handover) => handover.recipient(rcpt),
            Self::Proxy(proxy) => proxy.recipient(rcpt, command),
        }
    }

    /// Asks for leave to send content; `command` is the DATA command as received, or `DATA` for BDAT.
    pub fn data(&mut self, transaction: &Transaction, command: &[u8]) -> Result<(), Refusal> {
        match self {
            Self::Cleanup(handover) => {
                handover.start_content(transaction);
                Ok(())
            }
            Self::Proxy(proxy) => proxy.data(command),
        }
    }

    /// Writes a piece of a line of content, without its line end. Bytes of a header of ours are [`Dots::Plain`].
    pub fn content(&mut self, bytes: &[u8], dots: Dots, piece: Piece) {
        match self {
            Self::Cleanup(handover) => handover.content(bytes, dots, piece),
            Self::Proxy(proxy) => proxy.content(bytes, dots, piece),
        }
    }

    /// Ends the message and waits for the verdict. With [`Content::Bad`] the message is abandoned: cleanup sees the
    /// connection close, the filter sees QUIT; what is returned then only serves the log.
    pub fn finish(self, transaction: &Transaction, content: Content) -> Outcome {
        match self {
            Self::Cleanup(handover) => handover.finish(transaction, content),
            Self::Proxy(proxy) => proxy.finish(content),
        }
    }

    /// Abandons the transaction: RSET, a new HELO, a lost client, a refusal at end of data.
    pub fn abort(self) {
        match self {
            Self::Cleanup(handover) => handover.abort(),
            Self::Proxy(proxy) => proxy.abort(),
        }
    }
}
