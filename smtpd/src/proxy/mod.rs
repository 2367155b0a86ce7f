//! The before-queue content filter: the conversation of one mail transaction with it (spec smtpd 4).
//!
//! In the default mode every accepted RCPT travels to the filter at once; with `smtpd_proxy_options = speed_adjust`
//! everything goes to a spool, and the filter is called after the client's end of data. Content streams through; nothing
//! here grows with the message, but for the spool's file. One connection serves one transaction, unless
//! `smtpd_proxy_reuse_limit` says otherwise.
//!
//! Rooms: `params` the settings, `filters` which filters there are and how they are, `call` how one is chosen and
//! reached, `command` and `connection` what is said to it, `failure`, `counters` and `report` what goes wrong and what is
//! told about it, `learning` what it announces, `outcome` what it says in the end, `replay`, `spool` and `spooled` the other mode,
//! `gate` the queue before the filter.
//!
//! Failures have two faces. A 4xx or 5xx reply of the filter goes to the client as it came. Everything else (refused
//! connection, time-out, end of file, a 2xx or 3xx in the wrong place) becomes the generic reply and a warning in
//! the log. After such a failure in any place the transaction is spoilt, even if a later recipient finds the
//! filter well: Postfix 3.7.11 then takes the content, sends none of it, and answers with whatever the filter said
//! last, the 354 to DATA. Here the client gets the generic 451.

mod call;
mod command;
mod connection;
mod counters;
mod failure;
mod filters;
mod gate;
mod learning;
mod outcome;
mod params;
mod replay;
mod report;
mod spool;
mod spooled;

use std::sync::Arc;

use crate::mail::content::{Content, Dots, Piece};
use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::refusal::Refusal;

use call::call;
use command::{Command, Wanted};
use connection::FilterConnection;
pub use counters::{Counters, Phase};
pub use failure::Failure;
pub use filters::{Filters, Resting, Reuse};
pub use gate::{Announced, Busy, Gate};
pub use learning::Learnt;
pub use outcome::{Answer, DividedMessage, Outcome, RecipientVerdict};
pub use params::{Divided, Lmtp, Options, Outage, Protocol, ProxyParams, Timeouts};
use replay::{Played, Recording};
pub use report::Report;
pub use spooled::Spooled;

/// The conversation of one transaction with the filter.
#[derive(Debug)]
pub struct ProxyConversation {
    mode: Mode,
    /// With LMTP, those who will get an answer each, as far as `mode` does not know them.
    recipients: Option<Vec<Recipient>>,
    spoilt: bool,
    line_begins: bool,
}

#[derive(Debug)]
enum Mode {
    Direct(Box<FilterConnection>),
    Recorded(Box<Recording>),
}

impl ProxyConversation {
    /// Goes through connect, EHLO, XFORWARD and MAIL; with `speed_adjust` only starts the spool. After a failure the
    /// next recipient may try again, on a new connection; the transaction remembers a failure that spoils it.
    ///
    /// # Errors
    /// The reply for the client, see the module's head.
    pub fn open(params: &Arc<ProxyParams>, transaction: &mut Envelope) -> Result<Self, Failure> {
        let mode = if params.speed_adjust {
            Mode::Recorded(Box::new(Recording::new(params, transaction)))
        } else {
            match call(params, &transaction.origin, &transaction.command, None) {
                Ok(connection) => Mode::Direct(Box::new(connection)),
                Err(failure) => {
                    transaction.proxy_spoilt |= failure.spoils;
                    return Err(failure);
                }
            }
        };
        let recipients = params.options.lmtp().map(|_| Vec::new());
        Ok(Self { mode, recipients, spoilt: transaction.proxy_spoilt, line_begins: true })
    }

    /// Forwards the client's RCPT command.
    ///
    /// # Errors
    /// The reply for the client.
    pub fn recipient(&mut self, rcpt: &Recipient, command: &[u8]) -> Result<(), Refusal> {
        match &mut self.mode {
            Mode::Direct(_) => {
                self.command(command, Wanted::Positive)?;
                if let Some(recipients) = &mut self.recipients {
                    recipients.push(rcpt.clone());
                }
                Ok(())
            }
            Mode::Recorded(recording) => {
                let result = recording.recipient(rcpt, command);
                self.noted(result)
            }
        }
    }

    /// Forwards DATA.
    ///
    /// # Errors
    /// The reply for the client.
    pub fn data(&mut self, command: &[u8]) -> Result<(), Refusal> {
        self.command(command, Wanted::Intermediate)
    }

    fn command(&mut self, command: &[u8], wanted: Wanted) -> Result<(), Refusal> {
        let result: Result<(), Failure> = match &mut self.mode {
            Mode::Direct(connection) => connection.command(Command::of_client(command.to_vec(), wanted)),
            Mode::Recorded(recording) => recording.command(command, wanted),
        };
        self.noted(result)
    }

    fn noted(&mut self, result: Result<(), Failure>) -> Result<(), Refusal> {
        self.spoilt |= result.as_ref().is_err_and(|failure| failure.spoils);
        result.map_err(|failure| failure.refusal)
    }

    /// Forwards a piece of a line of content. Trouble is told by [`ProxyConversation::finish`].
    pub fn content(&mut self, bytes: &[u8], dots: Dots, piece: Piece) {
        if self.spoilt {
            return;
        }
        // A line that is one dot and stands for content is never let through as it is: to the filter it would be the
        // end of the message.
        let dot =
            self.line_begins && bytes.first() == Some(&b'.') && (dots == Dots::Plain || bytes.len() == 1);
        self.line_begins = piece == Piece::Last;
        if dot {
            self.write(b".");
        }
        self.write(bytes);
        if piece == Piece::Last {
            self.write(b"\r\n");
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        match &mut self.mode {
            Mode::Direct(connection) => connection.write(bytes),
            Mode::Recorded(recording) => recording.write(bytes),
        }
    }

    /// Ends the message and waits for the filter's verdict. A message that is [`Content::Bad`] ends with QUIT in the
    /// place of the dot, and the outcome holds the filter's last reply for the log.
    pub fn finish(self, content: Content) -> Outcome {
        let spoilt = self.spoilt;
        match (self.mode, content) {
            (Mode::Direct(connection), Content::Bad) => Outcome::answered(connection.quit()),
            (Mode::Direct(connection), Content::Good) if spoilt => {
                connection.quit();
                Outcome::broken()
            }
            (Mode::Direct(connection), Content::Good) => match self.recipients {
                Some(recipients) => {
                    let mut replies = connection.finish(recipients.len()).replies.into_iter();
                    let verdict = |rcpt| RecipientVerdict { rcpt, reply: replies.next() };
                    let verdicts = recipients.into_iter().map(verdict).collect();
                    DividedMessage { verdicts, message: None }.outcome()
                }
                None => connection.finish(1).replies.pop().map_or_else(Outcome::broken, Outcome::answered),
            },
            // The filter was never called: there is no last reply.
            (Mode::Recorded(_), Content::Bad) => Outcome::answered(Vec::new()),
            (Mode::Recorded(_), Content::Good) if spoilt => Outcome::broken(),
            (Mode::Recorded(recording), Content::Good) => match recording.replay() {
                Played::Answered(reply) => Outcome::answered(reply),
                Played::Broken => Outcome::broken(),
                Played::Unfiltered(message) => Outcome::Unfiltered(Box::new(message)),
                Played::Each(message) => message.outcome(),
            },
        }
    }

    /// Leaves the filter without a message: QUIT, not waiting for the answer.
    pub fn abort(self) {
        if let Mode::Direct(connection) = self.mode {
            connection.leave();
        }
    }
}
