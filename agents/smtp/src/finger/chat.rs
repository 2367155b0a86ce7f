//! Commands and replies, and how they are shown. A reply is what its last line says: one that begins with no code, which
//! ends the reply as well, has the code 0 (observed, 3.7.11).

use std::time::Duration;

use maillog::shown;
use smtp::stream::{Error, LineEnd, SmtpStream, TimeLimit, TrailingCr};

use crate::tls::Wire;

/// Lines of a reply before the server is given up.
const LINES_LIMIT: usize = 4096;
/// Bytes of a line that are passed over before the server is given up.
const SKIP_LIMIT: usize = 1 << 20;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// Lines without their codes.
    pub(crate) lines: Vec<Vec<u8>>,
}

impl Answer {
    pub(crate) fn is_good(&self) -> bool {
        self.code / 100 == 2
    }

    /// Code and text.
    pub(crate) fn told(&self) -> String {
        format!("{} {}", self.code, shown(&self.lines.join(&b'\n')))
    }

    /// The words at the beginning of the lines, in capital letters.
    pub(crate) fn keywords(&self) -> impl Iterator<Item = Vec<u8>> {
        self.lines.iter().filter_map(|line| {
            let words = line.split(|byte| b" \t=".contains(byte));
            words.into_iter().find(|word| !word.is_empty()).map(<[u8]>::to_ascii_uppercase)
        })
    }

    /// Takes a line; whether more of the reply is to come.
    fn add(&mut self, line: &[u8]) -> bool {
        let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (code, rest) = line.split_at(digits);
        let code = std::str::from_utf8(code).ok().filter(|code| code.len() == 3);
        self.code = code.and_then(|code| code.parse().ok()).unwrap_or_default();
        let text = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"-")).unwrap_or(rest);
        self.lines.push(text.to_vec());
        rest.first() == Some(&b'-')
    }
}

/// A dialogue with a server.
pub(crate) struct Chat {
    stream: SmtpStream<Wire>,
    line_length_limit: usize,
    /// Both sides are shown, but for what is known already.
    pub(crate) is_shown: bool,
    /// Nothing is shown.
    is_silent: bool,
}

impl Chat {
    /// Begins on a connection. `limit` is that of the greeting.
    pub(crate) fn new(
        wire: Wire,
        limit: Duration,
        line_length_limit: usize,
        is_silent: bool,
    ) -> std::io::Result<Self> {
        let stream = SmtpStream::new(wire, deadline(limit))?;
        Ok(Self { stream, line_length_limit, is_shown: true, is_silent })
    }

    /// Limits how long each of the following commands may take.
    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.stream.set_time_limit(deadline(limit));
    }

    /// The bytes below, to put TLS around them.
    pub(crate) fn wire(&mut self) -> &mut Wire {
        self.stream.drop_buffered();
        self.stream.socket_mut()
    }

    /// Sends a command and reads its reply.
    pub(crate) fn ask(&mut self, command: &str) -> Result<Answer, Error> {
        self.say(command)?;
        self.read()
    }

    /// Sends a command.
    pub(crate) fn say(&mut self, command: &str) -> Result<(), Error> {
        self.stream.restart_deadline();
        if self.shows() {
            log::info!("> {}", shown(command.as_bytes()));
        }
        self.stream.write_line(command.as_bytes())
    }

    /// Reads a reply.
    pub(crate) fn read(&mut self) -> Result<Answer, Error> {
        self.stream.flush()?;
        let (mut answer, mut line) = (Answer::default(), Vec::new());
        for _ in 0..LINES_LIMIT {
            let end = self.stream.read_line(&mut line, self.line_length_limit, TrailingCr::All)?;
            if end == LineEnd::Partial && !self.stream.skip_line(Some(SKIP_LIMIT))? {
                return Err(Error::Lost(None));
            }
            if self.shows() {
                log::info!("< {}", shown(&line));
            }
            if !answer.add(&line) {
                return Ok(answer);
            }
        }
        Err(Error::Lost(None))
    }

    fn shows(&self) -> bool {
        self.is_shown && !self.is_silent
    }
}

fn deadline(limit: Duration) -> TimeLimit {
    TimeLimit::Deadline { limit, min_data_rate: 0 }
}

/// What became of a connection, at the beginning of a sentence.
pub(crate) fn lost(error: &Error) -> &'static str {
    match error {
        Error::Timeout => "timeout",
        Error::Lost(_) => "lost connection",
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn the_last_line_decides() {
        for (text, goes_on, told) in [
            ("250-a\n250 b", false, "250 a?b"),
            ("250-", true, "250 "),
            ("22", false, "0 "),
            ("22 abc", false, "0 abc"),
            ("55-x", true, "0 x"),
            ("554x y", false, "554 x y"),
            ("421-a\nhello", false, "0 a?hello"),
            ("", false, "0 "),
        ] {
            let mut answer = Answer::default();
            let more: Vec<bool> = text.split('\n').map(|line| answer.add(line.as_bytes())).collect();
            assert_eq!((more.last(), answer.told()), (Some(&goes_on), told.to_owned()), "{text}");
        }
        let answer = Answer { code: 250, lines: vec![b"mx.test".to_vec(), b" starttls=x y".to_vec()] };
        assert_eq!(answer.keywords().collect::<Vec<_>>(), [b"MX.TEST".to_vec(), b"STARTTLS".to_vec()]);
    }
}
