//! The notice to the postmaster about a transaction that went wrong (spec smtpd 1.9).

use std::io;
use std::time::SystemTime;

use access::client::Client;

use crate::posting::message::{self, Records};
use crate::settings::params::SmtpdParams;

/// Longest line of a transcript in the notice.
const LINE_LENGTH: usize = 78;

/// A notice.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'n> {
    /// The settings.
    pub params: &'n SmtpdParams,
    /// Whose session it was.
    pub client: &'n Client,
    /// The transcript.
    pub lines: &'n [u8],
    /// Why the session was aborted, if it was.
    pub reason: Option<&'n str>,
}

impl Notice<'_> {
    /// Posts it.
    ///
    /// # Errors
    /// It is not in the queue.
    pub fn post(&self, recipient: &str, now: SystemTime) -> Result<(), String> {
        let params = self.params;
        let sender = format!("{}@{}", params.double_bounce_sender, params.myhostname);
        message::post(params, sender.as_bytes(), recipient.as_bytes(), now, |records, _| self.write(records))
            .map(drop)
    }

    fn write(&self, records: &mut Records) -> io::Result<()> {
        let params = self.params;
        let daemon = format!("MAILER-DAEMON@{}", params.myhostname);
        // Whoever gets it (observed, 3.7.11).
        let recipient = &params.error_notice_recipient;
        let (from, to) = if params.header_from_format == "obsolete" {
            (format!("From: {daemon} (Mail Delivery System)"), format!("To: {recipient} (Postmaster)"))
        } else {
            (format!("From: Mail Delivery System <{daemon}>"), format!("To: Postmaster <{recipient}>"))
        };
        for line in [from, to] {
            records.write_line(line.as_bytes(), params.line_length_limit)?;
        }
        let subject = [
            format!("Subject: {} SMTP server: errors from ", params.mail_name).as_bytes(),
            &self.client.namaddr,
        ]
        .concat();
        records.write_line(&subject, params.line_length_limit)?;
        for line in ["", "Transcript of session follows.", ""] {
            records.write_line(line.as_bytes(), params.line_length_limit)?;
        }
        for line in self.lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            for part in wrapped(line) {
                records.write_line(&part, params.line_length_limit)?;
            }
        }
        records.write_line(b"", params.line_length_limit)?;
        if let Some(reason) = self.reason {
            let line = format!("Session aborted, reason: {reason}");
            records.write_line(line.as_bytes(), params.line_length_limit)?;
        }
        records.write_line(b"", params.line_length_limit)?;
        let end = "For other details, see the local mail logfile";
        records.write_line(end.as_bytes(), params.line_length_limit)
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
