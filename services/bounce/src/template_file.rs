//! The file of templates, `bounce_template_file`.
//!
//! `NAME_template = <<END`, lines, `END`. The file is read when the process starts; what is in a template is looked at when it
//! is first wanted.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use server::Fatal;
use sys::error_text;

use crate::builtin;
use crate::kind::Kind;
use crate::template::Template;

/// A file changed so short a time ago may still be being written.
const SETTLED: Duration = Duration::from_secs(1);
/// Largest file that is read.
const SIZE_LIMIT: u64 = 16 << 20;

/// What the file says, by kind; nothing where it says nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct TemplateFile {
    name: String,
    texts: [Option<Vec<Vec<u8>>>; 4],
    obsolete_from: bool,
}

/// Where a kind's template is.
fn place(kind: Kind) -> usize {
    kind as usize
}

impl TemplateFile {
    /// Reads the file; none has no templates.
    pub(crate) fn read(name: &str, obsolete_from: bool) -> Result<Self, Fatal> {
        let mut file = Self { name: name.to_owned(), obsolete_from, ..Self::default() };
        if !name.is_empty() {
            file.take(&text(name)?)?;
        }
        Ok(file)
    }

    fn take(&mut self, text: &[u8]) -> Result<(), Fatal> {
        let name = &self.name;
        // The number of a line is that of the one behind it, as Postfix counts (observed, 3.7.11).
        let mut lines = text.split_inclusive(|byte| *byte == b'\n').zip(2usize..);
        while let Some((line, number)) = lines.next() {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let trimmed = line.trim_ascii();
            if trimmed.is_empty() || trimmed[0] == b'#' {
                continue;
            }
            let fatal = |what: String| Fatal::new(format!("{name}, line {number}: {what}"));
            let shown = || maillog::shown(line).to_string();
            // The name is one word.
            let end = trimmed.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'=');
            let (label, behind) = trimmed.split_at(end.unwrap_or(trimmed.len()));
            let Some(value) = behind.trim_ascii_start().strip_prefix(b"=") else {
                return Err(fatal(format!("missing '=' after attribute name: \"{}\"", shown())));
            };
            let value = value.trim_ascii();
            if label.is_empty() {
                return Err(fatal(format!("missing attribute name: \"{}\"", shown())));
            }
            let mut last = number;
            let body = match value.strip_prefix(b"<<") {
                None => vec![value.to_vec()],
                Some(end) => {
                    let end = end.trim_ascii();
                    if end.is_empty() {
                        return Err(fatal("missing end marker after <<".to_owned()));
                    }
                    if !end[0].is_ascii_alphanumeric() {
                        return Err(fatal("malformed end marker after <<".to_owned()));
                    }
                    let mut body = Vec::new();
                    loop {
                        let next = lines.next();
                        last = next.map_or(last, |(_, number)| number);
                        // The line of the marker has an end, like any other.
                        let whole = next.and_then(|(line, _)| line.strip_suffix(b"\n"));
                        if whole == Some(end) {
                            break;
                        }
                        match (next, whole) {
                            (_, Some(line)) => body.push(line.to_vec()),
                            (Some((line, _)), None) if line != end => body.push(line.to_vec()),
                            _ => {
                                let end = String::from_utf8_lossy(end);
                                log::warn!("{name}, line {last}: missing \"{end}\" end marker");
                                break;
                            }
                        }
                    }
                    body
                }
            };
            let kind = label
                .strip_suffix(b"_template")
                .and_then(|word| Kind::ALL.into_iter().find(|kind| kind.name().as_bytes() == word));
            match kind {
                Some(kind) => self.texts[place(kind)] = Some(body),
                None => {
                    let label = String::from_utf8_lossy(label);
                    log::warn!(
                        "{name}, line {last}: unknown template name: {label} -- ignoring this template"
                    );
                }
            }
        }
        Ok(())
    }
}

fn text(name: &str) -> Result<Vec<u8>, Fatal> {
    let fatal = |error: std::io::Error| Fatal::new(format!("open {name}: {}", error_text(&error)));
    loop {
        let file = File::open(name).map_err(fatal)?;
        let modified = file.metadata().and_then(|metadata| metadata.modified()).map_err(fatal)?;
        let mut text = Vec::new();
        file.take(SIZE_LIMIT).read_to_end(&mut text).map_err(fatal)?;
        match SystemTime::now().duration_since(modified) {
            Ok(age) if age < SETTLED => sys::process::sleep(SETTLED),
            _ => return Ok(text),
        }
    }
}

/// The templates of one thread.
#[derive(Debug)]
pub(crate) struct Templates {
    file: TemplateFile,
    parsed: RefCell<[Option<Rc<Template>>; 4]>,
}

impl Templates {
    pub(crate) fn new(file: TemplateFile) -> Self {
        Self { file, parsed: RefCell::default() }
    }

    /// The template of a kind.
    pub(crate) fn of(&self, kind: Kind) -> Rc<Template> {
        let mut parsed = self.parsed.borrow_mut();
        parsed[place(kind)].get_or_insert_with(|| Rc::new(self.parse(kind))).clone()
    }

    fn parse(&self, kind: Kind) -> Template {
        let from = if self.file.obsolete_from { builtin::OBSOLETE_FROM } else { builtin::FROM };
        let Some(lines) = &self.file.texts[place(kind)] else { return Template::builtin(kind, from) };
        Template::parse(kind, &self.file.name, lines, from).unwrap_or_else(|warnings| {
            warnings.iter().for_each(|warning| log::warn!("{warning}"));
            Template::builtin(kind, from)
        })
    }
}
