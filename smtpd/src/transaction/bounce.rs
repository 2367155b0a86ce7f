//! The bounce for recipients that the filter refused after others took the message (RFC 3464).
//!
//! It goes to the queue by way of cleanup before the client is told that the message was accepted. As in Postfix, nobody
//! is told about a message from the null sender, nor about a recipient whose NOTIFY does not ask for failures.

use std::time::{SystemTime, UNIX_EPOCH};

use ipc::cleanup::Flags;
use posting::Mail;
use smtp::{Reply, printable};

use crate::log;
use crate::mail::envelope::{Envelope, Recipient};
use crate::proxy::{RecipientVerdict, Spooled};
use crate::settings::params::SmtpdParams;

/// FAILURE in the flags of NOTIFY.
const FAILURE: u8 = 4;

/// Tells the sender who does not get the message.
///
/// # Errors
/// The bounce is not in the queue.
pub(crate) fn post(
    params: &SmtpdParams,
    envelope: &Envelope,
    refused: &[&RecipientVerdict],
    message: Option<Spooled>,
) -> Result<(), posting::Error> {
    let sender = &envelope.sender[..];
    let refused: Vec<&RecipientVerdict> =
        refused.iter().copied().filter(|verdict| wants_to_know(&verdict.rcpt)).collect();
    if sender.is_empty() || refused.is_empty() {
        return Ok(());
    }
    let header = message.map(|mut message| message.header()).unwrap_or_default();
    let now = SystemTime::now();
    let mail = Mail { trace_flags: 0, flags: Flags::empty(), sender: b"", recipient: sender };
    let queue_id = params.posting.post(&mail, now, |records, queue_id| {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let boundary = format!("{queue_id}.{}/{}", since.as_secs(), params.access.myhostname);
        bounce_lines(params, &boundary, envelope, &refused, &header)
            .iter()
            .try_for_each(|line| params.posting.line(records, line))
    })?;
    log::bounced(&queue_id, sender, refused.len());
    Ok(())
}

fn bounce_lines(
    params: &SmtpdParams,
    boundary: &str,
    envelope: &Envelope,
    refused: &[&RecipientVerdict],
    header: &[Vec<u8>],
) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line = |text: String| lines.push(text.into_bytes());
    line(format!("From: Mail Delivery System <MAILER-DAEMON@{}>", params.access.myorigin));
    line("Subject: Undelivered Mail Returned to Sender".into());
    line(format!("To: {}", printable(&address::external(&envelope.sender))));
    line("Auto-Submitted: auto-replied".into());
    line("MIME-Version: 1.0".into());
    line("Content-Type: multipart/report; report-type=delivery-status;".into());
    line(format!("\tboundary=\"{boundary}\""));
    line(String::new());
    line(format!("--{boundary}"));
    line("Content-Type: text/plain; charset=utf-8".into());
    line("Content-Transfer-Encoding: 8bit".into());
    line(String::new());
    line(format!("This is the mail system at host {}.", params.access.myhostname));
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
    line(format!("Reporting-MTA: dns; {}", params.access.myhostname));
    if let Some(id) = &envelope.envelope_id {
        line(format!("Original-Envelope-Id: {}", printable(id)));
    }
    line(format!("Arrival-Date: {}", sys::time::local(envelope.time).mail_date()));
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
