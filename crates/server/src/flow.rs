//! The pipe of tokens between queue manager and cleanup (spec ipc 25).

use std::io;
use std::os::fd::OwnedFd;

/// Both ends of the flow control pipe; a token is one byte.
#[derive(Debug)]
pub struct FlowPipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl FlowPipe {
    /// Number of the read end as master leaves it.
    const READER: i32 = 3;
    /// Number of the write end as master leaves it.
    const WRITER: i32 = 4;

    /// Takes the two descriptors from master.
    pub(crate) fn inherit() -> io::Result<Self> {
        let (reader, writer) = (sys::fd::inherited(Self::READER)?, sys::fd::inherited(Self::WRITER)?);
        for end in [&reader, &writer] {
            sys::fd::set_cloexec(end, true)?;
        }
        Ok(Self { reader, writer })
    }

    /// Takes one token; false when there is none.
    ///
    /// # Errors
    /// What `read` says.
    pub fn take(&self) -> io::Result<bool> {
        let mut byte = [0];
        match sys::fd::read(&self.reader, &mut byte) {
            Ok(got) => Ok(got == 1),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes up to `count` tokens away; the number taken.
    ///
    /// # Errors
    /// What `read` says.
    pub fn drain(&self, count: usize) -> io::Result<usize> {
        let mut bytes = vec![0; count.min(65536)];
        match sys::fd::read(&self.reader, &mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Puts `count` tokens in; the number put in, less when the pipe is full.
    ///
    /// # Errors
    /// What `write` says.
    pub fn give(&self, count: usize) -> io::Result<usize> {
        match sys::fd::write(&self.writer, &vec![0; count.min(65536)]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Tokens in the pipe.
    ///
    /// # Errors
    /// What `ioctl` says.
    pub fn count(&self) -> io::Result<usize> {
        sys::fd::readable_bytes(&self.reader)
    }
}
