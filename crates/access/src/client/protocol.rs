//! How the client greeted.

/// SMTP or ESMTP, as the client greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// No EHLO so far.
    Smtp,
    /// EHLO was given.
    Esmtp,
}

impl Protocol {
    /// The name in log lines and queue files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Smtp => "SMTP",
            Self::Esmtp => "ESMTP",
        }
    }
}
