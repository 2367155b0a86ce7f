//! The message of a transaction: where it goes, its beginning and its end (spec smtpd 2.9 and 2.10).
//!
//! What happens to each line and chunk in between is the work of [`crate::transaction::content`].

use std::mem;

use access::replies;
use access::settings::classes::Classes;
use metrics::Activity;
use smtp::stream::LineEnd;

use crate::log;
use crate::mail::content::{Content, Dots, Piece};
use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::refusal::Refusal;
use crate::proxy::{Answer, ProxyConversation};
use crate::session::standing::{Settled, Standing};
use crate::session::statistics::Verb;
use crate::session::{Chunk, Session, Step};
use crate::settings::params::BareNewline;
use crate::transaction::content::{Message, More};
use crate::transaction::destination::{Destination, Ended, Outcome};
use crate::transaction::handover::Handover;
use crate::transaction::phase::{InPhase, Phase};
use crate::transaction::receiving::{Receiving, Rules};
use crate::transaction::submission::Submission;
use crate::transaction::{By, Incoming, Recipients, received};

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

impl Session<'_, '_, Recipients> {
    /// Connects to cleanup or to the filter and hands over the envelope, unless that is done. The line in the log waits
    /// for cleanup's queue ID: see [`Self::begin_handover`].
    ///
    /// # Errors
    /// The reply, when there is no way to hand the message on.
    pub(crate) fn open_destination(&mut self) -> Result<(), Refusal> {
        let Self { standing, phase: Recipients { transaction, destination, .. } } = self;
        if destination.is_none() {
            let opened = standing.connect(&mut transaction.envelope)?;
            if matches!(opened, Destination::Proxy(_)) || opened.queue_id().is_some() {
                standing.log_client(transaction, opened.queue_id());
            }
            *destination = Some(opened);
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
}

impl Standing<'_> {
    /// Asks the destination for leave to send content, and sends what stands above it: PREPEND lines and our
    /// Received: header.
    ///
    /// # Errors
    /// The reply, when the destination does not want it.
    fn ask_for_leave(
        &mut self,
        envelope: &Envelope,
        destination: &mut Destination,
        command: &[u8],
    ) -> Result<Receiving, Refusal> {
        if let Destination::Cleanup(handover) = destination
            && !self.milters.filters.is_empty()
            && !envelope.actions.discard
        {
            handover.milters(&mut self.milters.filters);
        }
        destination.data(envelope, command)?;
        for line in &envelope.actions.prepend {
            destination.content(line, Dots::Plain, Piece::Last);
        }
        let proxied = matches!(destination, Destination::Proxy(_));
        if !(proxied && envelope.origin.forwarded) {
            let header = received::lines(&self.source(), envelope, destination.queue_id());
            for line in header.strip_suffix(b"\n").unwrap_or(&header).split(|&byte| byte == b'\n') {
                destination.content(line, Dots::Plain, Piece::Last);
            }
        }
        Ok(Receiving::new(Rules {
            bare_newline: self.bare_newline(),
            size_limit: self.params.message_size_limit,
            line_length_limit: self.params.line_length_limit,
            marks_one_line: self.params.access.dialect.marks_one_line(),
            stuffed_dots_count: self.services.proxy.is_some(),
        }))
    }
}

impl Session<'_, '_, Incoming> {
    /// Takes one line, or a piece of one, after DATA.
    pub(crate) fn data_line(&mut self, line: &[u8], end: LineEnd) -> More {
        self.watch_line(line, end);
        let more = self.phase.message.data_line(line, end);
        self.note_bare_newlines();
        more
    }

    /// Takes bytes of a BDAT chunk.
    pub(crate) fn chunk_bytes(&mut self, bytes: &[u8]) {
        self.watch_chunk(bytes);
        self.phase.message.chunk_bytes(bytes);
        self.note_bare_newlines();
    }

    fn note_bare_newlines(&mut self) {
        let noted = self.phase.message.receiving.noted;
        self.statistics.bare_newlines |= noted;
    }
}

impl Standing<'_> {
    /// Finishes the message: the last restrictions, then the destination's verdict, then the reply.
    fn finish(&mut self, mut incoming: Incoming, chunk: Option<Chunk>) {
        let mut session = Session::new(self, &mut incoming);
        let content = if session.phase.message.receiving.is_bad() { Content::Bad } else { Content::Good };
        if content == Content::Good
            && let Some(text) = session.check_end_of_data()
        {
            self.without_verdict(incoming, text, verb(chunk), Settled::Failed);
            return;
        }
        // It may have been accepted before, and its client not have heard so.
        let is_whole = content == Content::Good && chunk.is_none_or(|chunk| chunk.last);
        let watched = if is_whole { session.watch_end() } else { None };
        match watched {
            None => {
                self.verdict(incoming, content, chunk);
            }
            Some((fingerprint, Some(reply))) => {
                log::duplicate(&session.request(session.sender(), session.first_recipient()), &reply);
                self.without_verdict(incoming, reply.clone(), verb(chunk), Settled::Succeeded);
                self.watch_reply(fingerprint, reply);
            }
            Some((fingerprint, None)) => {
                if let Some(reply) = self.verdict(incoming, content, chunk) {
                    self.watch_reply(fingerprint, reply);
                }
            }
        }
    }

    /// Finishes a message that its destination is not asked about.
    fn without_verdict(&mut self, incoming: Incoming, reply: Vec<u8>, verb: Verb, how: Settled) {
        let Incoming { mut transaction, message, .. } = incoming;
        message.destination.abort();
        Session::new(self, &mut transaction).reply(reply);
        self.settle(verb, how);
    }

    /// Finishes the message and says what became of it; the reply, when it was accepted.
    fn verdict(&mut self, mut incoming: Incoming, content: Content, chunk: Option<Chunk>) -> Option<Vec<u8>> {
        if incoming.message.receiving.bare_newline {
            Session::new(self, &mut incoming).log_bare_newline();
        }
        let Incoming { mut transaction, message: Message { destination, receiving }, .. } = incoming;
        // Whoever waits for the filter is not kept waiting for the verdict.
        transaction.announced = None;
        let ended = destination.finish(&transaction.envelope, content);
        let mut session = Session::new(self, &mut transaction);
        let outcome = match ended {
            Ended::Known(outcome) => {
                if let Outcome::Answered(Answer { reply, accepted, .. }) = &outcome {
                    let request = session.request(session.sender(), session.first_recipient());
                    log::proxy_verdict(&request, session.sasl.login.as_ref(), *accepted, reply);
                }
                outcome
            }
            Ended::Unfiltered(message) => session.standing.queue_unfiltered(session.phase, *message),
            Ended::Divided(message) => Outcome::Answered(session.answer_divided(*message)),
        };
        let accepted = content == Content::Good && outcome.is_accepted();
        let (class, text) = match outcome {
            _ if receiving.bare_newline => {
                let code = session.params.forbid_bare_newline_reject_code;
                let text = replies::bare_newline(code, &session.params.access.myhostname);
                (Classes::PROTOCOL, text.into_bytes())
            }
            _ if receiving.too_big => (Classes::BOUNCE, replies::MESSAGE_TOO_BIG.into()),
            Outcome::Queued(queue_id) => {
                let bytes = chunk.map(|_| format!(" {} bytes", receiving.size)).unwrap_or_default();
                (Classes::NONE, format!("250 2.0.0 Ok:{bytes} queued as {queue_id}").into_bytes())
            }
            Outcome::Answered(Answer { reply, class, .. }) => (class, reply),
            Outcome::Refused(Refusal { text, class }) => (class, text),
        };
        session.milters.broken |= class == Classes::RESOURCE && !session.milters.filters.is_empty();
        if accepted {
            session.message_accepted();
        }
        session.transcript.error(class);
        let reply = (accepted && session.services.duplicates.is_some()).then(|| text.clone());
        session.reply(text);
        session.settle(verb(chunk), if accepted { Settled::Succeeded } else { Settled::Failed });
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
    /// Waits for the queue ID of a message that was handed to cleanup last, and logs whose it is. This comes before
    /// anything else that is done or logged after the reply to the command that opened it.
    pub(crate) fn begin_handover(&mut self) {
        let Some(session) = self.at_recipients() else { return };
        let Recipients { transaction, destination: Some(destination), .. } = session.phase else { return };
        if destination.begin() {
            session.standing.log_client(transaction, destination.queue_id());
        }
    }

    /// The message begins, if its destination gives leave: see [`Standing::ask_for_leave`]. `by` is the command that it
    /// comes with.
    ///
    /// # Errors
    /// The reply, when there is no message to come, or the destination does not want it.
    pub(crate) fn start_content(&mut self, command: &[u8], by: By) -> Result<(), Refusal> {
        let recipients = match mem::take(self.phase) {
            Phase::Recipients(recipients) => *recipients,
            other => {
                *self.phase = other;
                return Err(Refusal::ours(replies::NEED_RCPT));
            }
        };
        let Recipients { transaction, destination: Some(mut destination), discards_chunks } = recipients
        else {
            *self.phase = Phase::Recipients(Box::new(recipients));
            return Err(Refusal::ours(replies::NO_VALID_RECIPIENTS));
        };
        match self.ask_for_leave(&transaction.envelope, &mut destination, command) {
            Ok(receiving) => {
                let message = Message { destination, receiving };
                *self.phase = Phase::Content(Box::new(Incoming { transaction, message, by }));
                Ok(())
            }
            Err(refusal) => {
                let destination = Some(destination);
                *self.phase =
                    Phase::Recipients(Box::new(Recipients { transaction, destination, discards_chunks }));
                Err(refusal)
            }
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
        if let Phase::Content(incoming) = self.phase {
            if chunk.last {
                incoming.message.end_last_line();
            } else if !incoming.message.receiving.is_bad() {
                self.reply(format!("250 2.0.0 Ok: {} bytes", chunk.size));
                self.settle(Verb::Bdat, Settled::Succeeded);
                return Step::Next;
            } else {
                self.stage = "BDAT content";
            }
        }
        self.end_of_message(Some(chunk))
    }

    /// Content is complete: answers it, and ends the transaction.
    pub(crate) fn end_of_message(&mut self, chunk: Option<Chunk>) -> Step {
        if chunk.is_none_or(|chunk| chunk.last) {
            self.stage = "END-OF-MESSAGE";
            metrics::stage(self.stage, Activity::Work);
        }
        if let Phase::Content(incoming) = mem::take(self.phase) {
            self.finish(*incoming, chunk);
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
        let Phase::Content(incoming) = &*self.phase else { return None };
        let receiving = &incoming.message.receiving;
        // A DATA between chunks has no content.
        let stage = match incoming.by {
            By::Data => "DATA",
            By::Bdat => "BDAT",
        };
        (self.stage == stage).then_some(receiving.size + receiving.rest.len() as u64)
    }
}
