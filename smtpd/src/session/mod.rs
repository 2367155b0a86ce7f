//! The session: a command line in, replies and a [`Step`] out; no client I/O here.
//!
//! The session owns what the client has established so far: its name, HELO, the mail transaction, the counters. It
//! takes command lines and content and says what the server has to do next; [`crate::conversation`] owns the socket,
//! its time-outs and the tarpit. Replies are collected in [`Replies`], in order, with the pauses that are due before
//! them. See spec smtpd 1 and 2.
//!
//! A handler answers [`Handled`]: a step after success, or a step after failure, which counts as an error.

use access::client::Client;
use access::client::list::Untold;
use access::client::protocol::Protocol;
use access::observer::Observer;
use access::replies;
use access::settings::classes::Classes;
use access::state::AccessState;
use maillog::shown;

use crate::log;
use crate::mail::envelope::Envelope;
use crate::mail::refusal::Refusal;
use crate::milters::SessionMilters;
use crate::proxy::Learnt;
use crate::sasl::Sasl;
use crate::services::Services;
use crate::services::anvil::Limits;
use crate::services::permits::Work;
use crate::session::discard::Discard;
use crate::session::statistics::{Statistics, Verb};
use crate::session::transcript::Transcript;
use crate::session::watch::Watch;
use crate::settings::params::SmtpdParams;
use crate::tables::Tables;
use crate::transaction::{Phase, Transaction, Upcoming};

pub mod content;
pub(crate) mod debug_peer;
pub mod discard;
pub(crate) mod divided;
pub(crate) mod duplicates;
pub mod extensions;
pub mod greeting;
pub mod limits;
pub mod logins;
pub mod milters;
pub mod notices;
pub mod origin;
pub mod path;
pub mod restrictions;
pub mod space;
pub mod statistics;
pub(crate) mod telling;
pub mod transcript;
pub mod unfiltered;
pub(crate) mod watch;
pub mod work;

/// Room for the replies of a session, of which that to EHLO is the longest.
const REPLIES: usize = 512;

/// What the server has to do after a command or a piece of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read the next command.
    Next,
    /// Read message content up to the end of data.
    Data,
    /// Read so many bytes of a BDAT chunk.
    Chunk(Chunk),
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
pub struct Chunk {
    /// Bytes to read.
    pub size: u64,
    /// It ends the message.
    pub last: bool,
}

/// A step after a command that succeeded, or after one that failed and counts as an error.
pub(crate) type Handled = Result<Step, Step>;

/// Replies that wait for being sent.
#[derive(Debug, Default)]
pub struct Replies {
    /// Text, each line with its CRLF.
    pub text: Vec<u8>,
    /// Offsets in `text` before which the tarpit pauses.
    pub(crate) pauses: Vec<usize>,
}

/// How a command ended whose reply comes after its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// With the reply it was meant to get.
    Succeeded,
    /// With another one.
    Failed,
}

/// One session with one client.
#[derive(Debug)]
pub struct Session<'a> {
    /// The settings.
    pub params: &'a SmtpdParams,
    /// Lookup tables, match lists and restrictions.
    pub tables: &'a Tables,
    /// The other daemons.
    pub services: &'a Services,
    /// Who watches the restrictions: the log, when it is verbose.
    pub observer: Option<&'a dyn Observer>,
    /// Who the client is.
    pub client: Client,
    /// SMTP or ESMTP.
    pub protocol: Protocol,
    /// The HELO argument, made harmless.
    pub helo: Option<Vec<u8>>,
    /// The command that runs or ran last, for log lines.
    pub stage: &'static str,
    /// Commands that failed.
    pub(crate) error_count: u32,
    /// Commands that do no harm, but no work either.
    pub(crate) junk_commands: u32,
    /// Counters for the disconnect line.
    pub statistics: Statistics,
    /// The client may use XCLIENT.
    pub(crate) xclient_allowed: Result<bool, Untold>,
    /// The client may use XFORWARD.
    pub(crate) xforward_allowed: Result<bool, Untold>,
    /// Lines of this client are not searched for bare newlines.
    pub(crate) bare_newline_exempt: bool,
    /// The client sent before it was asked to.
    pub improper_pipelining: bool,
    /// A front end has dealt with early talkers before it handed the connection over.
    pub(crate) behind_front_end: bool,
    /// EHLO keywords that are not announced to this client.
    pub discard: Discard,
    /// What the filters announced when the client said EHLO.
    pub(crate) learnt: Option<Learnt>,
    /// The table with those keywords cannot tell.
    pub(crate) discard_unknown: bool,
    /// The connect restrictions refused this client, with this text.
    pub denied: Option<Vec<u8>>,
    /// The TLS session; absent in clear text.
    pub tls: Option<Box<tls::Established>>,
    /// Logins.
    pub sasl: Sasl,
    /// The mail transaction, or what there is for the next one.
    pub phase: Phase,
    /// The chunk that is being read is of no use: the reply that follows it.
    pub(crate) refused_chunk: Option<Refusal>,
    /// The sizes of all chunks of the message, accepted or not.
    pub(crate) chunks_announced: u64,
    /// Flags that restriction lists pass on to each other.
    pub access: AccessState,
    /// Use of anvil for this client.
    pub limits: Limits,
    /// The right to open files for its work.
    pub work: Work<'a>,
    /// The mail filters.
    pub milters: SessionMilters,
    /// What was said, for the postmaster.
    pub transcript: Transcript,
    /// Whether its messages have come before.
    pub(crate) watch: Watch,
    /// Replies to be sent.
    pub replies: Replies,
    /// The last reply ends the session.
    pub hangup: bool,
    /// What kind of error the last reply told of, as far as the reply says.
    pub fault: Classes,
    /// The next reply is not to be judged by its words: they are not ours.
    foreign: bool,
    /// The command whose content is being read.
    pub(crate) unsettled: Option<Verb>,
}

/// Looks at input that waits behind the current command, without taking it: at most 100 bytes.
pub trait Pending {
    /// The bytes that wait; empty when there are none.
    fn pending(&mut self) -> Vec<u8>;
}

impl<'a> Session<'a> {
    /// A session before its greeting.
    pub fn new(params: &'a SmtpdParams, tables: &'a Tables, services: &'a Services, client: Client) -> Self {
        Self {
            params,
            tables,
            services,
            observer: None,
            client,
            protocol: Protocol::Smtp,
            helo: None,
            stage: "CONNECT",
            error_count: 0,
            junk_commands: 0,
            statistics: Statistics::default(),
            xclient_allowed: Ok(false),
            xforward_allowed: Ok(false),
            bare_newline_exempt: false,
            improper_pipelining: false,
            behind_front_end: false,
            discard: Discard::default(),
            learnt: None,
            discard_unknown: false,
            denied: None,
            tls: None,
            sasl: Sasl::default(),
            phase: Phase::default(),
            refused_chunk: None,
            chunks_announced: 0,
            access: AccessState::default(),
            limits: Limits::default(),
            work: Work::default(),
            milters: SessionMilters::default(),
            transcript: Transcript::default(),
            watch: Watch::default(),
            replies: Replies::default(),
            hangup: false,
            fault: Classes::NONE,
            foreign: false,
            unsettled: None,
        }
    }

    /// Appends a reply; several lines are joined with CRLF. Above the soft error limit each reply costs a pause. No text
    /// closes the connection without a word.
    pub fn reply(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        // HANGUP of an access table.
        if text.is_empty() {
            self.hangup = true;
            return;
        }
        self.fault = if std::mem::take(&mut self.foreign) { Classes::NONE } else { replies::fault(text) };
        if self.error_count >= self.params.soft_error_limit {
            self.replies.pauses.push(self.replies.text.len());
        }
        if self.replies.text.capacity() == 0 {
            self.replies.text.reserve(REPLIES);
        }
        let start = self.replies.text.len();
        let worded = self.worded(text);
        let mut lines = replies::lines(&worded).peekable();
        while let Some(line) = lines.next() {
            let line_start = self.replies.text.len();
            self.replies.text.extend_from_slice(line);
            let last = lines.peek().is_none();
            let line = &mut self.replies.text[line_start..];
            if self.params.access.soft_bounce {
                replies::soften(line);
            }
            if !last {
                replies::separate(line);
            }
            ::log::debug!("> {}: {}", shown(&self.client.namaddr), shown(line));
            self.transcript.out(line);
            if !last {
                self.replies.text.extend_from_slice(b"\r\n");
            }
        }
        let sent = &self.replies.text[start..];
        self.hangup |= sent.starts_with(b"421") || sent.starts_with(b"521");
        self.replies.text.extend_from_slice(b"\r\n");
    }

    /// The next reply is worded by somebody else.
    pub(crate) fn words_are_not_ours(&mut self) {
        self.foreign = true;
    }

    /// Replies that something is not done.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.transcript.error(refusal.class);
        self.words_are_not_ours();
        self.reply(refusal.text);
    }

    /// Whether the errors so far end the session; says so to the client.
    pub fn too_many_errors(&mut self) -> bool {
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
    pub fn early_input(&mut self, pending: &mut dyn Pending) -> Option<Step> {
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

    /// Counts the command whose content has been read.
    pub fn settle(&mut self, how: Settled) {
        if let Some(verb) = self.unsettled.take() {
            match how {
                Settled::Succeeded => self.statistics.success(verb),
                Settled::Failed => self.error_count = self.error_count.saturating_add(1),
            }
        }
    }

    /// Counts an error, and notes one against the protocol.
    pub fn failed(&mut self, step: Step) -> Step {
        self.transcript.error(self.fault);
        self.error_count = self.error_count.saturating_add(1);
        step
    }

    /// The open mail transaction.
    pub fn transaction(&self) -> Option<&Transaction> {
        match &self.phase {
            Phase::Mail(transaction) => Some(transaction),
            Phase::Idle(_) => None,
        }
    }

    /// The same, to change it.
    pub(crate) fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        match &mut self.phase {
            Phase::Mail(transaction) => Some(transaction),
            Phase::Idle(_) => None,
        }
    }

    /// Its envelope.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.transaction().map(|transaction| &transaction.envelope)
    }

    /// What there is for the next transaction, while there is none.
    pub(crate) fn upcoming_mut(&mut self) -> Option<&mut Upcoming> {
        match &mut self.phase {
            Phase::Idle(upcoming) => Some(upcoming),
            Phase::Mail(_) => None,
        }
    }

    /// Works on the open transaction, which is not in the session meanwhile: what the work came to, if there is one.
    pub(crate) fn with_transaction<T>(
        &mut self,
        work: impl FnOnce(&Self, &mut Transaction) -> T,
    ) -> Option<T> {
        match std::mem::take(&mut self.phase) {
            Phase::Mail(mut transaction) => {
                let result = work(self, &mut transaction);
                self.phase = Phase::Mail(transaction);
                Some(result)
            }
            idle @ Phase::Idle(_) => {
                self.phase = idle;
                None
            }
        }
    }

    /// SIZE as announced for this transaction or, by a MAIL that failed, for the next one.
    pub(crate) fn announced_size(&self) -> u64 {
        match &self.phase {
            Phase::Mail(transaction) => transaction.announced_size,
            Phase::Idle(upcoming) => upcoming.announced_size,
        }
    }

    /// Ends the transaction: what is open is abandoned, XFORWARD data are forgotten.
    pub fn reset(&mut self) {
        metrics::message("");
        self.abandon();
        self.phase = Phase::default();
        self.chunks_announced = 0;
        self.access.new_transaction();
        self.end_message_for_milters();
    }

    /// Gives up what was handed to cleanup or to the filter.
    pub(crate) fn abandon(&mut self) {
        self.begin_handover();
        if let Some(transaction) = self.transaction_mut() {
            transaction.abandon();
        }
    }

    /// The queue ID, or `NOQUEUE`.
    pub fn queue_id(&self) -> &str {
        self.transaction().and_then(Transaction::queue_id).unwrap_or(log::NO_QUEUE_ID)
    }

    /// Forgets the errors of a client that did its work.
    pub(crate) fn message_accepted(&mut self) {
        self.error_count = 0;
        self.junk_commands = 0;
        self.transcript.forgive();
    }
}
