//! A message walked through the checks of cleanup.

use checks::{
    Action, Checked, ContentChecks, ContentParams, DISALLOWED, HeaderEndAction, Record, Verb, mime_refusal,
};
use config::Config;
use ipc::cleanup::{Flags, Status};
use lookup::Opening;
use message::Text;
use message::header::Name;
use message::mime::{self, Header, Section, Sink};

use crate::findings::Findings;
use crate::message::Message;
use crate::steps::{Step, shown};

/// The most of a text that is shown.
const SHOWN_TEXT: usize = 200;

/// Settings and tables for content.
#[derive(Debug)]
pub(crate) struct Content {
    params: ContentParams,
    checks: ContentChecks,
    hopcount_limit: usize,
    /// `message_size_limit`
    pub message_size_limit: u64,
    line_length_limit: usize,
}

impl Content {
    /// Opens the tables.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub(crate) fn open(config: &Config, opening: Opening) -> Result<Self, String> {
        let params = ContentParams::new(config).map_err(|error| error.to_string())?;
        let hopcount_limit = config.integer("hopcount_limit").map_err(|error| error.to_string())?;
        let globals = config.globals();
        Ok(Self {
            checks: ContentChecks::open(&params, opening).map_err(|error| error.to_string())?,
            params,
            hopcount_limit: usize::try_from(hopcount_limit).unwrap_or(usize::MAX),
            message_size_limit: u64::try_from(globals.message_size_limit).unwrap_or(0),
            line_length_limit: usize::try_from(globals.line_length_limit).unwrap_or(usize::MAX),
        })
    }

    /// Looks at each line; what the checks decide goes to the findings.
    pub(crate) fn walk(&self, flags: Flags, message: &Message, findings: &mut Findings<'_>) -> Walked {
        let is_filtering = flags.contains(Flags::FILTER);
        let mut structure = self.params.structure(is_filtering, &self.checks);
        let mut walk = Walk {
            content: self,
            flags,
            hops: 0,
            is_refused: false,
            lacks_end: false,
            bcc: Vec::new(),
            written: Written::default(),
            in_body: false,
            has_body: false,
            findings,
        };
        let mut work = Vec::new();
        let cut = message.cut(self.message_size_limit, self.line_length_limit);
        let taken = message.lines.iter().take(cut.unwrap_or(usize::MAX));
        'lines: for line in message.headers.iter().chain(taken) {
            let mut pieces = line.chunks(self.line_length_limit.max(1)).peekable();
            loop {
                let piece = pieces.next().unwrap_or_default();
                let is_last = pieces.peek().is_none();
                match self.params.record(piece, walk.is_filtering(), &mut work) {
                    Record::Passes(data) => {
                        structure.record(if is_last { Text::Line } else { Text::Partial }, data, &mut walk);
                    }
                    Record::Refused(data) => {
                        walk.tell("content", data, "reject", DISALLOWED.as_bytes());
                        walk.refuse(Status::CONT, DISALLOWED.as_bytes());
                        walk.flags.remove(Flags::FILTER);
                    }
                }
                if walk.is_over() {
                    break 'lines;
                }
                if is_last {
                    break;
                }
            }
        }
        if cut.is_some() {
            // Whatever cleanup has found in what it has got.
            walk.findings.refuse_for(Status::SIZE);
            return walk.done();
        }
        if !walk.is_over() {
            structure.end(&mut walk);
        }
        if walk.flags.contains(Flags::DISCARD) {
            return walk.done();
        }
        let is_tolerated = |error| error == mime::Error::HeaderEnd && walk.lacks_end;
        if let Some(error) = structure.first_error().filter(|error| !is_tolerated(*error)) {
            walk.refuse(Status::CONT, mime_refusal(error).as_bytes());
        }
        walk.done()
    }
}

/// What came of the walk.
#[derive(Debug)]
pub(crate) struct Walked {
    /// Who gets a copy.
    pub bcc: Vec<Vec<u8>>,
    /// The message, when mail filters are to see it.
    pub written: Option<Written>,
}

/// What cleanup would write of the message, but for headers that it adds and addresses that it rewrites.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The headers, without the one that this system made itself.
    pub headers: Vec<Vec<u8>>,
    /// The body, lines with CR LF.
    pub body: Vec<u8>,
}

struct Walk<'w, 's> {
    content: &'w Content,
    flags: Flags,
    hops: usize,
    is_refused: bool,
    lacks_end: bool,
    bcc: Vec<Vec<u8>>,
    written: Written,
    in_body: bool,
    has_body: bool,
    findings: &'w mut Findings<'s>,
}

impl Walk<'_, '_> {
    fn done(self) -> Walked {
        let goes_on = !self.is_over();
        Walked { bcc: self.bcc, written: goes_on.then_some(self.written) }
    }

    /// Text that is written.
    fn put(&mut self, text: &[u8], end: Text) {
        if !self.in_body {
            return self.written.headers.push(text.to_vec());
        }
        self.written.body.extend_from_slice(text);
        if end == Text::Line {
            self.written.body.extend_from_slice(b"\r\n");
        }
    }

    /// Nobody is interested in what follows.
    fn is_over(&self) -> bool {
        self.is_refused || self.flags.contains(Flags::DISCARD)
    }

    fn is_filtering(&self) -> bool {
        self.flags.contains(Flags::FILTER)
    }

    fn refuse(&mut self, status: Status, reason: &[u8]) {
        self.is_refused = true;
        self.findings.refuse(status, reason);
    }

    fn tell(&self, part: &'static str, text: &[u8], action: &str, argument: &[u8]) {
        let text = shown(text.get(..SHOWN_TEXT).unwrap_or(text));
        let (action, argument) = (action.to_owned(), shown(argument));
        self.findings.steps.push(Step::Check { part, text, action, argument });
    }

    /// Obeys what the tables say, and writes what is left; false when nothing is.
    fn obey(&mut self, part: &'static str, text: &[u8], end: Text, checked: Checked<'_>) -> bool {
        let action = match checked {
            Ok(Some(action)) => action,
            Ok(None) => {
                self.put(text, end);
                return true;
            }
            Err(parameter) => {
                self.tell(part, text, "fails", format!("{parameter} map lookup problem").as_bytes());
                self.refuse(Status::WRITE, b"");
                return true;
            }
        };
        // As in the log of cleanup, nothing is on hold twice.
        let settled = self.flags.intersects(Flags::HOLD | Flags::DISCARD);
        if !(action.verb == Verb::Hold && settled) {
            self.tell(part, text, action.verb.log_word(), &action.text);
        }
        match action.verb {
            Verb::Hold => self.flags.insert(Flags::HOLD),
            Verb::Discard => self.flags.insert(Flags::DISCARD),
            _ => {}
        }
        if let Some(status) = action.refusal() {
            self.refuse(status, &action.text);
        }
        if action.is_final() {
            self.flags.remove(Flags::FILTER);
        }
        let Action { verb, text: argument } = action;
        match verb {
            Verb::Ignore | Verb::Strip => return false,
            Verb::Replace => self.put(&argument, end),
            Verb::Prepend => {
                self.put(&argument, Text::Line);
                self.put(text, end);
            }
            _ => self.put(text, end),
        }
        if verb == Verb::Bcc {
            self.bcc.push(argument);
        }
        true
    }
}

impl Sink for Walk<'_, '_> {
    fn header(&mut self, section: Section, header: Header<'_>) {
        let is_hop = header.known.is_some_and(|known| known.id == Name::Received);
        self.hops += usize::from(is_hop);
        let checked = match self.is_filtering() {
            true => self.content.checks.header(section, &header),
            false => Ok(None),
        };
        let stays = self.obey("header", header.text, Text::Line, checked);
        // This system's own line is not for mail filters.
        if is_hop && stays && self.hops == 1 && section == Section::Primary {
            self.written.headers.pop();
        }
        if is_hop && stays && section == Section::Primary && self.hops >= self.content.hopcount_limit {
            self.tell("header", header.text, "reject", b"hopcount exceeded");
            self.refuse(Status::HOPS, b"");
        }
    }

    fn header_end(&mut self) {
        self.in_body = true;
    }

    fn body(&mut self, end: Text, text: &[u8], offset: usize) {
        if self.is_over() {
            return;
        }
        let checked = match self.is_filtering() {
            true => self.content.checks.body(&self.content.params, text, offset),
            false => Ok(None),
        };
        // The empty line behind the headers.
        if text.is_empty() && end == Text::Line && !std::mem::replace(&mut self.has_body, true) {
            return;
        }
        self.obey("body", text, end, checked);
    }

    fn error(&mut self, error: mime::Error, sample: &[u8]) {
        let action = self.content.params.non_empty_end_of_header_action;
        if error == mime::Error::HeaderEnd && action == HeaderEndAction::AddHeader {
            self.lacks_end = true;
            return;
        }
        self.tell("mime-error", sample, "reject", mime_refusal(error).as_bytes());
    }
}
