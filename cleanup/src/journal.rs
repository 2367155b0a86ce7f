//! Log lines about a message's content, in Postfix's form (spec cleanup 9 and 19).

use std::fmt::Write;

use maillog::shown;
use queue::{QueueId, attr, until_nul};

use crate::envelope::Envelope;
use crate::params::CleanupParams;

/// The most of a rejected text that a log line shows.
const SHOWN_TEXT: usize = 200;

/// Where in a message something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// Any text record.
    Content,
    /// A header.
    Header,
    /// A record of a body.
    Body,
}

impl Context {
    fn name(self) -> &'static str {
        match self {
            Context::Content => "content",
            Context::Header => "header",
            Context::Body => "body",
        }
    }
}

/// What a log line tells about the message in which something was found.
pub(crate) struct Subject<'m> {
    /// The settings.
    pub(crate) params: &'m CleanupParams,
    /// The queue ID.
    pub(crate) id: &'m QueueId,
    /// The envelope.
    pub(crate) envelope: &'m Envelope<'m>,
    /// The last recipient.
    pub(crate) recipient: Option<&'m [u8]>,
}

impl Subject<'_> {
    /// Logs what was done about a text: `reject`, `warning` and so on.
    pub(crate) fn log_action(&self, action: &str, context: Context, text: &[u8], reason: &[u8]) {
        let text = until_nul(text);
        let text = shown(text.get(..SHOWN_TEXT).unwrap_or(text));
        let mut line = format!("{}: {action}: {} {text}", self.id, context.name());
        self.push_origin(&mut line);
        if let Some(recipient) = self.recipient {
            push(&mut line, format_args!(" to=<{}>", self.params.log_address(recipient)));
        }
        if let Some(protocol) = self.envelope.attribute(attr::LOG_PROTOCOL_NAME) {
            push(&mut line, format_args!(" proto={}", shown(protocol)));
        }
        if let Some(helo) = self.envelope.attribute(attr::LOG_HELO_NAME) {
            push(&mut line, format_args!(" helo=<{}>", shown(helo)));
        }
        if !reason.is_empty() {
            push(&mut line, format_args!(": {}", shown(reason)));
        }
        log::info!("{line}");
    }

    /// Logs a MIME error; `sample` is what was found.
    pub(crate) fn log_mime_error(&self, error: &str, sample: &[u8]) {
        let mut line = format!("{}: reject: mime-error {error}: {}", self.id, shown(sample));
        self.push_origin(&mut line);
        let recipient = self.recipient.unwrap_or(b"unknown");
        push(&mut line, format_args!(" to=<{}>", self.params.log_address(recipient)));
        log::info!("{line}");
    }

    fn push_origin(&self, line: &mut String) {
        let origin = self.envelope.attribute(attr::LOG_MESSAGE_ORIGIN).unwrap_or(b"unknown");
        push(line, format_args!(" from {};", shown(origin)));
        if let Some(sender) = self.envelope.sender() {
            push(line, format_args!(" from=<{}>", self.params.log_address(sender)));
        }
    }
}

fn push(line: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = line.write_fmt(text);
}
