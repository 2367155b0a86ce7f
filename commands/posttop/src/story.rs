//! What the log says of a message, and what can be done with it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use config::Config;
use maillog::{Form, Settings};

/// So much of a log's end is read.
const LOG_END: u64 = 32 * 1024 * 1024;
/// Lines that are kept, the newest.
const LINES: usize = 1000;

/// What can be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Hold,
    Release,
    Requeue,
    Delete,
}

impl Deed {
    /// That of a key.
    pub(crate) fn of_key(key: u8) -> Option<Self> {
        match key {
            b'h' => Some(Self::Hold),
            b'H' => Some(Self::Release),
            b'r' => Some(Self::Requeue),
            b'x' => Some(Self::Delete),
            _ => None,
        }
    }

    /// Postsuper's option, and the word.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Hold => ("-h", "Hold"),
            Self::Release => ("-H", "Release"),
            Self::Requeue => ("-r", "Requeue"),
            Self::Delete => ("-d", "Delete"),
        }
    }

    /// The word.
    pub(crate) fn name(self) -> &'static str {
        self.words().1
    }

    /// Has postsuper do it; the last thing that it said.
    pub(crate) fn apply(self, config: &Config, id: &str) -> String {
        // What begins with a hyphen would be an option, and ALL is all messages: neither is a queue ID.
        if !is_queue_id(id) {
            return "that is no queue ID".to_owned();
        }
        let program = Path::new(&config.globals().command_directory).join("postsuper");
        let done = Command::new(&program)
            .args([self.words().0, id])
            .env(config::ENVIRONMENT, config.directory().path())
            .output();
        match done {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let last = said.lines().rev().find(|line| !line.trim().is_empty());
                match last {
                    Some(last) => last.to_owned(),
                    None if output.status.success() => {
                        format!("{}: nothing was found to be done", self.name())
                    }
                    None => format!("{}: {}", program.display(), output.status),
                }
            }
            Err(error) => format!("{}: {}", program.display(), sys::error_text(&error)),
        }
    }
}

fn is_queue_id(id: &str) -> bool {
    id.len() >= 5 && id != "ALL" && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// All lines about a message, as far back as the log is read.
pub(crate) fn lines(config: &Config, id: &str) -> Vec<String> {
    let settings = match Settings::new(config) {
        Ok(settings) => settings,
        Err(error) => return vec![error.to_string()],
    };
    let Some((form, path)) = source(&settings) else {
        return vec![
            "The log is not in a file: maillog_file, maillog_copies and maillog_events name none.".to_owned(),
        ];
    };
    let bytes = match end_of(&path) {
        Ok(bytes) => bytes,
        Err(error) => return vec![format!("{}: {}", path.display(), sys::error_text(&error))],
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<String> =
        text.lines().filter(|line| names(line, id)).map(|line| shown(form, line)).collect();
    if lines.is_empty() {
        return vec![format!(
            "Nothing of it is in the last {} MB of {}.",
            LOG_END / 1024 / 1024,
            path.display()
        )];
    }
    let before = lines.len().saturating_sub(LINES);
    lines.drain(..before);
    lines
}

/// The file to read: lines rather than events.
fn source(settings: &Settings) -> Option<(Form, PathBuf)> {
    let is_file = |path: &&PathBuf| !path.starts_with("/dev");
    if let Some(path) = settings.maillog_file.as_ref().filter(is_file) {
        return Some((Form::Line, path.clone()));
    }
    let mut files: Vec<(Form, PathBuf)> = settings
        .destinations
        .iter()
        .filter_map(|destination| Some((destination.form, destination.plain_file()?.to_owned())))
        .collect();
    files.sort_by_key(|(form, _)| *form == Form::Event);
    files.into_iter().next()
}

fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_END)))?;
    let mut bytes = Vec::new();
    file.take(LOG_END).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether the ID stands in the line as a word.
fn names(line: &str, id: &str) -> bool {
    let is_edge = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_alphanumeric());
    line.match_indices(id).any(|(at, _)| {
        is_edge(line[..at].chars().next_back()) && is_edge(line[at + id.len()..].chars().next())
    })
}

/// Without host and date, which are the same in all lines.
fn shown(form: Form, line: &str) -> String {
    match form {
        Form::Line => {
            let rest = line.get(16..).and_then(|rest| rest.split_once(' '));
            rest.map_or_else(
                || line.to_owned(),
                |(_, rest)| format!("{} {rest}", line.get(7..15).unwrap_or("")),
            )
        }
        Form::Event => {
            let member = |name: &str| member(line, name).unwrap_or_default();
            let time = member("time");
            format!("{} {}: {}", time.get(11..19).unwrap_or(""), member("name"), member("text"))
        }
    }
}

/// A member of an event, as postlogd writes it. Quotes within texts have a backslash before them, so `"NAME":"` is a member.
fn member(line: &str, name: &str) -> Option<String> {
    let start = format!("\"{name}\":\"");
    let at = line.match_indices(&start).find(|(at, _)| !line[..*at].ends_with('\\'))?.0 + start.len();
    let mut text = String::new();
    let mut chars = line[at..].chars();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    text.push(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).unwrap_or('?'));
                }
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (line, expected) in [
            ("a: 49A92996152: removed", true),
            ("notification: 49A92996152", true),
            ("49A92996152X", false),
            ("x49A92996152", false),
            ("", false),
        ] {
            assert_eq!(names(line, "49A92996152"), expected, "{line}");
        }
        for id in ["-d", "ALL", "", "a b c d e", "49A92996152;x"] {
            assert!(!is_queue_id(id), "{id}");
        }
        assert!(is_queue_id("49A92996152") && is_queue_id("4jXJlq4m2tz1SlqS"));
    }

    #[test]
    fn forms() {
        let line = "Nov 30 15:00:00 mx postfix/smtpd[23]: 49A92996152: client=\"a\"\\\u{1}";
        assert_eq!(shown(Form::Line, line), "15:00:00 postfix/smtpd[23]: 49A92996152: client=\"a\"\\\u{1}");
        let event = "{\"time\":\"2026-11-30T15:00:00.1+00:00\",\"name\":\"postfix/smtpd\",\"fields\":{\"client\":\"\\\"text\\\":\\\"\"},\
                     \"text\":\"49A92996152: client=\\\"a\\\"\\\\\\u0001\"}";
        assert_eq!(shown(Form::Event, event), "15:00:00 postfix/smtpd: 49A92996152: client=\"a\"\\\u{1}");
        assert_eq!(shown(Form::Line, "short"), "short");
    }
}
