//! The message of a transaction: where it goes, its beginning and its end (spec smtpd 2.9 and 2.10).
//!
//! What happens to each line and chunk in between is the work of [`crate::transaction::content`].

use access::replies;
use access::settings::classes::Classes;
use metrics::Activity;
use smtp::stream::LineEnd;

use crate::log;
use crate::mail::content::{Content, Dots, Piece};
use crate::mail::envelope::Envelope;
use crate::mail::refusal::Refusal;
use crate::proxy::{Answer, DividedMessage, ProxyConversation};
use crate::session::{Chunk, Session, Settled, Step};
use crate::settings::params::BareNewline;
use crate::transaction::content::{Message, More};
use crate::transaction::destination::{Destination, Ended, Outcome};
use crate::transaction::handover::Handover;
use crate::transaction::receiving::{Receiving, Rules};
use crate::transaction::submission::Submission;
use crate::transaction::{Phase, Progress, Transaction, received};

/// Who has taken a message, or is to answer for it.
enum Taken {
    /// One for all recipients.
    Whole(Outcome),
    /// Some, and not others.
    Divided(Box<DividedMessage>),
}

impl Session<'_> {
    /// How lines of this client end.
    pub fn bare_newline(&self) -> BareNewline {
        if self.bare_newline_exempt { BareNewline::Accept } else { self.params.forbid_bare_newline }
    }

    /// Connects to cleanup or to the filter and hands over the envelope, unless that is done. The line in the log waits
    /// for cleanup's queue ID: see [`Self::begin_handover`].
    ///
    /// # Errors
    /// The reply, when there is no way to hand the message on.
    pub(crate) fn open_destination(&self, transaction: &mut Transaction) -> Result<(), Refusal> {
        if let Progress::Recipients(None) = transaction.progress {
            let destination = self.connect(&mut transaction.envelope)?;
            let named = matches!(destination, Destination::Proxy(_)) || destination.queue_id().is_some();
            if named {
                self.log_client(transaction, destination.queue_id());
            }
            transaction.progress = Progress::Recipients(Some(destination));
        }
        Ok(())
    }

    /// Waits for the queue ID of a message that was handed to cleanup last, and logs whose it is. This comes before
    /// anything else that is done or logged after the reply to the command that opened it.
    pub(crate) fn begin_handover(&mut self) {
        let destination = self.transaction_mut().and_then(Transaction::destination_mut);
        if destination.is_some_and(Destination::begin)
            && let Some(transaction) = self.transaction()
        {
            self.log_client(transaction, transaction.queue_id());
        }
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
        let mut filters = std::mem::take(&mut self.milters.filters);
        let started = self.with_transaction(|session, transaction| {
            let Transaction { envelope, progress: Progress::Recipients(Some(destination)), .. } = transaction
            else {
                return Err(Refusal::ours(replies::NO_VALID_RECIPIENTS));
            };
            if let Destination::Cleanup(handover) = destination
                && !filters.is_empty()
                && !envelope.actions.discard
            {
                handover.milters(&mut filters);
            }
            destination.data(envelope, command)?;
            for line in &envelope.actions.prepend {
                destination.content(line, Dots::Plain, Piece::Last);
            }
            let proxied = matches!(destination, Destination::Proxy(_));
            if !(proxied && envelope.origin.forwarded) {
                let header = received::lines(&session.source(), envelope, destination.queue_id());
                for line in header.strip_suffix(b"\n").unwrap_or(&header).split(|&byte| byte == b'\n') {
                    destination.content(line, Dots::Plain, Piece::Last);
                }
            }
            transaction.begin(how, rules);
            Ok(())
        });
        self.milters.filters = filters;
        started.unwrap_or_else(|| Err(Refusal::ours(replies::NEED_RCPT)))
    }

    fn message_mut(&mut self) -> Option<&mut Message> {
        self.transaction_mut().and_then(Transaction::message_mut)
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

    /// Takes bytes of a BDAT chunk; they are dropped when an error stands.
    pub(crate) fn chunk_bytes(&mut self, bytes: &[u8]) {
        self.watch_chunk(bytes);
        if self.refused_chunk.is_none()
            && let Some(message) = self.message_mut()
        {
            message.chunk_bytes(bytes);
            let noted = message.receiving.noted;
            self.statistics.bare_newlines |= noted;
        }
    }

    /// BDAT has been used, and was neither ended nor forgotten.
    pub(crate) fn is_chunked(&self) -> bool {
        match &self.phase {
            Phase::Idle(upcoming) => upcoming.discards_chunks,
            Phase::Mail(transaction) => transaction.is_chunked(),
        }
    }

    /// Whether chunks are of no use.
    pub(crate) fn discards_chunks(&self) -> bool {
        match &self.phase {
            Phase::Idle(upcoming) => upcoming.discards_chunks,
            Phase::Mail(transaction) => matches!(transaction.progress, Progress::Discarding(_)),
        }
    }

    /// Whether the chunk is not even read: it is of no use, and much more is announced than a message may have.
    pub(crate) fn ends_input(&self) -> bool {
        let limit = self.params.message_size_limit;
        self.refused_chunk.is_some()
            && self.params.access.dialect.ends_input()
            && limit > 0
            && self.chunks_announced > limit.saturating_add(limit / 2)
    }

    /// Chunks that follow are of no use.
    fn discard_chunks(&mut self) {
        match &mut self.phase {
            Phase::Idle(upcoming) => upcoming.discards_chunks = true,
            Phase::Mail(transaction) => transaction.discard_chunks(),
        }
    }

    /// The chunk has been read: answers it, and ends the message after the last one.
    pub(crate) fn chunk_end(&mut self, chunk: Chunk) -> Step {
        if let Some(refusal) = self.refused_chunk.take() {
            self.refuse(refusal);
            self.settle(Settled::Failed);
            if chunk.last {
                self.reset();
                self.transcript_end();
            } else {
                self.discard_chunks();
            }
            return if self.hangup { Step::Close } else { Step::Next };
        }
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
        self.settle(Settled::Succeeded);
        Step::Next
    }

    /// What has been received of the message.
    pub fn receiving(&self) -> Option<&Receiving> {
        self.transaction().and_then(Transaction::receiving)
    }

    /// Content is complete: the last restrictions, then the destination's verdict, then the reply.
    pub fn end_of_message(&mut self, chunk: Option<Chunk>) -> Step {
        if chunk.is_none_or(|chunk| chunk.last) {
            self.stage = "END-OF-MESSAGE";
            metrics::stage(self.stage, Activity::Work);
        }
        let bad = self.receiving().is_none_or(Receiving::is_bad);
        let content = if bad { Content::Bad } else { Content::Good };
        if content == Content::Good
            && let Some(text) = self.check_end_of_data()
        {
            self.abandon();
            self.reply(text);
            self.settle(Settled::Failed);
        } else {
            self.new_or_known(content, chunk);
        }
        self.reset();
        self.transcript_end();
        if chunk.is_some_and(|chunk| !chunk.last) {
            self.discard_chunks();
        }
        if self.hangup { Step::Close } else { Step::Next }
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
                self.settle(Settled::Succeeded);
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
        let (size, bare_newline, too_big) = self.receiving().map_or((0, false, false), |receiving| {
            (receiving.size, receiving.bare_newline, receiving.too_big)
        });
        if bare_newline {
            self.log_bare_newline();
        }
        let ended = self.with_transaction(|session, transaction| {
            let known = match transaction.finish(content)? {
                Ended::Known(outcome) => outcome,
                Ended::Unfiltered(message) => session.queue_unfiltered(transaction, *message),
                Ended::Divided(message) => return Some(Taken::Divided(message)),
            };
            Some(Taken::Whole(known))
        });
        let outcome = match ended.flatten() {
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
        self.settle(if accepted { Settled::Succeeded } else { Settled::Failed });
        reply
    }

    /// The log line for a bare newline, in a command or in content.
    pub(crate) fn log_bare_newline(&self) {
        let only = self.envelope().filter(|envelope| envelope.recipients == 1);
        let rcpt = only.and_then(|envelope| envelope.first_recipient.as_deref());
        log::reject(&self.request(self.sender(), rcpt), self.stage, b"bare <LF> received");
    }

    /// Bytes of content so far, for the log line when the client vanishes in its middle.
    pub(crate) fn content_bytes(&self) -> Option<u64> {
        // A DATA between chunks has no content.
        let stage = if self.is_chunked() { "BDAT" } else { "DATA" };
        let receiving = self.receiving().filter(|_| self.stage == stage)?;
        Some(receiving.size + receiving.rest.len() as u64)
    }
}
