//! A message of any bytes, walked as cleanup does it, with and without conversion.
#![no_main]

use libfuzzer_sys::fuzz_target;
use message::Text;
use message::mime::{Error, Header, Options, Section, Sink, Structure};

/// Adds up what it is told.
#[derive(Default)]
struct Sum {
    converts: bool,
    bytes: usize,
}

impl Sink for Sum {
    fn header(&mut self, _: Section, header: Header<'_>) {
        self.bytes += header.text.len();
        assert!(header.name_length < header.text.len());
    }

    fn header_end(&mut self) {}

    fn body(&mut self, _: Text, text: &[u8], offset: usize) {
        self.bytes += text.len();
        assert!(self.converts || offset <= self.bytes * 2 + 65_536);
    }

    fn error(&mut self, _: Error, sample: &[u8]) {
        self.bytes += sample.len();
    }
}

fuzz_target!(|bytes: &[u8]| {
    for converts in [false, true] {
        let mut structure = Structure::new(Options {
            ignore_mime: false,
            report_nesting: true,
            report_8bit_in_header: true,
            report_8bit_in_body: true,
            report_encoding_domain: true,
            report_header_end: true,
            convert_8bit: converts,
            header_size_limit: 100,
            mime_nesting_limit: 3,
            mime_boundary_length_limit: 20,
        });
        let mut sum = Sum { converts, bytes: 0 };
        for line in bytes.split(|byte| *byte == b'\n') {
            // Long lines come in pieces.
            let mut pieces = line.chunks(50).peekable();
            if pieces.peek().is_none() {
                structure.record(Text::Line, b"", &mut sum);
            }
            while let Some(piece) = pieces.next() {
                let ending = if pieces.peek().is_some() { Text::Partial } else { Text::Line };
                structure.record(ending, piece, &mut sum);
            }
        }
        structure.end(&mut sum);
        let _ = structure.first_error();
    }
});
