//! Look-ups and listings (spec tables 4.3).

use std::io::{self, BufRead, BufReader, BufWriter, Write};

use config::{Config, printable};
use lookup::{Flags, LookupError, Opening, SequenceError, Table};

use crate::message_keys::{self, Keys};
use crate::{Options, reference};

/// How keys and values are printed.
#[derive(Debug, Clone, Copy)]
pub struct Show {
    between: &'static [u8],
}

impl Show {
    /// As postmap prints.
    pub const KEY_TAB_VALUE: Show = Show { between: b"\t" };
    /// As postalias prints.
    pub const ALIAS: Show = Show { between: b":\t" };
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
            Ok(table) => Opened {
                shown: printable(&reference),
                table,
                file_values: options.flags.has(Flags::FILE_VALUES),
            },
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
        finish(output.write_all(&value).and_then(|()| output.write_all(b"\n")).and_then(|()| output.flush()));
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
    output.write_all(key)?;
    output.write_all(show.between)?;
    output.write_all(value)?;
    output.write_all(b"\n")
}

/// Looks up the headers and body lines of the message on stdin; the command's exit status.
pub fn message(config: &Config, references: &[Vec<u8>], options: &Options, keys: Keys) -> i32 {
    let mut tables = Tables { config, references, options, opened: Vec::new() };
    let mut output = BufWriter::new(io::stdout().lock());
    let mut found = false;
    let walked = message_keys::walk(config, keys, &mut io::stdin().lock(), &mut |key| {
        if let Some(value) = tables.lookup(key) {
            found = true;
            finish(print(&mut output, key, &value, Show::KEY_TAB_VALUE));
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
            maillog::fatal(format_args!("table {}: sequence operation is not supported", opened.shown))
        }
        Err(SequenceError::Failed | SequenceError::Unavailable) => {
            maillog::fatal(format_args!("table {}: sequence error: Application error", opened.table.name()))
        }
    }
}
