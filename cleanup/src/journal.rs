//! Log lines about a message's content, in Postfix's form (spec cleanup 9 and 19).

use std::fmt::Write;

use maillog::shown;
use metrics::Family;
use queue::{QueueId, attr, until_nul};

use crate::envelope::Envelope;
use crate::params::CleanupParams;

/// The most of a rejected text that a log line shows.
const SHOWN_TEXT: usize = 200;

/// The message has this name; `<>` when it has none.
pub(crate) fn message_id(id: &QueueId, value: &[u8]) {
    metrics::count(Family::CleanupMessages, &[]);
    log::info!("{id}: message-id={}", shown(value));
}

/// It was sent again, under this name.
pub(crate) fn resent_message_id(id: &QueueId, value: &[u8]) {
    log::info!("{id}: resent-message-id={}", shown(value));
}

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
    pub(crate) envelope: &'m Envelope<'m>,
    /// The last recipient.
    pub(crate) recipient: Option<&'m [u8]>,
}

impl Subject<'_> {
    /// Logs what was done about a text: `reject`, `warning` and so on.
    pub(crate) fn log_action(&self, action: &str, context: Context, text: &[u8], reason: &[u8]) {
        metrics::count(Family::CleanupActions, &[action, context.name()]);
        let text = until_nul(text);
        let text = shown(text.get(..SHOWN_TEXT).unwrap_or(text));
        let mut line = format!("{}: {action}: {} {text} from {};", self.id, context.name(), self.origin());
        self.push_envelope(&mut line);
        if !reason.is_empty() {
            push(&mut line, format_args!(": {}", shown(reason)));
        }
        log::info!("{line}");
    }

    /// Logs a MIME error; `sample` is what was found.
    pub(crate) fn log_mime_error(&self, error: &str, sample: &[u8]) {
        metrics::count(Family::CleanupActions, &["reject", "mime-error"]);
        let mut line =
            format!("{}: reject: mime-error {error}: {} from {};", self.id, shown(sample), self.origin());
        self.push_sender(&mut line);
        let recipient = self.recipient.unwrap_or(b"unknown");
        push(&mut line, format_args!(" to=<{}>", self.params.info_log_address_format.shown(recipient)));
        log::info!("{line}");
    }

    /// Logs what a Milter did at an event: `milter-reject` and so on.
    pub(crate) fn log_milter(&self, action: &str, event: &str, client: &str, text: &str) {
        metrics::count(Family::CleanupActions, &[action, event]);
        let mut line = format!("{}: {action}: {event} from {client}: {text};", self.id);
        self.push_envelope(&mut line);
        log::info!("{line}");
    }

    /// Logs what `milter_header_checks` did about a header; `text` is what is shown of it.
    pub(crate) fn log_milter_check(&self, action: &str, client: &str, text: &[u8], reason: &[u8]) {
        if metrics::is_on() {
            metrics::count(Family::CleanupActions, &[&format!("milter-header-{action}"), "header"]);
        }
        let mut line = format!("{}: milter-header-{action}: header {} from {client};", self.id, shown(text));
        self.push_envelope(&mut line);
        log::info!("{line}: {}", shown(reason));
    }

    fn origin(&self) -> impl std::fmt::Display {
        shown(self.envelope.attribute(attr::LOG_MESSAGE_ORIGIN).unwrap_or(b"unknown"))
    }

    /// Sender, recipient, protocol, HELO: what is known of them.
    fn push_envelope(&self, line: &mut String) {
        self.push_sender(line);
        if let Some(recipient) = self.recipient {
            push(line, format_args!(" to=<{}>", self.params.info_log_address_format.shown(recipient)));
        }
        if let Some(protocol) = self.envelope.attribute(attr::LOG_PROTOCOL_NAME) {
            push(line, format_args!(" proto={}", shown(protocol)));
        }
        if let Some(helo) = self.envelope.attribute(attr::LOG_HELO_NAME) {
            push(line, format_args!(" helo=<{}>", shown(helo)));
        }
    }

    fn push_sender(&self, line: &mut String) {
        if let Some(sender) = self.envelope.sender() {
            push(line, format_args!(" from=<{}>", self.params.info_log_address_format.shown(sender)));
        }
    }
}

fn push(line: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = line.write_fmt(text);
}
