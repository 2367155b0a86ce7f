//! Addresses that are not delivered to here: new messages, by way of cleanup (spec local-delivery 8).
//!
//! All addresses that one `Delivered-To:` address and one sender send mail to get one message. Its envelope goes to cleanup as
//! the addresses come; the content follows when the recipient of the request has been expanded, unless something of it has to be
//! tried again: then nothing is sent now.

use std::io::{self, BufWriter};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::Globals;
use delivery::Delivery;
use ipc::cleanup::{Client, Flags, Status, write_flags};
use ipc::client::Stream;
use ipc::delivery::Request;
use queue::{RecordType, RecordWriter, attr};

use crate::attributes::Attributes;

/// Longest record that is read at once.
const RECORD_LIMIT: usize = 1 << 28;
/// No line that is made here is longer. One above `line_length_limit` is for cleanup to cut, by its own limit.
const LONGEST_LINE: usize = 1 << 16;
/// `sendopts`: the sender asked for SMTPUTF8.
const SMTPUTF8: i32 = 1;

/// The way to cleanup.
#[derive(Debug)]
pub(crate) struct Way {
    path: String,
    timeout: Duration,
    flags: Flags,
    received: String,
}

impl Way {
    pub(crate) fn new(globals: &Globals) -> Self {
        let mut flags = Flags::BOUNCE | Flags::INTERNAL;
        let classes = globals.smtputf8_autodetect_classes.split([',', ' ', '\t', '\r', '\n']);
        if classes
            .into_iter()
            .any(|word| ["forward", "all"].iter().any(|name| word.eq_ignore_ascii_case(name)))
        {
            flags |= Flags::SMTPUTF8_AUTODETECT;
        }
        Self {
            path: format!("public/{}", globals.cleanup_service_name),
            timeout: globals.ipc_timeout,
            flags,
            received: format!("Received: by {} ({})", globals.myhostname, globals.mail_name),
        }
    }
}

/// The messages of a recipient of the request.
#[derive(Debug, Default)]
pub(crate) struct Forwarding {
    messages: Vec<Message>,
}

/// A message that is not yet whole. Dropped, it is taken back.
#[derive(Debug)]
struct Message {
    delivered: Vec<u8>,
    sender: Vec<u8>,
    records: RecordWriter<BufWriter<Client>>,
    queue_id: String,
    /// The stream broke.
    failed: bool,
}

impl Forwarding {
    /// Adds an address. False, after a warning, when there is no way to do so.
    pub(crate) fn add(&mut self, way: &Way, request: &Request, attributes: &Attributes) -> bool {
        let is_same = |message: &Message| {
            message.delivered.eq_ignore_ascii_case(&attributes.delivered)
                && message.sender == attributes.sender
        };
        let at = match self.messages.iter().position(is_same) {
            Some(at) => at,
            None => match Message::begin(way, request, attributes) {
                Ok(message) => {
                    self.messages.push(message);
                    self.messages.len() - 1
                }
                Err(error) => {
                    log::warn!("connect to {}: {}", way.path, sys::error_text(&error));
                    return false;
                }
            },
        };
        let message = &mut self.messages[at];
        message.failed |= message.add(attributes).is_err();
        true
    }

    /// Sends each message; `tell` hears of the queue IDs of those that are safe. Returns whether all are.
    pub(crate) fn finish(
        self,
        way: &Way,
        delivery: &Delivery<'_>,
        with_delivered_to: bool,
        mut tell: impl FnMut(&str) -> bool,
    ) -> bool {
        let mut whole = true;
        for message in self.messages {
            let queue_id = message.queue_id.clone();
            let is_safe = !message.failed
                && message.finish(way, delivery, with_delivered_to).is_ok_and(|status| status.is_ok());
            whole &= is_safe && tell(&queue_id);
        }
        whole
    }
}

impl Message {
    fn begin(way: &Way, request: &Request, attributes: &Attributes) -> io::Result<Self> {
        let stream = Stream::connect(&way.path, way.timeout)?;
        let client = Client::start(stream).map_err(|error| {
            error.warn();
            io::Error::other(error.os_text())
        })?;
        let queue_id = client.queue_id().to_owned();
        let mut records = RecordWriter::new(BufWriter::new(client));
        let mut flags = way.flags;
        flags.set(Flags::SMTPUTF8, request.sendopts & SMTPUTF8 != 0);
        write_flags(records.get_mut(), flags)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        records
            .write_text(RecordType::TIME, format_args!("{} {}", since.as_secs(), since.subsec_micros()))?;
        records.write(RecordType::FROM, &attributes.sender)?;
        let ret_flags = attributes.ret_flags.to_string();
        let ret_flags = if attributes.ret_flags == 0 { b"" } else { ret_flags.as_bytes() };
        let origin = &request.origin;
        for (name, value) in [
            (attr::RET_FLAGS, ret_flags),
            (attr::ENVELOPE_ID, &attributes.envelope_id),
            (attr::LOG_CLIENT_NAME, &origin.client_name),
            (attr::LOG_CLIENT_ADDRESS, &origin.client_address),
            (attr::LOG_PROTOCOL_NAME, &origin.protocol_name),
            (attr::LOG_HELO_NAME, &origin.helo_name),
            (attr::SASL_METHOD, &origin.sasl_method),
            (attr::SASL_USERNAME, &origin.sasl_username),
            (attr::SASL_SENDER, &origin.sasl_sender),
            (attr::LOG_IDENT, &origin.log_ident),
            (attr::REWRITE_CONTEXT, &request.rewrite_context),
        ] {
            if !value.is_empty() {
                records.write_attribute(name, value)?;
            }
        }
        let Attributes { delivered, sender, .. } = attributes.clone();
        Ok(Self { delivered, sender, records, queue_id, failed: false })
    }

    fn add(&mut self, attributes: &Attributes) -> io::Result<()> {
        let recipient = &attributes.recipient;
        if !recipient.dsn_original.is_empty() {
            self.records.write_attribute(attr::DSN_ORIG_RCPT, &recipient.dsn_original)?;
        }
        if recipient.notify_flags != 0 {
            self.records
                .write_attribute(attr::NOTIFY_FLAGS, recipient.notify_flags.to_string().as_bytes())?;
        }
        if !recipient.original.is_empty() {
            self.records.write(RecordType::ORCPT, &recipient.original)?;
        }
        self.records.write(RecordType::RCPT, &recipient.address)
    }

    fn finish(mut self, way: &Way, delivery: &Delivery<'_>, with_delivered_to: bool) -> io::Result<Status> {
        let date = sys::time::local(SystemTime::now()).mail_date();
        let records = &mut self.records;
        records.write(RecordType::MESSAGE, b"")?;
        records.write_own_line(way.received.as_bytes(), LONGEST_LINE)?;
        records.write_own_line(format!("\tid {}; {date}", self.queue_id).as_bytes(), LONGEST_LINE)?;
        if with_delivered_to {
            let address = address::external(&self.delivered).to_ascii_lowercase();
            records.write_own_line(&[b"Delivered-To: ", &address[..]].concat(), LONGEST_LINE)?;
        }
        let mut content = delivery.content();
        let mut data = Vec::new();
        let end = loop {
            match content.read_normal(&mut data, RECORD_LIMIT).map_err(io::Error::other)? {
                Some(kind @ (RecordType::NORM | RecordType::CONT)) => records.write(kind, &data)?,
                other => break other,
            }
        };
        if end != Some(RecordType::EXTRACTED) {
            let code = end.map_or(-1, |kind| i32::from(kind.0));
            log::warn!("{}: bad record type: {code} in message content", self.queue_id);
            delivery.mark_corrupt();
            return Err(io::ErrorKind::InvalidData.into());
        }
        records.write(RecordType::EXTRACTED, b"")?;
        records.write(RecordType::END, b"")?;
        records.flush()?;
        let client = self.records.into_inner().into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(client.finish().status)
    }
}
