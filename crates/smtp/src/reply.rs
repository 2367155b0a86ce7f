//! A reply: one line or more, as a server sends it or as a client received it.
//!
//! A `Reply` holds complete reply lines, code and `-` or space included, without line ends. Made by a server it
//! is well-formed by construction; received by a client it may hold whatever the server sent, because Postfix
//! passes a filter's reply on as it came (spec smtpd 4.5): ask [`Reply::code`] before you trust it.

use std::borrow::Cow;
use std::fmt;

use crate::{EnhancedStatus, ReplyCode};

/// One reply of one line or more. Never empty, no line holds CR or LF.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    lines: Vec<Vec<u8>>,
}

impl Reply {
    /// A one-line reply from its complete text, for example `"250 2.1.0 Ok"`. CR, LF and NUL in it become
    /// `?`, so that text quoted from a client cannot end the line.
    #[must_use]
    pub fn line(text: impl Into<Vec<u8>>) -> Self {
        Self { lines: vec![one_line(text.into())] }
    }

    /// A reply of several lines of the same code: `text` lines come without code. No line at all gives one
    /// empty line.
    #[must_use]
    pub fn multi<T: AsRef<[u8]>>(code: ReplyCode, text: &[T]) -> Self {
        let last = text.len().saturating_sub(1);
        let mut lines: Vec<Vec<u8>> = text
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let separator = if index == last { ' ' } else { '-' };
                let mut line = format!("{code}{separator}").into_bytes();
                line.extend_from_slice(text.as_ref());
                one_line(line)
            })
            .collect();
        if lines.is_empty() {
            lines.push(format!("{code} ").into_bytes());
        }
        Self { lines }
    }

    /// A reply from lines that are complete already: what a client received, or several lines of an EHLO reply.
    /// No line at all gives one empty line.
    #[must_use]
    pub fn verbatim(lines: Vec<Vec<u8>>) -> Self {
        let lines = if lines.is_empty() { vec![Vec::new()] } else { lines };
        Self { lines: lines.into_iter().map(one_line).collect() }
    }

    /// The lines, complete, without line ends.
    #[must_use]
    pub fn lines(&self) -> &[Vec<u8>] {
        &self.lines
    }

    /// The code of the first line, when it is one.
    #[must_use]
    pub fn code(&self) -> Option<ReplyCode> {
        ReplyCode::of_line(&self.lines[0])
    }

    /// The enhanced status of the first line, when it has one of the class of its code.
    #[must_use]
    pub fn status(&self) -> Option<EnhancedStatus> {
        let code = self.code()?;
        let text = self.lines[0].get(4..)?;
        let (status, _) = EnhancedStatus::prefix(text)?;
        (u16::from(status.class()) == code.class()).then_some(status)
    }

    /// The first character of the first line: Postfix's test of success or failure (spec smtpd 4.5).
    #[must_use]
    pub fn first_byte(&self) -> Option<u8> {
        self.lines[0].first().copied()
    }

    /// The reply begins with `2`.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.first_byte() == Some(b'2')
    }

    /// The reply begins with 421 or 521: the server closes after sending it (spec smtpd 1.2).
    #[must_use]
    pub fn closes(&self) -> bool {
        self.lines[0].starts_with(b"421") || self.lines[0].starts_with(b"521")
    }

    /// The lines joined by CRLF, without a final one: the text as log lines and checks see it.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        self.lines.join(&b"\r\n"[..])
    }

    /// The bytes for the wire: every line with CRLF, and the fourth byte set right: `-` in every line but the last
    /// (Postfix does that to whatever a filter said: `hello` becomes `hel-o`, observed), and no `-` in the last, or
    /// the client would wait for more.
    #[must_use]
    pub fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        let last = self.lines.len() - 1;
        for (index, line) in self.lines.iter().enumerate() {
            let start = wire.len();
            wire.extend_from_slice(line);
            match wire.get_mut(start + 3) {
                Some(separator) if index < last => *separator = b'-',
                Some(separator) if *separator == b'-' => *separator = b' ',
                _ => {}
            }
            wire.extend_from_slice(b"\r\n");
        }
        wire
    }

    /// The text for the log: as Postfix shows it, with the CRLF between lines as `??`.
    #[must_use]
    pub fn log_text(&self) -> String {
        self.lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("??")
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.log_text())
    }
}

/// Other control characters stay: Postfix repeats a client's words as they were (observed, 3.7.11).
fn one_line(mut line: Vec<u8>) -> Vec<u8> {
    for byte in &mut line {
        if matches!(byte, b'\r' | b'\n' | 0) {
            *byte = b'?';
        }
    }
    line
}

/// `text` for show: control characters and bytes that are not UTF-8 become `?`, other text stays.
#[must_use]
pub fn printable(text: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(text) {
        Ok(text) if !text.bytes().any(|byte| byte.is_ascii_control()) => Cow::Borrowed(text),
        _ => Cow::Owned(String::from_utf8(without_controls(text)).unwrap_or_default()),
    }
}

/// The same as bytes: always well-formed UTF-8.
pub(crate) fn without_controls(text: &[u8]) -> Vec<u8> {
    // As nearly all are, and each line of a filter's replies comes by.
    if text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_vec();
    }
    let mut shown = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        shown.extend(chunk.valid().bytes().map(|byte| if byte.is_ascii_control() { b'?' } else { byte }));
        shown.extend(chunk.invalid().iter().map(|_| b'?'));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form() {
        let code = ReplyCode::new(250).unwrap();
        assert_eq!(
            Reply::multi(code, &["mx", "SIZE 1", "DSN"]).wire(),
            b"250-mx\r\n250-SIZE 1\r\n250 DSN\r\n"
        );
        assert_eq!(Reply::multi::<&str>(code, &[]).wire(), b"250 \r\n");
        assert_eq!(Reply::line("550 5.1.1 <a\r\nb>").wire(), b"550 5.1.1 <a??b>\r\n");
    }

    #[test]
    fn code_and_status() {
        let reply = Reply::line("550 5.7.1 no");
        assert_eq!(reply.code(), ReplyCode::new(550));
        assert_eq!(reply.status().unwrap().to_string(), "5.7.1");
        assert!(!reply.is_positive() && !reply.closes());
        assert!(Reply::line("550 2.0.0 lie").status().is_none());
        let garbage = Reply::verbatim(vec![b"hello".to_vec(), b"250 ok".to_vec()]);
        assert!(garbage.code().is_none() && !garbage.is_positive());
        assert_eq!(garbage.log_text(), "hello??250 ok");
        assert_eq!(garbage.wire(), b"hel-o\r\n250 ok\r\n");
        let cut = Reply::verbatim(vec![b"550-a".to_vec(), b"550-b".to_vec()]);
        assert_eq!(cut.wire(), b"550-a\r\n550 b\r\n");
        assert!(Reply::line("421 x").closes());
    }

    #[test]
    fn show() {
        assert_eq!(printable(b"a\x01b"), "a?b");
        assert_eq!(printable("é\t".as_bytes()), "é?");
        assert_eq!(printable(b"\xe9\x01"), "??");
        assert_eq!(printable(b"a\xc3\xa9\xe9b"), "a\u{e9}?b");
    }
}
