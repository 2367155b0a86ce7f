//! What all such messages begin and end with.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use ipc::cleanup::Flags;
use queue::{RecordType, RecordWriter, attr};

use crate::{LONGEST_RECORD, Posting};

/// The trace flag of a probe: delivery agents stop before the content (spec ipc 6.4).
pub const PROBE: u32 = 256;

/// The envelope of a message.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// The attribute `trace_flags`.
    pub trace_flags: u32,
    /// What cleanup is asked for beside what all mail of the class asks for.
    pub flags: Flags,
    /// The sender, in internal form; nothing for the null sender.
    pub sender: &'a [u8],
    /// The only recipient, in internal form.
    pub recipient: &'a [u8],
}

impl Mail<'_> {
    /// Writes the envelope and the header lines Received and Date.
    pub(crate) fn begin<W: Write>(
        &self,
        posting: &Posting,
        queue_id: &str,
        records: &mut RecordWriter<W>,
        now: SystemTime,
    ) -> io::Result<()> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let date = sys::time::local(now).mail_date();
        records
            .write_text(RecordType::TIME, format_args!("{} {}", since.as_secs(), since.subsec_micros()))?;
        records.write_attribute(attr::LOG_MESSAGE_ORIGIN, b"local")?;
        records.write_attribute(attr::TRACE_FLAGS, self.trace_flags.to_string().as_bytes())?;
        records.write(RecordType::FROM, self.sender)?;
        records.write(RecordType::RCPT, self.recipient)?;
        records.write(RecordType::MESSAGE, b"")?;
        for line in [
            format!("Received: by {} ({})", posting.myhostname, posting.mail_name),
            format!("\tid {queue_id}; {date}"),
            format!("Date: {date}"),
        ] {
            records.write_own_line(line.as_bytes(), LONGEST_RECORD)?;
        }
        Ok(())
    }
}

/// Ends the content and the message.
pub(crate) fn end<W: Write>(records: &mut RecordWriter<W>) -> io::Result<()> {
    records.write(RecordType::EXTRACTED, b"")?;
    records.write(RecordType::END, b"")?;
    records.flush()
}
