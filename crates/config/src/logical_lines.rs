//! Physical lines to logical lines, as main.cf, master.cf and nearly every table source have them.
//!
//! A logical line starts with text in its first column; lines that start with white space continue
//! it. Empty lines and lines whose first text is `#` count for nothing, not even as the end of a
//! continued line. Continuation joins without adding or removing blanks; `\` has no meaning.
//! White space is what C's `isspace` says: SP, TAB, LF, VT, FF, CR.
//!
//! ```
//! let text = b"x = a#b ; c\n #comment\n  d\n\n e\ny = 2\n";
//! let lines: Vec<_> = config::LogicalLines::new(&text[..], "main.cf").map(Result::unwrap).collect();
//! assert_eq!(lines[0].text, b"x = a#b ; c  d e");
//! assert_eq!((lines[0].first, lines[0].last), (1, 5));
//! assert_eq!(lines[1].text, b"y = 2");
//! ```
//!
//! Text that starts with white space and continues nothing is refused with a warning and skipped.
//! A line ends at a NUL, which versions from 3.9 on tell of. Postfix has no limit on the length of a line; here it is
//! [`MAX_LENGTH`], and a longer one is an error.

use std::io::{self, BufRead, Read};
use std::sync::{Mutex, PoisonError};

use crate::error::printable;

/// The greatest length of a logical line; one that is longer is an error of the kind
/// [`io::ErrorKind::InvalidData`].
pub const MAX_LENGTH: usize = 16 << 20;

/// What becomes of warnings of text behind a NUL.
enum Nuls {
    /// The version in force, which main.cf may set, is not known yet: they wait.
    Waiting(Vec<String>),
    /// Told, from 3.9 on.
    Told,
    /// Not told.
    Ignored,
}

static NULS: Mutex<Nuls> = Mutex::new(Nuls::Waiting(Vec::new()));

/// One logical line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalLine {
    /// The text, without line ends; never empty, never starting with white space.
    pub text: Vec<u8>,
    /// The number of the first physical line: the one that messages name.
    pub first: usize,
    /// The number of the last physical line with text.
    pub last: usize,
}

/// The logical lines of a file.
pub struct LogicalLines<R> {
    reader: R,
    name: String,
    physical: usize,
    failed: bool,
}

impl<R: BufRead> LogicalLines<R> {
    /// Reads from `reader`; `name` is the file's name in warnings.
    pub fn new(reader: R, name: impl Into<String>) -> Self {
        Self { reader, name: name.into(), physical: 0, failed: false }
    }

    /// The next logical line, even when it starts with white space.
    fn assemble(&mut self) -> io::Result<Option<LogicalLine>> {
        let mut line = LogicalLine { text: Vec::new(), first: 0, last: 0 };
        let mut has_nul = false;
        loop {
            let start = line.text.len();
            if !self.append_physical(&mut line.text)? {
                break;
            }
            let added = &line.text[start..];
            has_nul |= added.contains(&0);
            match added.iter().find(|byte| !is_space(**byte)) {
                None | Some(b'#') => {
                    line.text.truncate(start);
                    if line.first == 0 {
                        continue;
                    }
                }
                Some(_) => {
                    line.last = self.physical;
                    if line.first == 0 {
                        line.first = self.physical;
                    }
                }
            }
            match self.peek()? {
                Some(byte) if is_space(byte) || byte == b'#' => {}
                _ => break,
            }
        }
        if has_nul {
            // Comments within the line and behind it count, and those at the end of the file (observed, 3.11.7).
            let lines = match line.first {
                first if first == self.physical || first == 0 => self.physical.to_string(),
                first => format!("{first}-{}", self.physical),
            };
            warn_of_nul(format!("{}, line {lines}: text after null byte may be ignored", self.name));
        }
        if line.first == 0 {
            return Ok(None);
        }
        if let Some(nul) = line.text.iter().position(|byte| *byte == 0) {
            line.text.truncate(nul);
        }
        Ok(Some(line))
    }

    /// Appends a physical line without its line end; false at the end of the file.
    fn append_physical(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        let room = (MAX_LENGTH + 1).saturating_sub(text.len());
        let limit = u64::try_from(room).unwrap_or(u64::MAX);
        let read = self.reader.by_ref().take(limit).read_until(b'\n', text)?;
        if read == 0 {
            return Ok(false);
        }
        self.physical += 1;
        if text.last() == Some(&b'\n') {
            text.pop();
        }
        if text.len() > MAX_LENGTH {
            let why = format!("{}, line {}: line is too long", self.name, self.physical);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(true)
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.reader.fill_buf() {
                Ok(bytes) => return Ok(bytes.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<R: BufRead> Iterator for LogicalLines<R> {
    type Item = io::Result<LogicalLine>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        loop {
            match self.assemble() {
                Ok(Some(line)) if line.text.first().is_some_and(|byte| is_space(*byte)) => {
                    log::warn!("{}", misplaced(&self.name, &line.text));
                }
                Ok(line) => return line.map(Ok),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

fn warn_of_nul(warning: String) {
    let mut nuls = NULS.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *nuls {
        Nuls::Waiting(warnings) => warnings.push(warning),
        Nuls::Told => {
            drop(nuls);
            log::warn!("{warning}");
        }
        Nuls::Ignored => {}
    }
}

/// Tells what waits, if the version in force (the part behind `3.`) tells of text behind a NUL, and does so from now on.
pub fn found_version(minor: u32) {
    const SINCE: u32 = 9;
    let nuls = if minor >= SINCE { Nuls::Told } else { Nuls::Ignored };
    let before = std::mem::replace(&mut *NULS.lock().unwrap_or_else(PoisonError::into_inner), nuls);
    if let Nuls::Waiting(warnings) = before
        && minor >= SINCE
    {
        warnings.iter().for_each(|warning| log::warn!("{warning}"));
    }
}

fn misplaced(name: &str, text: &[u8]) -> String {
    const SHOWN: usize = 30;
    let dots = if text.len() > SHOWN { "..." } else { "" };
    let shown = printable(&text[..text.len().min(SHOWN)]);
    format!("{name}: logical line must not start with whitespace: \"{shown}{dots}\"")
}

/// C's `isspace` in the C locale.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Without white space at either end.
pub fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

/// Without white space at the start.
pub fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    &text[start..]
}

/// Without white space at the end.
pub fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        type Line = (&'static str, usize, usize);
        let cases: &[(&[u8], &[Line], &str)] = &[
            (b"", &[], "nothing"),
            (b"\n \n#c\n", &[], "no text at all"),
            (b"a = b\n\n c\n", &[("a = b c", 1, 3)], "an empty line does not end a continuation"),
            (b"a = b\\\nc = d", &[("a = b\\", 1, 1), ("c = d", 2, 2)], "backslash is text"),
            (b"x\r\n \r\n y\r\n", &[("x\r y\r", 1, 3)], "CR is white space, and kept"),
            (b" x\n y\nz\n", &[("z", 3, 3)], "text that continues nothing"),
            (b"#c\n x\nz\n", &[("z", 3, 3)], "a comment is nothing to continue"),
            (b"x\x00y = 3\nz\n", &[("x", 1, 1), ("z", 2, 2)], "the text ends at NUL"),
            (b"x\n#c\n\n", &[("x", 1, 1)], "trailing comments"),
        ];
        for (input, expected, why) in cases {
            let lines: Vec<_> = LogicalLines::new(*input, "f").map(Result::unwrap).collect();
            let lines: Vec<_> =
                lines.iter().map(|l| (std::str::from_utf8(&l.text).unwrap(), l.first, l.last)).collect();
            assert_eq!(&lines, expected, "{why}");
        }
    }

    #[test]
    fn too_long() {
        let text = vec![b'x'; MAX_LENGTH + 1];
        let mut lines = LogicalLines::new(&text[..], "f");
        assert!(lines.next().unwrap().is_err());
        assert!(lines.next().is_none());
    }

    #[test]
    fn misplaced_text_is_cut() {
        let text = b"  0123456789012345678901234567890";
        let expected =
            "f: logical line must not start with whitespace: \"  0123456789012345678901234567...\"";
        assert_eq!(misplaced("f", text), expected);
    }
}
