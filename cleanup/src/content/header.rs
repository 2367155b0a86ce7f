//! Headers: what is done with each one, and how one is written (spec cleanup 10).

use ipc::cleanup::{Flags, Status};
use message::Text;
use message::header::{self, Addresses, Known, Name};
use message::mime::{Header, Section};
use queue::{RecordType, sendopts};

use crate::journal::show;
use crate::message::Message;

/// Longest header when a Milter may look at it.
const MILTER_HEADER_LIMIT: usize = 60_000;

impl Message<'_> {
    pub(crate) fn process_header(&mut self, section: Section, header: Header<'_>) {
        let Some(known) = header.known else {
            if !(section == Section::Primary && self.is_dropped(&header)) {
                self.put_header(header.text);
            }
            return;
        };
        if known.id == Name::Received {
            self.content.hops += 1;
        }
        if known.id == Name::ContentTransferEncoding {
            self.detect_encoding(header.text);
        }
        if section != Section::Primary || known.mime {
            return self.put_header(header.text);
        }
        self.see(known, header.text);
        if !self.output_ok() {
            return;
        }
        if known.resent {
            self.content.resent = true;
        }
        let dropped = self.is_dropped(&header);
        match (known.addresses, self.envelope.context) {
            (Addresses::None, _) | (_, None) => {
                if !dropped {
                    self.put_header(header.text);
                }
            }
            (addresses, Some(rule)) => {
                let rewritten = self.rewrite_header(header.text, header.name_length, addresses, rule);
                if !dropped {
                    self.put_header(rewritten.as_deref().unwrap_or(header.text));
                }
            }
        }
    }

    /// Notes a header of the primary header, logs its message ID, counts hops.
    fn see(&mut self, known: &Known, text: &[u8]) {
        self.content.seen.insert(known.id);
        match known.id {
            Name::MessageId => {
                log::info!("{}: message-id={}", self.id, show(header::value(text)));
            }
            Name::ResentMessageId => {
                log::info!("{}: resent-message-id={}", self.id, show(header::value(text)));
            }
            Name::Received if self.content.hops >= self.shared.params.hopcount_limit => {
                log::warn!("{}: message rejected: hopcount exceeded", self.id);
                self.fail(Status::HOPS);
            }
            _ => {}
        }
    }

    fn is_dropped(&self, header: &Header<'_>) -> bool {
        let name = header.text.get(..header.name_length).unwrap_or_default();
        let drop = &self.shared.params.message_drop_headers;
        drop.iter().any(|dropped| name.eq_ignore_ascii_case(dropped.as_bytes()))
    }

    fn detect_encoding(&mut self, text: &[u8]) {
        let value = header::value(text);
        let eight_bit = value.eq_ignore_ascii_case(b"8bit") || value.eq_ignore_ascii_case(b"binary");
        if self.shared.params.detect_8bit_encoding_header && eight_bit {
            self.content.encoding = Some(b"8bit");
        }
    }

    /// Writes a header of the message, as far as `header_size_limit` goes: the line that would cross it is
    /// cut, or left out when more than nine tenths have been used before it.
    fn put_header(&mut self, text: &[u8]) {
        if self.shared.params.smtputf8_enable && !text.is_ascii() {
            self.size.sendopts |= sendopts::SMTPUTF8_HEADER;
            if self.flags.contains(Flags::SMTPUTF8_AUTODETECT) {
                self.size.sendopts |= sendopts::SMTPUTF8_REQUESTED;
            }
        }
        let mut limit = self.shared.params.header_size_limit;
        if self.reserve {
            limit = limit.min(MILTER_HEADER_LIMIT);
        }
        let mut used = 0;
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let room = limit.saturating_sub(used);
            if line.len() <= room {
                self.put_header_line(index, line);
                used += line.len() + 1;
                continue;
            }
            if used <= limit / 10 * 9 {
                self.put_header_line(index, line.get(..room).unwrap_or(line));
            }
            break;
        }
    }

    /// Writes a header that cleanup itself made. It has no limit, and does not say that the message needs
    /// SMTPUTF8.
    pub(crate) fn put_generated_header(&mut self, text: &[u8]) {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            self.put_header_line(index, line);
        }
    }

    /// Writes one line of a header; a further line begins with white space, a tab if it has none itself.
    fn put_header_line(&mut self, index: usize, line: &[u8]) {
        if index == 0 {
            self.put_text(Text::Line, line);
            self.put_padding(RecordType::PADDING, line.len());
        } else if matches!(line.first(), Some(b' ' | b'\t')) {
            self.put_text(Text::Line, line);
        } else {
            self.put_text(Text::Line, &[b"\t", line].concat());
        }
    }
}
