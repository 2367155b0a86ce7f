//! The MIME structure of a message, walked record by record.
//!
//! States: PRIMARY header -> BODY; after a boundary line MULTIPART header; after the header of
//! message/rfc822 or message/global NESTED header (spec cleanup 8.2). The walk keeps one header of at
//! most `header_size_limit` bytes plus one record, and at most `mime_nesting_limit` + 2 boundaries of
//! `mime_boundary_length_limit` bytes; what exceeds these is told as an error or dropped, never kept.
//!
//! The walk does not change a message, but for blanks between a header's name and its colon, which are removed; and where
//! 8-bit content is to be converted, it becomes quoted-printable: the header that says 8bit or binary is withheld, one that
//! says what is now comes at the end of its header block, and the body behind it is encoded ([`quoted_printable`]).
//!
//! [`quoted_printable`]: crate::quoted_printable

use crate::content_type::{Domain, Encoding, Kind, content_type, transfer_encoding};
use crate::header::{self, Known, Name};
use crate::quoted_printable::Encoder;
use crate::{Text, has_8bit};

/// Which header block a header stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The message's own header.
    Primary,
    /// The header of a body part.
    Multipart,
    /// The header of an enclosed message.
    Nested,
}

/// What may be wrong with a message (spec cleanup 8.4), in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Error {
    /// More than `mime_nesting_limit` levels.
    Nesting,
    /// 8-bit bytes in a header.
    EightBitInHeader,
    /// 8-bit bytes in a body declared 7-bit.
    EightBitInBody,
    /// A multipart or message with an encoding that RFC 2045 forbids there.
    EncodingDomain,
    /// The primary header has no empty line behind it.
    HeaderEnd,
}

impl Error {
    /// The text of the error; its enhanced status code is 5.6.0.
    pub fn text(self) -> &'static str {
        match self {
            Error::Nesting => "MIME nesting exceeds safety limit",
            Error::EightBitInHeader => "improper use of 8-bit data in message header",
            Error::EightBitInBody => "improper use of 8-bit data in message body",
            Error::EncodingDomain => "invalid message/* or multipart/* encoding domain",
            Error::HeaderEnd => "primary header was terminated with non-empty line",
        }
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// One logical header: physical lines joined by LF.
#[derive(Clone, Copy, Debug)]
pub struct Header<'h> {
    /// The whole text, name and colon included.
    pub text: &'h [u8],
    /// Length of the name at the start of `text`.
    pub name_length: usize,
    /// The header's entry in the table of known headers.
    pub known: Option<&'static Known>,
}

impl<'h> Header<'h> {
    /// A header from its text, which begins with a name; blanks behind that stay where they are.
    #[must_use]
    pub fn new(text: &'h [u8]) -> Self {
        let name_length = header::name_length(text).unwrap_or(0);
        let known = header::known(text.get(..name_length).unwrap_or_default());
        Header { text, name_length, known }
    }
}

/// Receives what the walk finds, in message order.
pub trait Sink {
    /// A logical header.
    fn header(&mut self, section: Section, header: Header<'_>);
    /// The primary header is complete; its separator, if any, follows as body text.
    fn header_end(&mut self);
    /// Body text: separators and boundary lines are body text, too. `offset` is how much of it has come since the last
    /// header block or closing boundary line, each record with one for its end.
    fn body(&mut self, ending: Text, text: &[u8], offset: usize);
    /// An error of an enabled kind; each kind is told once. `sample` is the text at fault.
    fn error(&mut self, error: Error, sample: &[u8]);
}

/// Which errors are looked for, and the bounds.
#[derive(Clone, Debug)]
pub struct Options {
    /// Look at the primary header only; everything after it is body.
    pub ignore_mime: bool,
    /// Report [`Error::Nesting`].
    pub report_nesting: bool,
    /// Report [`Error::EightBitInHeader`].
    pub report_8bit_in_header: bool,
    /// Report [`Error::EightBitInBody`].
    pub report_8bit_in_body: bool,
    /// Report [`Error::EncodingDomain`].
    pub report_encoding_domain: bool,
    /// Report [`Error::HeaderEnd`].
    pub report_header_end: bool,
    /// Convert 8-bit content to quoted-printable.
    pub convert_8bit: bool,
    /// `header_size_limit`.
    pub header_size_limit: usize,
    /// `mime_nesting_limit`.
    pub mime_nesting_limit: usize,
    /// `mime_boundary_length_limit`.
    pub mime_boundary_length_limit: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Header(Section),
    Body,
}

/// An open multipart.
struct Level {
    boundary: Vec<u8>,
    /// Type of its parts when they do not say.
    default_kind: Kind,
}

/// What the header block read so far says about the entity it describes.
#[derive(Clone, Copy)]
struct Entity {
    kind: Kind,
    encoding: Encoding,
}

impl Entity {
    fn new(kind: Kind) -> Self {
        Entity { kind, encoding: Encoding::SevenBit }
    }
}

/// The walk of one message.
pub struct Structure {
    options: Options,
    state: State,
    entity: Entity,
    levels: Vec<Level>,
    /// The header being collected; empty when there is none.
    header: Vec<u8>,
    name_length: usize,
    after_partial: bool,
    /// Length of the body text so far, each record with one for its end.
    body_offset: usize,
    errors: u8,
    /// The body of an entity that is being converted.
    encoder: Option<Encoder>,
}

impl Structure {
    /// A walk at the start of a message.
    pub fn new(options: Options) -> Self {
        Structure {
            options,
            state: State::Header(Section::Primary),
            entity: Entity::new(Kind::Text),
            levels: Vec::new(),
            header: Vec::new(),
            name_length: 0,
            after_partial: false,
            body_offset: 0,
            errors: 0,
            encoder: None,
        }
    }

    /// Takes one text record.
    pub fn record(&mut self, ending: Text, text: &[u8], sink: &mut impl Sink) {
        match self.state {
            State::Body => self.body(ending, text, sink),
            State::Header(section) => self.header_record(section, ending, text, sink),
        }
        self.after_partial = ending == Text::Partial;
    }

    /// The message is complete. A header without an end is ended.
    pub fn end(&mut self, sink: &mut impl Sink) {
        if let State::Header(section) = self.state {
            self.finish_header(section, sink);
            self.header_block_end(section, b"", sink);
        }
        self.end_encoding(sink);
    }

    /// The most severe error found so far.
    pub fn first_error(&self) -> Option<Error> {
        const ORDER: [Error; 5] = [
            Error::Nesting,
            Error::EightBitInHeader,
            Error::EightBitInBody,
            Error::EncodingDomain,
            Error::HeaderEnd,
        ];
        ORDER.into_iter().find(|error| self.errors & error.bit() != 0)
    }

    fn header_record(&mut self, section: Section, ending: Text, text: &[u8], sink: &mut impl Sink) {
        if !self.header.is_empty() {
            if self.after_partial {
                self.collect(None, text);
                return;
            }
            if matches!(text.first(), Some(b' ' | b'\t')) {
                self.collect(Some(b'\n'), text);
                return;
            }
        }
        self.finish_header(section, sink);
        if let Some(name_length) = header::name_length(text) {
            self.start_header(name_length, text);
            return;
        }
        self.header_block_end(section, text, sink);
        if section == Section::Primary && !text.is_empty() {
            // Not of the message, so it does not count.
            sink.body(Text::Line, b"", 0);
        }
        self.body(ending, text, sink);
    }

    fn start_header(&mut self, name_length: usize, text: &[u8]) {
        let (name, rest) = before_nul(text).split_at(name_length);
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.header.extend_from_slice(name);
        self.header.extend_from_slice(rest.get(blanks..).unwrap_or_default());
        self.name_length = name_length;
    }

    fn collect(&mut self, separator: Option<u8>, text: &[u8]) {
        if self.header.len() < self.options.header_size_limit {
            self.header.extend(separator);
            self.header.extend_from_slice(before_nul(text));
        }
    }

    fn finish_header(&mut self, section: Section, sink: &mut impl Sink) {
        if self.header.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.header);
        let name = text.get(..self.name_length).unwrap_or_default();
        let known = header::known(name);
        if self.options.report_8bit_in_header && has_8bit(&text) {
            self.report(Error::EightBitInHeader, &text, sink);
        }
        if !self.options.ignore_mime {
            match known.map(|known| known.id) {
                Some(Name::ContentType) => self.content_type(&text, sink),
                Some(Name::ContentTransferEncoding) => {
                    if let Some(encoding) = transfer_encoding(header::value(&text)) {
                        self.entity.encoding = encoding;
                    }
                }
                _ => {}
            }
        }
        if !self.is_withheld(known, &text) {
            sink.header(section, Header { text: &text, name_length: self.name_length, known });
        }
        // The buffer is kept for the next header.
        self.header = text;
        self.header.clear();
    }

    /// Whether a header says what is no longer true when its entity is converted.
    fn is_withheld(&self, known: Option<&Known>, text: &[u8]) -> bool {
        self.options.convert_8bit
            && known.is_some_and(|known| known.id == Name::ContentTransferEncoding)
            && transfer_encoding(header::value(text))
                .is_some_and(|encoding| encoding.domain() != Domain::SevenBit)
    }

    /// At the end of a header block, begins the conversion of what is not 7-bit.
    fn convert(&mut self, section: Section, sink: &mut impl Sink) {
        if !self.options.convert_8bit || self.entity.encoding.domain() == Domain::SevenBit {
            return;
        }
        let text: &[u8] = if self.entity.kind.has_parts() {
            b"Content-Transfer-Encoding: 7bit"
        } else {
            b"Content-Transfer-Encoding: quoted-printable"
        };
        // What has no parts after all is encoded whatever its type (observed, 3.11).
        self.encoder = Some(Encoder::default());
        // Its name is not looked at: it counts as any header (observed, 3.11).
        sink.header(section, Header { known: None, ..Header::new(text) });
    }

    /// The body that was being converted has come to its end.
    fn end_encoding(&mut self, sink: &mut impl Sink) {
        if let Some(mut encoder) = self.encoder.take() {
            encoder.end(&mut |ending, line| self.body_out(ending, line, sink));
        }
    }

    fn content_type(&mut self, text: &[u8], sink: &mut impl Sink) {
        let mut boundaries = Vec::new();
        let kind = content_type(header::value(text), |_, boundary| {
            // More than the stack can hold need not be kept.
            if boundaries.len() <= self.options.mime_nesting_limit + 2 {
                boundaries.push(boundary);
            }
        });
        self.entity.kind = kind;
        for mut boundary in boundaries {
            if self.levels.len() >= self.options.mime_nesting_limit.saturating_add(2) {
                if self.options.report_nesting {
                    self.report(Error::Nesting, text, sink);
                }
                return;
            }
            boundary.truncate(self.options.mime_boundary_length_limit);
            let default_kind = match kind {
                Kind::MultipartDigest => Kind::MessageRfc822,
                _ => Kind::Text,
            };
            self.levels.push(Level { boundary, default_kind });
        }
    }

    /// Ends a header block; `end` is the record that did it: an empty one, as the end of content counts, or another.
    fn header_block_end(&mut self, section: Section, end: &[u8], sink: &mut impl Sink) {
        self.convert(section, sink);
        if section == Section::Primary {
            if !end.is_empty() && self.options.report_header_end {
                self.report(Error::HeaderEnd, end, sink);
            }
            sink.header_end();
        }
        self.enter(State::Body);
        if self.options.ignore_mime {
            return;
        }
        if self.options.report_encoding_domain {
            self.check_domain(sink);
        }
        if !end.is_empty() {
            return;
        }
        match self.entity.kind {
            kind @ (Kind::MessageRfc822 | Kind::MessageGlobal)
                if kind == Kind::MessageRfc822 || self.encoder.is_none() =>
            {
                self.encoder = None;
                self.entity = Entity::new(Kind::Text);
                self.enter(State::Header(Section::Nested));
            }
            // The preamble is no part: what the header said is not about it.
            kind if kind.is_multipart() => {
                self.encoder = None;
                self.entity = Entity::new(Kind::Other);
            }
            _ => {}
        }
    }

    fn check_domain(&mut self, sink: &mut impl Sink) {
        let encoding = self.entity.encoding;
        let wrong = match self.entity.kind {
            Kind::Multipart | Kind::MultipartDigest | Kind::MessageRfc822 => !encoding.is_identity(),
            Kind::MessagePartial | Kind::MessageExternalBody => encoding.domain() != Domain::SevenBit,
            _ => false,
        };
        if wrong {
            self.report(Error::EncodingDomain, encoding.name().as_bytes(), sink);
        }
    }

    fn body(&mut self, ending: Text, text: &[u8], sink: &mut impl Sink) {
        if !self.levels.is_empty() && !self.after_partial && text.len() > 2 && text.starts_with(b"--") {
            self.boundary(text, sink);
        }
        if self.options.report_8bit_in_body && self.entity.encoding == Encoding::SevenBit && has_8bit(text) {
            self.report(Error::EightBitInBody, text, sink);
        }
        if self.encoder.is_none() {
            return self.body_out(ending, text, sink);
        }
        if let Some(mut encoder) = self.encoder.take() {
            encoder.record(ending, text, &mut |ending, line| self.body_out(ending, line, sink));
            self.encoder = Some(encoder);
        }
    }

    fn body_out(&mut self, ending: Text, text: &[u8], sink: &mut impl Sink) {
        sink.body(ending, text, self.body_offset);
        self.body_offset = self.body_offset.saturating_add(text.len()).saturating_add(1);
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.body_offset = 0;
    }

    /// Looks whether a line that starts with `--` is a boundary line.
    fn boundary(&mut self, text: &[u8], sink: &mut impl Sink) {
        let text = text.get(2..).unwrap_or_default();
        let Some(index) = self.levels.iter().rposition(|level| text.starts_with(&level.boundary)) else {
            return;
        };
        self.end_encoding(sink);
        self.levels.truncate(index + 1);
        let Some(level) = self.levels.last() else { return };
        if text.get(level.boundary.len()..).is_some_and(|rest| rest.starts_with(b"--")) {
            self.entity = Entity::new(level.default_kind);
            self.levels.truncate(index);
            self.enter(State::Body);
        } else {
            self.entity = Entity::new(level.default_kind);
            self.state = State::Header(Section::Multipart);
        }
    }

    fn report(&mut self, error: Error, sample: &[u8], sink: &mut impl Sink) {
        if self.errors & error.bit() == 0 {
            self.errors |= error.bit();
            sink.error(error, sample);
        }
    }
}

/// A record of a header, up to a NUL byte: Postfix takes it for a C string.
fn before_nul(text: &[u8]) -> &[u8] {
    text.iter().position(|byte| *byte == 0).and_then(|end| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes down what it is told.
    #[derive(Default)]
    struct Notes(Vec<String>);

    impl Sink for Notes {
        fn header(&mut self, section: Section, header: Header<'_>) {
            let section = match section {
                Section::Primary => 'P',
                Section::Multipart => 'M',
                Section::Nested => 'N',
            };
            self.0.push(format!("{section} {}", header.text.escape_ascii()));
        }

        fn header_end(&mut self) {
            self.0.push("end".into());
        }

        fn body(&mut self, ending: Text, text: &[u8], _: usize) {
            let ending = if ending == Text::Line { 'b' } else { 'l' };
            self.0.push(format!("{ending} {}", text.escape_ascii()));
        }

        fn error(&mut self, error: Error, sample: &[u8]) {
            self.0.push(format!("! {error:?} {}", sample.escape_ascii()));
        }
    }

    fn options() -> Options {
        Options {
            ignore_mime: false,
            report_nesting: true,
            report_8bit_in_header: true,
            report_8bit_in_body: true,
            report_encoding_domain: true,
            report_header_end: false,
            convert_8bit: false,
            header_size_limit: 40,
            mime_nesting_limit: 1,
            mime_boundary_length_limit: 10,
        }
    }

    fn walk(message: &str) -> Vec<String> {
        let mut notes = Notes::default();
        let mut structure = Structure::new(options());
        for line in message.lines() {
            structure.record(Text::Line, line.as_bytes(), &mut notes);
        }
        structure.end(&mut notes);
        notes.0
    }

    #[test]
    fn headers_are_joined_and_normalised() {
        assert_eq!(walk("A : b\n c\nD:e\n\nF: g"), ["P A: b\\n c", "P D:e", "end", "b ", "b F: g"]);
        assert_eq!(walk("A: b\nno header"), ["P A: b", "end", "b ", "b no header"]);
        assert_eq!(walk(" x"), ["end", "b ", "b  x"]);
        assert_eq!(walk("A: b"), ["P A: b", "end"]);
    }

    #[test]
    fn headers_end_at_nul() {
        assert_eq!(walk("A: b\0c\n d\0e\nF\0: g"), ["P A: b\\n d", "end", "b ", "b F\\x00: g"]);
    }

    #[test]
    fn parts_have_headers() {
        let notes = walk("Content-Type: multipart/x; boundary=b\n\n--bx\nA: 1\n\nB: 2\n--b--\nC: 3");
        assert_eq!(
            notes,
            [
                "P Content-Type: multipart/x; boundary=b",
                "end",
                "b ",
                "b --bx",
                "M A: 1",
                "b ",
                "b B: 2",
                "b --b--",
                "b C: 3"
            ]
        );
    }

    #[test]
    fn enclosed_messages_have_headers() {
        let notes = walk("Content-Type: message/rfc822\n\nA: 1\n\nB: 2");
        assert_eq!(notes, ["P Content-Type: message/rfc822", "end", "b ", "N A: 1", "b ", "b B: 2"]);
    }

    #[test]
    fn long_headers_are_cut() {
        let line = "x".repeat(50);
        let notes = walk(&format!("A: {line}\n more\n\n"));
        assert_eq!(notes[0], format!("P A: {line}"));
    }

    #[test]
    fn errors_are_told_once() {
        let notes = walk(
            "S: \u{e9}\nT: \u{e9}\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n\u{e9}",
        );
        let errors: Vec<_> = notes.iter().filter(|note| note.starts_with('!')).collect();
        assert_eq!(
            errors,
            ["! EightBitInHeader S: \\xc3\\xa9", "! EncodingDomain base64", "! EightBitInBody \\xc3\\xa9"]
        );
    }

    #[test]
    fn eight_bit_content_is_converted() {
        let mut notes = Notes::default();
        let mut structure = Structure::new(Options { convert_8bit: true, ..options() });
        for line in [
            &b"Content-Type: multipart/x; boundary=b"[..],
            b"Content-Transfer-Encoding: 8bit",
            b"",
            b"--b",
            b"Content-Transfer-Encoding: BINARY",
            b"A: 1",
            b"",
            b"\xe9 ",
            b"--b--",
            b"\xe9",
        ] {
            structure.record(Text::Line, line, &mut notes);
        }
        structure.end(&mut notes);
        let headers_and_text: Vec<_> = notes.0.iter().filter(|note| !note.starts_with('!')).collect();
        assert_eq!(
            headers_and_text,
            [
                "P Content-Type: multipart/x; boundary=b",
                "P Content-Transfer-Encoding: 7bit",
                "end",
                "b ",
                "b --b",
                "M A: 1",
                "M Content-Transfer-Encoding: quoted-printable",
                "b ",
                "b =E9=20",
                "b --b--",
                "b \\xe9",
            ]
        );
    }
}
