//! Messages that the mail system itself makes, as records for cleanup: notices, bounces, probes.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::attribute::attr;
use crate::record::RecordType;
use crate::writer::RecordWriter;

/// What such messages have in common: the envelope, and the first lines of the header.
#[derive(Debug, Clone, Copy)]
pub struct InternalMessage<'a> {
    /// The queue ID that cleanup has given it.
    pub queue_id: &'a str,
    /// The attribute `trace_flags`, a number in text.
    pub trace_flags: &'a [u8],
    /// The sender, in internal form; nothing for the null sender.
    pub sender: &'a [u8],
    /// The only recipient, in internal form.
    pub recipient: &'a [u8],
    /// `myhostname`
    pub myhostname: &'a str,
    /// `mail_name`
    pub mail_name: &'a str,
    /// `line_length_limit`
    pub line_length_limit: usize,
}

impl InternalMessage<'_> {
    /// Writes the envelope and the header lines Received and Date.
    ///
    /// # Errors
    /// What the stream says.
    pub fn begin<W: Write>(&self, records: &mut RecordWriter<W>, now: SystemTime) -> io::Result<()> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let date = sys::time::local(now).mail_date();
        records
            .write_text(RecordType::TIME, format_args!("{} {}", since.as_secs(), since.subsec_micros()))?;
        records.write_attribute(attr::LOG_MESSAGE_ORIGIN, b"local")?;
        records.write_attribute(attr::TRACE_FLAGS, self.trace_flags)?;
        records.write(RecordType::FROM, self.sender)?;
        records.write(RecordType::RCPT, self.recipient)?;
        records.write(RecordType::MESSAGE, b"")?;
        for line in [
            format!("Received: by {} ({})", self.myhostname, self.mail_name),
            format!("\tid {}; {date}", self.queue_id),
            format!("Date: {date}"),
        ] {
            records.write_line(line.as_bytes(), self.line_length_limit)?;
        }
        Ok(())
    }

    /// Ends the content and the message.
    ///
    /// # Errors
    /// What the stream says.
    pub fn end<W: Write>(records: &mut RecordWriter<W>) -> io::Result<()> {
        records.write(RecordType::EXTRACTED, b"")?;
        records.write(RecordType::END, b"")?;
        records.flush()
    }
}
