//! The content segment: input filter, MIME walk, size of the content (spec cleanup 7 and 8).

mod header;
mod missing;
mod verdict;

use addressing::Addressing;
use checks::{ContentChecks, DISALLOWED, HeaderEndAction, Part, Record, mime_refusal};
use ipc::cleanup::{Flags, Status};
use message::Text;
use message::mime::{self, Header, Section, Sink, Structure};
use queue::{RecordType, attr, until_nul};

use crate::envelope::Envelope;
use crate::journal::{Context, Subject};
use crate::output::Output;
use crate::params::CleanupParams;
pub(crate) use header::put as put_header;
use header::{Headers, Place};
use verdict::Verdict;

/// The most of an offending text that a MIME error's log line shows.
const SHOWN_SAMPLE: usize = 100;

/// The content of a message, as far as it has come.
pub(crate) struct Content<'p> {
    params: &'p CleanupParams,
    checks: &'p ContentChecks,
    structure: Structure,
    headers: Headers<'p>,
    /// The last body record has no line end.
    is_line_open: bool,
    /// Work space for text that must be changed.
    work: Vec<u8>,
}

/// The message around a piece of content that is being looked at.
pub(crate) struct Around<'m, 'p> {
    pub(crate) envelope: &'m Envelope<'p>,
    /// The last recipient.
    pub(crate) recipient: Option<&'m [u8]>,
    pub(crate) addressing: &'m mut Addressing<'p>,
    pub(crate) output: &'m mut Output,
}

impl<'p> Content<'p> {
    /// Content of which nothing has come. Strict checks need the client's leave.
    pub(crate) fn new(params: &'p CleanupParams, checks: &'p ContentChecks, flags: Flags) -> Self {
        let structure = params.content.structure(flags.contains(Flags::FILTER), checks);
        let headers = Headers::new(params);
        Content { params, checks, structure, headers, is_line_open: false, work: Vec::new() }
    }

    /// This system's own `Received:`; empty when there can be no Milters.
    pub(crate) fn own_received(&self) -> &[u8] {
        &self.headers.own_received
    }

    /// The message ID that the queue file keeps, since 3.9.
    pub(crate) fn message_id(&self) -> Option<&[u8]> {
        self.headers.message_id.as_deref()
    }

    /// `7bit`, `8bit`, or not known: what a header said, else what the client said.
    pub(crate) fn encoding<'a>(&self, envelope: &'a Envelope<'_>) -> Option<&'a [u8]> {
        self.headers.encoding().or_else(|| envelope.attribute(attr::ENCODING))
    }

    /// Takes one record.
    pub(crate) fn record(&mut self, kind: RecordType, data: &[u8], around: &mut Around<'_, 'p>) {
        match kind {
            RecordType::NORM => self.text(Text::Line, data, around),
            RecordType::CONT => self.text(Text::Partial, data, around),
            _ => {
                log::warn!(
                    "cleanup_message_headerbody: message rejected: unexpected record type {} in message content",
                    kind.0
                );
                around.output.fail(Status::BAD);
            }
        }
    }

    fn text(&mut self, ending: Text, data: &[u8], around: &mut Around<'_, 'p>) {
        let Content { params, checks, structure, headers, is_line_open, work } = self;
        match params.content.record(data, around.is_filtering(), work) {
            Record::Passes(data) => {
                structure.record(ending, data, &mut Walk { params, checks, headers, is_line_open, around });
            }
            Record::Refused(data) => {
                let reason = DISALLOWED.as_bytes();
                around.subject(params).log_action("reject", Context::Content, data, reason);
                around.output.reject(Status::CONT, reason);
                around.output.forbid(Flags::FILTER | Flags::MILTER);
            }
        }
    }

    /// All has come.
    pub(crate) fn end(&mut self, around: &mut Around<'_, 'p>) {
        let Content { params, checks, structure, headers, is_line_open, .. } = self;
        structure.end(&mut Walk { params, checks, headers, is_line_open, around });
        let output = &mut *around.output;
        if self.is_line_open {
            output.put(RecordType::NORM, b"");
        }
        output.put_place(|places| &mut places.body);
        let is_tolerated = |error| error == mime::Error::HeaderEnd && self.headers.lacks_end;
        if let Some(error) = self.structure.first_error().filter(|error| !is_tolerated(*error)) {
            output.reject(Status::CONT, mime_refusal(error).as_bytes());
        }
        output.content_ends();
    }
}

impl<'m> Around<'m, '_> {
    /// What log lines tell.
    fn subject<'a>(&'a self, params: &'a CleanupParams) -> Subject<'a>
    where
        'm: 'a,
    {
        Subject { params, id: self.output.id(), envelope: self.envelope, recipient: self.recipient }
    }
}

/// What the MIME walk tells, taken in.
struct Walk<'c, 'm, 'p> {
    params: &'p CleanupParams,
    checks: &'p ContentChecks,
    headers: &'c mut Headers<'p>,
    is_line_open: &'c mut bool,
    around: &'c mut Around<'m, 'p>,
}

impl Walk<'_, '_, '_> {
    fn check_header(&mut self, section: Section, header: &Header<'_>) -> Verdict {
        if !self.around.is_filtering() {
            return Verdict::Keep;
        }
        let checked = self.checks.header(section, header);
        verdict::apply(self.params, checked, Part::Header, header.text, self.around)
    }

    fn check_body(&mut self, text: &[u8], offset: usize) -> Verdict {
        if !self.around.is_filtering() {
            return Verdict::Keep;
        }
        let checked = self.checks.body(&self.params.content, text, offset);
        verdict::apply(self.params, checked, Part::Body, text, self.around)
    }
}

impl Sink for Walk<'_, '_, '_> {
    fn header(&mut self, section: Section, header: Header<'_>) {
        self.headers.count_hop(&header);
        let is_mime = header.known.is_some_and(|known| known.mime);
        let replacement;
        let header = match self.check_header(section, &header) {
            Verdict::Keep => header,
            Verdict::Drop => return,
            Verdict::Replace(text) => {
                replacement = text;
                Header::new(&replacement)
            }
        };
        let Around { envelope, addressing, output, .. } = &mut *self.around;
        let place = Place { section, is_mime };
        self.headers.header(place, &header, envelope.context(), addressing, output);
    }

    fn header_end(&mut self) {
        let Around { envelope, output, .. } = &mut *self.around;
        if output.is_ok() {
            missing::add(self.params, self.headers, envelope, output);
        }
    }

    fn body(&mut self, ending: Text, text: &[u8], offset: usize) {
        *self.is_line_open = ending == Text::Partial;
        // What failed in the header that this record has ended.
        if !self.around.output.is_ok() {
            return;
        }
        if !self.checks.has_body_checks() {
            return self.around.output.put_text(ending, text);
        }
        match self.check_body(text, offset) {
            Verdict::Keep => self.around.output.put_text(ending, text),
            Verdict::Drop => {}
            Verdict::Replace(text) => self.around.output.put_text(ending, &text),
        }
    }

    fn error(&mut self, error: mime::Error, sample: &[u8]) {
        let action = self.params.content.non_empty_end_of_header_action;
        if error == mime::Error::HeaderEnd && action == HeaderEndAction::AddHeader {
            self.headers.lacks_end = true;
            return;
        }
        let sample = until_nul(sample);
        let sample = sample.get(..SHOWN_SAMPLE).unwrap_or(sample);
        self.around.subject(self.params).log_mime_error(error.text(), sample);
    }
}
