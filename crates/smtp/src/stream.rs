//! A line stream on a socket: bounded lines, time limits, buffered output (spec smtpd 1.3 and 1.4).
//!
//! Shape: input is read into a buffer that grows once, is given back while the peer is silent, and handed out as lines up to LF, or as pieces of a line that is
//! longer than the caller's limit. What ended a line is a fact for the caller ([`LineEnd`]); the stream itself
//! holds no opinion on bare newlines. Output is collected and sent when the peer would be waited for, when the
//! buffer is full, or when the last sending was more than ten seconds ago, so replies to pipelined commands
//! travel together.
//!
//! Time limits come in Postfix's two forms, see [`TimeLimit`]. An answer that comes soon is waited for by the read itself,
//! see [`Transport`]; what takes longer, and every write, by `poll`.
//!
//! Errors: [`Error::Timeout`], and [`Error::Lost`] for end of file and for every I/O error.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use memchr::memchr;
use sys::transport::Transport;

const BUFFER_SIZE: usize = 16 * 1024;
/// The first read: enough for commands, and little enough for ten thousand peers.
const FIRST_BUFFER: usize = 2 * 1024;
/// A read waits this long: a peer that is silent for longer gets no buffer meanwhile.
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
        /// Bytes a second of content, in or out, that give time back, see [`SmtpStream::content_refund`]; 0 gives none.
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
    time_limit: TimeLimit,
    left: Duration,
    refund: bool,
    /// Nothing more is read, whatever comes.
    input_ended: bool,
}

impl<S: Transport> SmtpStream<S> {
    /// Takes over a connected socket that blocks, and limits how long its reads do so.
    ///
    /// # Errors
    /// It is no socket.
    pub fn new(mut socket: S, time_limit: TimeLimit) -> io::Result<Self> {
        socket.limit_reads(LINGER)?;
        Ok(Self {
            socket,
            input: Vec::new(),
            filled: false,
            start: 0,
            end: 0,
            output: Vec::new(),
            last_write: Instant::now(),
            time_limit,
            left: time_limit.limit(),
            refund: false,
            input_ended: false,
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

    /// From now to the next restart, each N bytes read or written give N / `min_data_rate` seconds back, never above
    /// the limit.
    pub fn content_refund(&mut self) {
        self.refund = true;
    }

    /// The socket.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// The socket, for what is not reading and writing. What is buffered stays.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// The socket alone.
    pub(crate) fn into_socket(self) -> S {
        self.socket
    }

    /// Drops all input that is there, buffered or not, without waiting: how many bytes. Stops after a bound, with more
    /// to come, so that a peer that keeps sending is not waited for either.
    pub fn discard_input(&mut self) -> usize {
        let mut dropped = self.end - self.start;
        (self.start, self.end) = (0, 0);
        while dropped < DISCARD_LIMIT {
            // An error here is met again by the next read.
            match self.fill_at_once() {
                Ok(0) | Err(_) => break,
                Ok(more) => dropped += more,
            }
        }
        (self.start, self.end) = (0, 0);
        dropped
    }

    /// Drops all input that is there; what comes after it is not read either. For the reader the peer has gone.
    pub fn end_input(&mut self) {
        self.discard_input();
        self.input_ended = true;
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
            if let Some(at) = memchr(b'\n', &chunk[..take]) {
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
            if let Some(at) = memchr(b'\n', &chunk[..take]) {
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

    /// Drops input that is buffered, and leaves the socket alone.
    pub fn drop_buffered(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Up to `most` bytes of the input that is waiting, without consuming it and without waiting.
    pub fn peek(&mut self, most: usize) -> &[u8] {
        if self.start == self.end {
            // An error here is met again by the next read, which reports it.
            let _ = self.fill_at_once();
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

    /// The same of what is all at hand, as a message in the queue: the buffer is full soon, and nobody looks at the clock for
    /// each piece.
    ///
    /// # Errors
    /// As for writing, when a full buffer has to be sent.
    pub fn write_at_hand(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.output.extend_from_slice(bytes);
        if self.output.len() >= BUFFER_SIZE { self.flush() } else { Ok(()) }
    }

    /// Queues a line and CR LF.
    ///
    /// # Errors
    /// As for writing.
    pub fn write_line(&mut self, line: &[u8]) -> Result<(), Error> {
        self.output.extend_from_slice(line);
        self.write(b"\r\n")
    }

    /// Sends what is queued. After an error the rest is dropped: the connection is of no use any more.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Lost`].
    pub fn flush(&mut self) -> Result<(), Error> {
        let output = std::mem::take(&mut self.output);
        let result = self.send(&output);
        self.output = output;
        self.output.clear();
        self.last_write = Instant::now();
        result
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.socket.write_at_once(bytes) {
                Ok(0) => return Err(Error::Lost(None)),
                Ok(sent) => {
                    self.refund_for(sent);
                    bytes = &bytes[sent..];
                }
                Err(error) => self.make_room(error)?,
            }
        }
        // A layer around the socket may hold back what it has taken.
        while let Err(error) = self.socket.flush_at_once() {
            self.make_room(error)?;
        }
        Ok(())
    }

    /// After an attempt to write that ended so: waits for room if that was missing.
    fn make_room(&mut self, error: io::Error) -> Result<(), Error> {
        match error.kind() {
            ErrorKind::WouldBlock => {
                let before = Instant::now();
                let ready = sys::poll::writable(self.socket.output(), Some(self.limit()));
                self.charge(before);
                in_time(ready)
            }
            ErrorKind::Interrupted => Ok(()),
            _ => Err(Error::Lost(Some(error))),
        }
    }

    /// The buffered input, at least one byte; output is sent before waiting.
    fn fill(&mut self) -> Result<&[u8], Error> {
        while self.start == self.end {
            // Answers to what came together travel together.
            let held_back = self.filled && !self.output.is_empty();
            if held_back && self.has_more()? {
                break;
            }
            self.flush()?;
            if self.input_ended {
                return Err(Error::Lost(None));
            }
            let before = Instant::now();
            let read = self.await_input(before);
            self.charge(before);
            match read? {
                Some(0) => return Err(self.ended()),
                Some(_) => self.refund_for(self.end),
                None => {}
            }
        }
        Ok(&self.input[self.start..self.end])
    }

    /// Whether there is more, where the last read left something behind.
    fn has_more(&mut self) -> Result<bool, Error> {
        match self.fill_at_once() {
            Ok(0) => Err(self.ended()),
            Ok(_) => {
                self.refund_for(self.end);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(Error::Lost(Some(error))),
        }
    }

    /// End of file.
    fn ended(&mut self) -> Error {
        // A peer that only closed its sending side still gets the replies that are due.
        let _ = self.flush();
        Error::Lost(None)
    }

    fn fill_at_once(&mut self) -> io::Result<usize> {
        if self.input_ended {
            return Ok(0);
        }
        self.prepare();
        let read = self.socket.read_at_once(&mut self.input);
        self.took(*read.as_ref().unwrap_or(&0));
        read
    }

    /// Waits for input and reads it; `None` when it is still to be read, or not enough yet. The read itself waits for the
    /// first part of the time, `poll` for the rest: it does not see what a layer has taken in, but the read has looked.
    fn await_input(&mut self, before: Instant) -> Result<Option<usize>, Error> {
        let limit = self.limit();
        self.prepare();
        // Where there is less time than a read would take, it must not wait.
        let read = if limit >= LINGER {
            self.socket.read_patiently(&mut self.input)
        } else {
            self.socket.read_at_once(&mut self.input).map(Some)
        };
        self.took(read.as_ref().ok().copied().flatten().unwrap_or(0));
        match read {
            Ok(read) => Ok(read),
            // A signal ends the read, but does not begin the time anew.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                if limit >= LINGER {
                    self.release();
                }
                let left = limit.saturating_sub(before.elapsed());
                in_time(sys::poll::readable(&self.socket, Some(left)))?;
                Ok(None)
            }
            Err(error) => Err(Error::Lost(Some(error))),
        }
    }

    /// Makes the buffer ready to be read into.
    fn prepare(&mut self) {
        if self.input.is_empty() {
            self.input.resize(FIRST_BUFFER, 0);
        } else if self.filled {
            self.input.resize(BUFFER_SIZE, 0);
        }
        self.took(0);
    }

    fn took(&mut self, bytes: usize) {
        (self.start, self.end) = (0, bytes);
        self.filled = bytes == self.input.len();
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

    /// How long a wait that begins now may take.
    fn limit(&self) -> Duration {
        match self.time_limit {
            TimeLimit::PerCall(limit) => limit,
            TimeLimit::Deadline { .. } => self.left,
        }
    }

    /// Takes the time of a wait from the deadline.
    fn charge(&mut self, before: Instant) {
        if matches!(self.time_limit, TimeLimit::Deadline { .. }) {
            self.left = self.left.saturating_sub(before.elapsed());
        }
    }
}

/// What came of waiting.
fn in_time(ready: io::Result<bool>) -> Result<(), Error> {
    match ready {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Timeout),
        Err(error) => Err(Error::Lost(Some(error))),
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
