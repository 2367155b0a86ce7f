//! The filter's log: one line for each message, and one for each thing that went wrong, on standard error.
//!
//! Nothing stamps the time here: systemd's journal does, and `example-filter ... 2>&1 | logger -t example-filter` hands
//! the lines to syslog.

use std::io::Write;
use std::time::Duration;

use crate::envelope::{Client, Envelope};

/// Recipients that a line names.
const NAMED: usize = 10;
/// Bytes of a value that a line shows.
const VALUE_LIMIT: usize = 300;

/// Writes a line. A log that nobody takes stops no mail.
pub fn line(text: &str) {
    let line = format!("example-filter[{}]: {text}\n", std::process::id());
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// What became of a message: `accept: client=... from=<...> to=<...> nrcpt=1 size=123 time=0.01 reply="..."`.
///
/// `outcome` is accept, reject or defer (the scanner's), refused (by the next hop), failed (spool, or next hop lost) or
/// lost (the client, before the end).
pub fn message(outcome: &str, client: &Client, envelope: &Envelope, size: u64, time: Duration, reply: &str) {
    let known = |value: &Option<String>| clean(value.as_deref().unwrap_or("unknown"));
    let mut text = format!("{outcome}: client={}[{}]", known(&client.name), known(&client.address));
    if let Some(helo) = &client.helo {
        text.push_str(&format!(" helo=<{}>", clean(helo)));
    }
    text.push_str(&format!(" from=<{}>", clean(&envelope.sender)));
    for recipient in envelope.recipients.iter().take(NAMED) {
        text.push_str(&format!(" to=<{}>", clean(recipient)));
    }
    let seconds = time.as_secs_f64();
    text.push_str(&format!(
        " nrcpt={} size={size} time={seconds:.3} reply=\"{}\"",
        envelope.count,
        clean(reply)
    ));
    line(&text);
}

/// What may stand in a line of a log: printable, of bounded length.
fn clean(value: &str) -> String {
    value.chars().map(|c| if c.is_control() || c == '"' { '?' } else { c }).take(VALUE_LIMIT).collect()
}
