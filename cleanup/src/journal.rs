//! Log lines about a message's content, in Postfix's form (spec cleanup 9 and 19).

use std::fmt::Write;

use queue::attr;

use crate::message::Message;
use crate::params::LogAddressFormat;

/// The most of a rejected text that a log line shows.
const SHOWN_TEXT: usize = 200;

/// Where in a message something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    /// Any text record.
    Content,
}

impl Context {
    fn name(self) -> &'static str {
        match self {
            Context::Content => "content",
        }
    }
}

impl Message<'_> {
    /// Logs what was done about a text: `reject`, `warning` and so on.
    pub(crate) fn log_action(&self, action: &str, context: Context, text: &[u8], reason: &str) {
        let shown = show(text.get(..SHOWN_TEXT).unwrap_or(text));
        let mut line = format!("{}: {action}: {} {shown}", self.id, context.name());
        self.push_origin(&mut line);
        if let Some(recipient) = &self.recipients.last {
            self.push(&mut line, format_args!(" to=<{}>", self.log_address(recipient)));
        }
        for (name, attribute) in [("proto", attr::LOG_PROTOCOL_NAME), ("helo", attr::LOG_HELO_NAME)] {
            if let Some(value) = self.envelope.attribute(attribute) {
                let value = show(value);
                let value = if name == "helo" { format!("<{value}>") } else { value };
                self.push(&mut line, format_args!(" {name}={value}"));
            }
        }
        if !reason.is_empty() {
            self.push(&mut line, format_args!(": {reason}"));
        }
        log::info!("{line}");
    }

    /// Logs a MIME error; `sample` is what was found.
    pub(crate) fn log_mime_error(&self, error: &str, sample: &str) {
        let mut line = format!("{}: reject: mime-error {error}: {sample}", self.id);
        self.push_origin(&mut line);
        let recipient = self.recipients.last.as_deref().unwrap_or(b"unknown");
        self.push(&mut line, format_args!(" to=<{}>", self.log_address(recipient)));
        log::info!("{line}");
    }

    /// An address as `info_log_address_format` says.
    pub(crate) fn log_address(&self, internal: &[u8]) -> String {
        match self.shared.params.info_log_address_format {
            _ if internal.is_empty() => String::new(),
            LogAddressFormat::External => show(&address::external(internal)),
            LogAddressFormat::Internal => show(internal),
        }
    }

    fn push_origin(&self, line: &mut String) {
        let origin = self.envelope.attribute(attr::LOG_MESSAGE_ORIGIN).unwrap_or(b"unknown");
        self.push(line, format_args!(" from {};", show(origin)));
        if let Some(sender) = &self.envelope.sender {
            self.push(line, format_args!(" from=<{}>", self.log_address(sender)));
        }
    }

    fn push(&self, line: &mut String, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = line.write_fmt(text);
    }
}

/// Bytes from outside as text for a log line.
pub(crate) fn show(bytes: &[u8]) -> String {
    maillog::shown(bytes).to_string()
}
