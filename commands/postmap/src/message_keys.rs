//! `-h`, `-b`, `-m`: the keys are the headers and body lines of a message (spec tables 4.3).

use std::io::{self, BufRead};

use config::Config;
use message::Text;
use message::mime::{Error, Header, Options, Section, Sink, Structure};

/// Longest piece of a line that is a key of its own.
const LINE_LIMIT: usize = 2048;

/// Which parts of a message are looked up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keys {
    /// `-h`: headers.
    pub headers: bool,
    /// `-b`: body lines.
    pub body: bool,
    /// `-m`: headers of parts are headers, too.
    pub mime: bool,
}

impl Keys {
    /// Whether any of the options was given.
    #[must_use]
    pub fn any(self) -> bool {
        self.headers || self.body || self.mime
    }
}

struct Visitor<'a> {
    keys: Keys,
    in_body: bool,
    visit: &'a mut dyn FnMut(&[u8]),
}

impl Sink for Visitor<'_> {
    fn header(&mut self, _: Section, header: Header<'_>) {
        if self.keys.headers {
            (self.visit)(header.text);
        }
    }

    fn header_end(&mut self) {
        self.in_body = true;
    }

    fn body(&mut self, _: Text, text: &[u8], _: usize) {
        if self.keys.body {
            (self.visit)(text);
        }
    }

    fn error(&mut self, _: Error, _: &[u8]) {}
}

/// Calls `visit` with each key of the message.
///
/// # Errors
///
/// The message cannot be read.
pub(crate) fn walk(
    config: &Config,
    keys: Keys,
    input: &mut dyn BufRead,
    visit: &mut dyn FnMut(&[u8]),
) -> io::Result<()> {
    let size = |name: &str| {
        let value = config.integer(name).unwrap_or_else(|error| maillog::fatal(error));
        usize::try_from(value).unwrap_or(0)
    };
    let mut structure = Structure::new(Options {
        ignore_mime: !keys.mime,
        report_nesting: false,
        report_8bit_in_header: false,
        report_8bit_in_body: false,
        report_encoding_domain: false,
        report_header_end: false,
        convert_8bit: false,
        header_size_limit: size("header_size_limit"),
        mime_nesting_limit: size("mime_nesting_limit"),
        mime_boundary_length_limit: size("mime_boundary_length_limit"),
    });
    let mut visitor = Visitor { keys, in_body: false, visit };
    let mut line = Vec::new();
    loop {
        line.clear();
        if io::Read::take(&mut *input, LINE_LIMIT as u64).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let ending = if line.last() == Some(&b'\n') {
            line.pop();
            Text::Line
        } else if line.len() < LINE_LIMIT {
            Text::Line
        } else {
            Text::Partial
        };
        structure.record(ending, &line, &mut visitor);
    }
    structure.end(&mut visitor);
    Ok(())
}
