//! The envelope segment (spec cleanup 4).

use std::time::{SystemTime, UNIX_EPOCH};

use ipc::cleanup::{Flags, Status};
use queue::{ArrivalTime, Attribute, RecordType, attr, qmgr_flags, sendopts, warning_time};

use crate::attributes::Attributes;
use crate::journal::show;
use crate::message::{Message, Segment};
use crate::recipients::MalformedNotify;
use ipc::rewrite::Rule;

/// The most of a malformed attribute that a log line shows.
const SHOWN_ATTRIBUTE: usize = 100;

/// Which rewriting the header addresses get (`rewrite_context`).
pub(crate) type Context = Option<Rule>;

/// What the envelope says about the whole message.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) time: Option<ArrivalTime>,
    pub(crate) full_name: Option<Vec<u8>>,
    /// Internal form, rewritten.
    pub(crate) sender: Option<Vec<u8>>,
    pub(crate) warning: bool,
    pub(crate) verp_delimiters: Option<Vec<u8>>,
    pub(crate) envelope_id: Vec<u8>,
    pub(crate) ret_flags: i64,
    pub(crate) context: Context,
    /// Last value by name.
    pub(crate) attributes: Attributes,
}

impl Default for Envelope {
    fn default() -> Self {
        let mut attributes = Attributes::default();
        attributes.set(attr::LOG_MESSAGE_ORIGIN.as_bytes(), b"local");
        Envelope {
            time: None,
            full_name: None,
            sender: None,
            warning: false,
            verp_delimiters: None,
            envelope_id: Vec::new(),
            ret_flags: 0,
            context: Some(Rule::Local),
            attributes,
        }
    }
}

impl Envelope {
    /// The last value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&[u8]> {
        self.attributes.get(name.as_bytes())
    }
}

/// A record with its attribute, if it is one, taken apart.
pub(crate) struct Parsed<'r> {
    /// The type that decides what is done: a pseudo type where an attribute stands for one.
    pub(crate) kind: RecordType,
    /// The data, or the attribute's value when it stands for a pseudo type.
    pub(crate) data: &'r [u8],
    /// The attribute.
    pub(crate) attribute: Option<Attribute<'r>>,
}

impl Message<'_> {
    pub(crate) fn envelope_record(&mut self, kind: RecordType, data: &[u8]) {
        match kind {
            RecordType::FLAGS => return self.extra_flags(data),
            RecordType::MILTER_COUNT => return self.milters(data),
            _ => {}
        }
        let Some(parsed) = self.parse(kind, data) else { return };
        if !parsed.kind.is_envelope() {
            log::warn!("{}: message rejected: unexpected record type {} in envelope", self.id, parsed.kind.0);
            return self.fail(Status::BAD);
        }
        if !self.recipients.started && kind.is_envelope_recipient() && !self.start_recipients() {
            return;
        }
        match parsed.kind {
            RecordType::MESSAGE => self.envelope_end(),
            _ if parsed.kind.is_envelope_recipient() && parsed.kind != RecordType::KILL => {
                self.recipient_record(&parsed, &MalformedNotify { dsn: "DSN", shown: data });
            }
            _ => self.envelope_meta(kind, data, &parsed),
        }
    }

    /// Takes an attribute apart; `None` when the record ends here.
    pub(crate) fn parse<'r>(&mut self, kind: RecordType, data: &'r [u8]) -> Option<Parsed<'r>> {
        if kind != RecordType::ATTR {
            return Some(Parsed { kind, data, attribute: None });
        }
        let attribute = match Attribute::parse(data) {
            Ok(attribute) => attribute,
            Err(error) => {
                let text = show(data.get(..SHOWN_ATTRIBUTE).unwrap_or(data));
                log::warn!("{}: message rejected: malformed attribute: {error}: {text}", self.id);
                self.fail(Status::BAD);
                return None;
            }
        };
        if attribute.value.is_empty() {
            let name = show(attribute.name);
            log::warn!("{}: spurious null attribute value for \"{name}\" -- ignored", self.id);
            return None;
        }
        Some(match attribute.pseudo_type() {
            Some(kind) => Parsed { kind, data: attribute.value, attribute: Some(attribute) },
            None => Parsed { kind, data, attribute: Some(attribute) },
        })
    }

    /// The first recipient record, or `M`: sender and time must be there. False when they are not.
    fn start_recipients(&mut self) -> bool {
        let missing = match (&self.envelope.sender, self.envelope.time) {
            (None, _) => "sender",
            (_, None) => "time",
            _ => "",
        };
        if !missing.is_empty() {
            log::warn!("{}: message rejected: missing {missing} envelope record", self.id);
            self.fail(Status::BAD);
            return false;
        }
        let delay = self.shared.params.delay_warning_time;
        let has_sender = self.envelope.sender.as_ref().is_some_and(|sender| !sender.is_empty());
        if !self.envelope.warning && has_sender && !delay.is_zero() {
            let arrival = self.envelope.time.map_or(0, |time| time.sec);
            let delay = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
            self.put(RecordType::WARN, &warning_time(arrival.saturating_add(delay)));
        }
        self.recipients.started = true;
        true
    }

    fn envelope_end(&mut self) {
        self.put_placeholder();
        self.put(RecordType::MESSAGE, b"");
        self.size.data_offset = self.offset();
        self.start_content();
        self.segment = Segment::Content;
    }

    fn envelope_meta(&mut self, kind: RecordType, data: &[u8], parsed: &Parsed<'_>) {
        if self.recipients.started {
            self.size.qmgr_flags |= qmgr_flags::MIXED_RECIPIENTS;
        }
        match parsed.kind {
            RecordType::SIZE | RecordType::CREATE_TIME => {}
            RecordType::TIME => self.arrival_time(data),
            RecordType::FULL_NAME => {
                if self.envelope.full_name.is_none() {
                    self.envelope.full_name = Some(data.to_vec());
                    self.put(kind, data);
                }
            }
            RecordType::FROM => self.sender_record(data),
            RecordType::DSN_ENVID => self.envelope_id(kind, data, parsed.data),
            RecordType::DSN_RET => self.ret_flags(kind, data, parsed.data),
            RecordType::WARN => {
                if !self.envelope.warning {
                    self.envelope.warning = true;
                    self.put(kind, data);
                }
            }
            RecordType::VERP => self.verp_delimiters(data),
            RecordType::ATTR => self.attribute(data, parsed),
            _ => self.put(kind, data),
        }
    }

    fn arrival_time(&mut self, data: &[u8]) {
        if self.envelope.time.is_none() {
            // A time of 0 is none.
            self.envelope.time = ArrivalTime::parse(data).filter(|time| time.sec != 0);
            self.put(RecordType::TIME, data);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.put_formatted(RecordType::ATTR, format_args!("{}={now}", attr::CREATE_TIME));
    }

    fn sender_record(&mut self, data: &[u8]) {
        if self.envelope.sender.is_some() {
            log::warn!("{}: message rejected: multiple envelope sender records", self.id);
            return self.fail(Status::BAD);
        }
        const NULL_SENDER: &[u8] = b"MAILER-DAEMON";
        let mut sender = self.rewrite.rewrite_internal(text(data));
        let local = sender.get(..NULL_SENDER.len()).unwrap_or_default();
        if local.eq_ignore_ascii_case(NULL_SENDER)
            && sender.get(NULL_SENDER.len()) == Some(&b'@')
            && sender.eq_ignore_ascii_case(&self.rewrite.rewrite_internal(NULL_SENDER))
        {
            sender.clear();
        }
        if self.flags.contains(Flags::MAP)
            && self.shared.params.masquerade_classes.envelope_sender
            && let Some(masqueraded) = self.shared.masquerade.internal(&sender)
        {
            sender = masqueraded;
        }
        if self.needs_smtputf8(&sender) {
            self.size.sendopts |= sendopts::SMTPUTF8_SENDER;
        }
        self.put(RecordType::FROM, &sender);
        self.put_padding(RecordType::POINTER, sender.len());
        self.envelope.sender = Some(sender);
    }

    /// Whether an address has valid UTF-8 outside ASCII. Under autodetection SMTPUTF8 is then requested.
    pub(crate) fn needs_smtputf8(&mut self, address: &[u8]) -> bool {
        let needed =
            self.shared.params.smtputf8_enable && !address.is_ascii() && std::str::from_utf8(address).is_ok();
        if needed && self.flags.contains(Flags::SMTPUTF8_AUTODETECT) {
            self.size.sendopts |= sendopts::SMTPUTF8_REQUESTED;
        }
        needed
    }

    fn envelope_id(&mut self, kind: RecordType, data: &[u8], value: &[u8]) {
        if !value.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            log::warn!("{}: message rejected: bad DSN envelope ID record", self.id);
            return self.fail(Status::BAD);
        }
        self.envelope.envelope_id = value.to_vec();
        self.put(kind, data);
    }

    fn ret_flags(&mut self, kind: RecordType, data: &[u8], value: &[u8]) {
        match digits(value) {
            Some(flags @ (1 | 2)) => {
                self.envelope.ret_flags = flags;
                self.put(kind, data);
            }
            _ => {
                log::warn!("{}: message rejected: bad DSN RET record <{}>", self.id, show(data));
                self.fail(Status::BAD);
            }
        }
    }

    fn verp_delimiters(&mut self, data: &[u8]) {
        if self.envelope.verp_delimiters.is_some() {
            return;
        }
        let filter = &self.shared.params.verp_delimiter_filter;
        if self.envelope.sender.as_ref().is_none_or(Vec::is_empty) {
            log::warn!("{}: ignoring VERP request for null sender", self.id);
        } else if data.len() != 2 || !data.iter().all(|byte| filter.contains(byte)) {
            log::warn!("{}: ignoring bad VERP request: \"{}\"", self.id, show(data));
        } else {
            self.envelope.verp_delimiters = Some(data.to_vec());
            self.put(RecordType::VERP, data);
        }
    }

    fn attribute(&mut self, data: &[u8], parsed: &Parsed<'_>) {
        let Some(attribute) = parsed.attribute else { return };
        let limit = self.shared.params.queue_file_attribute_count_limit;
        if self.envelope.attributes.len() >= limit {
            log::warn!("{}: message rejected: attribute count exceeds limit {limit}", self.id);
            return self.fail(Status::BAD);
        }
        if attribute.name == attr::REWRITE_CONTEXT.as_bytes() {
            match attribute.value {
                b"local" => self.envelope.context = Some(Rule::Local),
                b"remote" if self.shared.params.remote_header_rewrite_domain.is_empty() => {
                    self.envelope.context = None;
                }
                b"remote" => self.envelope.context = Some(Rule::Remote),
                other => {
                    log::warn!("{}: message rejected: bad rewriting context: {}", self.id, show(other));
                    return self.fail(Status::BAD);
                }
            }
        }
        if attribute.name == attr::TRACE_FLAGS.as_bytes() && digits(attribute.value).is_none() {
            log::warn!("{}: message rejected: bad TFLAG record <{}>", self.id, show(data));
            return self.fail(Status::BAD);
        }
        self.envelope.attributes.set(attribute.name, attribute.value);
        self.put(RecordType::ATTR, data);
    }
}

/// An address of the client's. Postfix takes it for a C string.
pub(crate) fn text(data: &[u8]) -> &[u8] {
    data.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number that is all digits.
pub(crate) fn digits(text: &[u8]) -> Option<i64> {
    let all = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if all { queue::leading_number(text) } else { None }
}
