//! A server's reply as it is told of recipients (spec smtp-client 6.1).

use delivery::Status;
use smtp::{EnhancedStatus, Reply};

/// A reply: its code, the status that it says or that follows from the code, and all of its text in one line.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    code: u16,
    pub(crate) status: String,
    pub(crate) text: Vec<u8>,
}

impl Answer {
    /// Reads it from its last line; lines before it, garbage too, are part of the text.
    pub(crate) fn of_reply(reply: &Reply) -> Self {
        let last = reply.lines().last().map_or(&b""[..], Vec::as_slice);
        let code = last
            .get(..3)
            .unwrap_or_default()
            .iter()
            .fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0').min(9)));
        let status = match code / 100 {
            class @ (2 | 4 | 5) => status_of(last, class).unwrap_or_else(|| format!("{class}.0.0")),
            _ => "5.5.0".to_owned(),
        };
        Self { code, status, text: reply.lines().join(&b" "[..]) }
    }

    /// The same with its lines as they came, one below the other.
    pub(crate) fn verbatim(reply: &Reply) -> Self {
        Self { text: reply.lines().join(&b"\n"[..]), ..Self::of_reply(reply) }
    }

    pub(crate) fn code(&self) -> u16 {
        self.code
    }

    /// The first digit.
    pub(crate) fn class(&self) -> u16 {
        self.code / 100
    }

    /// No server should ever say this to a command that it knows (spec smtp-client 9.5).
    pub(crate) fn is_against_protocol(&self) -> bool {
        matches!(self.code, 0..=399 | 500..=509 | 555 | 600..)
    }

    /// What is told of a recipient: `text` with this reply behind it. A status of success, where there is none, is an
    /// error of the server's.
    pub(crate) fn failure(&self, host: &str, command: &str) -> Status {
        let said = |prefix: &str, code: &str| {
            let (said, command) = (&self.text, command.as_bytes());
            let text = [
                prefix.as_bytes(),
                b"host ",
                host.as_bytes(),
                b" said: ",
                said,
                b" (in reply to ",
                command,
                b" command)",
            ]
            .concat();
            self.told(code, text, host)
        };
        if self.status.starts_with('2') { said("Protocol error: ", "5.5.0") } else { said("", &self.status) }
    }

    /// The same for a server that does not want to talk.
    pub(crate) fn refusal(&self, host: &str) -> Status {
        let prefix = if self.status.starts_with('2') { "Protocol error: " } else { "" };
        let code = if prefix.is_empty() { &self.status } else { "5.5.0" };
        let text =
            [prefix.as_bytes(), b"host ", host.as_bytes(), b" refused to talk to me: ", &self.text].concat();
        self.told(code, text, host)
    }

    /// The same for one that does not want TLS, where it must be.
    pub(crate) fn tls_refusal(&self, host: &str) -> Status {
        let text = format!("TLS is required, but host {host} refused to start TLS: ");
        self.told(&self.status, [text.as_bytes(), &self.text].concat(), host)
    }

    /// The same where the sender demands it.
    pub(crate) fn requiretls_refusal(&self, host: &str) -> Status {
        let text = format!("Sender requested REQUIRETLS, but host {host} refused to start TLS: ");
        Status::new("5.7.10", [text.as_bytes(), &self.text].concat())
    }

    /// What is told of a recipient who has the message; a code that is none of success gives way.
    pub(crate) fn success(&self, host: &str) -> Status {
        self.told(&self.status, self.text.clone(), host)
    }

    /// `host` is `NAME[ADDRESS]`.
    fn told(&self, code: &str, text: Vec<u8>, host: &str) -> Status {
        let name = host.split('[').next().unwrap_or(host);
        Status::of_reply(code, text, name.as_bytes(), &self.text)
    }
}

/// The enhanced status behind the code, where it is of the code's class, as it is written.
fn status_of(line: &[u8], class: u16) -> Option<String> {
    let text = line.get(3..)?;
    let text = &text[text.iter().position(|byte| *byte != b' ')?..];
    let (status, length) = EnhancedStatus::prefix(text)?;
    let written = std::str::from_utf8(text.get(..length)?).ok()?;
    (u16::from(status.class()) == class).then(|| written.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(lines: &[&str]) -> Answer {
        Answer::of_reply(&Reply::verbatim(lines.iter().map(|line| line.as_bytes().to_vec()).collect()))
    }

    #[test]
    fn statuses() {
        for (lines, code, status, text) in [
            (&["250 2.1.0 ok"][..], 250, "2.1.0", "250 2.1.0 ok"),
            (&["250 ok"], 250, "2.0.0", "250 ok"),
            (&["250"], 250, "2.0.0", "250"),
            (&["550 4.1.1 lie"], 550, "5.0.0", "550 4.1.1 lie"),
            (&["550   5.1.1 blanks"], 550, "5.1.1", "550   5.1.1 blanks"),
            (&["550 5.01.1 x"], 550, "5.01.1", "550 5.01.1 x"),
            (&["354 go"], 354, "5.5.0", "354 go"),
            (&["650 what"], 650, "5.5.0", "650 what"),
            (&["550-5.1.1 a", "550 5.7.1 b"], 550, "5.7.1", "550-5.1.1 a 550 5.7.1 b"),
            (&["hello", "250 ok"], 250, "2.0.0", "hello 250 ok"),
        ] {
            let answer = answer(lines);
            assert_eq!(
                (answer.code(), answer.status.as_str(), answer.text.as_slice()),
                (code, status, text.as_bytes()),
                "{lines:?}"
            );
        }
        let status = answer(&["250 2.0.0 fine"]).failure("mx[1.2.3.4]", "DATA");
        assert_eq!(status.code(), "5.5.0");
        assert_eq!(
            status.text,
            b"Protocol error: host mx[1.2.3.4] said: 250 2.0.0 fine (in reply to DATA command)"
        );
    }
}
