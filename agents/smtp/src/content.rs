//! The message as it goes over the wire (spec smtp-client 8): lines with CR LF, none too long, dots doubled; 8-bit content
//! as quoted-printable where the server takes no other.

use delivery::{Delivery, Parts};
use ipc::delivery::Recipient;
use message::Text;
use message::mime::{self, Header, Section, Sink, Structure};
use queue::{QueueId, RecordError, RecordType};
use smtp::stream::Error;

use crate::edits::{Edit, Failed};
use crate::session::Session;
use crate::settings::{Settings, Tables};

/// Longest record that is read at once.
const RECORD_LIMIT: usize = 1 << 28;

/// Why a message was not sent whole.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The connection.
    Connection(Error),
    /// The message file cannot be read; that has been logged.
    Unreadable {
        /// It is to be marked.
        is_damaged: bool,
    },
    /// The structure of the message.
    Structure(mime::Error),
    /// A table with checks cannot tell; that has been logged.
    Checks,
}

/// Sends the content. `recipient` is whose addresses stand in the headers that `flags=` asks for.
pub(crate) fn send(
    session: &mut Session<'_>,
    settings: &Settings,
    delivery: &Delivery<'_>,
    recipient: &Recipient,
    converts: bool,
    told_of_long_lines: &mut bool,
) -> Result<(), Trouble> {
    let tables = session.tables();
    let edits = &tables.edits;
    let has_checks = edits.has_header_checks() || edits.has_body_checks();
    let reads = converts || has_checks || !tables.generic.is_empty();
    let mut structure = reads.then(|| {
        Structure::new(mime::Options {
            ignore_mime: !converts && !has_checks,
            convert_8bit: converts,
            ..settings.mime.clone()
        })
    });
    let limit = settings.line_length_limit;
    let mut wire = Wire::new(session, limit, (delivery.id().clone(), tables), told_of_long_lines);
    let mut put = |wire: &mut Wire<'_, '_>, ending: Text, text: &[u8]| match &mut structure {
        Some(structure) => structure.record(ending, text, wire),
        None => wire.text(ending, text),
    };
    for line in head(settings.parts, tables, delivery, recipient) {
        put(&mut wire, Text::Line, &line);
    }
    let mut records = delivery.content();
    let mut data = Vec::new();
    loop {
        if let Some(trouble) = wire.trouble.take() {
            return Err(trouble);
        }
        match records.read_normal(&mut data, RECORD_LIMIT) {
            Ok(Some(RecordType::NORM)) => put(&mut wire, Text::Line, &data),
            Ok(Some(RecordType::CONT)) => put(&mut wire, Text::Partial, &data),
            Ok(Some(RecordType::EXTRACTED)) => break,
            Ok(other) => {
                let id = delivery.id();
                let kind = other.map_or(-1, |kind| i32::from(kind.0));
                log::warn!("{id}: bad record type: {kind} in message content");
                return Err(Trouble::Unreadable { is_damaged: true });
            }
            Err(error) => {
                log::warn!("{error}");
                return Err(Trouble::Unreadable { is_damaged: !matches!(error, RecordError::Io { .. }) });
            }
        }
    }
    if let Some(structure) = &mut structure {
        structure.end(&mut wire);
    }
    wire.end();
    wire.trouble.map_or(Ok(()), Err)
}

/// The headers in front of the content.
fn head(parts: Parts, tables: &Tables, delivery: &Delivery<'_>, recipient: &Recipient) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let quoted = |address: &[u8]| address::external(&tables.generic.envelope(&tables.own, address));
    if parts.contains(Parts::RETURN_PATH) {
        lines.push([b"Return-Path: <", &*quoted(&delivery.request().sender), b">"].concat());
    }
    let form = delivery.form(parts, recipient);
    if parts.contains(Parts::ORIGINAL_TO) && !form.original.is_empty() {
        lines.push([b"X-Original-To: ", &*quoted(form.original)].concat());
    }
    if parts.contains(Parts::DELIVERED_TO) {
        lines.push([b"Delivered-To: ", &*quoted(form.delivered_to)].concat());
    }
    lines
}

/// Lines out.
struct Wire<'s, 'a> {
    session: &'s mut Session<'a>,
    /// The queue ID, for the log.
    id: QueueId,
    tables: &'a Tables,
    /// Longest line, 0 is none.
    limit: usize,
    /// Bytes of the current line that are out.
    column: usize,
    /// A line is not finished.
    is_open: bool,
    /// The log says that lines are broken.
    told_of_long_lines: &'s mut bool,
    trouble: Option<Trouble>,
}

impl<'s, 'a> Wire<'s, 'a> {
    fn new(
        session: &'s mut Session<'a>,
        limit: usize,
        (id, tables): (QueueId, &'a Tables),
        told_of_long_lines: &'s mut bool,
    ) -> Self {
        Self { session, id, tables, limit, column: 0, is_open: false, told_of_long_lines, trouble: None }
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.trouble.is_none()
            && let Err(error) = self.session.write_content(bytes)
        {
            self.trouble = Some(Trouble::Connection(error));
        }
    }

    /// A line, or a piece of one.
    fn text(&mut self, ending: Text, text: &[u8]) {
        // A record that is empty begins no line.
        if self.column == 0 && text.first() == Some(&b'.') {
            self.put(b".");
        }
        let mut rest = text;
        while self.must_break(rest) {
            let (piece, more) = rest.split_at(self.limit.saturating_sub(self.column));
            self.put(piece);
            self.put(b"\r\n ");
            if !std::mem::replace(self.told_of_long_lines, true) {
                log::info!("{}: breaking line > {} bytes with <CR><LF>SPACE", self.id, self.limit);
            }
            self.column = 1;
            rest = more;
        }
        self.put(rest);
        self.column += rest.len();
        self.is_open = ending == Text::Partial;
        if !self.is_open {
            self.put(b"\r\n");
            self.column = 0;
        }
    }

    /// What checks say, unless they failed: the rest is not sent then.
    fn edit(&mut self, edit: Result<Edit, Failed>) -> Option<Edit> {
        if self.trouble.is_some() {
            return None;
        }
        if edit.is_err() {
            self.trouble = Some(Trouble::Checks);
        }
        edit.ok()
    }

    /// A header with its addresses as others are to see them.
    fn mapped(&mut self, section: Section, header: &Header<'_>) {
        let tables = self.tables;
        let other = match section {
            Section::Primary => tables.generic.header(&tables.own, header),
            _ => None,
        };
        self.lines(other.as_deref().unwrap_or(header.text));
    }

    fn lines(&mut self, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n') {
            self.text(Text::Line, line);
        }
    }

    /// Whether more comes of this line than fits in.
    fn must_break(&self, rest: &[u8]) -> bool {
        let is_full = self.column >= self.limit && self.is_open && rest.is_empty();
        self.limit > 0 && (self.column + rest.len() > self.limit || is_full)
    }

    /// The message is over.
    fn end(&mut self) {
        if self.is_open {
            self.text(Text::Line, b"");
        }
    }
}

impl Sink for Wire<'_, '_> {
    fn header(&mut self, section: Section, header: Header<'_>) {
        let edit = self.tables.edits.header(&self.id, section, &header);
        match self.edit(edit) {
            Some(Edit::Replaced(text)) => self.mapped(section, &Header::new(&text)),
            Some(Edit::Prepended(text)) => {
                self.lines(&text);
                self.mapped(section, &header);
            }
            Some(Edit::Keeps) => self.mapped(section, &header),
            Some(Edit::Leaves) | None => {}
        }
    }

    fn header_end(&mut self) {}

    fn body(&mut self, ending: Text, text: &[u8], _: usize) {
        if !self.tables.edits.has_body_checks() {
            self.text(ending, text);
            return;
        }
        let edit = self.tables.edits.body(&self.id, text);
        match self.edit(edit) {
            Some(Edit::Replaced(new)) => self.text(ending, &new),
            Some(Edit::Prepended(new)) => {
                self.text(Text::Line, &new);
                self.text(ending, text);
            }
            Some(Edit::Keeps) => self.text(ending, text),
            Some(Edit::Leaves) | None => {}
        }
    }

    fn error(&mut self, error: mime::Error, _: &[u8]) {
        self.trouble.get_or_insert(Trouble::Structure(error));
    }
}
