//! What stands in a session: who the client is, what it has established, what is counted of it, its filters, the replies
//! that wait.
//!
//! None of it begins or ends with a mail transaction; what does is in [`crate::transaction::phase`].

use access::client::Client;
use access::client::list::Untold;
use access::client::protocol::Protocol;
use access::client::text;
use access::observer::Observer;
use access::replies;
use access::settings::classes::Classes;
use access::state::AccessState;
use maillog::shown;

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

/// Room for the replies of a session, of which that to EHLO is the longest.
const REPLIES: usize = 512;

/// Replies that wait for being sent.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// Text, each line with its CRLF.
    pub text: Vec<u8>,
    /// Offsets in `text` before which the tarpit pauses.
    pub(crate) pauses: Vec<usize>,
}

/// How a command ended whose reply comes after its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// With the reply it was meant to get.
    Succeeded,
    /// With another one.
    Failed,
}

/// What stands in a session.
#[derive(Debug)]
pub(crate) struct Standing<'a> {
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
}

impl<'a> Standing<'a> {
    /// A session before its greeting.
    pub(crate) fn new(
        params: &'a SmtpdParams,
        tables: &'a Tables,
        services: &'a Services,
        client: Client,
    ) -> Self {
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
        }
    }

    /// Appends the words of a reply, which are `worded`, and notes what kind of error they tell of. Above the soft error
    /// limit each reply costs a pause.
    pub(crate) fn append(&mut self, text: &[u8], worded: &[u8]) {
        self.fault = if std::mem::take(&mut self.foreign) { Classes::NONE } else { replies::fault(text) };
        if self.error_count >= self.params.soft_error_limit {
            self.replies.pauses.push(self.replies.text.len());
        }
        if self.replies.text.capacity() == 0 {
            self.replies.text.reserve(REPLIES);
        }
        let start = self.replies.text.len();
        let mut lines = replies::lines(worded).peekable();
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

    /// The client said this: for the transcript.
    pub(crate) fn note_input(&mut self, line: &[u8]) {
        self.transcript.input(&text::as_text(line, self.params.access.smtputf8_enable));
    }

    /// The next reply is worded by somebody else.
    pub(crate) fn words_are_not_ours(&mut self) {
        self.foreign = true;
    }

    /// Counts a command whose content has been read.
    pub(crate) fn settle(&mut self, verb: Verb, how: Settled) {
        match how {
            Settled::Succeeded => self.statistics.success(verb),
            Settled::Failed => self.error_count = self.error_count.saturating_add(1),
        }
    }

    /// Counts an error, and notes one against the protocol.
    pub(crate) fn failed<T>(&mut self, step: T) -> T {
        self.transcript.error(self.fault);
        self.error_count = self.error_count.saturating_add(1);
        step
    }

    /// The message is over, or will not come: what was noted for it is forgotten.
    pub(crate) fn message_is_over(&mut self) {
        self.chunks_announced = 0;
        self.access.new_transaction();
        self.end_message_for_milters();
    }

    /// Forgets the errors of a client that did its work.
    pub(crate) fn message_accepted(&mut self) {
        self.error_count = 0;
        self.junk_commands = 0;
        self.transcript.forgive();
    }
}
