//! Look-ups and listings (spec tables 4.3).

use std::io::{self, BufRead, BufReader, BufWriter, Write};

use config::{Config, printable};
use lookup::{Flags, LookupError, Opening, SequenceError, Table};

use crate::message_keys::{self, Keys};
use crate::{Options, reference};

/// How keys and values are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// As postmap prints.
    KeyTabValue,
    /// As postalias prints.
    Alias,
    /// `-j`: an object a line.
    Json,
}

impl Show {
    /// This one, or JSON where it is asked for.
    #[must_use]
    pub fn unless_json(self, options: &Options) -> Show {
        if options.json { Show::Json } else { self }
    }
}

struct Opened {
    shown: String,
    table: Box<dyn Table>,
    file_values: bool,
}

impl Opened {
    fn open(config: &Config, table: &[u8], options: &Options) -> Opened {
        let (kind, name) = reference(config, table);
        let reference = [kind, b":", name].concat();
        match lookup::open(&reference, options.flags.without(Flags::WARN_DUPLICATES), Opening::FatalErrors) {
            Ok(table) => {
                let shown = printable(&reference);
                log::debug!("dict_open: {shown}");
                Opened { shown, table, file_values: options.flags.has(Flags::FILE_VALUES) }
            }
            Err(error) => maillog::fatal(error),
        }
    }

    fn lookup(&self, key: &[u8]) -> Option<Vec<u8>> {
        let shown = self.table.name();
        let value = match self.table.lookup(key) {
            Ok(value) => value?,
            Err(LookupError::Retry) => {
                let reason = self.table.reason().unwrap_or_else(|| "Application error".to_owned());
                maillog::fatal(format_args!("table {shown}: query error: {reason}"))
            }
            Err(LookupError::Config) => maillog::fatal(format_args!("table {shown}: query error")),
        };
        if value.is_empty() {
            self.warn_empty(key);
        }
        Some(self.content(key, value))
    }

    fn warn_empty(&self, key: &[u8]) {
        let shown = &self.shown;
        log::warn!("table {shown}: key {}: empty string result is not allowed", printable(key));
        log::warn!("table {shown} should return NO RESULT in case of NOT FOUND");
    }

    /// The value, or with `-F` what it encodes.
    fn content(&self, key: &[u8], value: Vec<u8>) -> Vec<u8> {
        if !self.file_values {
            return value;
        }
        lookup::base64::decode(&value).unwrap_or_else(|| {
            let shown = self.table.name();
            log::warn!(
                "table {shown}: key {}: malformed BASE64 value: {}",
                printable(key),
                printable(&value)
            );
            maillog::fatal(format_args!("table {shown}: query error"))
        })
    }
}

fn finish(result: io::Result<()>) {
    if let Err(error) = result {
        maillog::fatal(format_args!("write error: {}", sys::error_text(&error)));
    }
}

/// Opened as they are needed: the first table with an answer ends the search.
struct Tables<'a> {
    config: &'a Config,
    references: &'a [Vec<u8>],
    options: &'a Options,
    opened: Vec<Opened>,
}

impl Tables<'_> {
    fn lookup(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        for at in 0..self.references.len() {
            if at == self.opened.len() {
                self.opened.push(Opened::open(self.config, &self.references[at], self.options));
            }
            if let Some(value) = self.opened[at].lookup(key) {
                return Some(value);
            }
        }
        None
    }
}

/// Looks up a key, or with `-` those on stdin; the command's exit status.
pub fn query(config: &Config, references: &[Vec<u8>], options: &Options, key: &[u8], show: Show) -> i32 {
    let mut tables = Tables { config, references, options, opened: Vec::new() };
    if key != b"-" {
        let Some(value) = tables.lookup(key) else { return 1 };
        let mut output = io::stdout().lock();
        let written = match show {
            Show::Json => print(&mut output, key, &value, show),
            _ => output.write_all(&value).and_then(|()| output.write_all(b"\n")),
        };
        finish(written.and_then(|()| output.flush()));
        return 0;
    }
    let mut found = false;
    let mut input = BufReader::with_capacity(1 << 16, io::stdin().lock());
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => maillog::fatal(format_args!("read stdin: {}", sys::error_text(&error))),
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        // A key is a C string.
        if let Some(end) = line.iter().position(|byte| *byte == 0) {
            line.truncate(end);
        }
        if let Some(value) = tables.lookup(&line) {
            found = true;
            finish(print(&mut output, &line, &value, show));
        }
        // Somebody who sends one key and waits gets the answer.
        if input.buffer().is_empty() {
            finish(output.flush());
        }
    }
    finish(output.flush());
    i32::from(!found)
}

fn print(output: &mut impl Write, key: &[u8], value: &[u8], show: Show) -> io::Result<()> {
    let between: &[u8] = match show {
        Show::KeyTabValue => b"\t",
        Show::Alias => b":\t",
        Show::Json => {
            output.write_all(&command::json::pair(key, value))?;
            return output.write_all(b"\n");
        }
    };
    output.write_all(key)?;
    output.write_all(between)?;
    output.write_all(value)?;
    output.write_all(b"\n")
}

/// Looks up the headers and body lines of the message on stdin; the command's exit status.
pub fn message(config: &Config, references: &[Vec<u8>], options: &Options, keys: Keys) -> i32 {
    let mut tables = Tables { config, references, options, opened: Vec::new() };
    let mut output = BufWriter::new(io::stdout().lock());
    let show = Show::KeyTabValue.unless_json(options);
    let mut found = false;
    let walked = message_keys::walk(config, keys, &mut io::stdin().lock(), &mut |key| {
        if let Some(value) = tables.lookup(key) {
            found = true;
            finish(print(&mut output, key, &value, show));
        }
    });
    finish(walked);
    finish(output.flush());
    i32::from(!found)
}

/// Lists the first table; the command's exit status.
pub fn list(config: &Config, references: &[Vec<u8>], options: &Options, show: Show) -> i32 {
    let Some(first) = references.first() else { return 1 };
    let (kind, _) = reference(config, first);
    if kind == b"proxy" {
        maillog::fatal("can't sequence maps via the proxy service");
    }
    let opened = Opened::open(config, first, options);
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut written = Ok(());
    let listed = opened.table.each(&mut |key, value| {
        if value.is_empty() {
            opened.warn_empty(key);
        }
        written = print(&mut output, key, &opened.content(key, value.to_vec()), show);
        written.is_ok()
    });
    finish(written);
    finish(output.flush());
    match listed {
        Ok(()) => 0,
        Err(SequenceError::NotSupported) => {
            let shown = opened.shown.trim_start_matches("debug:");
            maillog::fatal(format_args!("table {shown}: sequence operation is not supported"))
        }
        Err(SequenceError::Failed | SequenceError::Unavailable) => {
            maillog::fatal(format_args!("table {}: sequence error: Application error", opened.table.name()))
        }
    }
}
