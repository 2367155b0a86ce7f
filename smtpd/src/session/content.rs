//! Message content: lines and chunks as they arrive, on their way to the destination (spec smtpd 2.9 and 2.10).
//!
//! A line comes whole or, above `line_length_limit`, in pieces. This file decides where the message ends, what a line
//! that ends in LF alone may do, and when the message is too big; it allocates nothing per line. How the dots of a
//! line are treated is the destination's matter.

use memchr::memchr;
use smtp::stream::LineEnd;

use crate::log;
use crate::mail::content::{Content, Dots, Piece};
use crate::mail::envelope::Envelope;
use crate::mail::refusal::Refusal;
use crate::proxy::ProxyConversation;
use crate::replies;
use crate::session::{Chunk, Session, Settled, Step};
use crate::settings::classes::Classes;
use crate::settings::params::BareNewline;
use crate::transaction::destination::{Destination, Outcome};
use crate::transaction::handover::Handover;
use crate::transaction::received;
use crate::transaction::receiving::{Chunking, Receiving};

/// Whether the message goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// Read on.
    Yes,
    /// That was the end of data.
    No,
}

impl Session<'_> {
    /// How lines of this client end.
    pub fn bare_newline(&self) -> BareNewline {
        if self.bare_newline_exempt { BareNewline::Accept } else { self.params.forbid_bare_newline }
    }

    /// Connects to cleanup or to the filter and hands over the envelope. The line in the log waits for cleanup's queue
    /// ID: see [`Self::begin_handover`].
    pub fn open_destination(&mut self) -> Result<(), Refusal> {
        let Some(mut transaction) = self.transaction.take() else {
            return Err(Refusal::generic());
        };
        let opened = self.connect(&mut transaction);
        self.transaction = Some(transaction);
        let destination = opened?;
        let named = matches!(destination, Destination::Proxy(_)) || destination.queue_id().is_some();
        self.destination = Some(destination);
        if named {
            self.log_client();
        }
        Ok(())
    }

    /// Waits for the queue ID of a message that was handed to cleanup last, and logs whose it is. This comes before
    /// anything else that is done or logged after the reply to the command that opened it.
    pub fn begin_handover(&mut self) {
        if self.destination.as_mut().is_some_and(Destination::begin) {
            self.log_client();
        }
    }

    fn connect(&self, transaction: &mut Envelope) -> Result<Destination, Refusal> {
        match &self.services.proxy {
            Some(proxy) => match ProxyConversation::open(proxy, transaction) {
                Ok(conversation) => Ok(Destination::Proxy(conversation)),
                Err(failure) => self.without_filter(proxy, failure, transaction),
            },
            None => Ok(Destination::Cleanup(Handover::open(&self.source(), transaction))),
        }
    }

    /// Asks the destination for leave to send content, and sends what stands above it: PREPEND lines and our
    /// Received: header.
    pub fn start_content(&mut self, command: &[u8]) -> Result<(), Refusal> {
        let size = self.receiving.size;
        self.receiving = Receiving { size, ..Receiving::default() };
        let (Some(transaction), Some(mut destination)) = (self.transaction.take(), self.destination.take())
        else {
            return Err(Refusal::generic());
        };
        let result = destination.data(&transaction, command);
        if result.is_ok() {
            self.receiving.started = true;
            for line in &transaction.actions.prepend {
                destination.content(line, Dots::Plain, Piece::Last);
            }
            let proxied = matches!(destination, Destination::Proxy(_));
            if !(proxied && transaction.origin.forwarded) {
                let header = received::lines(&self.source(), &transaction, destination.queue_id());
                for line in header.strip_suffix(b"\n").unwrap_or(&header).split(|&byte| byte == b'\n') {
                    destination.content(line, Dots::Plain, Piece::Last);
                }
            }
        }
        self.transaction = Some(transaction);
        self.destination = Some(destination);
        result
    }

    /// Takes one line, or a piece of one, after DATA.
    pub fn data_line(&mut self, line: &[u8], end: LineEnd) -> More {
        let start = self.receiving.line_start;
        let bare = end == LineEnd::BareLf;
        let mode = self.bare_newline();
        if start && line == b"." && end != LineEnd::Partial {
            // A lone dot ends the message only between two CRLF line ends; any other one is nobody's (RFC 5321
            // section 4.1.1.4 against message smuggling).
            if mode == BareNewline::Accept || !(bare || self.receiving.after_bare_newline) {
                return More::No;
            }
            self.receiving.after_bare_newline = bare;
            self.receiving.before_first_line = false;
            self.receiving.bare_newline |= bare && mode == BareNewline::Reject;
            return More::Yes;
        }
        if start && self.receiving.before_first_line {
            self.first_line(line);
        }
        self.receiving.bare_newline |= bare && mode == BareNewline::Reject;
        let piece = if end == LineEnd::Partial { Piece::More } else { Piece::Last };
        self.receiving.line_start = piece == Piece::Last;
        self.receiving.after_bare_newline = bare;
        self.write_content(line, Dots::Stuffed, piece);
        More::Yes
    }

    /// Keeps the first line from being taken for something else: `From ` lines are marked, a line that starts with
    /// white space must not continue our Received: header.
    fn first_line(&mut self, line: &[u8]) {
        let quoted = line.iter().position(|&byte| byte != b'>').unwrap_or(line.len());
        if line[quoted..].starts_with(b"From ") {
            self.write_uncounted(b"X-Mailbox-Line: ", Piece::More);
            return;
        }
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            self.write_uncounted(b"", Piece::Last);
        }
        self.receiving.before_first_line = false;
    }

    fn write_uncounted(&mut self, bytes: &[u8], piece: Piece) {
        if !self.receiving.is_bad()
            && let Some(destination) = self.destination.as_mut()
        {
            destination.content(bytes, Dots::Plain, piece);
        }
    }

    /// Writes a piece, unless the message has become bad; the line that made it so is not written either.
    fn write_content(&mut self, bytes: &[u8], dots: Dots, piece: Piece) {
        if self.receiving.is_bad() {
            return;
        }
        // To cleanup a stuffed dot does not go, so it does not count (observed, 3.7.11).
        let taken_off = dots == Dots::Stuffed
            && self.receiving.counted_line_start
            && bytes.first() == Some(&b'.')
            && self.services.proxy.is_none();
        self.receiving.counted_line_start = piece == Piece::Last;
        let length = bytes.len() as u64 + 2 - u64::from(taken_off);
        let limit = self.params.message_size_limit;
        if limit > 0 && limit.saturating_sub(self.receiving.size) < length {
            log::size_limit_exceeded(self.queue_id());
            self.receiving.too_big = true;
            return;
        }
        self.receiving.size += length;
        if let Some(destination) = self.destination.as_mut() {
            destination.content(bytes, dots, piece);
        }
    }

    /// Takes bytes of a BDAT chunk that is to be stored.
    pub fn chunk_bytes(&mut self, mut bytes: &[u8]) {
        while let Some(at) = memchr(b'\n', bytes) {
            self.chunk_part(&bytes[..at]);
            self.end_chunk_line();
            bytes = &bytes[at + 1..];
        }
        self.chunk_part(bytes);
    }

    /// Adds bytes to the unfinished line; what is above the line length goes out as pieces.
    fn chunk_part(&mut self, mut bytes: &[u8]) {
        let limit = self.params.line_length_limit;
        loop {
            let room = limit.saturating_sub(self.receiving.rest.len());
            let take = bytes.len().min(room);
            self.receiving.rest.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if bytes.is_empty() {
                return;
            }
            // A CR at the end may belong to the line end that follows.
            self.flush_rest(Piece::More);
        }
    }

    fn end_chunk_line(&mut self) {
        let mode = self.bare_newline();
        let rest = &mut self.receiving.rest;
        if rest.last() == Some(&b'\r') {
            rest.pop();
            while mode == BareNewline::Accept && rest.last() == Some(&b'\r') {
                rest.pop();
            }
        } else if mode == BareNewline::Reject {
            self.receiving.bare_newline = true;
        }
        self.flush_rest(Piece::Last);
    }

    fn flush_rest(&mut self, piece: Piece) {
        let mut rest = std::mem::take(&mut self.receiving.rest);
        self.write_content(&rest, Dots::Plain, piece);
        rest.clear();
        self.receiving.rest = rest;
    }

    /// The chunk has been read: answers it, and ends the message after the last one.
    pub fn chunk_end(&mut self, chunk: Chunk) -> Step {
        if let Some(refusal) = self.receiving.refusal.take() {
            self.refuse(refusal);
            self.settle(Settled::Failed);
            if chunk.last {
                self.reset();
                self.transcript_end();
            } else {
                self.receiving.started = false;
                self.chunking = Some(Chunking::Discarding);
            }
            return if self.hangup { Step::Close } else { Step::Next };
        }
        let bad = self.receiving.is_bad();
        if chunk.last {
            // A missing final newline is supplied.
            if !self.receiving.rest.is_empty() {
                self.flush_rest(Piece::Last);
            }
            return self.end_of_message(Some(chunk));
        }
        if bad {
            self.stage = "BDAT content";
            return self.end_of_message(Some(chunk));
        }
        self.reply(format!("250 2.0.0 Ok: {} bytes", chunk.size));
        self.settle(Settled::Succeeded);
        Step::Next
    }

    /// Content is complete: the last restrictions, then the destination's verdict, then the reply.
    pub fn end_of_message(&mut self, chunk: Option<Chunk>) -> Step {
        if chunk.is_none_or(|chunk| chunk.last) {
            self.stage = "END-OF-MESSAGE";
        }
        let content = if self.receiving.is_bad() { Content::Bad } else { Content::Good };
        if content == Content::Good
            && let Some(text) = self.check_end_of_data()
        {
            self.abandon();
            self.reply(text);
            self.settle(Settled::Failed);
        } else {
            self.verdict(content, chunk);
        }
        self.reset();
        self.transcript_end();
        if chunk.is_some_and(|chunk| !chunk.last) {
            self.chunking = Some(Chunking::Discarding);
        }
        if self.hangup { Step::Close } else { Step::Next }
    }

    /// Finishes the message and says what became of it.
    fn verdict(&mut self, content: Content, chunk: Option<Chunk>) {
        if self.receiving.bare_newline {
            self.log_bare_newline();
        }
        self.announced = None;
        let outcome = match (self.destination.take(), self.transaction.as_ref()) {
            (Some(destination), Some(transaction)) => destination.finish(transaction, content),
            _ => Outcome::Refused(Refusal::generic()),
        };
        if let Outcome::Answered { reply, accepted, .. } = &outcome {
            log::proxy_verdict(
                &self.request(self.sender(), self.first_recipient()),
                self.sasl.login.as_ref(),
                *accepted,
                reply,
            );
        }
        let outcome = match outcome {
            Outcome::Unfiltered(message) => self.queue_unfiltered(*message),
            Outcome::Divided(message) => self.answer_divided(*message),
            outcome => outcome,
        };
        let accepted = content == Content::Good && Self::is_accepted(&outcome);
        let (class, text) = match outcome {
            _ if self.receiving.bare_newline => {
                let code = self.params.forbid_bare_newline_reject_code;
                (Classes::PROTOCOL, replies::bare_newline(code, &self.params.myhostname).into_bytes())
            }
            _ if self.receiving.too_big => (Classes::BOUNCE, replies::MESSAGE_TOO_BIG.into()),
            Outcome::Queued(queue_id) => {
                let bytes = chunk.map(|_| format!(" {} bytes", self.receiving.size)).unwrap_or_default();
                (Classes::NONE, format!("250 2.0.0 Ok:{bytes} queued as {queue_id}").into_bytes())
            }
            Outcome::Answered { reply, class, .. } => (class, reply),
            Outcome::Refused(Refusal { text, class }) => (class, text),
            Outcome::Unfiltered(_) | Outcome::Divided(_) => (Classes::SOFTWARE, Refusal::generic().text),
        };
        if accepted {
            self.message_accepted();
        }
        self.transcript.error(class);
        self.reply(text);
        self.settle(if accepted { Settled::Succeeded } else { Settled::Failed });
    }

    /// The log line for a bare newline, in a command or in content.
    pub fn log_bare_newline(&self) {
        let transaction = self.transaction.as_ref();
        let sender = transaction.map(|transaction| &transaction.sender[..]);
        let rcpt = transaction
            .filter(|transaction| transaction.recipients == 1)
            .and_then(|transaction| transaction.first_recipient.as_deref());
        log::reject(&self.request(sender, rcpt), self.stage, b"bare <LF> received");
    }

    /// Bytes of content so far, for the log line when the client vanishes in its middle.
    pub fn content_bytes(&self) -> Option<u64> {
        let content = self.receiving.started && matches!(self.stage, "DATA" | "BDAT");
        content.then_some(self.receiving.size + self.receiving.rest.len() as u64)
    }
}
