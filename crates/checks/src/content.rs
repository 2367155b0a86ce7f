//! How content is looked at: which bytes do not pass, what is reported of its structure, which tables it is looked up in.

use config::{Config, Error};
use ipc::cleanup::Status;
use lookup::{OpenError, Opening, ResultFault};
use memchr::memchr2;
use message::mime::{self, Header, Section, Structure};

use crate::{Action, Caller, Check, HeaderChecks, Part, Verb};

/// `non_empty_end_of_header_action`: what is done about a header without an empty line behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderEndAction {
    /// The line is added.
    FixQuietly,
    /// The line is added, and a header that says so.
    AddHeader,
    /// The message is refused.
    Reject,
}

/// Settings of content; each field has the name of its parameter.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a parameter of its own")]
#[expect(missing_docs, reason = "fields bear the names of parameters")]
pub struct ContentParams {
    pub cleanup_replace_stray_cr_lf: bool,
    pub message_reject_characters: Vec<u8>,
    pub message_strip_characters: Vec<u8>,
    pub disable_mime_input_processing: bool,
    pub force_mime_input_conversion: bool,
    pub strict_7bit_headers: bool,
    pub strict_8bitmime: bool,
    pub strict_8bitmime_body: bool,
    pub strict_mime_encoding_domain: bool,
    pub non_empty_end_of_header_action: HeaderEndAction,
    pub header_size_limit: usize,
    pub mime_nesting_limit: usize,
    pub mime_boundary_length_limit: usize,
    pub header_checks: Vec<u8>,
    pub mime_header_checks: Vec<u8>,
    pub nested_header_checks: Vec<u8>,
    pub body_checks: Vec<u8>,
    /// No limit when 0.
    pub body_checks_size_limit: usize,
}

impl ContentParams {
    /// Reads the settings.
    ///
    /// # Errors
    /// A value that Postfix refuses.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let globals = config.globals();
        let force_mime_input_conversion = config.boolean("force_mime_input_conversion")?;
        if force_mime_input_conversion && globals.disable_mime_input_processing {
            return Err(config.wrong(
                "force_mime_input_conversion",
                "do not specify both disable_mime_input_processing=yes and force_mime_input_conversion=yes"
                    .to_owned(),
            ));
        }
        Ok(Self {
            cleanup_replace_stray_cr_lf: config.boolean("cleanup_replace_stray_cr_lf")?,
            message_reject_characters: unescape(&config.bytes("message_reject_characters")?),
            message_strip_characters: unescape(&config.bytes("message_strip_characters")?),
            disable_mime_input_processing: globals.disable_mime_input_processing,
            force_mime_input_conversion,
            strict_7bit_headers: globals.strict_7bit_headers,
            strict_8bitmime: globals.strict_8bitmime,
            strict_8bitmime_body: globals.strict_8bitmime_body,
            strict_mime_encoding_domain: globals.strict_mime_encoding_domain,
            non_empty_end_of_header_action: header_end_action(config)?,
            header_size_limit: count(globals.header_size_limit),
            mime_nesting_limit: count(globals.mime_nesting_limit),
            mime_boundary_length_limit: count(globals.mime_boundary_length_limit),
            header_checks: config.bytes("header_checks")?,
            mime_header_checks: config.bytes("mime_header_checks")?,
            nested_header_checks: config.bytes("nested_header_checks")?,
            body_checks: config.bytes("body_checks")?,
            body_checks_size_limit: count(config.integer("body_checks_size_limit")?),
        })
    }

    /// A walk over content of which nothing has come. Strict checks need the client's leave.
    #[must_use]
    pub fn structure(&self, is_filtering: bool, checks: &ContentChecks) -> Structure {
        // Who does not look at MIME does not look for errors in it, nor in headers (observed, 3.7.11).
        let filter = is_filtering && !self.disable_mime_input_processing;
        let strict = self.strict_8bitmime
            || self.strict_7bit_headers
            || self.strict_8bitmime_body
            || self.strict_mime_encoding_domain;
        Structure::new(mime::Options {
            ignore_mime: self.disable_mime_input_processing,
            report_nesting: filter && (strict || checks.headers.is_some()),
            report_8bit_in_header: filter && (self.strict_8bitmime || self.strict_7bit_headers),
            report_8bit_in_body: filter && (self.strict_8bitmime || self.strict_8bitmime_body),
            report_encoding_domain: filter && self.strict_mime_encoding_domain,
            report_header_end: filter && self.non_empty_end_of_header_action != HeaderEndAction::FixQuietly,
            convert_8bit: self.force_mime_input_conversion,
            header_size_limit: self.header_size_limit,
            mime_nesting_limit: self.mime_nesting_limit,
            mime_boundary_length_limit: self.mime_boundary_length_limit,
        })
    }

    /// What becomes of a record of content; what is changed is put into `work`.
    pub fn record<'d>(&self, data: &'d [u8], is_filtering: bool, work: &'d mut Vec<u8>) -> Record<'d> {
        let stray = self.cleanup_replace_stray_cr_lf && memchr2(b'\r', b'\n', data).is_some();
        let reject = is_filtering && contains_any(data, &self.message_reject_characters);
        let strip = is_filtering && contains_any(data, &self.message_strip_characters);
        if !stray && !reject && !strip {
            return Record::Passes(data);
        }
        work.clear();
        work.extend_from_slice(data);
        if stray {
            work.iter_mut().filter(|byte| is_line_break(byte)).for_each(|byte| *byte = b' ');
        }
        if is_filtering && contains_any(work, &self.message_reject_characters) {
            return Record::Refused(work);
        }
        if strip {
            work.retain(|byte| !self.message_strip_characters.contains(byte));
        }
        Record::Passes(work)
    }
}

/// What became of a record of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Record<'d> {
    /// It goes on like this.
    Passes(&'d [u8]),
    /// It has bytes that no message may have ([`DISALLOWED`]).
    Refused(&'d [u8]),
}

/// Why content with a byte of `message_reject_characters` is refused.
pub const DISALLOWED: &str = "5.7.1 disallowed character";

/// The text that refuses a message with a MIME error.
#[must_use]
pub fn mime_refusal(error: mime::Error) -> String {
    format!("5.6.0 {}", error.text())
}

/// The tables of content; without any nothing is looked up.
#[derive(Debug, Default)]
pub struct ContentChecks {
    headers: Option<HeaderChecks>,
    body: Option<Check>,
}

/// What the tables say about a text, or which parameter's cannot tell.
pub type Checked<'c> = Result<Option<Action>, &'c str>;

impl ContentChecks {
    /// Opens the tables that the parameters name.
    ///
    /// # Errors
    /// That of the first table that cannot be opened, where `opening` says that it is fatal.
    pub fn open(params: &ContentParams, opening: Opening) -> Result<Self, OpenError> {
        let headers = HeaderChecks {
            header: Check::open("header_checks", &params.header_checks, opening)?,
            mime: Check::open("mime_header_checks", &params.mime_header_checks, opening)?,
            nested: Check::open("nested_header_checks", &params.nested_header_checks, opening)?,
        };
        let body = Check::open("body_checks", &params.body_checks, opening)?;
        Ok(Self {
            headers: Some(headers).filter(|checks| !checks.is_empty()),
            body: Some(body).filter(|check| !check.is_empty()),
        })
    }

    /// Results of the tables that are no actions, each once: for who examines a configuration. Unless they are set, three
    /// parameters have the same value.
    #[must_use]
    pub fn faults(&self) -> Vec<ResultFault> {
        let headers = self.headers.iter().flat_map(HeaderChecks::all).map(|check| (check, Part::Header));
        let all = headers.chain(self.body.iter().map(|check| (check, Part::Body)));
        let mut faults: Vec<ResultFault> = Vec::new();
        for fault in all.flat_map(|(check, part)| check.faults(Caller::Cleanup, part)) {
            if !faults.iter().any(|known| known.is_at_place_of(&fault)) {
                faults.push(fault);
            }
        }
        faults
    }

    /// The name of a table whose file has changed, if any.
    #[must_use]
    pub fn changed(&self) -> Option<&str> {
        let headers = self.headers.as_ref().and_then(HeaderChecks::changed);
        headers.or_else(|| self.body.as_ref().and_then(Check::changed))
    }

    /// About a header.
    ///
    /// # Errors
    /// A table cannot tell, which has been logged.
    pub fn header(&self, section: Section, header: &Header<'_>) -> Checked<'_> {
        match &self.headers {
            Some(checks) => checked(checks.of(section, header), Part::Header, header.text),
            None => Ok(None),
        }
    }

    /// Whether there is anything to ask about a body.
    #[must_use]
    #[inline]
    pub fn has_body_checks(&self) -> bool {
        self.body.is_some()
    }

    /// About a record of a body, of which so much has come before.
    ///
    /// # Errors
    /// A table cannot tell, which has been logged.
    pub fn body(&self, params: &ContentParams, text: &[u8], offset: usize) -> Checked<'_> {
        let limit = params.body_checks_size_limit;
        match &self.body {
            Some(check) if limit == 0 || offset < limit => checked(check, Part::Body, text),
            _ => Ok(None),
        }
    }
}

fn checked<'c>(check: &'c Check, part: Part, text: &[u8]) -> Checked<'c> {
    check.action(Caller::Cleanup, part, text).map_err(|_| check.title())
}

impl Action {
    /// How the message is refused, if it is.
    #[must_use]
    pub fn refusal(&self) -> Option<Status> {
        let status = if self.is_temporary() { Status::DEFER } else { Status::CONT };
        Some(status).filter(|_| self.verb == Verb::Reject)
    }

    /// Whether what comes behind is not looked at any more, by Milters either.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.verb, Verb::Reject | Verb::Discard | Verb::Redirect | Verb::Pass)
    }
}

fn header_end_action(config: &Config) -> Result<HeaderEndAction, Error> {
    const NAME: &str = "non_empty_end_of_header_action";
    let text = config.text(NAME)?;
    match text.to_ascii_lowercase().as_str() {
        "fix_quietly" => Ok(HeaderEndAction::FixQuietly),
        "add_header" => Ok(HeaderEndAction::AddHeader),
        "reject" => Ok(HeaderEndAction::Reject),
        _ => Err(config.wrong(NAME, format!("bad {NAME} value: '{text}'"))),
    }
}

/// A limit; a negative one, which the parameter table does not let pass, would mean none at all.
fn count(value: i32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn is_line_break(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn contains_any(data: &[u8], bytes: &[u8]) -> bool {
    !bytes.is_empty() && data.iter().any(|byte| bytes.contains(byte))
}

/// A text with the escapes of C: `\a \b \f \n \r \t \v`, `\` and up to three octal digits; any other
/// byte after a backslash stands for itself.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let (b'\\', Some((escaped, after))) = (*first, rest.split_first()) else {
            out.push(*first);
            continue;
        };
        let octal = rest.iter().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        let (digits, behind) = rest.split_at(octal);
        rest = if octal > 0 { behind } else { after };
        out.push(match *escaped {
            _ if octal > 0 => {
                digits.iter().fold(0, |value: u8, digit| value.wrapping_mul(8).wrapping_add(digit - b'0'))
            }
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            other => other,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escapes() {
        assert_eq!(unescape(br"\0\r\377a\\"), b"\0\r\xffa\\");
        assert_eq!(unescape(br"\1234\"), b"S4\\");
    }
}
