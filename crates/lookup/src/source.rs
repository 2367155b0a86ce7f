//! The lines of a table of rules: from a file, or from the table's own name (spec tables 8, 9).
//!
//! `cidr:/path` has logical lines, numbered by their first physical line; `cidr:{{rule}, {rule}}` has one line in
//! each inner pair of braces, numbered from 1. The size of a line and the number of rules are bounded.

use std::fs::File;
use std::io::{BufRead, BufReader};

use config::logical_lines::{LogicalLines, trim_end, trim_start};
use config::{list, printable};

use crate::OpenError;

/// Most rules of a table: bounds the memory that a hostile file can take.
pub(crate) const RULE_LIMIT: usize = 1_000_000;

/// A rule's text, without white space at its ends.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) text: Vec<u8>,
    pub(crate) number: usize,
}

/// What a folder in the place of a table's file is: nothing can be read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder {
    /// An error.
    Refused,
    /// A table without rules, as in Postfix; the log says so.
    Empty,
}

/// The lines of the table `kind:name`.
pub(crate) fn lines(kind: &str, name: &[u8], folder: Folder) -> Result<Vec<Line>, OpenError> {
    if name.starts_with(b"{") {
        return inline(kind, name);
    }
    let shown = printable(name);
    let failed = |why: std::io::Error| OpenError::new(format!("open {shown}: {}", sys::error_text(&why)));
    let file = File::open(crate::path(name)).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return match folder {
            Folder::Refused => Err(OpenError::new(format!("open {shown}: Is a directory"))),
            Folder::Empty => {
                log::warn!("{kind} map {shown}: read error: Is a directory");
                Ok(Vec::new())
            }
        };
    }
    read(BufReader::new(file), &shown).map_err(failed)
}

/// The lines of an open source.
pub(crate) fn read(source: impl BufRead, shown: &str) -> std::io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for line in LogicalLines::new(source, shown) {
        let line = line?;
        if lines.len() == RULE_LIMIT {
            log::warn!("{shown}, line {}: more than {RULE_LIMIT} rules: ignoring the rest", line.first);
            break;
        }
        lines.push(Line { text: trim_end(&line.text).to_vec(), number: line.first });
    }
    Ok(lines)
}

fn inline(kind: &str, name: &[u8]) -> Result<Vec<Line>, OpenError> {
    let fault = |why: list::GroupError| OpenError::new(format!("{kind} map: {why}"));
    let inside = list::group(name).map_err(fault)?;
    let mut lines = Vec::new();
    for (at, word) in list::words_with_groups(inside).enumerate() {
        let text = list::group(word).map_err(fault)?;
        let text = trim_end(trim_start(text));
        // Empty rules and comments are dropped, as in a file, and counted.
        if !text.is_empty() && !text.starts_with(b"#") {
            lines.push(Line { text: text.to_vec(), number: at + 1 });
        }
    }
    Ok(lines)
}
