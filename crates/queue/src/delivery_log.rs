//! The per-message logs in `bounce`, `defer` and `trace`: which recipients failed, and why (spec bounce 2).
//!
//! Text lines; a record begins and ends with an empty line and holds `name=value` lines, before them perhaps a line
//! `<address>: reason` for old readers. [`DeliveryLogReader`] gives one [`DeliveryRecord`] after the other. Lines that
//! make no sense are logged and skipped; a line is read up to a bound, a record's fields replace each other.

use std::io::{self, BufRead};

use crate::attribute::Attribute;
use crate::size::leading_number;

/// Longest line that is kept; what is beyond is dropped.
const LINE_LIMIT: usize = 16 * 1024;
/// Longest part of a bad line in a warning.
const EXCERPT: usize = 30;

/// What the log says about a recipient. All strings are printable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// External form.
    pub recipient: Vec<u8>,
    /// Empty when the same as the recipient.
    pub original_recipient: Vec<u8>,
    /// Offset of the recipient record in the queue file; 0 when not known.
    pub offset: u64,
    /// `type;address`, or empty.
    pub dsn_orig_rcpt: Vec<u8>,
    /// DSN notify flags; 0 when not known. A log that is read has no others than there are.
    pub notify_flags: i32,
    /// Enhanced status code.
    pub status: Vec<u8>,
    /// `failed`, `delayed`, `delivered`, ...
    pub action: Vec<u8>,
    /// Type of the diagnostic, or empty.
    pub diag_type: Vec<u8>,
    /// The diagnostic of the remote system, or empty.
    pub diag_text: Vec<u8>,
    /// Type of the remote system's name, or empty.
    pub mta_type: Vec<u8>,
    /// Name of the remote system, or empty.
    pub mta_mname: Vec<u8>,
    /// Why, in words.
    pub reason: Vec<u8>,
}

impl DeliveryRecord {
    /// What holds as long as the log does not say otherwise; `is_defer` for files in `defer`.
    fn unknown(is_defer: bool) -> Self {
        let (status, action) = if is_defer { ("4.0.0", "delayed") } else { ("5.0.0", "failed") };
        Self {
            recipient: b"(recipient address unavailable)".to_vec(),
            status: status.as_bytes().to_vec(),
            action: action.as_bytes().to_vec(),
            reason: b"(description unavailable)".to_vec(),
            ..Self::default()
        }
    }

    /// The record as it stands in a log: a recipient's lines between two empty ones. `with_summary` is
    /// `backwards_bounce_logfile_compatibility`: a first line for old readers. Fields are to be printable; of a
    /// recipient that is nobody, and an original recipient that is no other, the log has its own ideas.
    pub fn encode(&self, with_summary: bool) -> Vec<u8> {
        let mut text = b"\n".to_vec();
        let mut line = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| text.extend_from_slice(part));
            text.push(b'\n');
        };
        if with_summary {
            line(&[b"<", &self.recipient, b">: ", &self.reason]);
        }
        let nobody = self.recipient.is_empty();
        line(&[b"recipient=", if nobody { b"<>" } else { &self.recipient }]);
        let original = &self.original_recipient;
        if !original.is_empty() && !original.eq_ignore_ascii_case(&self.recipient) {
            line(&[b"original_recipient=", original]);
        }
        if self.offset > 0 {
            line(&[b"offset=", self.offset.to_string().as_bytes()]);
        }
        if !self.dsn_orig_rcpt.is_empty() {
            line(&[b"dsn_orig_rcpt=", &self.dsn_orig_rcpt]);
        }
        if self.notify_flags != 0 {
            line(&[b"notify_flags=", self.notify_flags.to_string().as_bytes()]);
        }
        let mut field = |name: &[u8], value: &[u8]| {
            if !value.is_empty() {
                line(&[name, b"=", value]);
            }
        };
        field(b"status", &self.status);
        field(b"action", &self.action);
        if !self.diag_type.is_empty() && !self.diag_text.is_empty() {
            field(b"diag_type", &self.diag_type);
            field(b"diag_text", &self.diag_text);
        }
        if !self.mta_type.is_empty() && !self.mta_mname.is_empty() {
            field(b"mta_type", &self.mta_type);
            field(b"mta_mname", &self.mta_mname);
        }
        field(b"reason", &self.reason);
        text.push(b'\n');
        text
    }
}

/// Reads a log.
#[derive(Debug)]
pub struct DeliveryLogReader<R> {
    input: R,
    name: String,
    is_defer: bool,
    utf8: bool,
}

impl<R: BufRead> DeliveryLogReader<R> {
    /// A reader of a log file; `name` is its path for warnings, `is_defer` tells that it lies in `defer`, and with
    /// `utf8` (`smtputf8_enable`) valid UTF-8 is printable.
    pub fn new(input: R, name: impl Into<String>, is_defer: bool, utf8: bool) -> Self {
        Self { input, name: name.into(), is_defer, utf8 }
    }

    /// The next record; `None` at the end of the file. A record that no empty line ends has not been written to its end,
    /// and is none (observed, 3.7.11).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn record(&mut self) -> io::Result<Option<DeliveryRecord>> {
        let mut record = DeliveryRecord::unknown(self.is_defer);
        let mut is_begun = false;
        while let Some(line) = self.line()? {
            match line.first() {
                None if is_begun => return Ok(Some(record)),
                None => {}
                Some(first) => {
                    is_begun = true;
                    if first.is_ascii_alphanumeric() {
                        self.attribute(&line, &mut record);
                    } else {
                        self.old_form(&line, &mut record);
                    }
                }
            }
        }
        Ok(None)
    }

    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut is_empty = true;
        loop {
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok((!is_empty).then(|| printable(&line, self.utf8)));
            }
            is_empty = false;
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            line.extend_from_slice(&part[..part.len().min(LINE_LIMIT - line.len())]);
            let taken = end.map_or(buffer.len(), |end| end + 1);
            self.input.consume(taken);
            if end.is_some() {
                return Ok(Some(printable(&line, self.utf8)));
            }
        }
    }

    fn attribute(&self, line: &[u8], record: &mut DeliveryRecord) {
        let Attribute { name, value } = match Attribute::parse(line) {
            Ok(attribute) => attribute,
            Err(error) => return log::warn!("{}: malformed record: {error}", self.name),
        };
        let value = value.trim_ascii_end();
        let number = || leading_number(value).and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        let text = value.to_vec();
        match name {
            b"recipient" => record.recipient = somebody(text),
            b"original_recipient" => record.original_recipient = somebody(text),
            b"offset" => record.offset = number(),
            b"dsn_orig_rcpt" => record.dsn_orig_rcpt = text,
            b"notify_flags" => match i32::try_from(number()) {
                // NEVER stands alone.
                Ok(flags @ 1..=15) if flags == 1 || flags & 1 == 0 => record.notify_flags = flags,
                _ => {}
            },
            // A field that is empty says nothing, whatever stood there before (observed, 3.7.11).
            b"status" | b"action" | b"reason" if text.is_empty() => {
                let unknown = DeliveryRecord::unknown(self.is_defer);
                match name {
                    b"status" => record.status = unknown.status,
                    b"action" => record.action = unknown.action,
                    _ => record.reason = unknown.reason,
                }
            }
            b"status" => record.status = text,
            b"action" => record.action = text,
            b"diag_type" => record.diag_type = text,
            b"diag_text" => record.diag_text = text,
            b"mta_type" => record.mta_type = text,
            b"mta_mname" => record.mta_mname = text,
            b"reason" => record.reason = text,
            _ => log::warn!(
                "{}: unknown attribute name: {}, ignored",
                self.name,
                String::from_utf8_lossy(name)
            ),
        }
    }

    /// `<address>: reason`.
    fn old_form(&self, line: &[u8], record: &mut DeliveryRecord) {
        let end = line.windows(3).position(|bytes| bytes == b">: ");
        let (Some(b'<'), Some(end)) = (line.first(), end) else { return self.malformed(line) };
        record.recipient = somebody(line[1..end].to_vec());
        record.reason = match line[end + 2..].trim_ascii() {
            b"" => DeliveryRecord::unknown(self.is_defer).reason,
            reason => reason.to_vec(),
        };
    }

    fn malformed(&self, line: &[u8]) {
        log::warn!("{}: malformed record: {}...", self.name, excerpt(line));
    }
}

/// The address, or what stands for none.
fn somebody(address: Vec<u8>) -> Vec<u8> {
    if address.is_empty() { b"(MAILER-DAEMON)".to_vec() } else { address }
}

fn excerpt(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(EXCERPT)]).into_owned()
}

/// The bytes with `?` for what is not printable; with `utf8`, valid UTF-8 stays.
pub fn printable(bytes: &[u8], utf8: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for &byte in chunk.valid().as_bytes() {
            let is_printable = byte == b' ' || byte.is_ascii_graphic() || (utf8 && !byte.is_ascii());
            out.push(if is_printable { byte } else { b'?' });
        }
        out.resize(out.len() + chunk.invalid().len(), b'?');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Vec<DeliveryRecord> {
        let mut reader = DeliveryLogReader::new(text.as_bytes(), "defer/X", true, true);
        std::iter::from_fn(|| reader.record().expect("memory can be read")).collect()
    }

    #[test]
    fn a_log_of_postfix() {
        let found = records(
            "\n<u1@d.example>: no route\nrecipient=u1@d.example\noffset=666\n\
             dsn_orig_rcpt=rfc822;u1@d.example\nstatus=4.3.0\naction=delayed\nreason=mail transport unavailable\n\n\
             \nrecipient=u2@d.example\nnotify_flags=6\nstatus=4.4.1\n\n",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].recipient, b"u1@d.example");
        assert_eq!(found[0].offset, 666);
        assert_eq!(found[0].reason, b"mail transport unavailable");
        assert_eq!(found[1].notify_flags, 6);
        assert_eq!(found[1].reason, b"(description unavailable)");
    }

    /// As observed from 3.7.11.
    #[test]
    fn what_is_written_is_read() {
        let text = "\n<u1@d.example>: no route\nrecipient=u1@d.example\noriginal_recipient=u@d.example\noffset=666\n\
             dsn_orig_rcpt=rfc822;u@d.example\nnotify_flags=4\nstatus=4.3.0\naction=delayed\ndiag_type=smtp\n\
             diag_text=450 later\nmta_type=dns\nmta_mname=mx.d.example\nreason=no route\n\n";
        let found = records(text);
        assert_eq!(String::from_utf8_lossy(&found[0].encode(true)), text);
        let nobody = DeliveryRecord { diag_text: b"alone".to_vec(), ..DeliveryRecord::default() };
        assert_eq!(String::from_utf8_lossy(&nobody.encode(true)), "\n<>: \nrecipient=<>\n\n");
        let same =
            DeliveryRecord { original_recipient: b"A@B".to_vec(), recipient: b"a@b".to_vec(), ..nobody };
        assert_eq!(String::from_utf8_lossy(&same.encode(false)), "\nrecipient=a@b\n\n");
    }

    #[test]
    fn odd_logs() {
        assert!(records("").is_empty());
        assert!(records("\n\n\n").is_empty());
        let found =
            records("<>: gone\n\nnonsense\n*\nnotify_flags=7\noffset=-3\nrecipient=\n\nreason=torn\n");
        assert_eq!(found.len(), 2);
        assert_eq!((&found[0].recipient[..], &found[0].reason[..]), (&b"(MAILER-DAEMON)"[..], &b"gone"[..]));
        assert_eq!((&found[1].recipient[..], found[1].notify_flags), (&b"(MAILER-DAEMON)"[..], 0));
        let long = format!("reason={}\n\n", "x".repeat(100_000));
        assert_eq!(records(&long)[0].reason.len(), LINE_LIMIT - "reason=".len());
    }
}
