//! The content segment: input filter, MIME walk, size of the content (spec cleanup 7 and 8).

mod addresses;
mod header;
mod missing;

use ipc::cleanup::{Flags, Status};
use memchr::memchr2;
use message::Text;
use message::header::Seen;
use message::mime::{self, Header, Section, Sink, Structure};
use queue::RecordType;

use crate::envelope::text;
use crate::journal::{Context, show};
use crate::message::{Message, Segment};

/// The most of an offending text that a MIME error's log line shows.
const SHOWN_SAMPLE: usize = 100;
/// Enhanced status code of MIME errors.
const MIME_ERROR_DSN: &str = "5.6.0";

/// What is known about the content so far.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Headers of the primary header.
    pub(crate) seen: Seen,
    /// A `Resent-` header was seen: missing headers are made for the resending.
    pub(crate) resent: bool,
    /// `Received:` headers.
    pub(crate) hops: usize,
    /// `8bit` when a header says so.
    pub(crate) encoding: Option<&'static [u8]>,
    /// How the last body record ended.
    last_partial: bool,
    /// Work space for text that must be changed.
    work: Vec<u8>,
}

impl Message<'_> {
    pub(crate) fn start_content(&mut self) {
        let params = self.shared.params;
        let filter = self.flags.contains(Flags::FILTER);
        let strict = params.strict_8bitmime
            || params.strict_7bit_headers
            || params.strict_8bitmime_body
            || params.strict_mime_encoding_domain;
        self.structure = Some(Box::new(Structure::new(mime::Options {
            ignore_mime: params.disable_mime_input_processing,
            report_nesting: filter && strict,
            report_8bit_in_header: filter && (params.strict_8bitmime || params.strict_7bit_headers),
            report_8bit_in_body: filter && (params.strict_8bitmime || params.strict_8bitmime_body),
            report_encoding_domain: filter && params.strict_mime_encoding_domain,
            header_size_limit: params.header_size_limit,
            mime_nesting_limit: params.mime_nesting_limit,
            mime_boundary_length_limit: params.mime_boundary_length_limit,
        })));
    }

    pub(crate) fn content_record(&mut self, kind: RecordType, data: &[u8]) {
        match kind {
            RecordType::NORM => self.text(Text::Line, data),
            RecordType::CONT => self.text(Text::Partial, data),
            RecordType::EXTRACTED => self.content_end(),
            _ => {
                log::warn!(
                    "cleanup_message_headerbody: message rejected: unexpected record type {} in message content",
                    kind.0
                );
                self.fail(Status::BAD);
            }
        }
    }

    fn text(&mut self, ending: Text, data: &[u8]) {
        let params = self.shared.params;
        let filter = self.flags.contains(Flags::FILTER);
        let stray = params.cleanup_replace_stray_cr_lf && memchr2(b'\r', b'\n', data).is_some();
        let reject = filter && contains_any(data, &params.message_reject_characters);
        let strip = filter && contains_any(data, &params.message_strip_characters);
        if !stray && !reject && !strip {
            return self.walk(ending, data);
        }
        let mut work = std::mem::take(&mut self.content.work);
        work.clear();
        work.extend_from_slice(data);
        if stray {
            work.iter_mut().filter(|byte| is_line_break(byte)).for_each(|byte| *byte = b' ');
        }
        if contains_any(&work, &params.message_reject_characters) && filter {
            self.log_action("reject", Context::Content, &work, "5.7.1 disallowed character");
            self.reject(Status::CONT, "5.7.1 disallowed character");
            self.flags.remove(Flags::FILTER | Flags::MILTER);
        } else {
            if strip {
                work.retain(|byte| !params.message_strip_characters.contains(byte));
            }
            self.walk(ending, &work);
        }
        self.content.work = work;
    }

    fn walk(&mut self, ending: Text, data: &[u8]) {
        if let Some(mut structure) = self.structure.take() {
            structure.record(ending, data, self);
            self.structure = Some(structure);
        }
    }

    fn content_end(&mut self) {
        if let Some(mut structure) = self.structure.take() {
            structure.end(self);
            if self.content.last_partial {
                self.put(RecordType::NORM, b"");
            }
            self.put_placeholder();
            if let Some(error) = structure.first_error() {
                self.reject(Status::CONT, &format!("{MIME_ERROR_DSN} {}", error.text()));
            }
        }
        self.size.data_size = self.offset() - self.size.data_offset;
        self.size.content_length = self.size.data_size;
        self.segment = Segment::ExtractedStart;
    }
}

impl Sink for Message<'_> {
    fn header(&mut self, section: Section, header: Header<'_>) {
        self.process_header(section, header);
    }

    fn header_end(&mut self) {
        if self.output_ok() {
            self.missing_headers();
        }
    }

    fn body(&mut self, ending: Text, text: &[u8]) {
        self.content.last_partial = ending == Text::Partial;
        self.put_text(ending, text);
    }

    fn error(&mut self, error: mime::Error, sample: &[u8]) {
        let sample = text(sample);
        let sample = show(sample.get(..SHOWN_SAMPLE).unwrap_or(sample));
        self.log_mime_error(error.text(), &sample);
    }
}

fn is_line_break(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn contains_any(data: &[u8], bytes: &[u8]) -> bool {
    !bytes.is_empty() && data.iter().any(|byte| bytes.contains(byte))
}
