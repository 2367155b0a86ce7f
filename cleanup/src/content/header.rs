//! Headers: what is done with each one, and how one is written (spec cleanup 10).

use addressing::{AddressClass, Addressing};
use ipc::cleanup::Status;
use ipc::rewrite::Rule;
use maillog::shown;
use message::Text;
use message::header::{self, Addresses, Known, Name, Seen};
use message::mime::{Header, Section};
use queue::{RecordType, sendopts};

use crate::journal;
use crate::output::Output;
use crate::params::CleanupParams;

/// Longest header when a Milter may look at it.
const MILTER_HEADER_LIMIT: usize = 60_000;

/// The header by which REQUIRETLS outlives a hop that does not know it, since 3.11.
pub(super) const REQUIRE_TLS: &str = "Require-TLS-ESMTP";

/// Where a header stands. What takes the place of a MIME header counts as one, whatever its name is (observed, 3.7.11).
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) section: Section,
    pub(super) is_mime: bool,
}

impl Place {
    /// A header of the message itself, that says more than how a part is encoded.
    fn is_primary(self) -> bool {
        self.section == Section::Primary && !self.is_mime
    }
}

/// What the headers told so far.
#[derive(Debug)]
pub(crate) struct Headers<'p> {
    params: &'p CleanupParams,
    /// Headers of the primary header.
    pub(super) seen: Seen,
    /// A `Resent-` header was seen: missing headers are made for the resending.
    pub(super) is_resent: bool,
    /// `Received:` headers.
    pub(super) hops: usize,
    /// Nothing ends the primary header, and another header is to say so.
    pub(super) lacks_end: bool,
    /// `8bit` when a header says so.
    encoding: Option<&'static [u8]>,
    /// A header says that nothing but TLS will do.
    pub(super) requires_tls: bool,
    /// The first message ID that is one, as the queue file keeps it since 3.9.
    pub(super) message_id: Option<Vec<u8>>,
    /// The first `Received:`, which this system made, where Milters may not see it.
    pub(super) own_received: Vec<u8>,
}

impl<'p> Headers<'p> {
    /// No headers yet.
    pub(super) fn new(params: &'p CleanupParams) -> Self {
        Headers {
            params,
            seen: Seen::default(),
            is_resent: false,
            hops: 0,
            lacks_end: false,
            encoding: None,
            requires_tls: false,
            message_id: None,
            own_received: Vec::new(),
        }
    }

    /// `8bit` when a header says so.
    pub(super) fn encoding(&self) -> Option<&'static [u8]> {
        self.encoding
    }

    /// Counts a `Received:` header, before it is checked.
    pub(super) fn count_hop(&mut self, header: &Header<'_>) {
        if header.known.is_some_and(|known| known.id == Name::Received) {
            self.hops += 1;
        }
    }

    /// Takes one header in; its addresses are rewritten under the rule of `context`, if there is one.
    pub(super) fn header(
        &mut self,
        place: Place,
        header: &Header<'_>,
        context: Option<Rule>,
        addressing: &mut Addressing<'_>,
        output: &mut Output,
    ) {
        let Some(known) = header.known else {
            if place.is_primary() {
                self.note_tls(header, output);
            }
            if !(place.is_primary() && self.is_dropped(header)) {
                put(self.params, header.text, output);
            }
            return;
        };
        if known.id == Name::ContentTransferEncoding {
            self.detect_encoding(header.text);
        }
        if !place.is_primary() {
            return put(self.params, header.text, output);
        }
        self.see(known, header.text, output);
        if known.id == Name::Received && self.hops == 1 && output.reserves() {
            self.own_received = header.text.to_vec();
        }
        if !output.is_ok() {
            return;
        }
        if known.resent {
            self.is_resent = true;
        }
        let class = match known.addresses {
            Addresses::None => None,
            Addresses::Sender => Some(AddressClass::HeaderSender),
            Addresses::Recipient => Some(AddressClass::HeaderRecipient),
        };
        let mut rewritten = None;
        if let (Some(class), Some(rule)) = (class, context) {
            let limit = self.params.header_address_token_limit;
            rewritten = addressing::rewrite_header(header.text, header.name_length, limit, |address| {
                addressing.header(class, rule, address, output)
            });
        }
        if !self.is_dropped(header) {
            put(self.params, rewritten.as_deref().unwrap_or(header.text), output);
        }
    }

    /// Notes a header of the primary header, logs its message ID, counts hops.
    fn see(&mut self, known: &Known, text: &[u8], output: &mut Output) {
        self.seen.insert(known.id);
        match known.id {
            Name::MessageId => {
                journal::message_id(output.id(), header::value(text));
                self.note_message_id(header::value(text));
            }
            Name::ResentMessageId => {
                journal::resent_message_id(output.id(), header::value(text));
            }
            Name::Received if self.hops >= self.params.hopcount_limit => {
                log::warn!("{}: message rejected: hopcount exceeded", output.id());
                output.fail(Status::HOPS);
            }
            _ => {}
        }
    }

    /// Keeps a message ID, if it is the first: what stands in angle brackets at the start of the value.
    pub(super) fn note_message_id(&mut self, value: &[u8]) {
        if self.params.dialect.keeps_message_ids() && self.message_id.is_none() {
            let blank = |byte: &u8| if byte.is_ascii_control() { b' ' } else { *byte };
            self.message_id = bracketed(value).map(|id| id.iter().map(blank).collect());
        }
    }

    /// Notes what headers ask of the delivery: TLS where it should not count (RFC 8689), or nothing but TLS.
    fn note_tls(&mut self, header: &Header<'_>, output: &mut Output) {
        let name = header.text.get(..header.name_length).unwrap_or_default();
        let value = header::value(header.text);
        if name.eq_ignore_ascii_case(b"TLS-Required") && self.params.tls_required_enable {
            if value.eq_ignore_ascii_case(b"no") {
                output.send_with(sendopts::TLS_REQUIRED_NO);
            } else {
                log::warn!("ignoring malformed header: '{}'", shown(header.text));
            }
        } else if name.eq_ignore_ascii_case(REQUIRE_TLS.as_bytes()) && self.params.requiretls_esmtp_header {
            let is_yes = value.eq_ignore_ascii_case(b"yes");
            self.requires_tls |= is_yes;
            if is_yes {
                output.send_with(sendopts::REQUIRETLS);
            }
        }
    }

    fn is_dropped(&self, header: &Header<'_>) -> bool {
        let name = header.text.get(..header.name_length).unwrap_or_default();
        let drop = &self.params.message_drop_headers;
        drop.iter().any(|dropped| name.eq_ignore_ascii_case(dropped.as_bytes()))
    }

    fn detect_encoding(&mut self, text: &[u8]) {
        let value = header::value(text);
        let eight_bit = value.eq_ignore_ascii_case(b"8bit") || value.eq_ignore_ascii_case(b"binary");
        if self.params.detect_8bit_encoding_header && eight_bit {
            self.encoding = Some(b"8bit");
        }
    }
}

/// The value up to the angle bracket that closes its first byte (observed, 3.10.3: `<a> x` is `<a>`, `<<a>>` whole).
fn bracketed(value: &[u8]) -> Option<&[u8]> {
    let mut depth = 0_usize;
    for (at, byte) in value.iter().enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return value.get(..=at).filter(|_| at > 0);
        }
    }
    None
}

/// Writes a header of the message or of a Milter, as far as `header_size_limit` goes: the line that would cross it is
/// cut, or left out when more than nine tenths have been used before it.
pub(crate) fn put(params: &CleanupParams, text: &[u8], output: &mut Output) {
    if params.smtputf8_enable && !text.is_ascii() {
        output.has_utf8(sendopts::SMTPUTF8_HEADER);
    }
    let mut limit = params.header_size_limit;
    if output.reserves() {
        limit = limit.min(MILTER_HEADER_LIMIT);
    }
    let mut used = 0;
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let room = limit.saturating_sub(used);
        if line.len() <= room {
            put_line(index, line, output);
            used += line.len() + 1;
            continue;
        }
        if used <= limit / 10 * 9 {
            put_line(index, line.get(..room).unwrap_or(line), output);
        }
        break;
    }
}

/// Writes a header that cleanup itself made; those of a message's origin only up to 3.9. It has no limit, and does not say
/// that the message needs SMTPUTF8.
pub(super) fn put_generated(text: &[u8], output: &mut Output) {
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        put_line(index, line, output);
    }
}

/// Writes one line of a header; a further line begins with white space, a tab if it has none itself.
fn put_line(index: usize, line: &[u8], output: &mut Output) {
    if index == 0 {
        output.put_text(Text::Line, line);
        output.put_padding(RecordType::PADDING, line.len());
    } else if matches!(line.first(), Some(b' ' | b'\t')) {
        output.put_text(Text::Line, line);
    } else {
        output.put_text(Text::Line, &[b"\t", line].concat());
    }
}
