//! Stream sockets on which the waiting is done by the read itself.
//!
//! The descriptor blocks; a call that must not wait says so for itself (`MSG_DONTWAIT`), and a read that may wait is bounded
//! by the limit that [`crate::socket::set_read_timeout`] has put on the socket. So an answer that takes its time costs one
//! system call, where a non-blocking descriptor takes a `poll` and a read. No write waits: how long a peer may take to
//! make room is for the caller to say, with [`crate::poll::writable`].

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::{fd, poll, socket};

/// What a pipe that is ready takes at once without waiting (`PIPE_BUF`).
const ROOM: usize = 4096;

/// A connected socket, or a layer around one that may have taken in more than was read.
pub trait Transport: AsFd {
    /// Reads what is there; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there.
    fn read_at_once(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads, and waits for it once; 0 is the end, and `None` that something came of which a layer needs more before it
    /// hands anything out.
    ///
    /// # Errors
    /// `WouldBlock` when nothing came within the socket's limit. `Interrupted` by a signal, however the handler was
    /// installed: the system does not restart a read with a limit.
    fn read_patiently(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>>;

    /// Writes what there is room for.
    ///
    /// # Errors
    /// `WouldBlock` when there is none.
    fn write_at_once(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends what a layer still holds of what was written.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room for all of it.
    fn flush_at_once(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Limits how long [`Transport::read_patiently`] waits.
    ///
    /// # Errors
    /// It is no socket.
    fn limit_reads(&mut self, limit: Duration) -> io::Result<()> {
        socket::set_read_timeout(self, Some(limit))
    }

    /// The descriptor to wait at for room.
    fn output(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

macro_rules! plain {
    ($($socket:ty),*) => {$(
        impl Transport for $socket {
            fn read_at_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                socket::receive(self, buffer)
            }

            fn read_patiently(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
                self.read(buffer).map(Some)
            }

            fn write_at_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
                socket::send(self, bytes)
            }
        }
    )*};
}

plain!(TcpStream, UnixStream);

/// Two descriptors in the place of a socket: pipes, files or a terminal, as standard input and output may be.
#[derive(Debug)]
pub struct Standard {
    input: OwnedFd,
    output: OwnedFd,
    limit: Option<Duration>,
}

impl Standard {
    /// What is read from `input` and written to `output`.
    #[must_use]
    pub fn new(input: OwnedFd, output: OwnedFd) -> Self {
        Self { input, output, limit: None }
    }

    fn read_within(&self, buffer: &mut [u8], limit: Option<Duration>) -> io::Result<usize> {
        if !poll::readable(&self.input, limit)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        fd::read(&self.input, buffer)
    }
}

impl AsFd for Standard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }
}

impl Transport for Standard {
    fn read_at_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_within(buffer, Some(Duration::ZERO))
    }

    fn read_patiently(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.read_within(buffer, self.limit).map(Some)
    }

    fn write_at_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !poll::writable(&self.output, Some(Duration::ZERO))? {
            return Err(ErrorKind::WouldBlock.into());
        }
        fd::write(&self.output, &bytes[..bytes.len().min(ROOM)])
    }

    fn limit_reads(&mut self, limit: Duration) -> io::Result<()> {
        self.limit = Some(limit);
        Ok(())
    }

    fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_patient_read_waits() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let mut buffer = [0; 8];
        assert_eq!(ours.read_at_once(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        socket::set_read_timeout(&ours, Some(Duration::from_millis(20))).unwrap();
        assert_eq!(ours.read_patiently(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(theirs.write_at_once(b"two").unwrap(), 3);
        assert_eq!(ours.read_patiently(&mut buffer).unwrap(), Some(3));
        let block = [b'x'; 4096];
        let error = (0..1000).find_map(|_| theirs.write_at_once(&block).err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(theirs);
        while ours.read_at_once(&mut [0; 8192]).unwrap() > 0 {}
        assert_eq!(ours.read_patiently(&mut buffer).unwrap(), Some(0));
        assert_eq!(ours.write_at_once(b"gone").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
    #[test]
    fn pipes_are_as_patient() {
        let (their_input, our_output) = io::pipe().unwrap();
        let (our_input, their_output) = io::pipe().unwrap();
        let mut ours = Standard::new(our_input.into(), our_output.into());
        let mut theirs = Standard::new(their_input.into(), their_output.into());
        let mut buffer = [0; 8];
        ours.limit_reads(Duration::from_millis(20)).unwrap();
        assert_eq!(ours.read_at_once(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(ours.read_patiently(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(theirs.write_at_once(b"two").unwrap(), 3);
        assert_eq!(ours.read_patiently(&mut buffer).unwrap(), Some(3));
        let block = [b'x'; 3 * ROOM];
        let error = (0..1000).find_map(|_| theirs.write_at_once(&block).err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(theirs);
        while ours.read_at_once(&mut [0; 8192]).unwrap() > 0 {}
        assert_eq!(ours.read_patiently(&mut buffer).unwrap(), Some(0));
    }
}
