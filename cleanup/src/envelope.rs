//! What the envelope says about the whole message, and the records that say it (spec cleanup 4).

use std::time::{SystemTime, UNIX_EPOCH};

use addressing::Addressing;
use ipc::cleanup::Status;
use ipc::rewrite::Rule;
use maillog::shown;
use queue::{
    ArrivalTime, Attributes, RecordType, SizeRecord, attr, digits, sendopts, until_nul, warning_time,
};

use crate::output::{Output, Place};
use crate::params::CleanupParams;
use crate::record::Record;

/// In `trace_flags`: the message is a probe.
const MTA_PROBE: i64 = 256;

/// The envelope without its recipients.
#[derive(Clone)]
pub(crate) struct Envelope<'p> {
    params: &'p CleanupParams,
    time: Option<ArrivalTime>,
    full_name: Option<Vec<u8>>,
    /// Internal form, rewritten.
    sender: Option<Vec<u8>>,
    /// A record said when to warn.
    has_warning: bool,
    verp_delimiters: Option<Vec<u8>>,
    envelope_id: Vec<u8>,
    ret_flags: i64,
    /// Which rewriting the header addresses get (`rewrite_context`).
    context: Option<Rule>,
    /// Last value by name.
    attributes: Attributes,
}

impl<'p> Envelope<'p> {
    /// An envelope of which nothing is known yet.
    pub(crate) fn new(params: &'p CleanupParams) -> Self {
        let mut attributes = Attributes::default();
        attributes.set(attr::LOG_MESSAGE_ORIGIN.as_bytes(), b"local");
        Envelope {
            params,
            time: None,
            full_name: None,
            sender: None,
            has_warning: false,
            verp_delimiters: None,
            envelope_id: Vec::new(),
            ret_flags: 0,
            context: Some(Rule::Local),
            attributes,
        }
    }

    /// When the message arrived; 0 when that is not known.
    pub(crate) fn arrival(&self) -> ArrivalTime {
        self.time.unwrap_or_default()
    }

    /// The local sender's name.
    pub(crate) fn full_name(&self) -> &[u8] {
        self.full_name.as_deref().unwrap_or_default()
    }

    /// The sender, if it has come: in internal form, rewritten.
    pub(crate) fn sender(&self) -> Option<&[u8]> {
        self.sender.as_deref()
    }

    /// The characters for VERP, if it was asked for.
    pub(crate) fn verp_delimiters(&self) -> Option<&[u8]> {
        self.verp_delimiters.as_deref()
    }

    /// ENVID, decoded.
    pub(crate) fn envelope_id(&self) -> &[u8] {
        &self.envelope_id
    }

    /// RET: 1 is FULL, 2 is HDRS, 0 nothing.
    pub(crate) fn ret_flags(&self) -> i64 {
        self.ret_flags
    }

    /// Which rewriting the header addresses get, if any.
    pub(crate) fn context(&self) -> Option<Rule> {
        self.context
    }

    /// Whether the message only asks if its recipients can be delivered to.
    pub(crate) fn is_probe(&self) -> bool {
        let flags = self.attribute(attr::TRACE_FLAGS).and_then(digits);
        flags.is_some_and(|flags| flags & MTA_PROBE != 0)
    }

    /// The last value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&[u8]> {
        self.attributes.get(name.as_bytes())
    }

    /// At the first recipient record, or `M`: sender and time must be there. False when they are not.
    pub(crate) fn is_ready(&self, output: &mut Output) -> bool {
        let (sender, time) = match (&self.sender, self.time) {
            (Some(sender), Some(time)) => (sender, time),
            (sender, _) => {
                let missing = if sender.is_none() { "sender" } else { "time" };
                log::warn!("{}: message rejected: missing {missing} envelope record", output.id());
                output.fail(Status::BAD);
                return false;
            }
        };
        let delay = self.params.delay_warning_time;
        if !self.has_warning && !sender.is_empty() && !delay.is_zero() {
            let delay = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
            output.put(RecordType::WARN, &warning_time(time.sec.saturating_add(delay)));
        }
        true
    }

    /// Takes a record that is no recipient's.
    pub(crate) fn record(
        &mut self,
        record: &Record<'_>,
        addressing: &mut Addressing<'_>,
        output: &mut Output,
    ) {
        let (kind, data) = (record.raw_kind, record.raw_data);
        match record.kind {
            // What a submitter asks for, or asked for before the message was queued again.
            RecordType::SIZE if self.params.dialect.knows_requiretls() => {
                let options = SizeRecord::parse(data).map_or(0, |size| size.sendopts);
                output.send_with(options & (sendopts::SMTPUTF8_REQUESTED | sendopts::REQUIRETLS));
            }
            RecordType::SIZE | RecordType::CREATE_TIME => {}
            RecordType::TIME => self.arrival_time(data, output),
            RecordType::FULL_NAME => {
                if self.full_name.is_none() {
                    self.full_name = Some(data.to_vec());
                    output.put(kind, data);
                }
            }
            RecordType::FROM => self.sender_record(data, addressing, output),
            RecordType::DSN_ENVID => self.envelope_id_record(record, output),
            RecordType::DSN_RET => self.ret_flags_record(record, output),
            RecordType::WARN => {
                if !self.has_warning {
                    self.has_warning = true;
                    output.put(kind, data);
                }
            }
            RecordType::VERP => self.verp_record(data, output),
            RecordType::ATTR => self.attribute_record(record, output),
            _ => output.put(kind, data),
        }
    }

    fn arrival_time(&mut self, data: &[u8], output: &mut Output) {
        if self.time.is_none() {
            // A time of 0 is none.
            self.time = ArrivalTime::parse(data).filter(|time| time.sec != 0);
            output.put(RecordType::TIME, data);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        output.put_formatted(RecordType::ATTR, format_args!("{}={now}", attr::CREATE_TIME));
    }

    fn sender_record(&mut self, data: &[u8], addressing: &mut Addressing<'_>, output: &mut Output) {
        if self.sender.is_some() {
            log::warn!("{}: message rejected: multiple envelope sender records", output.id());
            return output.fail(Status::BAD);
        }
        let sender = addressing.sender(until_nul(data), output);
        if self.params.needs_smtputf8(&sender) {
            output.has_utf8(sendopts::SMTPUTF8_SENDER);
        }
        self.put_sender(sender, output);
    }

    fn put_sender(&mut self, sender: Vec<u8>, output: &mut Output) {
        let at = output.end();
        output.put(RecordType::FROM, &sender);
        output.put_padding(RecordType::POINTER, sender.len());
        let next = output.end();
        output.places().sender = Place { at, next };
        self.sender = Some(sender);
    }

    /// A Milter has another sender, with DSN parameters if it says so.
    pub(crate) fn change_sender(
        &mut self,
        sender: Vec<u8>,
        envelope_id: Option<Vec<u8>>,
        ret_flags: i64,
        output: &mut Output,
    ) {
        if let Some(envelope_id) = envelope_id {
            output.put_attribute(attr::ENVELOPE_ID, &envelope_id);
            self.envelope_id = envelope_id;
        }
        if ret_flags != 0 {
            output.put_formatted(RecordType::ATTR, format_args!("{}={ret_flags}", attr::RET_FLAGS));
            self.ret_flags = ret_flags;
        }
        if self.params.needs_smtputf8(&sender) {
            output.has_utf8(sendopts::SMTPUTF8_SENDER);
        }
        self.put_sender(sender, output);
    }

    fn envelope_id_record(&mut self, record: &Record<'_>, output: &mut Output) {
        if !record.data.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            log::warn!("{}: message rejected: bad DSN envelope ID record", output.id());
            return output.fail(Status::BAD);
        }
        self.envelope_id = record.data.to_vec();
        output.put(record.raw_kind, record.raw_data);
    }

    fn ret_flags_record(&mut self, record: &Record<'_>, output: &mut Output) {
        let data = record.raw_data;
        match digits(record.data) {
            Some(flags @ (1 | 2)) => {
                self.ret_flags = flags;
                output.put(record.raw_kind, data);
            }
            _ => {
                log::warn!("{}: message rejected: bad DSN RET record <{}>", output.id(), shown(data));
                output.fail(Status::BAD);
            }
        }
    }

    fn verp_record(&mut self, data: &[u8], output: &mut Output) {
        if self.verp_delimiters.is_some() {
            return;
        }
        let filter = &self.params.verp_delimiter_filter;
        if self.sender.as_ref().is_none_or(Vec::is_empty) {
            log::warn!("{}: ignoring VERP request for null sender", output.id());
        } else if data.len() != 2 || !data.iter().all(|byte| filter.contains(byte)) {
            log::warn!("{}: ignoring bad VERP request: \"{}\"", output.id(), shown(data));
        } else {
            self.verp_delimiters = Some(data.to_vec());
            output.put(RecordType::VERP, data);
        }
    }

    fn attribute_record(&mut self, record: &Record<'_>, output: &mut Output) {
        let Some(attribute) = record.attribute else { return };
        let limit = self.params.queue_file_attribute_count_limit;
        if self.attributes.count() >= limit {
            log::warn!("{}: message rejected: attribute count exceeds limit {limit}", output.id());
            return output.fail(Status::BAD);
        }
        if attribute.name == attr::REWRITE_CONTEXT.as_bytes() {
            match attribute.value {
                b"local" => self.context = Some(Rule::Local),
                b"remote" if self.params.remote_header_rewrite_domain.is_empty() => self.context = None,
                b"remote" => self.context = Some(Rule::Remote),
                other => {
                    let other = shown(other);
                    log::warn!("{}: message rejected: bad rewriting context: {other}", output.id());
                    return output.fail(Status::BAD);
                }
            }
        }
        let data = record.raw_data;
        if attribute.name == attr::TRACE_FLAGS.as_bytes() && digits(attribute.value).is_none() {
            log::warn!("{}: message rejected: bad TFLAG record <{}>", output.id(), shown(data));
            return output.fail(Status::BAD);
        }
        self.attributes.set(attribute.name, attribute.value);
        output.put(RecordType::ATTR, data);
    }
}
