//! A line about something wrong: where it is, how bad it is, and the forms in which it is told.

use std::fmt::Write;
use std::io::{self, Read};

use command::json::quoted;
use master::preflight::{Complaint, Effect};

/// How a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// `warning: `
    Warning,
    /// `fatal: `
    Fatal,
}

impl Level {
    /// How that is told.
    pub(crate) fn of(effect: Effect) -> Self {
        if effect == Effect::None { Self::Warning } else { Self::Fatal }
    }

    /// What it means when a daemon says it.
    pub(crate) fn effect(self) -> Effect {
        match self {
            Self::Warning => Effect::None,
            Self::Fatal => Effect::ServiceDies,
        }
    }
}

/// The end of a line that tells of something wrong, and in Postfix is no warning: that of certificates of authorities
/// that cannot be read.
const UNMARKED: &str = ": disabling TLS support";

/// A line of a daemon's answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// How bad it is.
    pub level: Level,
    /// What is said.
    pub text: String,
}

impl Line {
    /// From what the daemon wrote to stderr; `None` for what is no complaint.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix(config::preflight::NAME)?.strip_prefix(": ")?;
        let kinds = [
            ("warning: ", Level::Warning),
            ("error: ", Level::Warning),
            ("fatal: ", Level::Fatal),
            ("panic: ", Level::Fatal),
        ];
        let marked = kinds.iter().find_map(|(prefix, level)| Some((*level, rest.strip_prefix(prefix)?)));
        let (level, text) = marked.or_else(|| rest.ends_with(UNMARKED).then_some((Level::Warning, rest)))?;
        Some(Self { level, text: text.to_owned() })
    }
}

/// What texts have in common that tell of one mistake: they are equal, or differ only in the parameter before the colon. A
/// value that is the default of other parameters (`$mynetworks`) is found wrong with each of them.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mistake {
    /// Of a parameter, whose name is not part of it.
    OfParameter(String),
    /// Any other.
    Other(String),
}

impl Mistake {
    /// What this text tells of.
    pub(crate) fn of(text: &str) -> Self {
        match text.split_once(": ") {
            Some((name, rest)) if config::table::find(name).is_some() => Self::OfParameter(rest.to_owned()),
            _ => Self::Other(text.to_owned()),
        }
    }
}

/// File and line that a text names: `FILE, line N` or `FILE: line N`, at its start or in parentheses.
pub(crate) fn place_in(text: &str) -> Option<(&str, usize)> {
    text.match_indices("line ").find_map(|(at, word)| {
        let before = text[..at].strip_suffix(", ").or_else(|| text[..at].strip_suffix(": "))?;
        let start = before.rfind([' ', '(']).map_or(0, |blank| blank + 1);
        let digits = &text[at + word.len()..];
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let file = &before[start..];
        Some((file, digits[..end].parse().ok()?)).filter(|_| file.starts_with('/'))
    })
}

/// An object: `severity`, `text`, and as far as they are known `file`, `line` and `service`.
pub(crate) fn json(complaint: &Complaint) -> String {
    let severity = match Level::of(complaint.effect) {
        Level::Warning => "warning",
        Level::Fatal => "fatal",
    };
    let refuses = match complaint.effect {
        Effect::None => "",
        Effect::ServiceDies | Effect::NothingServed => "\"reload\"",
        Effect::MasterDies => "\"reload\", \"start\"",
    };
    let mut object = format!("{{\"severity\": \"{severity}\", \"refuses\": [{refuses}]");
    if let Some((file, line)) = place_in(&complaint.text) {
        let _ = write!(object, ", \"file\": {}, \"line\": {line}", quoted(file));
    }
    if let Some(service) = &complaint.service {
        let _ = write!(object, ", \"service\": {}", quoted(service));
    }
    let _ = write!(object, ", \"text\": {}}}", quoted(&complaint.text));
    object
}

/// Whether the bytes hold a piece.
pub(crate) fn contains(bytes: &[u8], piece: &[u8]) -> bool {
    memchr::memmem::find(bytes, piece).is_some()
}

/// How much of a file is looked at at a time.
const CHUNK: usize = 256 << 10;

/// Whether a file holds a piece. It is read no further than that: a program can have sixty megabytes.
pub(crate) fn holds(mut file: impl Read, piece: &[u8]) -> io::Result<bool> {
    let mut bytes = vec![0; CHUNK];
    let mut filled = 0;
    loop {
        // The end of what was looked at can be the beginning of the piece.
        let kept = filled.min(piece.len().saturating_sub(1));
        bytes.copy_within(filled - kept..filled, 0);
        filled = kept
            + match file.read(&mut bytes[kept..]) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(error),
            };
        if contains(&bytes[..filled], piece) {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let table = [
            ("bad x = y (/etc/main.cf, line 3)", Some(("/etc/main.cf", 3))),
            ("/etc/master.cf: line 12: missing \"command\" field", Some(("/etc/master.cf", 12))),
            ("/etc/main.cf, line 4: missing '=' after attribute name: \"foo\"", Some(("/etc/main.cf", 4))),
            ("the last line 7 of nothing", None),
            ("no place", None),
        ];
        for (text, want) in table {
            assert_eq!(place_in(text), want, "{text}");
        }
    }

    #[test]
    fn answers() {
        let line = |text| Line::parse(text).map(|line| (line.level, line.text));
        assert_eq!(line("preflight: fatal: x"), Some((Level::Fatal, "x".to_owned())));
        assert_eq!(line("preflight: error: open"), Some((Level::Warning, "open".to_owned())));
        assert_eq!(line("preflight: only a note"), None);
        let text = "cannot load x: disabling TLS support".to_owned();
        assert_eq!(line("preflight: cannot load x: disabling TLS support"), Some((Level::Warning, text)));
        assert_eq!(line("something else"), None);
    }

    #[test]
    fn a_piece_may_lie_across_what_is_read_at_a_time() {
        for before in [0, 1, CHUNK - 5, CHUNK - 1, CHUNK, 3 * CHUNK - 2] {
            let content = [vec![b'p'; before], b"piece".to_vec(), vec![b'i'; 3]].concat();
            assert!(holds(&content[..], b"piece").expect("memory"), "behind {before} bytes");
            assert!(!holds(&content[..before + 4], b"piece").expect("memory"), "behind {before} bytes");
        }
    }

    #[test]
    fn json_is_quoted() {
        let complaint = Complaint {
            effect: Effect::MasterDies,
            text: "/m: line 2: bad \"x\"\t".to_owned(),
            service: None,
        };
        assert_eq!(
            json(&complaint),
            "{\"severity\": \"fatal\", \"refuses\": [\"reload\", \"start\"], \"file\": \"/m\", \"line\": 2, \
             \"text\": \"/m: line 2: bad \\\"x\\\"\\t\"}"
        );
    }
}
