//! One side of the conversation: lines and replies over TCP, with a limit on every length and every wait.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a side may be silent, or take nothing of what is sent to it, and how long a line may take to arrive.
pub const TIMEOUT: Duration = Duration::from_secs(300);
/// How often a waiting session looks about: see [`Wire::fill`].
const TICK: Duration = Duration::from_secs(1);
/// Bytes of a command or reply line. Postfix's own limit is 2048.
const LINE_LIMIT: usize = 4096;
/// Bytes of a reply.
const REPLY_LIMIT: usize = 64 * 1024;
/// Bytes of an over-long command that are read and forgotten before the session ends.
const SKIP_LIMIT: usize = 1024 * 1024;

/// A connection with what has been read and not yet used, and what has been said and not yet sent.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
    used: usize,
    output: Vec<u8>,
}

/// What a peer says next.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Without its end, which may be CR LF or LF.
    Whole(Vec<u8>),
    /// A line that was too long, and was forgotten.
    TooLong,
    /// The peer has closed.
    End,
}

impl Wire {
    /// # Errors
    /// When the system refuses to set an option.
    pub fn new(stream: TcpStream) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Wire { stream, input: Vec::new(), used: 0, output: Vec::new() })
    }

    /// What has been read and not used.
    pub fn buffered(&self) -> &[u8] {
        &self.input[self.used..]
    }

    /// Marks bytes of [`Wire::buffered`] as used.
    pub fn consume(&mut self, length: usize) {
        self.used += length;
    }

    /// Reads more, after sending what there is to send; the number of bytes, 0 at the end of the connection. While
    /// it waits, `tick` is called each second, and its error ends the wait.
    pub fn fill(&mut self, tick: &mut dyn FnMut() -> io::Result<()>) -> io::Result<usize> {
        self.flush()?;
        self.input.drain(..self.used);
        self.used = 0;
        let before = self.input.len();
        self.input.resize(before + 32 * 1024, 0);
        let deadline = Instant::now() + TIMEOUT;
        let result = loop {
            match self.stream.read(&mut self.input[before..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= deadline {
                        break Err(ErrorKind::TimedOut.into());
                    }
                    if let Err(error) = tick() {
                        break Err(error);
                    }
                }
                result => break result,
            }
        };
        self.input.truncate(before + *result.as_ref().unwrap_or(&0));
        result
    }

    /// The next line.
    pub fn read_line(&mut self, tick: &mut dyn FnMut() -> io::Result<()>) -> io::Result<Line> {
        let deadline = Instant::now() + TIMEOUT;
        let (mut searched, mut skipped) = (0, 0);
        loop {
            if let Some(at) = self.buffered()[searched..].iter().position(|byte| *byte == b'\n') {
                let line = &self.buffered()[..searched + at];
                let length = line.len() + 1;
                let text = line.strip_suffix(b"\r").unwrap_or(line);
                let whole = skipped == 0 && text.len() <= LINE_LIMIT;
                let line = if whole { Line::Whole(text.to_vec()) } else { Line::TooLong };
                self.consume(length);
                return Ok(line);
            }
            searched = self.buffered().len();
            if searched > LINE_LIMIT {
                skipped += searched;
                self.consume(searched);
                searched = 0;
            }
            if skipped > SKIP_LIMIT || Instant::now() >= deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            if self.fill(tick)? == 0 {
                return Ok(Line::End);
            }
        }
    }

    /// Adds bytes to what will be sent; sends when there are many.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.extend_from_slice(bytes);
        if self.output.len() >= 32 * 1024 { self.flush() } else { Ok(()) }
    }

    /// Adds a line.
    pub fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.write(line)?;
        self.write(b"\r\n")
    }

    /// Sends what was added.
    pub fn flush(&mut self) -> io::Result<()> {
        let result = self.stream.write_all(&self.output);
        self.output.clear();
        result
    }

    /// Reads a reply. Lines that belong to no reply are an error, as is the end of the connection.
    pub fn read_reply(&mut self) -> io::Result<Reply> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut size = 0;
        loop {
            let line = match self.read_line(&mut || Ok(()))? {
                Line::Whole(line) => line,
                Line::TooLong => return Err(io::Error::other("a reply line is too long")),
                Line::End => return Err(ErrorKind::UnexpectedEof.into()),
            };
            size += line.len();
            let code_ends = matches!(line.get(3), None | Some(b' ' | b'-'));
            if line.len() < 3 || !line[..3].iter().all(u8::is_ascii_digit) || !code_ends || size > REPLY_LIMIT
            {
                return Err(io::Error::other("what came is no SMTP reply"));
            }
            let last = line.get(3) != Some(&b'-');
            lines.push(line);
            if last {
                return Ok(Reply { lines });
            }
        }
    }
}

/// A reply, as it came or as it will be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    lines: Vec<Vec<u8>>,
}

impl Reply {
    /// A reply of one line.
    pub fn new(line: impl Into<String>) -> Reply {
        Reply { lines: vec![line.into().into_bytes()] }
    }

    /// A 250 reply with a line for each text.
    pub fn multi(texts: &[Vec<u8>]) -> Reply {
        let last = texts.len().saturating_sub(1);
        let line = |(index, text): (usize, &Vec<u8>)| {
            let start: &[u8] = if index == last { b"250 " } else { b"250-" };
            [start, text].concat()
        };
        Reply { lines: texts.iter().enumerate().map(line).collect() }
    }

    /// The first digit of the code.
    pub fn class(&self) -> u8 {
        self.lines.first().and_then(|line| line.first()).map_or(0, |digit| digit.wrapping_sub(b'0'))
    }

    /// Whether whoever said this closes the connection.
    pub fn closes(&self) -> bool {
        self.lines.first().is_some_and(|line| line.starts_with(b"421"))
    }

    /// The text of each line, without code.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().map(|line| line.get(4..).unwrap_or_default())
    }

    /// As it is sent.
    pub fn wire(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| line.iter().chain(b"\r\n")).copied().collect()
    }

    /// The lines as one text for the log.
    pub fn for_log(&self) -> String {
        String::from_utf8_lossy(&self.lines.join(&b" / "[..])).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn said(bytes: &[u8]) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let bytes = bytes.to_vec();
        std::thread::spawn(move || peer.write_all(&bytes));
        Wire::new(listener.accept().unwrap().0).unwrap()
    }

    #[test]
    fn lines_and_their_limit() {
        let long = "x".repeat(LINE_LIMIT);
        let mut wire =
            said(format!("a\r\nb\n{long}\r\n{long}y\r\n{long}{long}{long}\r\nc\r\nrest").as_bytes());
        let mut next = || wire.read_line(&mut || Ok(())).unwrap();
        assert_eq!(next(), Line::Whole(b"a".to_vec()));
        assert_eq!(next(), Line::Whole(b"b".to_vec()));
        assert_eq!(next(), Line::Whole(long.clone().into_bytes()));
        assert_eq!(next(), Line::TooLong);
        assert_eq!(next(), Line::TooLong);
        assert_eq!(next(), Line::Whole(b"c".to_vec()));
        assert_eq!(next(), Line::End);
        assert!(said(&vec![b'x'; 2 * SKIP_LIMIT]).read_line(&mut || Ok(())).is_err());
    }

    #[test]
    fn replies() {
        let mut wire = said(b"250-a\r\n250 b\r\n421\r\nhello\r\n");
        let reply = wire.read_reply().unwrap();
        assert_eq!((reply.class(), reply.closes()), (2, false));
        assert_eq!(reply.texts().collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(reply.wire(), b"250-a\r\n250 b\r\n");
        assert!(wire.read_reply().unwrap().closes());
        assert!(wire.read_reply().is_err());
        assert!(said(b"250-unfinished\r\n").read_reply().is_err());
    }
}
