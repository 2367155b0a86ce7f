//! The lines that the operator sees.

use maillog::Severity;

/// Writes under the identity of Postfix's script.
#[derive(Debug, Clone)]
pub struct Report {
    ident: String,
}

impl Report {
    /// `syslog_name` is the first half of the identity.
    pub fn new(syslog_name: &str) -> Self {
        Self { ident: format!("{syslog_name}/postfix-script") }
    }

    /// Goes by the script's name on standard error too; before that, lines are the command's own. From 3.8 on the script's are
    /// shown by postlog, which is not told its name (observed, 3.10.3 and 3.11.7).
    pub fn begin(&self, postfix_minor: u32) {
        const SHOWN_BY_POSTLOG: u32 = 8;
        if postfix_minor >= SHOWN_BY_POSTLOG {
            maillog::stderr(Some(&self.ident.replace("/postfix-script", "/postlog")));
        } else {
            maillog::stderr(Some(&self.ident));
        }
    }

    /// What is being done.
    pub fn info(&self, text: &str) {
        maillog::report(&self.ident, Severity::Info, text.as_bytes());
    }

    /// What is not as it should be.
    pub fn warn(&self, text: &str) {
        maillog::report(&self.ident, Severity::Warning, text.as_bytes());
    }

    /// Why the command cannot be carried out; ends with status 1.
    pub fn fatal(&self, text: &str) -> ! {
        self.failure(text);
        sys::process::exit_now(1)
    }

    /// Why a part of the command cannot be carried out: the line of [`fatal`](Self::fatal) alone.
    pub fn failure(&self, text: &str) {
        maillog::report(&self.ident, Severity::Fatal, text.as_bytes());
    }
}
