//! A status code and the text behind it, as transports, commands and servers give them.

use ipc::bounce::Outcome;
use smtp::EnhancedStatus;

/// Whether a delivery failed for now, or for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Success,
    Temporary,
    Permanent,
}

impl Class {
    pub(crate) fn digit(self) -> &'static str {
        match self {
            Self::Success => "2",
            Self::Temporary => "4",
            Self::Permanent => "5",
        }
    }
}

/// What is told of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// As it was written: `5.01.02` stays that.
    pub(crate) code: String,
    /// Free text.
    pub text: Vec<u8>,
    pub(crate) diagnosis: Diagnosis,
}

/// What somebody else said of a recipient, for the notice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Diagnosis {
    #[default]
    None,
    /// A command, in its output or by its end.
    Command(Vec<u8>),
    /// A mail server.
    Server { kind: &'static str, host: Vec<u8>, reply: Vec<u8> },
    /// The mechanism of a login.
    Login(Vec<u8>),
}

impl Status {
    /// A code of the program's own, and a text.
    ///
    /// ```
    /// assert_eq!(delivery::Status::new("4.3.0", "no room").code(), "4.3.0");
    /// ```
    #[must_use]
    pub fn new(code: &'static str, text: impl Into<Vec<u8>>) -> Self {
        Self { code: code.to_owned(), text: text.into(), diagnosis: Diagnosis::None }
    }

    /// A code as a mail server gave it, and a text; `reply` is all that it said.
    #[must_use]
    pub fn of_reply(code: &str, text: impl Into<Vec<u8>>, host: &[u8], reply: &[u8]) -> Self {
        let diagnosis = Diagnosis::Server { kind: "smtp", host: host.to_vec(), reply: reply.to_vec() };
        Self { code: code.to_owned(), text: text.into(), diagnosis }
    }

    /// The same of a server that speaks LMTP: few places tell it apart.
    #[must_use]
    pub fn of_lmtp(mut self) -> Self {
        if let Diagnosis::Server { kind, .. } = &mut self.diagnosis {
            *kind = "lmtp";
        }
        self
    }

    /// A code of the program's own, a text, and why a login did not come about.
    #[must_use]
    pub fn of_login(code: &'static str, text: impl Into<Vec<u8>>, why: impl Into<Vec<u8>>) -> Self {
        Self { code: code.to_owned(), text: text.into(), diagnosis: Diagnosis::Login(why.into()) }
    }

    /// The same with what a command said.
    pub(crate) fn diagnosed(mut self, diagnosis: Vec<u8>) -> Self {
        self.diagnosis = Diagnosis::Command(diagnosis);
        self
    }

    /// As the services and the queue manager are told.
    pub(crate) fn outcome<'a>(&'a self, action: &'a str) -> Outcome<'a> {
        let (diagnosis, server) = match &self.diagnosis {
            Diagnosis::None => (None, &b""[..]),
            Diagnosis::Command(text) if text.is_empty() => (None, &b""[..]),
            Diagnosis::Command(text) => (Some(("x-unix", &**text)), &b""[..]),
            Diagnosis::Login(text) => (Some(("x-sasl", &**text)), &b""[..]),
            Diagnosis::Server { kind, host, reply } => (Some((*kind, &**reply)), &**host),
        };
        Outcome { status: self.code(), action, reason: &self.text, diagnosis, server }
    }

    /// The status at the start of a text, and the text behind it; another one where there is none. Blanks around the status
    /// are none of the text.
    ///
    /// ```
    /// let status = delivery::Status::split(b"5.1.2  no such place", "5.0.0");
    /// assert_eq!((status.code(), status.text.as_slice()), ("5.1.2", &b"no such place"[..]));
    /// ```
    #[must_use]
    pub fn split(text: &[u8], otherwise: &'static str) -> Self {
        let text = text.trim_ascii_start();
        let found = EnhancedStatus::prefix(text).map(|(_, length)| text.split_at(length));
        let (code, text) = match found.and_then(|(code, rest)| Some((std::str::from_utf8(code).ok()?, rest)))
        {
            Some((code, rest)) => (code, rest.trim_ascii_start()),
            None => (otherwise, text),
        };
        Self { code: code.to_owned(), text: text.to_vec(), diagnosis: Diagnosis::None }
    }

    /// The same code with another text.
    #[must_use]
    pub fn with_text(self, text: Vec<u8>) -> Self {
        Self { text, ..self }
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Whether a mail server has said so.
    #[must_use]
    pub fn is_of_server(&self) -> bool {
        matches!(self.diagnosis, Diagnosis::Server { .. })
    }

    pub(crate) fn is_of(&self, class: Class) -> bool {
        self.code.starts_with(class.digit())
    }

    /// The same with a code of this class; a code of another one is told and gives way to `C.0.0`. `who` is the step that
    /// does not take it.
    pub(crate) fn of_class(mut self, class: Class, who: &str) -> Self {
        if !self.is_of(class) {
            log::warn!("{who}: ignoring dsn code \"{}\"", self.code);
            self.code = format!("{}.0.0", class.digit());
        }
        self
    }

    /// The same as a temporary one, whatever it was.
    #[must_use]
    pub fn softened(mut self) -> Self {
        self.code.replace_range(..1, Class::Temporary.digit());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, code, rest) in [
            ("5.1.2 no such place", "5.1.2", "no such place"),
            ("plain text", "5.0.0", "plain text"),
            (" 5.1.2 x", "5.1.2", "x"),
            ("5.1.2\tx ", "5.1.2", "x "),
            ("5.1.2x no", "5.0.0", "5.1.2x no"),
            ("5.1.2, no", "5.0.0", "5.1.2, no"),
            ("5.1 no", "5.0.0", "5.1 no"),
            ("5.777.1234 x", "5.0.0", "5.777.1234 x"),
            ("5.01.02 x", "5.01.02", "x"),
            ("5.1.2", "5.1.2", ""),
            ("", "5.0.0", ""),
        ] {
            let status = Status::split(text.as_bytes(), "5.0.0");
            assert_eq!((status.code(), status.text.as_slice()), (code, rest.as_bytes()), "{text:?}");
        }
        assert_eq!(Status::new("5.1.2", "x").softened().code(), "4.1.2");
        assert_eq!(Status::new("2.1.5", "x").of_class(Class::Permanent, "test").code(), "5.0.0");
    }
}
