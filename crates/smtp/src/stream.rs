//! A line stream on a socket: bounded lines, time limits, buffered output (spec smtpd 1.3 and 1.4).
//!
//! Shape: input is read into a buffer that grows once, is given back while the peer is silent, and handed out as lines up to LF, or as pieces of a line that is
//! longer than the caller's limit. What ended a line is a fact for the caller ([`LineEnd`]); the stream itself
//! holds no opinion on bare newlines. Output is collected and sent when the peer would be waited for, when the
//! buffer is full, or when the last sending was more than ten seconds ago, so replies to pipelined commands
//! travel together.
//!
//! Time limits come in Postfix's two forms, see [`TimeLimit`]. The descriptor is made non-blocking, so that a
//! slow peer can hold up neither a read nor a write beyond the limit.
//!
//! Errors: [`Error::Timeout`], and [`Error::Lost`] for end of file and for every I/O error.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const BUFFER_SIZE: usize = 16 * 1024;
/// The first read: enough for commands, and little enough for ten thousand peers.
const FIRST_BUFFER: usize = 2 * 1024;
/// A peer that is silent for longer gets no buffer meanwhile.
const LINGER: Duration = Duration::from_secs(1);
/// More input than that is dropped by ending the session.
const DISCARD_LIMIT: usize = 64 * 1024;
const FLUSH_INTERVAL: Duration = Duration::from_secs(10);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The time limit passed.
    #[error("timeout exceeded")]
    Timeout,
    /// End of file or an I/O error; the error is absent for end of file.
    #[error("lost connection")]
    Lost(#[source] Option<io::Error>),
}

/// What ended a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineEnd {
    /// CR LF.
    CrLf,
    /// LF without a CR before it.
    BareLf,
    /// Nothing: the limit was reached, the rest of the line is still to be read.
    Partial,
}

/// How many CRs before an LF belong to the line end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrailingCr {
    /// All of them (`smtpd_forbid_bare_newline = no`).
    All,
    /// One.
    One,
}

/// How long to wait for the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeLimit {
    /// Each read and each write may wait this long.
    PerCall(Duration),
    /// All reads and writes since [`SmtpStream::restart_deadline`] together may wait this long
    /// (`smtpd_per_request_deadline`).
    Deadline {
        /// The limit.
        limit: Duration,
        /// Bytes a second of content that give time back, see [`SmtpStream::content_refund`]; 0 gives none.
        min_data_rate: u32,
    },
}

impl TimeLimit {
    fn limit(self) -> Duration {
        match self {
            Self::PerCall(limit) | Self::Deadline { limit, .. } => limit,
        }
    }
}

#[derive(Clone, Copy)]
enum Direction {
    In,
    Out,
}

/// Buffered SMTP line I/O on `S`.
pub struct SmtpStream<S> {
    socket: S,
    /// Empty while the peer is silent.
    input: Vec<u8>,
    /// The last read took all the room there was.
    filled: bool,
    start: usize,
    end: usize,
    output: Vec<u8>,
    last_write: Instant,
    /// The peer was sent something since the last read, so that its answer is hardly there yet.
    asked: bool,
    time_limit: TimeLimit,
    left: Duration,
    refund: bool,
}

impl<S: Read + Write + AsFd> SmtpStream<S> {
    /// Takes over a connected socket and makes it non-blocking.
    ///
    /// # Errors
    /// The descriptor's flags cannot be changed.
    pub fn new(socket: S, time_limit: TimeLimit) -> io::Result<Self> {
        sys::fd::set_nonblocking(&socket, true)?;
        Ok(Self {
            socket,
            input: Vec::new(),
            filled: false,
            start: 0,
            end: 0,
            output: Vec::new(),
            last_write: Instant::now(),
            asked: false,
            time_limit,
            left: time_limit.limit(),
            refund: false,
        })
    }

    /// Changes the time limit and restarts the deadline.
    pub fn set_time_limit(&mut self, time_limit: TimeLimit) {
        self.time_limit = time_limit;
        self.restart_deadline();
    }

    /// Sets the deadline to its full length: before a command is read, and when content begins. Ends the refund.
    pub fn restart_deadline(&mut self) {
        self.left = self.time_limit.limit();
        self.refund = false;
    }

    /// From now to the next restart, each N bytes read give N / `min_data_rate` seconds back, never above the
    /// limit.
    pub fn content_refund(&mut self) {
        self.refund = true;
    }

    /// The socket.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// The socket, for what is not reading and writing. What is buffered stays.
    pub fn socket_mut(&mut self) -> &mut S {
        // A handshake may take in what comes behind it.
        self.asked = false;
        &mut self.socket
    }

    /// Drops all input that is there, buffered or not, without waiting: how many bytes. Stops after a bound, with more
    /// to come, so that a peer that keeps sending is not waited for either.
    pub fn discard_input(&mut self) -> usize {
        let mut dropped = self.end - self.start;
        (self.start, self.end) = (0, 0);
        while dropped < DISCARD_LIMIT {
            // An error here is met again by the next read.
            match self.try_fill() {
                Ok(0) | Err(_) => break,
                Ok(more) => dropped += more,
            }
        }
        (self.start, self.end) = (0, 0);
        dropped
    }

    /// The socket back; what is buffered is dropped.
    pub fn into_socket(self) -> S {
        self.socket
    }

    /// Reads up to LF, at most `limit` bytes, into `line` (cleared first), without the line end. A CR as the
    /// last byte within the limit that is followed by LF still completes the line.
    ///
    /// # Errors
    /// [`Error::Lost`] at end of file also when part of a line was read.
    pub fn read_line(&mut self, line: &mut Vec<u8>, limit: usize, cr: TrailingCr) -> Result<LineEnd, Error> {
        line.clear();
        loop {
            let room = limit.saturating_sub(line.len());
            self.fill()?;
            let chunk = &self.input[self.start..self.end];
            let take = chunk.len().min(room);
            if let Some(at) = chunk[..take].iter().position(|&byte| byte == b'\n') {
                line.extend_from_slice(&chunk[..at]);
                self.start += at + 1;
                return Ok(strip_cr(line, cr));
            }
            if room == 0 {
                if line.last() == Some(&b'\r') && chunk[0] == b'\n' {
                    self.start += 1;
                    return Ok(strip_cr(line, cr));
                }
                return Ok(LineEnd::Partial);
            }
            line.extend_from_slice(&chunk[..take]);
            self.start += take;
            if line.len() == limit && line.last() != Some(&b'\r') {
                return Ok(LineEnd::Partial);
            }
        }
    }

    /// Drops input through the next LF; gives up after `most` bytes, and tells whether the LF came.
    ///
    /// # Errors
    /// As for reading.
    pub fn skip_line(&mut self, most: Option<usize>) -> Result<bool, Error> {
        let mut left = most.unwrap_or(usize::MAX);
        while left > 0 {
            let chunk = self.fill()?;
            let take = chunk.len().min(left);
            if let Some(at) = chunk[..take].iter().position(|&byte| byte == b'\n') {
                self.start += at + 1;
                return Ok(true);
            }
            self.start += take;
            left -= take;
        }
        Ok(false)
    }

    /// Reads at least one byte and at most `most` bytes into `chunk` (cleared first).
    ///
    /// # Errors
    /// As for reading.
    pub fn read_chunk(&mut self, chunk: &mut Vec<u8>, most: usize) -> Result<(), Error> {
        chunk.clear();
        if most > 0 {
            let input = self.fill()?;
            let take = input.len().min(most);
            chunk.extend_from_slice(&input[..take]);
            self.start += take;
        }
        Ok(())
    }

    /// Whether a read would return without waiting: input is buffered or the socket is readable.
    pub fn input_waiting(&mut self) -> bool {
        self.start < self.end || sys::poll::readable(&self.socket, Some(Duration::ZERO)).unwrap_or(false)
    }

    /// Up to `most` bytes of the input that is waiting, without consuming it and without waiting.
    pub fn peek(&mut self, most: usize) -> &[u8] {
        if self.start == self.end {
            // An error here is met again by the next read, which reports it.
            let _ = self.try_fill();
        }
        let end = self.end.min(self.start.saturating_add(most));
        &self.input[self.start..end]
    }

    /// Queues bytes for the peer.
    ///
    /// # Errors
    /// As for writing, when a full buffer has to be sent.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.output.extend_from_slice(bytes);
        if self.output.len() >= BUFFER_SIZE || self.last_write.elapsed() > FLUSH_INTERVAL {
            self.flush()?;
        }
        Ok(())
    }

    /// Queues a line and CR LF.
    ///
    /// # Errors
    /// As for writing.
    pub fn write_line(&mut self, line: &[u8]) -> Result<(), Error> {
        self.output.extend_from_slice(line);
        self.write(b"\r\n")
    }

    /// Queues a reply.
    ///
    /// # Errors
    /// As for writing.
    pub fn write_reply(&mut self, reply: &crate::Reply) -> Result<(), Error> {
        self.write(&reply.wire())
    }

    /// Sends what is queued. After an error the rest is dropped: the connection is of no use any more.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Lost`].
    pub fn flush(&mut self) -> Result<(), Error> {
        let output = std::mem::take(&mut self.output);
        self.asked |= !output.is_empty();
        let result = self.send(&output);
        self.output = output;
        self.output.clear();
        self.last_write = Instant::now();
        result
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(0) => return Err(Error::Lost(None)),
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(Direction::Out)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Lost(Some(error))),
            }
        }
        // A layer around the socket may hold back what it has taken.
        loop {
            match self.socket.flush() {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(Direction::Out)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Lost(Some(error))),
            }
        }
    }

    /// The buffered input, at least one byte; output is sent before waiting.
    fn fill(&mut self) -> Result<&[u8], Error> {
        if self.start == self.end && !self.filled && (self.asked || !self.output.is_empty()) {
            // The peer waits for what is queued: trying to read first would be a system call for nothing. Not so where the
            // last read left something behind, which TLS may have without the socket being readable.
            self.flush()?;
            self.wait(Direction::In)?;
        }
        while self.start == self.end {
            match self.try_fill() {
                Ok(0) => {
                    // A peer that only closed its sending side still gets the replies that are due.
                    let _ = self.flush();
                    return Err(Error::Lost(None));
                }
                Ok(_) => self.refund_for(self.end),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.flush()?;
                    self.wait(Direction::In)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Lost(Some(error))),
            }
        }
        Ok(&self.input[self.start..self.end])
    }

    fn try_fill(&mut self) -> io::Result<usize> {
        self.start = 0;
        self.end = 0;
        self.asked = false;
        if self.input.is_empty() {
            self.input.resize(FIRST_BUFFER, 0);
        } else if self.filled {
            self.input.resize(BUFFER_SIZE, 0);
        }
        let read = self.socket.read(&mut self.input);
        self.end = *read.as_ref().unwrap_or(&0);
        self.filled = self.end == self.input.len();
        read
    }

    fn refund_for(&mut self, bytes: usize) {
        if let TimeLimit::Deadline { limit, min_data_rate } = self.time_limit
            && self.refund
            && min_data_rate > 0
        {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            let back = Duration::from_millis(bytes.saturating_mul(1000) / u64::from(min_data_rate));
            self.left = self.left.saturating_add(back).min(limit);
        }
    }

    /// Gives the buffers back, which are both empty when the peer is waited for, and what the stack does not need.
    fn release(&mut self) {
        self.input = Vec::new();
        self.output = Vec::new();
        (self.start, self.end) = (0, 0);
        sys::stack::release_unused();
    }

    fn wait(&mut self, direction: Direction) -> Result<(), Error> {
        let limit = match self.time_limit {
            TimeLimit::PerCall(limit) => limit,
            TimeLimit::Deadline { .. } => self.left,
        };
        let before = Instant::now();
        let ready = match direction {
            Direction::In if limit > LINGER => match sys::poll::readable(&self.socket, Some(LINGER)) {
                Ok(false) => {
                    self.release();
                    sys::poll::readable(&self.socket, Some(limit - LINGER))
                }
                other => other,
            },
            Direction::In => sys::poll::readable(&self.socket, Some(limit)),
            Direction::Out => sys::poll::writable(&self.socket, Some(limit)),
        };
        let ready = ready.map_err(|error| Error::Lost(Some(error)))?;
        if matches!(self.time_limit, TimeLimit::Deadline { .. }) {
            self.left = self.left.saturating_sub(before.elapsed());
        }
        if ready { Ok(()) } else { Err(Error::Timeout) }
    }
}

fn strip_cr(line: &mut Vec<u8>, cr: TrailingCr) -> LineEnd {
    if line.last() != Some(&b'\r') {
        return LineEnd::BareLf;
    }
    line.pop();
    while cr == TrailingCr::All && line.last() == Some(&b'\r') {
        line.pop();
    }
    LineEnd::CrLf
}

#[cfg(test)]
mod tests;
