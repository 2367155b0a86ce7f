//! A connected UNIX-domain stream with a buffer on the reading side and a limit on every system call.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, SockAddr, Socket, Type};

/// How often [`connect_wait`] tries before it gives up, and its pause.
const CONNECT_TRIES: u32 = 11;
pub(super) const CONNECT_PAUSE: Duration = Duration::from_secs(10);

/// Room for an answer, as most are short. Bigger buffers are not kept by the allocator for the next connection.
const BUFFER_SIZE: usize = 1024;

/// A connection to another program, by the socket's path relative to the queue directory.
#[derive(Debug)]
pub struct Stream {
    reader: BufReader<UnixStream>,
    name: String,
}

impl Stream {
    /// Connects to `path`, such as `private/rewrite`; `timeout` bounds the connect and each later read and
    /// write.
    pub fn connect(path: impl AsRef<Path>, timeout: Duration) -> io::Result<Stream> {
        let path = path.as_ref();
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let limit = (!timeout.is_zero()).then_some(timeout);
        // On a UNIX-domain socket the send time-out also bounds a connect that waits for a full backlog.
        socket.set_write_timeout(limit)?;
        socket.set_read_timeout(limit)?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(Stream::new(UnixStream::from(socket), &path.to_string_lossy()))
    }

    /// Wraps a connected socket; `path` names it in warnings.
    #[must_use]
    pub fn new(socket: UnixStream, path: &str) -> Stream {
        Stream { reader: BufReader::with_capacity(BUFFER_SIZE, socket), name: [path, " socket"].concat() }
    }

    /// The stream's name in warnings: the path, a space, and the word socket.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Replaces the time limit of each read and write.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        let limit = (!timeout.is_zero()).then_some(timeout);
        self.socket().set_read_timeout(limit)?;
        self.socket().set_write_timeout(limit)
    }

    /// The socket itself. Bytes already in the buffer are not seen by a direct read.
    #[must_use]
    pub fn socket(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    /// The reader and the stream's name, for a [`crate::attr::Decoder`].
    pub fn input(&mut self) -> (&mut BufReader<UnixStream>, &str) {
        (&mut self.reader, &self.name)
    }

    /// Whether anything can be read, end of file included: between requests a sign that the server has
    /// hung up.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        if !self.reader.buffer().is_empty() {
            return true;
        }
        let mut fds = [PollFd::new(self.socket().as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(n) if n > 0)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf)
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.reader.get_mut().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is told of the connection that failed as number `count`.
pub(super) fn connect_failure(count: u32, path: &str, error: &io::Error) -> String {
    format!("connect #{count} to subsystem {path}: {}", sys::error_text(error))
}

/// Connects to `path` and keeps trying: a warning and a pause of ten seconds after each failure.
///
/// # Errors
///
/// The text of the fatal error that Postfix ends with after the eleventh failure.
pub fn connect_wait(path: &str, timeout: Duration) -> Result<Stream, String> {
    let mut count = 1;
    loop {
        let text = match Stream::connect(path, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => connect_failure(count, path, &error),
        };
        if count == CONNECT_TRIES {
            return Err(text);
        }
        log::warn!("{text}");
        std::thread::sleep(CONNECT_PAUSE);
        count += 1;
    }
}
