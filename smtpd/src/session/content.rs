//! The message of a transaction: where it goes, its beginning and its end (spec smtpd 2.9 and 2.10).
//!
//! What happens to each line and chunk in between is the work of [`crate::transaction::content`].

use access::replies;
use access::settings::classes::Classes;
use metrics::Activity;
use smtp::stream::LineEnd;

use crate::log;
use crate::mail::content::{Content, Dots, Piece};
use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::refusal::Refusal;
use crate::proxy::{Answer, DividedMessage, ProxyConversation};
use crate::session::standing::{Settled, Standing};
use crate::session::statistics::Verb;
use crate::session::{Chunk, Session, Step};
use crate::settings::params::BareNewline;
use crate::transaction::content::{Message, More};
use crate::transaction::destination::{Destination, Ended, Outcome};
use crate::transaction::handover::Handover;
use crate::transaction::phase::InPhase;
use crate::transaction::receiving::{Receiving, Rules};
use crate::transaction::submission::Submission;
use crate::transaction::{Progress, Transaction, received};

/// Who has taken a message, or is to answer for it.
enum Taken {
    /// One for all recipients.
    Whole(Outcome),
    /// Some, and not others.
    Divided(Box<DividedMessage>),
}

/// The command that the content came with.
fn verb(chunk: Option<Chunk>) -> Verb {
    if chunk.is_some() { Verb::Bdat } else { Verb::Data }
}

impl Standing<'_> {
    /// How lines of this client end.
    pub(crate) fn bare_newline(&self) -> BareNewline {
        if self.bare_newline_exempt { BareNewline::Accept } else { self.params.forbid_bare_newline }
    }

    /// Whether a chunk that is of no use is not even read: much more is announced than a message may have.
    pub(crate) fn ends_input(&self) -> bool {
        let limit = self.params.message_size_limit;
        self.params.access.dialect.ends_input()
            && limit > 0
            && self.chunks_announced > limit.saturating_add(limit / 2)
    }

    fn connect(&self, envelope: &mut Envelope) -> Result<Destination, Refusal> {
        if let Some(submitter) = &self.params.submitter {
            return Ok(Destination::Postdrop(Submission::open(submitter, envelope)));
        }
        match &self.services.proxy {
            Some(proxy) => match ProxyConversation::open(proxy, envelope) {
                Ok(conversation) => Ok(Destination::Proxy(conversation)),
                Err(failure) => self.without_filter(proxy, failure, envelope),
            },
            None => Ok(Destination::Cleanup(Handover::open(&self.source(), envelope))),
        }
    }
}

impl Session<'_, '_, Transaction> {
    /// Connects to cleanup or to the filter and hands over the envelope, unless that is done. The line in the log waits
    /// for cleanup's queue ID: see [`Self::begin_handover`].
    ///
    /// # Errors
    /// The reply, when there is no way to hand the message on.
    pub(crate) fn open_destination(&mut self) -> Result<(), Refusal> {
        let Self { standing, phase: transaction } = self;
        if let Progress::Recipients(None) = transaction.progress {
            let destination = standing.connect(&mut transaction.envelope)?;
            let named = matches!(destination, Destination::Proxy(_)) || destination.queue_id().is_some();
            if named {
                standing.log_client(transaction, destination.queue_id());
            }
            transaction.progress = Progress::Recipients(Some(destination));
        }
        Ok(())
    }

    /// Hands an accepted recipient on; the first one opens the destination.
    ///
    /// # Errors
    /// The reply, when the destination does not want it.
    pub(crate) fn hand_on(&mut self, rcpt: Recipient, command: &[u8]) -> Result<(), Refusal> {
        self.open_destination()?;
        self.phase.add(rcpt, command)
    }

    /// Waits for the queue ID of a message that was handed to cleanup last, and logs whose it is. This comes before
    /// anything else that is done or logged after the reply to the command that opened it.
    pub(crate) fn begin_handover(&mut self) {
        if self.phase.destination_mut().is_some_and(Destination::begin) {
            self.log_client(self.phase, self.phase.queue_id());
        }
    }

    /// Asks the destination for leave to send content, and sends what stands above it: PREPEND lines and our
    /// Received: header. `how` is how the content comes.
    ///
    /// # Errors
    /// The reply, when the destination does not want it.
    pub(crate) fn start_content(
        &mut self,
        command: &[u8],
        how: fn(Message) -> Progress,
    ) -> Result<(), Refusal> {
        let rules = Rules {
            bare_newline: self.bare_newline(),
            size_limit: self.params.message_size_limit,
            line_length_limit: self.params.line_length_limit,
            marks_one_line: self.params.access.dialect.marks_one_line(),
            stuffed_dots_count: self.services.proxy.is_some(),
        };
        let Self { standing, phase: transaction } = self;
        let Transaction { envelope, progress: Progress::Recipients(Some(destination)), .. } =
            &mut **transaction
        else {
            return Err(Refusal::ours(replies::NO_VALID_RECIPIENTS));
        };
        if let Destination::Cleanup(handover) = destination
            && !standing.milters.filters.is_empty()
            && !envelope.actions.discard
        {
            handover.milters(&mut standing.milters.filters);
        }
        destination.data(envelope, command)?;
        for line in &envelope.actions.prepend {
            destination.content(line, Dots::Plain, Piece::Last);
        }
        let proxied = matches!(destination, Destination::Proxy(_));
        if !(proxied && envelope.origin.forwarded) {
            let header = received::lines(&standing.source(), envelope, destination.queue_id());
            for line in header.strip_suffix(b"\n").unwrap_or(&header).split(|&byte| byte == b'\n') {
                destination.content(line, Dots::Plain, Piece::Last);
            }
        }
        transaction.begin(how, rules);
        Ok(())
    }

    /// Finishes the message: the last restrictions, then the destination's verdict, then the reply.
    fn finish(&mut self, chunk: Option<Chunk>) {
        let bad = self.phase.receiving().is_none_or(Receiving::is_bad);
        let content = if bad { Content::Bad } else { Content::Good };
        if content == Content::Good
            && let Some(text) = self.check_end_of_data()
        {
            self.abandon();
            self.reply(text);
            self.settle(verb(chunk), Settled::Failed);
        } else {
            self.new_or_known(content, chunk);
        }
    }

    /// Finishes the message, unless it has been accepted before and its client has not heard so.
    fn new_or_known(&mut self, content: Content, chunk: Option<Chunk>) {
        let is_whole = content == Content::Good && chunk.is_none_or(|chunk| chunk.last);
        let watched = if is_whole { self.watch_end() } else { None };
        let Some((fingerprint, known)) = watched else {
            self.verdict(content, chunk);
            return;
        };
        match known {
            Some(reply) => {
                log::duplicate(&self.request(self.sender(), self.first_recipient()), &reply);
                self.abandon();
                self.reply(reply.clone());
                self.settle(verb(chunk), Settled::Succeeded);
                self.watch_reply(fingerprint, reply);
            }
            None => {
                if let Some(reply) = self.verdict(content, chunk) {
                    self.watch_reply(fingerprint, reply);
                }
            }
        }
    }

    /// Finishes the message and says what became of it; the reply, when it was accepted.
    fn verdict(&mut self, content: Content, chunk: Option<Chunk>) -> Option<Vec<u8>> {
        let (size, bare_newline, too_big) = self.phase.receiving().map_or((0, false, false), |receiving| {
            (receiving.size, receiving.bare_newline, receiving.too_big)
        });
        if bare_newline {
            self.log_bare_newline();
        }
        let Self { standing, phase: transaction } = self;
        let taken = transaction.finish(content).map(|ended| match ended {
            Ended::Known(outcome) => Taken::Whole(outcome),
            Ended::Unfiltered(message) => Taken::Whole(standing.queue_unfiltered(transaction, *message)),
            Ended::Divided(message) => Taken::Divided(message),
        });
        let outcome = match taken {
            None => Outcome::Refused(Refusal::ours(replies::NEED_RCPT)),
            Some(Taken::Whole(outcome)) => {
                if let Outcome::Answered(Answer { reply, accepted, .. }) = &outcome {
                    let request = self.request(self.sender(), self.first_recipient());
                    log::proxy_verdict(&request, self.sasl.login.as_ref(), *accepted, reply);
                }
                outcome
            }
            Some(Taken::Divided(message)) => Outcome::Answered(self.answer_divided(*message)),
        };
        let accepted = content == Content::Good && outcome.is_accepted();
        let (class, text) = match outcome {
            _ if bare_newline => {
                let code = self.params.forbid_bare_newline_reject_code;
                (Classes::PROTOCOL, replies::bare_newline(code, &self.params.access.myhostname).into_bytes())
            }
            _ if too_big => (Classes::BOUNCE, replies::MESSAGE_TOO_BIG.into()),
            Outcome::Queued(queue_id) => {
                let bytes = chunk.map(|_| format!(" {size} bytes")).unwrap_or_default();
                (Classes::NONE, format!("250 2.0.0 Ok:{bytes} queued as {queue_id}").into_bytes())
            }
            Outcome::Answered(Answer { reply, class, .. }) => (class, reply),
            Outcome::Refused(Refusal { text, class }) => (class, text),
        };
        self.milters.broken |= class == Classes::RESOURCE && !self.milters.filters.is_empty();
        if accepted {
            self.message_accepted();
        }
        self.transcript.error(class);
        let reply = (accepted && self.services.duplicates.is_some()).then(|| text.clone());
        self.reply(text);
        self.settle(verb(chunk), if accepted { Settled::Succeeded } else { Settled::Failed });
        reply
    }
}

impl<P: InPhase> Session<'_, '_, P> {
    /// The log line for a bare newline, in a command or in content.
    pub(crate) fn log_bare_newline(&self) {
        let envelope = self.transaction().map(|transaction| &transaction.envelope);
        let only = envelope.filter(|envelope| envelope.recipients == 1);
        let rcpt = only.and_then(|envelope| envelope.first_recipient.as_deref());
        log::reject(&self.request(self.sender(), rcpt), self.stage, b"bare <LF> received");
    }
}

impl Session<'_, '_> {
    /// The same for the transaction that may be open.
    pub(crate) fn begin_handover(&mut self) {
        if let Some(mut session) = self.in_transaction() {
            session.begin_handover();
        }
    }

    fn message_mut(&mut self) -> Option<&mut Message> {
        self.phase.transaction_mut().and_then(Transaction::message_mut)
    }

    /// Takes one line, or a piece of one, after DATA.
    pub(crate) fn data_line(&mut self, line: &[u8], end: LineEnd) -> More {
        self.watch_line(line, end);
        let Some(message) = self.message_mut() else { return More::No };
        let more = message.data_line(line, end);
        let noted = message.receiving.noted;
        self.statistics.bare_newlines |= noted;
        more
    }

    /// Takes bytes of a BDAT chunk.
    pub(crate) fn chunk_bytes(&mut self, bytes: &[u8]) {
        self.watch_chunk(bytes);
        if let Some(message) = self.message_mut() {
            message.chunk_bytes(bytes);
            let noted = message.receiving.noted;
            self.statistics.bare_newlines |= noted;
        }
    }

    /// A chunk that is of no use is over: answers it; those that follow are of no use either.
    pub(crate) fn chunk_skipped(&mut self, chunk: Chunk, refusal: Refusal) -> Step {
        self.refuse(refusal);
        self.settle(Verb::Bdat, Settled::Failed);
        if chunk.last {
            self.reset();
            self.transcript_end();
        } else {
            self.phase.discard_chunks();
        }
        if self.hangup { Step::Close } else { Step::Next }
    }

    /// The chunk has been read: answers it, and ends the message after the last one.
    pub(crate) fn chunk_end(&mut self, chunk: Chunk) -> Step {
        if chunk.last {
            if let Some(message) = self.message_mut() {
                message.end_last_line();
            }
            return self.end_of_message(Some(chunk));
        }
        if self.receiving().is_none_or(Receiving::is_bad) {
            self.stage = "BDAT content";
            return self.end_of_message(Some(chunk));
        }
        self.reply(format!("250 2.0.0 Ok: {} bytes", chunk.size));
        self.settle(Verb::Bdat, Settled::Succeeded);
        Step::Next
    }

    /// What has been received of the message.
    pub(crate) fn receiving(&self) -> Option<&Receiving> {
        self.transaction().and_then(Transaction::receiving)
    }

    /// Content is complete: answers it, and ends the transaction.
    pub(crate) fn end_of_message(&mut self, chunk: Option<Chunk>) -> Step {
        if chunk.is_none_or(|chunk| chunk.last) {
            self.stage = "END-OF-MESSAGE";
            metrics::stage(self.stage, Activity::Work);
        }
        match self.in_transaction() {
            Some(mut session) => session.finish(chunk),
            None => self.refuse(Refusal::ours(replies::NEED_RCPT)),
        }
        self.reset();
        self.transcript_end();
        if chunk.is_some_and(|chunk| !chunk.last) {
            self.phase.discard_chunks();
        }
        if self.hangup { Step::Close } else { Step::Next }
    }

    /// Bytes of content so far, for the log line when the client vanishes in its middle.
    pub(crate) fn content_bytes(&self) -> Option<u64> {
        // A DATA between chunks has no content.
        let stage = if self.phase.view().is_chunked() { "BDAT" } else { "DATA" };
        let receiving = self.receiving().filter(|_| self.stage == stage)?;
        Some(receiving.size + receiving.rest.len() as u64)
    }
}
