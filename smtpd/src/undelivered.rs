//! The bounce for recipients that the filter refused after others took the message (RFC 3464).
//!
//! It goes to the queue by way of cleanup before the client is told that the message was accepted. As in Postfix, nobody
//! is told about a message from the null sender, nor about a recipient whose NOTIFY does not ask for failures.

use std::io::{self, BufWriter, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use ipc::cleanup::{Client, Flags};
use ipc::client::Stream;
use queue::{RecordType, RecordWriter};
use smtp::{Reply, printable};

use crate::log;
use crate::proxy::{RecipientVerdict, Spooled};
use crate::session::Session;
use crate::transaction::Recipient;

/// FAILURE in the flags of NOTIFY.
const FAILURE: u8 = 4;

impl Session<'_> {
    /// Tells the sender who does not get the message.
    ///
    /// # Errors
    /// The bounce is not in the queue.
    pub fn bounce(&self, refused: &[&RecipientVerdict], message: Option<Spooled>) -> Result<(), String> {
        let sender = self.transaction.as_ref().map(|transaction| &transaction.sender[..]).unwrap_or_default();
        let refused: Vec<&RecipientVerdict> =
            refused.iter().copied().filter(|verdict| wants_to_know(&verdict.rcpt)).collect();
        if sender.is_empty() || refused.is_empty() {
            return Ok(());
        }
        let header = message.map(|mut message| message.header()).unwrap_or_default();
        let path = format!("public/{}", self.params.cleanup_service_name);
        let stream = Stream::connect(&path, self.params.ipc_timeout).map_err(|error| error.to_string())?;
        let mut client = Client::start(stream).map_err(|error| error.to_string())?;
        let flags = Flags::INTERNAL | self.params.notice_flags;
        client.send_flags(flags).map_err(|error| error.to_string())?;
        let queue_id = client.queue_id().to_string();
        let mut records = RecordWriter::new(BufWriter::new(client));
        self.write_bounce(&mut records, &queue_id, sender, &refused, &header)
            .map_err(|error| error.to_string())?;
        let client = records.into_inner().into_inner().map_err(|error| error.to_string())?;
        if !client.finish().status.is_ok() {
            return Err(format!("{queue_id}: not taken by cleanup"));
        }
        log::bounced(&queue_id, sender, refused.len());
        Ok(())
    }

    fn write_bounce(
        &self,
        records: &mut RecordWriter<impl Write>,
        queue_id: &str,
        sender: &[u8],
        refused: &[&RecipientVerdict],
        header: &[Vec<u8>],
    ) -> io::Result<()> {
        let now = SystemTime::now();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        records
            .write_text(RecordType::TIME, format_args!("{} {}", since.as_secs(), since.subsec_micros()))?;
        records.write_attribute("log_message_origin", b"local")?;
        records.write_attribute("trace_flags", b"0")?;
        records.write(RecordType::FROM, b"")?;
        records.write(RecordType::RCPT, sender)?;
        records.write(RecordType::MESSAGE, b"")?;
        let boundary = format!("{queue_id}.{}/{}", since.as_secs(), self.params.myhostname);
        for line in self.bounce_lines(queue_id, &boundary, sender, refused, header, now) {
            records.write_line(&line, self.params.line_length_limit)?;
        }
        records.write(RecordType::EXTRACTED, b"")?;
        records.write(RecordType::END, b"")?;
        records.flush()
    }

    fn bounce_lines(
        &self,
        queue_id: &str,
        boundary: &str,
        sender: &[u8],
        refused: &[&RecipientVerdict],
        header: &[Vec<u8>],
        now: SystemTime,
    ) -> Vec<Vec<u8>> {
        let params = self.params;
        let date = sys::time::local(now).mail_date();
        let mut lines = Vec::new();
        let mut line = |text: String| lines.push(text.into_bytes());
        line(format!("Received: by {} ({})", params.myhostname, params.mail_name));
        line(format!("\tid {queue_id}; {date}"));
        line(format!("Date: {date}"));
        line(format!("From: Mail Delivery System <MAILER-DAEMON@{}>", params.myorigin));
        line("Subject: Undelivered Mail Returned to Sender".into());
        line(format!("To: {}", printable(&address::external(sender))));
        line("Auto-Submitted: auto-replied".into());
        line("MIME-Version: 1.0".into());
        line("Content-Type: multipart/report; report-type=delivery-status;".into());
        line(format!("\tboundary=\"{boundary}\""));
        line(String::new());
        line(format!("--{boundary}"));
        line("Content-Type: text/plain; charset=utf-8".into());
        line("Content-Transfer-Encoding: 8bit".into());
        line(String::new());
        line(format!("This is the mail system at host {}.", params.myhostname));
        line(String::new());
        line("Your message was delivered to some of its recipients, but not to these:".into());
        for verdict in refused {
            line(String::new());
            line(format!("<{}>: {}", printable(&verdict.rcpt.address), shown(verdict)));
        }
        line(String::new());
        line(format!("--{boundary}"));
        line("Content-Type: message/delivery-status".into());
        line(String::new());
        line(format!("Reporting-MTA: dns; {}", params.myhostname));
        if let Some(transaction) = &self.transaction {
            if let Some(id) = &transaction.envelope_id {
                line(format!("Original-Envelope-Id: {}", printable(id)));
            }
            line(format!("Arrival-Date: {}", sys::time::local(transaction.time).mail_date()));
        }
        for verdict in refused {
            line(String::new());
            line(format!("Final-Recipient: rfc822; {}", printable(&verdict.rcpt.address)));
            line(format!("Original-Recipient: {}", printable(&verdict.rcpt.dsn_orig_rcpt)));
            line("Action: failed".into());
            line(format!("Status: {}", status(verdict)));
            line(format!("Diagnostic-Code: smtp; {}", shown(verdict)));
        }
        line(String::new());
        line(format!("--{boundary}"));
        line("Content-Type: text/rfc822-headers".into());
        line("Content-Transfer-Encoding: 8bit".into());
        line(String::new());
        lines.extend(header.iter().cloned());
        lines.push(Vec::new());
        lines.push(format!("--{boundary}--").into_bytes());
        lines
    }
}

/// NOTIFY says nothing, or asks for failures.
fn wants_to_know(rcpt: &Recipient) -> bool {
    rcpt.notify == 0 || rcpt.notify & FAILURE != 0
}

fn reply(verdict: &RecipientVerdict) -> Reply {
    let lines =
        verdict.text().split(|&byte| byte == b'\n').map(|line| line.trim_ascii_end().to_vec()).collect();
    Reply::verbatim(lines)
}

/// The filter's words on one line.
fn shown(verdict: &RecipientVerdict) -> String {
    reply(verdict).lines().iter().map(|line| printable(line).into_owned()).collect::<Vec<_>>().join(" ")
}

fn status(verdict: &RecipientVerdict) -> String {
    match reply(verdict).status() {
        Some(status) => status.to_string(),
        None => format!("{}.0.0", char::from(verdict.class())),
    }
}
