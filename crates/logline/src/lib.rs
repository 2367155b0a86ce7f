//! What a line of the log says, as fields: a line as all programs of the mail system write it, Postfix's too, taken apart,
//! and written as one JSON object.
//!
//! | member | what |
//! |---|---|
//! | `time` | when the log daemon got the line: RFC 3339, with microseconds |
//! | `host`, `name`, `program`, `pid` | as in the line; `name` is `postfix/smtpd`, `program` its last part |
//! | `severity` | `info`, `warning`, `error`, `fatal`, `panic` |
//! | `queue_id` | absent where the line has none, or `NOQUEUE` |
//! | `event` | what kind of line it is (`fields`); `other` when it is none of those |
//! | `fields` | the values in the line, each a string, under the names that they have there |
//! | `text` | all of the line behind `NAME[PID]: ` |
//!
//! Nothing of a line is lost: `text` has all of it. A line is UTF-8 here: who reads one replaces what is not.
//!
//! ```
//! let line = "Nov 30 15:00:00 mx postfix/qmgr[7]: 4jXJlq4m2tz1SlqS: removed";
//! let line = logline::Line::parse(line).unwrap();
//! assert_eq!((line.program(), line.queue_id, line.event), ("qmgr", Some("4jXJlq4m2tz1SlqS"), "removed"));
//! ```

#![forbid(unsafe_code)]

mod action;
mod fields;
mod json;
mod list;

use std::time::SystemTime;

pub use fields::Fields;

/// A line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// The host's name.
    pub host: &'a str,
    /// `postfix/smtpd`
    pub name: &'a str,
    /// The number in brackets.
    pub pid: Option<u32>,
    /// The word before the text; `info` where there is none.
    pub severity: &'static str,
    /// The message.
    pub queue_id: Option<&'a str>,
    /// What kind of line it is.
    pub event: &'a str,
    /// The values in it.
    pub fields: Fields<'a>,
    /// All that is behind `NAME[PID]: `.
    pub text: &'a str,
}

/// Length of `Mon DD HH:MM:SS `.
const STAMP: usize = 16;

impl<'a> Line<'a> {
    /// Takes a line apart, which begins with `Mon DD HH:MM:SS HOST `; `None` when it does not.
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        let rest = line.get(STAMP..).filter(|_| line.as_bytes()[..STAMP].ends_with(b" "))?;
        let (host, rest) = rest.split_once(' ')?;
        let (tag, text) = rest.split_once(": ").or_else(|| rest.strip_suffix(':').map(|tag| (tag, "")))?;
        let (name, pid) = match tag.strip_suffix(']').and_then(|tag| tag.rsplit_once('[')) {
            Some((name, pid)) => (name, pid.parse().ok()),
            None => (tag, None),
        };
        let severities = ["warning", "error", "fatal", "panic"];
        let said = severities.into_iter().find_map(|severity| {
            let rest = text.strip_prefix(severity)?.strip_prefix(": ")?;
            Some((severity, rest))
        });
        let (severity, said) = said.unwrap_or(("info", text));
        let (queue_id, said) = match said.split_once(": ") {
            Some((id, rest)) if is_queue_id(id) => (Some(id), rest),
            Some(("NOQUEUE", rest)) => (None, rest),
            _ => (None, said),
        };
        let (event, fields) = fields::read(said);
        Some(Self { host, name, pid, severity, queue_id, event, fields, text })
    }

    /// The last part of the name.
    #[must_use]
    pub fn program(&self) -> &'a str {
        self.name.rsplit('/').next().unwrap_or(self.name)
    }

    /// One JSON object, without a line end. `time` is when the line came.
    #[must_use]
    pub fn json(&self, time: SystemTime) -> String {
        let mut object = json::Object::begin();
        object.text("time", &rfc3339(time));
        object.text("host", self.host);
        object.text("name", self.name);
        object.text("program", self.program());
        if let Some(pid) = self.pid {
            object.number("pid", pid);
        }
        object.text("severity", self.severity);
        if let Some(id) = self.queue_id {
            object.text("queue_id", id);
        }
        object.text("event", self.event);
        object.texts("fields", &self.fields);
        object.text("text", self.text);
        object.end()
    }
}

/// A line of the log as a JSON object, whatever it is: bytes that are no UTF-8 become U+FFFD, and of what is no line of a mail
/// system `text` is all there is.
#[must_use]
pub fn event(line: &[u8], time: SystemTime) -> String {
    let line = String::from_utf8_lossy(line);
    Line::parse(&line).map_or_else(
        || {
            let mut object = json::Object::begin();
            object.text("time", &rfc3339(time));
            object.text("event", "other");
            object.texts("fields", &[]);
            object.text("text", &line);
            object.end()
        },
        |line| line.json(time),
    )
}

/// `2026-11-30T15:00:00.123456+01:00`: the local time, and how far it is from UTC.
fn rfc3339(time: SystemTime) -> String {
    let local = sys::time::local(time);
    let second = (sys::time::seconds(time) + i64::from(local.offset)).rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_micros();
    let sign = if local.offset < 0 { '-' } else { '+' };
    let offset = local.offset.abs() / 60;
    format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}{sign}{:02}:{:02}",
        local.year,
        local.month + 1,
        local.day,
        offset / 60,
        offset % 60
    )
}

/// A queue ID as there are in lines: of the short form, six hexadecimal digits at least, or the long one, with its `z`
/// behind ten characters. No word of a line is one.
fn is_queue_id(word: &str) -> bool {
    let is_short = word.len() >= 6
        && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
        && word.bytes().any(|byte| byte.is_ascii_digit());
    let is_long = word.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && word.rfind('z').is_some_and(|at| at >= 10)
        && !word.contains(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']);
    is_short || is_long
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let record = |text: &str| format!("Nov 30 15:00:00 mx postfix/smtpd[23]: {text}");
        for (text, severity, queue_id, event) in [
            ("connect from a[192.0.2.1]", "info", None, "connect"),
            ("warning: 49A92996152: read timeout", "warning", Some("49A92996152"), "other"),
            ("fatal: no", "fatal", None, "other"),
            ("NOQUEUE: reject: RCPT from a[1]: 550 no; from=<b>", "info", None, "reject"),
            ("4jXJlq4m2tz1SlqS: removed", "info", Some("4jXJlq4m2tz1SlqS"), "removed"),
            ("DECADE: x", "info", None, "other"),
            ("statistics: max connection rate 1/60s", "info", None, "other"),
            ("", "info", None, "other"),
        ] {
            let record = record(text);
            let line = Line::parse(&record).unwrap();
            assert_eq!((line.severity, line.queue_id, line.event), (severity, queue_id, event), "{text}");
            assert_eq!((line.host, line.name, line.pid, line.text), ("mx", "postfix/smtpd", Some(23), text));
        }
        assert_eq!(Line::parse("Nov  2 15:00:00 mx a/b: text").unwrap().pid, None);
        for other in [
            "",
            "short",
            "Nov 30 15:00:00 mx",
            "Nov 30 15:00:00 mx tag",
            "\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc} a b: c",
        ] {
            assert_eq!(Line::parse(other).map(|line| line.text), None, "{other}");
        }
    }

    #[test]
    fn an_object() {
        let line = "Nov 30 15:00:00 mx postfix/smtpd[23]: NOQUEUE: client=\"a\"\\[192.0.2.1]\u{fc}\u{1}";
        let object = Line::parse(line).unwrap().json(SystemTime::UNIX_EPOCH);
        let (_, rest) = object.split_once("\",\"host\"").unwrap();
        assert!(object.starts_with("{\"time\":\"19"), "{object}");
        assert_eq!(
            rest,
            ":\"mx\",\"name\":\"postfix/smtpd\",\"program\":\"smtpd\",\"pid\":23,\"severity\":\"info\",\"event\":\"client\",\
             \"fields\":{\"client\":\"\\\"a\\\"\\\\[192.0.2.1]\u{fc}\\u0001\"},\
             \"text\":\"NOQUEUE: client=\\\"a\\\"\\\\[192.0.2.1]\u{fc}\\u0001\"}"
        );
    }
}
