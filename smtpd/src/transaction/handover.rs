//! Hand-over of a message to `cleanup`: the envelope when it opens, recipients as they are accepted, content as it
//! arrives, the verdict at the end (spec smtpd 5; the stream of spec queue-file 15).
//!
//! A message that is not finished is cancelled by closing the connection: cleanup then removes the queue file. A write
//! that fails is remembered, and told at the end as a queue file write error.
//!
//! What cleanup says first, the queue ID, is read late: the client has its reply by then and is busy with its next
//! command while cleanup makes the file. Nobody sleeps for it. Until then records wait in the buffer, with a gap where
//! the queue ID goes.

use std::io::Write;
use std::mem;
use std::time::UNIX_EPOCH;

use access::local_header_rewrite::RewriteContext;
use access::replies::outcome;
use access::state::Actions;
use ipc::attr::Error;
use ipc::cleanup::{Client, Flags, Reply, Status, write_flags};
use ipc::client::{Stream, connect_wait};
use milter::Milters;
use queue::{RecordType, RecordWriter, attr};

use crate::mail::content::{Content, Dots, Lines, Piece};
use crate::mail::envelope::{Encoding, Envelope, Recipient, Ret};
use crate::mail::refusal::Refusal;
use crate::mail::source::Source;

/// Bytes collected before they are written to cleanup.
const BUFFER_SIZE: usize = 16 * 1024;
/// Room for the envelope and a short message, which then go out as one.
const SHORT: usize = 4 * 1024;
/// The most that a record's type and length take.
const RECORD_HEADER: usize = 5;

/// The connection to cleanup.
#[derive(Debug)]
enum Connection {
    /// The queue ID has not been read. The record with it goes to this place in the buffer, if it has one.
    Opening(Stream, Option<usize>),
    /// The queue ID is known.
    Open(Client),
    /// The queue ID could not be read: this is the end of the server.
    Lost,
}

/// A message on its way to cleanup.
#[derive(Debug)]
pub(crate) struct Handover {
    connection: Connection,
    records: RecordWriter<Vec<u8>>,
    failed: bool,
    lines: Lines,
}

impl Handover {
    /// Connects and prepares the envelope. Without cleanup there is nothing a server could do: it ends.
    pub(crate) fn open(source: &Source<'_>, envelope: &Envelope) -> Self {
        let params = source.params;
        let path = format!("public/{}", params.cleanup_service_name);
        let stream = match connect_wait(&path, params.access.ipc_timeout) {
            Ok(stream) => stream,
            Err(error) => {
                log::warn!("{error}");
                no_cleanup()
            }
        };
        let mut buffer = Vec::with_capacity(SHORT);
        let failed = write_flags(&mut buffer, flags(source, envelope)).is_err();
        let connection = Connection::Opening(stream, None);
        let mut handover =
            Self { connection, records: RecordWriter::new(buffer), failed, lines: Lines::default() };
        handover.envelope(source, envelope);
        handover
    }

    /// Reads the queue ID that cleanup chose, unless that is done; `true` when this was the time.
    pub(crate) fn begin(&mut self) -> bool {
        if matches!(self.connection, Connection::Open(_)) {
            return false;
        }
        let Connection::Opening(stream, gap) = mem::replace(&mut self.connection, Connection::Lost) else {
            no_cleanup()
        };
        let client = match Client::start(stream) {
            Ok(client) => client,
            Err(error) => {
                error.warn();
                no_cleanup()
            }
        };
        if let Some(gap) = gap {
            let end = self.records.get_ref().len();
            self.attribute(attr::LOG_IDENT, client.queue_id().as_bytes());
            let added = self.records.get_ref().len() - end;
            self.records.get_mut()[gap..].rotate_right(added);
        }
        self.connection = Connection::Open(client);
        true
    }

    /// The queue ID that cleanup chose, once it has been read.
    pub(crate) fn queue_id(&self) -> Option<&str> {
        match &self.connection {
            Connection::Open(client) => Some(client.queue_id()),
            Connection::Opening(..) | Connection::Lost => None,
        }
    }

    fn record(&mut self, kind: RecordType, data: &[u8]) {
        self.make_room(data.len());
        if !self.failed {
            self.failed = self.records.write(kind, data).is_err();
        }
    }

    fn attribute(&mut self, name: &str, value: &[u8]) {
        self.make_room(name.len() + 1 + value.len());
        if !self.failed {
            self.failed = self.records.write_attribute(name, value).is_err();
        }
    }

    /// Sends what is there, when a record of so many bytes would be too much.
    fn make_room(&mut self, length: usize) {
        if self.records.get_ref().len() + RECORD_HEADER + length > BUFFER_SIZE {
            self.send();
        }
    }

    /// Sends what is there. Before the queue ID is known nothing goes out.
    fn send(&mut self) {
        if let Connection::Open(client) = &mut self.connection {
            let buffer = self.records.get_mut();
            self.failed = self.failed || client.write_all(buffer).is_err();
            buffer.clear();
        }
    }

    fn optional_attribute(&mut self, name: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.attribute(name, value);
        }
    }

    /// The records before the first recipient, in Postfix's order.
    fn envelope(&mut self, source: &Source<'_>, envelope: &Envelope) {
        if source.milters && !envelope.actions.discard {
            // The conversations follow when the content does.
            self.record(RecordType::MILTER_COUNT, b"0");
        }
        let since = envelope.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.record(RecordType::TIME, format!("{} {}", since.as_secs(), since.subsec_micros()).as_bytes());
        if !source.params.content_filter.is_empty() {
            self.record(RecordType::FILTER, source.params.content_filter.as_bytes());
        }
        let origin = &envelope.origin;
        match (&origin.ident, &mut self.connection) {
            (None, Connection::Opening(_, gap)) => *gap = Some(self.records.get_ref().len()),
            (ident, _) => self.optional_attribute(attr::LOG_IDENT, ident.as_deref()),
        }
        let context = match origin.rewrite_context {
            RewriteContext::Local => "local",
            RewriteContext::Remote => "remote",
        };
        self.attribute(attr::REWRITE_CONTEXT, context.as_bytes());
        if let Some(login) = source.login {
            self.attribute(attr::SASL_METHOD, &login.method);
            self.attribute(attr::SASL_USERNAME, &login.username);
        }
        self.optional_attribute(attr::SASL_SENDER, envelope.sasl_sender.as_deref());
        self.optional_attribute(attr::ENVELOPE_ID, envelope.envelope_id.as_deref());
        match envelope.ret {
            Some(Ret::Full) => self.attribute(attr::RET_FLAGS, b"1"),
            Some(Ret::Headers) => self.attribute(attr::RET_FLAGS, b"2"),
            None => {}
        }
        self.record(RecordType::FROM, &envelope.sender);
        match envelope.encoding {
            Some(Encoding::EightBit) => self.attribute(attr::ENCODING, b"8bit"),
            Some(Encoding::SevenBit) => self.attribute(attr::ENCODING, b"7bit"),
            None => {}
        }
        self.client_attributes(source, envelope);
        if let Some(delimiters) = envelope.verp {
            self.record(RecordType::VERP, &delimiters);
        }
    }

    /// Who the client is: for the log as XFORWARD told, for decisions as it really is.
    fn client_attributes(&mut self, source: &Source<'_>, envelope: &Envelope) {
        let origin = &envelope.origin;
        self.attribute(attr::LOG_CLIENT_NAME, &origin.name);
        self.attribute(attr::LOG_CLIENT_ADDRESS, &origin.rfc_address);
        self.attribute(attr::LOG_CLIENT_PORT, &origin.port);
        self.attribute(attr::LOG_MESSAGE_ORIGIN, &origin.namaddr);
        self.optional_attribute(attr::LOG_HELO_NAME, origin.helo.as_deref());
        self.attribute(attr::LOG_PROTOCOL_NAME, &origin.protocol);
        let client = source.client;
        self.attribute(attr::CLIENT_NAME, &client.name);
        self.attribute(attr::REVERSE_CLIENT_NAME, &client.reverse_name);
        self.attribute(attr::CLIENT_ADDRESS, &client.address);
        self.attribute(attr::CLIENT_PORT, &client.port);
        self.attribute(attr::SERVER_ADDRESS, &client.server_address);
        self.attribute(attr::SERVER_PORT, &client.server_port);
        self.optional_attribute(attr::HELO_NAME, source.helo);
        self.attribute(attr::PROTOCOL_NAME, source.protocol.name().as_bytes());
        self.attribute(attr::CLIENT_ADDRESS_TYPE, client.address_type.to_string().as_bytes());
    }

    /// Adds a recipient. Cleanup hears of it when there is more to tell: each piece sent by itself would wake it.
    /// Trouble is told at the end.
    pub(crate) fn recipient(&mut self, rcpt: &Recipient) {
        if rcpt.notify != 0 {
            self.attribute(attr::NOTIFY_FLAGS, rcpt.notify.to_string().as_bytes());
        }
        self.attribute(attr::DSN_ORIG_RCPT, &rcpt.dsn_orig_rcpt);
        self.record(RecordType::RCPT, &rcpt.address);
    }

    /// Hands the conversations with mail filters over, so that they see the content. This comes before the content.
    pub(crate) fn milters(&mut self, milters: &mut Milters) {
        self.begin();
        self.record(RecordType::MILTER_COUNT, milters.active().to_string().as_bytes());
        self.send();
        if let (Connection::Open(client), false) = (&mut self.connection, self.failed)
            && let Err(failure) = milters.send(client.stream())
        {
            failure.warn();
            self.failed = true;
        }
    }

    /// Starts the content segment.
    pub(crate) fn start_content(&mut self, envelope: &Envelope) {
        self.action_flags(&envelope.actions);
        self.record(RecordType::MESSAGE, b"");
    }

    fn action_flags(&mut self, actions: &Actions) {
        let mut flags = Flags::empty();
        flags.set(Flags::HOLD, actions.hold);
        flags.set(Flags::DISCARD, actions.discard);
        if !flags.is_empty() {
            self.record(RecordType::FLAGS, flags.bits().to_string().as_bytes());
        }
    }

    /// Sends a piece of a line; a dot that was stuffed is taken off.
    pub(crate) fn content(&mut self, bytes: &[u8], dots: Dots, piece: Piece) {
        let (kind, bytes) = self.lines.record(bytes, dots, piece);
        self.record(kind, bytes);
    }

    /// Ends the message and reads the verdict: the queue ID.
    ///
    /// # Errors
    /// The reply that follows from cleanup's status.
    pub(crate) fn finish(mut self, envelope: &Envelope, content: Content) -> Result<String, Refusal> {
        if content == Content::Bad {
            self.abort();
            return Err(refusal(&Reply { status: Status::SIZE, reason: Vec::new() }));
        }
        self.extracted(&envelope.actions);
        let (queue_id, reply) = self.verdict();
        if reply.status.is_ok() { Ok(queue_id) } else { Err(refusal(&reply)) }
    }

    /// The records after the content.
    fn extracted(&mut self, actions: &Actions) {
        self.record(RecordType::EXTRACTED, b"");
        if let Some(filter) = &actions.filter {
            self.record(RecordType::FILTER, filter);
        }
        if let Some(redirect) = &actions.redirect {
            self.record(RecordType::REDIRECT, redirect);
        }
        for bcc in &actions.bcc {
            self.record(RecordType::RCPT, bcc);
            self.attribute(attr::NOTIFY_FLAGS, b"1");
        }
        self.action_flags(actions);
        self.record(RecordType::END, b"");
    }

    fn verdict(mut self) -> (String, Reply) {
        self.begin();
        self.send();
        let Connection::Open(client) = self.connection else { no_cleanup() };
        if self.failed {
            return (String::new(), Reply { status: Status::WRITE, reason: Vec::new() });
        }
        let queue_id = client.queue_id().to_string();
        let reply = client.answer().unwrap_or_else(|error| {
            error.warn();
            if matches!(error, Error::Timeout { .. }) {
                log::warn!("mail_stream_cleanup: close error");
            }
            Reply { status: Status::WRITE, reason: Vec::new() }
        });
        (queue_id, reply)
    }

    /// Closes the connection: cleanup deletes the queue file. That happens behind the last whole record: cleanup would
    /// complain about one cut in two (and as Postfix does, it may then find the message too large by itself).
    pub(crate) fn abort(mut self) {
        self.begin();
        self.send();
    }
}

/// Without cleanup a server is of no use.
fn no_cleanup() -> ! {
    maillog::fatal("unable to connect to the public cleanup service")
}

/// The options of the message.
fn flags(source: &Source<'_>, envelope: &Envelope) -> Flags {
    let params = source.params;
    let mut flags = Flags::SMTPD | Flags::SMTP_REPLY;
    if !source.milters {
        // Then cleanup's own list must not see the message either.
        flags.remove(Flags::MILTER);
    }
    flags.remove(params.access.receive_override.cleared);
    if envelope.smtputf8 {
        flags.insert(Flags::SMTPUTF8);
    } else if params.smtputf8_autodetect {
        flags.insert(Flags::SMTPUTF8_AUTODETECT);
    }
    if envelope.requiretls {
        flags.insert(Flags::REQUIRETLS);
    }
    flags
}

/// The refusal that follows from cleanup's status.
pub(crate) fn refusal(reply: &Reply) -> Refusal {
    let (class, text) = outcome::refusal(reply);
    Refusal { text, class }
}
