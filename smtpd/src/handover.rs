//! Hand-over of a message to `cleanup`: the envelope when it opens, recipients as they are accepted, content as it
//! arrives, the verdict at the end (smtpd chapter, section 5; the stream of queue-file chapter, section 15).
//!
//! A message that is not finished is cancelled by closing the connection: cleanup then removes the queue file. A write
//! that fails is remembered, and told at the end as a queue file write error.

use std::io::BufWriter;
use std::time::UNIX_EPOCH;

use ipc::cleanup::{Client, Flags, Reply, Status, write_flags};
use ipc::client::connect_wait;
use queue::{RecordType, RecordWriter};

use crate::destination::{Content, Dots, Outcome, Piece, Refusal, RewriteContext};
use crate::session::Session;
use crate::transaction::{Actions, Encoding, Recipient, Ret, Transaction};

/// Bytes collected before they are written to cleanup.
const BUFFER_SIZE: usize = 16 * 1024;

/// A message on its way to cleanup.
#[derive(Debug)]
pub struct Handover {
    queue_id: String,
    records: RecordWriter<BufWriter<Client>>,
    failed: bool,
    line_start: bool,
}

impl Handover {
    /// Connects and sends the envelope. Without cleanup there is nothing a server could do: it ends.
    pub fn open(session: &Session<'_>, transaction: &Transaction) -> Self {
        let params = session.params;
        let path = format!("public/{}", params.cleanup_service_name);
        let client = connect_wait(&path, params.ipc_timeout)
            .map_err(|error| log::warn!("{error}"))
            .and_then(|stream| Client::start(stream).map_err(|error| error.warn()));
        let Ok(client) = client else { maillog::fatal("unable to connect to the public cleanup service") };
        let queue_id = client.queue_id().to_string();
        let mut output = BufWriter::with_capacity(BUFFER_SIZE, client);
        let failed = write_flags(&mut output, flags(session, transaction)).is_err();
        let records = RecordWriter::new(output);
        let mut handover = Self { queue_id, records, failed, line_start: true };
        handover.envelope(session, transaction);
        handover
    }

    /// The queue ID that cleanup chose.
    pub fn queue_id(&self) -> &str {
        &self.queue_id
    }

    fn record(&mut self, kind: RecordType, data: &[u8]) {
        if !self.failed {
            self.failed = self.records.write(kind, data).is_err();
        }
    }

    fn attribute(&mut self, name: &str, value: &[u8]) {
        if !self.failed {
            self.failed = self.records.write_attribute(name, value).is_err();
        }
    }

    fn optional_attribute(&mut self, name: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.attribute(name, value);
        }
    }

    /// The records before the first recipient, in Postfix's order.
    fn envelope(&mut self, session: &Session<'_>, transaction: &Transaction) {
        let since = transaction.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.record(RecordType::TIME, format!("{} {}", since.as_secs(), since.subsec_micros()).as_bytes());
        if !session.params.content_filter.is_empty() {
            self.record(RecordType::FILTER, session.params.content_filter.as_bytes());
        }
        let origin = &transaction.origin;
        let queue_id = self.queue_id.clone();
        self.attribute("log_ident", origin.ident.as_deref().unwrap_or(queue_id.as_bytes()));
        let context = match origin.rewrite_context {
            RewriteContext::Local => "local",
            RewriteContext::Remote => "remote",
        };
        self.attribute("rewrite_context", context.as_bytes());
        if let Some(login) = &session.sasl.login {
            self.attribute("sasl_method", &login.method);
            self.attribute("sasl_username", &login.username);
        }
        self.optional_attribute("sasl_sender", transaction.sasl_sender.as_deref());
        self.optional_attribute("envelope_id", transaction.envelope_id.as_deref());
        match transaction.ret {
            Some(Ret::Full) => self.attribute("ret_flags", b"1"),
            Some(Ret::Headers) => self.attribute("ret_flags", b"2"),
            None => {}
        }
        self.record(RecordType::FROM, &transaction.sender);
        match transaction.encoding {
            Some(Encoding::EightBit) => self.attribute("encoding", b"8bit"),
            Some(Encoding::SevenBit) => self.attribute("encoding", b"7bit"),
            None => {}
        }
        self.client_attributes(session, transaction);
        if let Some(delimiters) = transaction.verp {
            self.record(RecordType::VERP, &delimiters);
        }
    }

    /// Who the client is: for the log as XFORWARD told, for decisions as it really is.
    fn client_attributes(&mut self, session: &Session<'_>, transaction: &Transaction) {
        let origin = &transaction.origin;
        self.attribute("log_client_name", &origin.name);
        self.attribute("log_client_address", &origin.rfc_address);
        self.attribute("log_client_port", &origin.port);
        self.attribute("log_message_origin", &origin.namaddr);
        self.optional_attribute("log_helo_name", origin.helo.as_deref());
        self.attribute("log_protocol_name", &origin.protocol);
        let client = &session.client;
        self.attribute("client_name", &client.name);
        self.attribute("reverse_client_name", &client.reverse_name);
        self.attribute("client_address", &client.address);
        self.attribute("client_port", &client.port);
        self.attribute("server_address", &client.server_address);
        self.attribute("server_port", &client.server_port);
        self.optional_attribute("helo_name", session.helo.as_deref());
        self.attribute("protocol_name", session.protocol.name().as_bytes());
        self.attribute("client_address_type", client.address_type.to_string().as_bytes());
    }

    /// Adds a recipient. Cleanup hears of it when there is more to tell: each piece sent by itself would wake it.
    ///
    /// # Errors
    /// Never: trouble is told at the end.
    pub fn recipient(&mut self, rcpt: &Recipient) -> Result<(), Refusal> {
        if rcpt.notify != 0 {
            self.attribute("notify_flags", rcpt.notify.to_string().as_bytes());
        }
        self.attribute("dsn_orig_rcpt", &rcpt.dsn_orig_rcpt);
        self.record(RecordType::RCPT, &rcpt.address);
        Ok(())
    }

    /// Starts the content segment.
    pub fn start_content(&mut self, transaction: &Transaction) {
        self.action_flags(&transaction.actions);
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
    pub fn content(&mut self, bytes: &[u8], dots: Dots, piece: Piece) {
        let bytes = match dots {
            Dots::Stuffed if self.line_start => bytes.strip_prefix(b".").unwrap_or(bytes),
            _ => bytes,
        };
        let kind = match piece {
            Piece::Last => RecordType::NORM,
            Piece::More => RecordType::CONT,
        };
        self.record(kind, bytes);
        self.line_start = piece == Piece::Last;
    }

    /// Ends the message and reads the verdict.
    pub fn finish(mut self, transaction: &Transaction, content: Content) -> Outcome {
        if content == Content::Bad {
            self.abort();
            return Outcome::Refused(refusal(&Reply { status: Status::SIZE, reason: Vec::new() }));
        }
        self.extracted(&transaction.actions);
        let (queue_id, reply) = self.verdict();
        if reply.status.is_ok() { Outcome::Queued(queue_id) } else { Outcome::Refused(refusal(&reply)) }
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
            self.attribute("notify_flags", b"1");
        }
        self.action_flags(actions);
        self.record(RecordType::END, b"");
    }

    fn verdict(self) -> (String, Reply) {
        let unwritten = Reply { status: Status::WRITE, reason: Vec::new() };
        if self.failed {
            self.forget();
            return (String::new(), unwritten);
        }
        let Self { queue_id, records, .. } = self;
        match records.into_inner().into_inner() {
            Ok(client) => (queue_id, client.finish()),
            Err(error) => {
                // What is left in the buffer is of no use; dropping it must not try to write it again.
                let _ = error.into_inner().into_parts();
                (queue_id, unwritten)
            }
        }
    }

    /// Closes the connection: cleanup deletes the queue file.
    pub fn abort(self) {
        self.forget();
    }

    /// Closes the connection behind the last whole record: cleanup would complain about one cut in two (and as Postfix
    /// does, it may then find the message too large by itself).
    fn forget(mut self) {
        self.failed |= !self.failed && self.records.flush().is_err();
        let _ = self.records.into_inner().into_parts();
    }
}

/// The options of the message.
fn flags(session: &Session<'_>, transaction: &Transaction) -> Flags {
    let params = session.params;
    let mut flags = Flags::SMTPD | Flags::SMTP_REPLY;
    // No Milter has seen the message here, so cleanup's own list must not see it either.
    flags.remove(Flags::MILTER);
    flags.remove(params.receive_override.cleared);
    if transaction.smtputf8 {
        flags.insert(Flags::SMTPUTF8);
    } else if params.smtputf8_autodetect {
        flags.insert(Flags::SMTPUTF8_AUTODETECT);
    }
    flags
}

/// The reply that follows from cleanup's status: the first row that applies (smtpd chapter, 5.5).
pub fn refusal(reply: &Reply) -> Refusal {
    let status = reply.status;
    let with_reason = |code: &str, default: &str| {
        let reason = if reply.reason.is_empty() { default.as_bytes() } else { &reply.reason[..] };
        [code.as_bytes(), b" ", reason].concat()
    };
    let text = if is_negative_reply(&reply.reason) {
        reply.reason.clone()
    } else if status.intersects(Status::DEFER) {
        with_reason("451", "4.7.1 Error: service unavailable")
    } else if status.intersects(Status::BAD) {
        internal_error(status)
    } else if status.intersects(Status::SIZE) {
        b"552 5.3.4 Error: message file too big".to_vec()
    } else if status.intersects(Status::HOPS) {
        b"554 5.4.0 Error: too many hops".to_vec()
    } else if status.intersects(Status::CONT) {
        with_reason("550", "5.7.1 Error: message content rejected")
    } else if status.intersects(Status::WRITE) {
        return Refusal::generic();
    } else {
        internal_error(status)
    };
    Refusal(text)
}

fn internal_error(status: Status) -> Vec<u8> {
    format!("451 4.3.0 Error: internal error {}", status.bits()).into_bytes()
}

/// A 4xx or 5xx code, then the end, a space or a hyphen.
fn is_negative_reply(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'4' | b'5'))
        && text.len() >= 3
        && text[1..3].iter().all(u8::is_ascii_digit)
        && matches!(text.get(3), None | Some(b' ' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::{Reply, Status, refusal};

    #[test]
    fn replies_of_each_status() {
        for (status, reason, expected) in [
            (8, "", "550 5.7.1 Error: message content rejected"),
            (8, "5.7.9 go away", "550 5.7.9 go away"),
            (8, "554 5.7.1 no", "554 5.7.1 no"),
            (8, "550-5.7.1 a\r\n550 5.7.1 b", "550-5.7.1 a\r\n550 5.7.1 b"),
            (256, "", "451 4.7.1 Error: service unavailable"),
            (256, "4.7.1 later", "451 4.7.1 later"),
            (1, "", "451 4.3.0 Error: internal error 1"),
            (6, "", "552 5.3.4 Error: message file too big"),
            (16, "", "554 5.4.0 Error: too many hops"),
            (2, "", "451 4.3.0 Error: queue file write error"),
            (64, "", "451 4.3.0 Error: internal error 64"),
            (512, "", "451 4.3.0 Error: internal error 512"),
        ] {
            let reply =
                Reply { status: Status::from_bits_retain(status), reason: reason.as_bytes().to_vec() };
            assert_eq!(refusal(&reply).0, expected.as_bytes(), "{status} {reason}");
        }
    }
}
