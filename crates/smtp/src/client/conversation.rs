//! Commands out, replies in.
//!
//! A reply ends at a line of three digits followed by a space or the end; three digits and `-` continue it. Any
//! other line is garbage: reported, kept, and reading goes on (spec smtpd 4.5). Text beyond the limits is read
//! and dropped; a reply that does not end within `LINES_LIMIT` lines, or a line that does not end within `SKIP_LIMIT`
//! bytes more, counts as a lost connection.

use std::time::Duration;

use sys::transport::Transport;

use crate::reply::{self, Reply};
use crate::stream::{Error, LineEnd, SmtpStream, TimeLimit, TrailingCr};

/// Lines of one reply before the peer is given up; real servers stay far below.
const LINES_LIMIT: usize = 4096;
/// Bytes of one line that are skipped before the peer is given up.
const SKIP_LIMIT: usize = 1 << 20;
/// How much of an over-long line a warning shows.
const SHOWN: usize = 30;

/// Limits on what a peer sends in a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyLimits {
    /// Bytes of a line that are kept, and bytes of text after which no more lines are (`line_length_limit`).
    pub line_length_limit: usize,
    /// Keep well-formed UTF-8; otherwise every byte above 126 becomes `?`.
    pub utf8: bool,
}

/// What a peer did wrong without ending the conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Irregularity<'a> {
    /// A line that is no reply line.
    Garbage(&'a [u8]),
    /// A line longer than the limit; its beginning. The rest was dropped.
    LongLine(&'a [u8]),
}

/// Puts reply lines together, without I/O.
#[derive(Debug)]
pub struct ReplyAssembler {
    limits: ReplyLimits,
    lines: Vec<Vec<u8>>,
    stored: usize,
}

impl ReplyAssembler {
    /// An empty reply.
    #[must_use]
    pub fn new(limits: ReplyLimits) -> Self {
        Self { limits, lines: Vec::new(), stored: 0 }
    }

    /// Takes one line without its end; `true` when it ends the reply.
    pub fn push(&mut self, line: &[u8], report: &mut dyn FnMut(Irregularity<'_>)) -> bool {
        let line = self.printable(line);
        let digits = line.len() >= 3 && line[..3].iter().all(u8::is_ascii_digit);
        let separator = line.get(3).copied();
        let garbage = !digits || !matches!(separator, None | Some(b' ' | b'-'));
        if garbage {
            report(Irregularity::Garbage(&line));
        }
        if self.stored < self.limits.line_length_limit {
            self.stored += line.len() + if self.lines.is_empty() { 0 } else { 2 };
            self.lines.push(line);
        }
        !garbage && separator != Some(b'-')
    }

    /// The reply.
    #[must_use]
    pub fn finish(self) -> Reply {
        Reply::verbatim(self.lines)
    }

    /// A NUL ends the line, as in Postfix (observed).
    fn printable(&self, line: &[u8]) -> Vec<u8> {
        let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
        if self.limits.utf8 {
            return reply::without_controls(line);
        }
        line.iter().map(|&byte| if (b' '..=b'~').contains(&byte) { byte } else { b'?' }).collect()
    }
}

/// Reads one reply from bytes that were received already; the reply and how many bytes it took, or `None` when
/// it is not complete.
#[must_use]
pub fn parse_reply(bytes: &[u8], limits: ReplyLimits) -> Option<(Reply, usize)> {
    let mut assembler = ReplyAssembler::new(limits);
    let mut taken = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n').take(LINES_LIMIT) {
        let text = line.strip_suffix(b"\n")?;
        taken += line.len();
        let end = text.iter().rposition(|&byte| byte != b'\r').map_or(0, |last| last + 1);
        let kept = end.min(limits.line_length_limit);
        if assembler.push(&text[..kept], &mut |_| {}) {
            return Some((assembler.finish(), taken));
        }
    }
    None
}

/// A conversation with a server.
pub struct Conversation<S> {
    stream: SmtpStream<S>,
    limits: ReplyLimits,
    line: Vec<u8>,
}

impl<S: Transport> Conversation<S> {
    /// Begins on a connected socket; the server's greeting is still to be read with
    /// [`Conversation::read_reply`].
    ///
    /// # Errors
    /// As [`SmtpStream::new`].
    pub fn new(socket: S, timeout: Duration, limits: ReplyLimits) -> std::io::Result<Self> {
        let stream = SmtpStream::new(socket, TimeLimit::PerCall(timeout))?;
        Ok(Self { stream, limits, line: Vec::new() })
    }

    /// Changes the time limit of every following read and write.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.set_time_limit(TimeLimit::PerCall(timeout));
    }

    /// The same, of either form: a deadline holds for what is written until a reply is read, and for each reply.
    pub fn set_time_limit(&mut self, limit: TimeLimit) {
        self.stream.set_time_limit(limit);
    }

    /// Content follows: a deadline goes by its rate.
    pub fn begin_content(&mut self) {
        self.stream.content_refund();
    }

    /// Queues a command line; it travels before the next reply is waited for.
    ///
    /// # Errors
    /// As [`SmtpStream::write`].
    pub fn write_line(&mut self, line: &[u8]) -> Result<(), Error> {
        self.stream.write_line(line)
    }

    /// Queues bytes of content.
    ///
    /// # Errors
    /// As [`SmtpStream::write`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write(bytes)
    }

    /// The same of content that is all at hand.
    ///
    /// # Errors
    /// As [`SmtpStream::write_at_hand`].
    pub fn write_at_hand(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_at_hand(bytes)
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// As [`SmtpStream::flush`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.stream.flush()
    }

    /// Whether the server has sent something, or closed, without being waited for.
    pub fn input_waiting(&mut self) -> bool {
        self.stream.input_waiting()
    }

    /// The socket.
    pub fn socket(&self) -> &S {
        self.stream.socket()
    }

    /// Ends the conversation: the socket. What was read already is dropped.
    #[must_use]
    pub fn into_socket(self) -> S {
        self.stream.into_socket()
    }

    /// The socket, to put a layer around it; input that was read already is dropped.
    pub fn socket_to_cover(&mut self) -> &mut S {
        self.stream.drop_buffered();
        self.stream.socket_mut()
    }

    /// Sends a command and reads its reply.
    ///
    /// # Errors
    /// Time-out or lost connection, on either way.
    pub fn command(&mut self, line: &[u8], report: &mut dyn FnMut(Irregularity<'_>)) -> Result<Reply, Error> {
        self.write_line(line)?;
        self.read_reply(report)
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// Time-out, lost connection, or a reply without end.
    pub fn read_reply(&mut self, report: &mut dyn FnMut(Irregularity<'_>)) -> Result<Reply, Error> {
        self.read_filtered(&mut |_| None, report)
    }

    /// The same with other lines in the place of those for which `filter` has one.
    ///
    /// # Errors
    /// As [`Conversation::read_reply`].
    pub fn read_filtered(
        &mut self,
        filter: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
        report: &mut dyn FnMut(Irregularity<'_>),
    ) -> Result<Reply, Error> {
        self.flush()?;
        self.stream.restart_deadline();
        let mut assembler = ReplyAssembler::new(self.limits);
        for _ in 0..LINES_LIMIT {
            let limit = self.limits.line_length_limit;
            let end = self.stream.read_line(&mut self.line, limit, TrailingCr::All)?;
            if end == LineEnd::Partial {
                report(Irregularity::LongLine(&self.line[..self.line.len().min(SHOWN)]));
                if !self.stream.skip_line(Some(SKIP_LIMIT))? {
                    return Err(Error::Lost(None));
                }
            }
            let line = assembler.printable(&self.line);
            let line = filter(&line).unwrap_or(line);
            if assembler.push(&line, report) {
                return Ok(assembler.finish());
            }
        }
        Err(Error::Lost(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    const LIMITS: ReplyLimits = ReplyLimits { line_length_limit: 2048, utf8: false };

    fn conversation() -> (Conversation<UnixStream>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Conversation::new(ours, Duration::from_millis(100), LIMITS).unwrap(), theirs)
    }

    #[test]
    fn replies() {
        for (input, text, garbage) in [
            ("250 ok\r\n", "250 ok", 0),
            ("250\n", "250", 0),
            ("250-a\r\n250-b\r\n250 c\r\n", "250-a\r\n250-b\r\n250 c", 0),
            ("hello\r\n250 ok\r\n", "hello\r\n250 ok", 1),
            ("250x\r\n\r\n25\r\n550 no\r\n", "250x\r\n\r\n25\r\n550 no", 3),
            ("550 \u{e9}\x01\r\n", "550 ???", 0),
        ] {
            let (mut conversation, mut peer) = conversation();
            peer.write_all(input.as_bytes()).unwrap();
            let mut count = 0;
            let reply = conversation.read_reply(&mut |_| count += 1).unwrap();
            assert_eq!(reply.text(), text.as_bytes(), "{input:?}");
            assert_eq!(count, garbage, "{input:?}");
            let (parsed, taken) = parse_reply(input.as_bytes(), LIMITS).unwrap();
            assert_eq!((parsed, taken), (reply, input.len()));
        }
        assert!(parse_reply(b"250-a\r\n250 b", LIMITS).is_none());
    }

    #[test]
    fn utf8_is_kept_on_request() {
        let limits = ReplyLimits { utf8: true, ..LIMITS };
        let parse = |bytes| parse_reply(bytes, limits).unwrap().0.text();
        assert_eq!(parse("550 \u{e9}\x01\r\n".as_bytes()), "550 \u{e9}?".as_bytes());
        assert_eq!(parse(b"550 \xe9\x01\r\n"), b"550 ??");
        assert_eq!(parse(b"550 a\0b\r\n"), b"550 a");
    }

    #[test]
    fn long_lines_and_replies() {
        let (mut conversation, mut peer) = conversation();
        let long = format!("250-{}\r\n250-more\r\n250 end\r\n", "x".repeat(5000));
        peer.write_all(long.as_bytes()).unwrap();
        let mut shown = Vec::new();
        let reply = conversation
            .read_reply(&mut |fact| {
                if let Irregularity::LongLine(text) = fact {
                    shown.push(text.len());
                }
            })
            .unwrap();
        assert_eq!(shown, [30]);
        assert_eq!(reply.lines().len(), 1);
        assert_eq!(reply.lines()[0].len(), 2048);
    }

    #[test]
    fn early_end_and_silence() {
        let (mut conversation, peer) = conversation();
        assert!(matches!(conversation.read_reply(&mut |_| {}), Err(Error::Timeout)));
        drop(peer);
        assert!(matches!(conversation.read_reply(&mut |_| {}), Err(Error::Lost(_))));
    }

    /// Each line comes in time, but not the whole reply.
    #[test]
    fn a_deadline_is_for_the_whole_reply() {
        let (mut conversation, mut peer) = conversation();
        let limit = Duration::from_millis(100);
        conversation.set_time_limit(TimeLimit::Deadline { limit, min_data_rate: 500 });
        let writer = std::thread::spawn(move || {
            while peer.write_all(b"250-x\r\n").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        assert!(matches!(conversation.read_reply(&mut |_| {}), Err(Error::Timeout)));
        drop(conversation);
        writer.join().unwrap();
    }

    #[test]
    fn endless_reply_is_given_up() {
        let (mut conversation, mut peer) = conversation();
        let writer = std::thread::spawn(move || while peer.write_all(b"250-x\r\n").is_ok() {});
        assert!(matches!(conversation.read_reply(&mut |_| {}), Err(Error::Lost(None))));
        drop(conversation);
        writer.join().unwrap();
    }
}
