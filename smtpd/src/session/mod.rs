//! The session: a command line in, replies and a [`Step`] out; no client I/O here.
//!
//! [`Standing`] is what the client has established so far: its name, HELO, the counters; the [`Phase`] is its mail. A
//! [`Session`] has both in hand. It takes command lines and content and says what the server has to do next;
//! [`crate::conversation`] owns the socket, its time-outs and the tarpit. Replies are collected in
//! [`standing::Replies`], in order, with the pauses that are due before them. See spec smtpd 1 and 2.
//!
//! What can be done only in one phase has a [`Session`] whose phase is known: there is no other way to it than by
//! [`Session::without_transaction`], [`Session::at_recipients`] and [`Session::at_content`].
//!
//! A handler answers [`Handled`]: a step after success, or a step after failure, which counts as an error.

use std::ops::{Deref, DerefMut};

use access::replies;
use access::settings::classes::Classes;

use crate::log;
use crate::mail::refusal::Refusal;
use crate::session::standing::Standing;
use crate::transaction::phase::{InPhase, Phase, Upcoming};
use crate::transaction::{Incoming, Recipients, Transaction};

pub(crate) mod content;
pub(crate) mod debug_peer;
pub(crate) mod discard;
pub(crate) mod divided;
pub(crate) mod duplicates;
pub(crate) mod extensions;
pub(crate) mod greeting;
pub(crate) mod limits;
pub(crate) mod logins;
pub(crate) mod milters;
pub(crate) mod notices;
pub(crate) mod origin;
pub(crate) mod path;
pub(crate) mod restrictions;
pub(crate) mod space;
pub(crate) mod standing;
pub(crate) mod statistics;
pub(crate) mod telling;
pub(crate) mod transcript;
pub(crate) mod unfiltered;
pub(crate) mod watch;
pub(crate) mod work;

/// What the server has to do after a command or a piece of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read the next command.
    Next,
    /// Read message content up to the end of data.
    Data,
    /// Read so many bytes of a BDAT chunk.
    Chunk(Chunk),
    /// Read a chunk that is of no use; the reply follows it.
    Skip(Chunk, Refusal),
    /// Send the reply, then protect the connection.
    StartTls,
    /// Read the response to a challenge of AUTH.
    Response,
    /// Start the session anew: XCLIENT has replaced the client.
    Restart,
    /// Send what is pending and close, without a word in the log.
    Close,
}

/// A BDAT chunk announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Bytes to read.
    pub size: u64,
    /// It ends the message.
    pub last: bool,
}

/// A step after a command that succeeded, or after one that failed and counts as an error.
pub(crate) type Handled = Result<Step, Step>;

/// Looks at input that waits behind the current command, without taking it: at most 100 bytes.
pub(crate) trait Pending {
    /// The bytes that wait; empty when there are none.
    fn pending(&mut self) -> Vec<u8>;
}

/// One session with one client, in a phase that is known or, by itself, in any.
#[derive(Debug)]
pub(crate) struct Session<'s, 'a, P = Phase> {
    /// What stands.
    pub(crate) standing: &'s mut Standing<'a>,
    /// The mail transaction, or what there is for the next one.
    pub(crate) phase: &'s mut P,
}

/// What stands is at hand without being named: there is nothing else of that kind in a session.
impl<'a, P> Deref for Session<'_, 'a, P> {
    type Target = Standing<'a>;

    fn deref(&self) -> &Standing<'a> {
        self.standing
    }
}

impl<P> DerefMut for Session<'_, '_, P> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.standing
    }
}

impl<'s, 'a, P: InPhase> Session<'s, 'a, P> {
    /// A session of what stands, in this phase.
    pub(crate) fn new(standing: &'s mut Standing<'a>, phase: &'s mut P) -> Self {
        Self { standing, phase }
    }

    /// Appends a reply; several lines are joined with CRLF. Above the soft error limit each reply costs a pause. No text
    /// closes the connection without a word.
    pub(crate) fn reply(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        // HANGUP of an access table.
        if text.is_empty() {
            self.hangup = true;
            return;
        }
        let worded = self.worded(text);
        self.append(text, &worded);
    }

    /// Replies that something is not done.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.transcript.error(refusal.class);
        self.words_are_not_ours();
        self.reply(refusal.text);
    }

    /// The open mail transaction.
    pub(crate) fn transaction(&self) -> Option<&Transaction> {
        self.phase.view().transaction()
    }

    /// The queue ID, or `NOQUEUE`.
    pub(crate) fn queue_id(&self) -> &str {
        self.phase.view().queue_id().unwrap_or(log::NO_QUEUE_ID)
    }
}

impl<'a> Session<'_, 'a> {
    /// The session before a transaction.
    ///
    /// # Errors
    /// One is open: the session as it is.
    pub(crate) fn without_transaction(&mut self) -> Result<Session<'_, 'a, Upcoming>, Session<'_, 'a>> {
        match self.phase {
            Phase::Idle(upcoming) => Ok(Session { standing: self.standing, phase: upcoming }),
            Phase::Recipients(_) | Phase::Content(_) => {
                Err(Session { standing: self.standing, phase: self.phase })
            }
        }
    }

    /// The session within its transaction, if recipients are being given.
    pub(crate) fn at_recipients(&mut self) -> Option<Session<'_, 'a, Recipients>> {
        match self.phase {
            Phase::Recipients(recipients) => Some(Session { standing: self.standing, phase: recipients }),
            Phase::Idle(_) | Phase::Content(_) => None,
        }
    }

    /// The session within its transaction, if the message comes.
    pub(crate) fn at_content(&mut self) -> Option<Session<'_, 'a, Incoming>> {
        match self.phase {
            Phase::Content(incoming) => Some(Session { standing: self.standing, phase: incoming }),
            Phase::Idle(_) | Phase::Recipients(_) => None,
        }
    }

    /// Whether the errors so far end the session; says so to the client.
    pub(crate) fn too_many_errors(&mut self) -> bool {
        if self.error_count < self.params.hard_error_limit {
            return false;
        }
        let text = replies::too_many_errors(&self.params.access.myhostname);
        self.reply(text);
        self.transcript.error(Classes::PROTOCOL);
        log::too_many_errors(self.place(None));
        true
    }

    /// Notes input that waits although nothing may be sent now.
    pub(crate) fn early_input(&mut self, pending: &mut dyn Pending) -> Option<Step> {
        // A user's program may write all it has to say before it reads.
        if self.params.submitter.is_some() {
            return None;
        }
        if self.improper_pipelining && !self.params.forbid_unauth_pipelining {
            return None;
        }
        let data = pending.pending();
        if data.is_empty() {
            return None;
        }
        if !self.improper_pipelining {
            self.improper_pipelining = true;
            log::improper_pipelining(self.stage, &self.client, &data);
        }
        if self.params.forbid_unauth_pipelining {
            self.reply(replies::SYNCHRONIZATION);
            return Some(Step::Close);
        }
        None
    }

    /// Ends the transaction: what is open is abandoned, XFORWARD data are forgotten.
    pub(crate) fn reset(&mut self) {
        metrics::message("");
        self.abandon();
        self.message_is_over();
    }

    /// Gives up the transaction, and what was handed to cleanup or to the filter.
    pub(crate) fn abandon(&mut self) {
        self.begin_handover();
        if let Some(destination) = std::mem::take(self.phase).into_destination() {
            destination.abort();
        }
    }
}

impl Session<'_, '_, Upcoming> {
    /// Forgets what there was for the transaction to come.
    pub(crate) fn reset(&mut self) {
        metrics::message("");
        *self.phase = Upcoming::default();
        self.message_is_over();
    }
}
