//! The notice to the postmaster about a transaction that went wrong (spec smtpd 1.9).

use std::io;
use std::time::SystemTime;

use ipc::cleanup::Flags;

use crate::{Error, Mail, Posting, Records};

/// Longest line of a transcript in the notice.
const LINE_LENGTH: usize = 78;

/// A notice.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'n> {
    /// `double_bounce_sender`
    pub double_bounce_sender: &'n str,
    /// `header_from_format`
    pub header_from_format: &'n str,
    /// `error_notice_recipient`, which the header shows whoever gets the notice (observed, 3.7.11).
    pub error_notice_recipient: &'n str,
    /// Whose session it was, as in `SMTP server`.
    pub program: &'n str,
    /// Name and address of the other side.
    pub peer: &'n [u8],
    /// The transcript.
    pub lines: &'n [u8],
    /// What it is about.
    pub kind: Kind<'n>,
}

/// What a notice is about.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'n> {
    /// A client went wrong; why its session was aborted, if it was.
    Server(Option<&'n str>),
    /// A server's answers were not as they should be.
    Client,
}

impl Notice<'_> {
    /// Posts it.
    ///
    /// # Errors
    /// It is not in the queue.
    pub fn post(&self, posting: &Posting, recipient: &str, now: SystemTime) -> Result<(), Error> {
        let sender = format!("{}@{}", self.double_bounce_sender, posting.myhostname);
        let (sender, recipient) = (sender.as_bytes(), recipient.as_bytes());
        let mail = Mail { trace_flags: 0, flags: Flags::empty(), sender, recipient };
        posting.post(&mail, now, |records, _| self.write(posting, records)).map(drop)
    }

    fn write(&self, posting: &Posting, records: &mut Records) -> io::Result<()> {
        let mut line = |text: &[u8]| posting.line(records, text);
        let daemon = format!("MAILER-DAEMON@{}", posting.myhostname);
        let recipient = self.error_notice_recipient;
        let (from, to) = if self.header_from_format == "obsolete" {
            (format!("From: {daemon} (Mail Delivery System)"), format!("To: {recipient} (Postmaster)"))
        } else {
            (format!("From: Mail Delivery System <{daemon}>"), format!("To: Postmaster <{recipient}>"))
        };
        line(from.as_bytes())?;
        line(to.as_bytes())?;
        let subject = format!("Subject: {} {}: errors from ", posting.mail_name, self.program);
        line(&[subject.as_bytes(), self.peer].concat())?;
        if matches!(self.kind, Kind::Client) {
            line(b"")?;
            line(&[b"Unexpected response from ", self.peer, b"."].concat())?;
        }
        for text in ["", "Transcript of session follows.", ""] {
            line(text.as_bytes())?;
        }
        for said in self.lines.split(|&byte| byte == b'\n').filter(|said| !said.is_empty()) {
            wrapped(said).iter().try_for_each(|part| line(part))?;
        }
        line(b"")?;
        if let Kind::Server(reason) = self.kind {
            if let Some(reason) = reason {
                line(format!("Session aborted, reason: {reason}").as_bytes())?;
            }
            line(b"")?;
        }
        line(b"For other details, see the local mail logfile")
    }
}

/// A line of the transcript, indented by one space, and broken between words when it is long; what follows a break is
/// indented by four more.
fn wrapped(line: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![vec![b' ']];
    for (number, word) in line.split(|&byte| byte == b' ').enumerate() {
        let last = parts.len() - 1;
        let used = parts[last].len() - 1;
        let is_first = number == 0 || parts[last].iter().all(|&byte| byte == b' ');
        if number > 0 && !is_first && used + 1 + word.len() > LINE_LENGTH && !word.is_empty() {
            parts.push(b"     ".to_vec());
        } else if number > 0 {
            parts[last].push(b' ');
        }
        let last = parts.len() - 1;
        parts[last].extend_from_slice(word);
    }
    for part in &mut parts {
        part.truncate(part.trim_ascii_end().len().max(1));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_broken_between_words() {
        let shown = |line: &str| -> Vec<String> {
            wrapped(line.as_bytes())
                .into_iter()
                .map(|part| String::from_utf8_lossy(&part).into_owned())
                .collect()
        };
        assert_eq!(shown("In:  EHLO c.test"), [" In:  EHLO c.test"]);
        assert_eq!(
            shown("Out: 250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"),
            [" Out: 250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR", "     DESTPORT"]
        );
        let word = "x".repeat(100);
        assert_eq!(shown(&format!("In:  FOO {word}")), [" In:  FOO".to_string(), format!("     {word}")]);
    }
}
