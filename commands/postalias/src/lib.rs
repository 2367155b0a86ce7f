//! The postalias command: postmap for alias databases (spec commands 5, tables 4.7).
//!
//! The source has `name: value` lines of RFC 822 tokens. A name is stored in internal form, a value in external form
//! with white space made regular. After the entries come those that tell a reader that the table is complete (`@`) and,
//! for NIS, when and where it was made. Refused, with a warning and without the entry: lines that are no name and
//! value, names with a domain.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufReader};
use std::time::{SystemTime, UNIX_EPOCH};

use address::token::{Token, alias, internal, scan};
use command::{Command, Log, Opt};
use config::Config;
use config::logical_lines::LogicalLines;
use lookup::build::Writer;
use lookup::{Flags, OpenError};
use postmap::create::{self, Line};
use postmap::query::{self, Show};
use postmap::{Options, Task};

const USAGE: &str = "usage: postalias [-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...";

/// The command, from its arguments to its exit.
pub fn run() {
    lookup::link_drivers();
    let command = Command::start(Log::StderrAndLog);
    let mut getopt = command.options("Nc:d:fijnopq:rsuvw");
    let mut options = Options::default();
    for option in getopt.by_ref() {
        if !options.take(&command, option) || matches!(option, Opt::Invalid) {
            maillog::fatal(USAGE);
        }
    }
    let tables: Vec<Vec<u8>> =
        getopt.operands().iter().map(|word| word.as_encoded_bytes().to_vec()).collect();
    let config = options.configure(&command, "postalias", USAGE);
    if tables.is_empty() && !options.list {
        maillog::fatal(USAGE);
    }
    if config.globals().smtputf8_enable && options.utf8 {
        options.flags = options.flags.with(Flags::UTF8);
    }
    let show = Show::Alias.unless_json(&options);
    let status = match options.task() {
        Task::Query(key) => query::query(&config, &tables, &options, &key, show),
        Task::List => query::list(&config, &tables, &options, show),
        Task::Delete(key) => create::delete(&config, &tables, &options, &key),
        Task::Add | Task::Create => {
            for table in &tables {
                create::create(&config, table, &options, &parse, Some(&mut |writer| finish(writer, &config)));
            }
            0
        }
    };
    sys::process::exit_now(status);
}

/// A line of the source: name, colon, value.
fn parse(line: &Line<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    entry(line.text).inspect_err(|why| log::warn!("{}: {why}", line.place)).ok()
}

/// Name and value; errors are texts for a warning.
fn entry(text: &[u8]) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    let tokens = scan(text);
    let (name, value) = alias(&tokens).ok_or("need name:value pair")?;
    if name.iter().any(|token| token.is(b'@') || token.is(b'%')) {
        return Err("name must be local");
    }
    Ok((internal(name), external(value)))
}

/// Lines of an alias file that would be left out, in the words that the making of the table has; no more than `limit`.
///
/// # Errors
/// The file cannot be read.
pub fn mistakes(file: &str, limit: usize) -> io::Result<Vec<String>> {
    let mut mistakes = Vec::new();
    for line in LogicalLines::new(BufReader::new(File::open(file)?), file) {
        let line = line?;
        if let Err(why) = entry(&line.text) {
            mistakes.push(format!("{file}, line {}: {why}", line.first));
            if mistakes.len() == limit {
                break;
            }
        }
    }
    Ok(mistakes)
}

/// Tokens as they would be written: quoted strings quoted, a blank between two words and after a comma.
fn external(tokens: &[Token]) -> Vec<u8> {
    let is_word = |token: &Token| !matches!(token, Token::Operator(_));
    let mut out = Vec::new();
    let mut previous: Option<&Token> = None;
    for token in tokens {
        if previous.is_some_and(|previous| {
            is_word(previous) && is_word(token) || previous.is(b',') || token.is(b'<')
        }) {
            out.push(b' ');
        }
        match token {
            Token::Atom(text) | Token::Comment(text) => out.extend_from_slice(text),
            Token::QuotedString(text) => {
                out.push(b'"');
                for byte in text {
                    if matches!(byte, b'"' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(*byte);
                }
                out.push(b'"');
            }
            Token::DomainLiteral(text) => {
                out.push(b'[');
                out.extend_from_slice(text);
                out.push(b']');
            }
            Token::Operator(byte) => out.push(*byte),
        }
        previous = Some(token);
    }
    out
}

/// What follows the entries; records from an earlier run are replaced.
fn finish(writer: &mut Writer, config: &Config) -> Result<(), OpenError> {
    writer.replace(b"@", b"@")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map(|age| age.as_secs()).unwrap_or(0);
    writer.replace_raw(b"YP_LAST_MODIFIED", format!("{now:010}").as_bytes())?;
    writer.replace_raw(b"YP_MASTER_NAME", config.globals().myhostname.as_bytes())
}
