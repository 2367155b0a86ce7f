//! Stream sockets on which the waiting is done by the read itself.
//!
//! The descriptor blocks; a call that must not wait says so for itself (`MSG_DONTWAIT`), and a read that may wait is bounded
//! by the limit that [`crate::socket::set_read_timeout`] has put on the socket. So an answer that takes its time costs one
//! system call, where a non-blocking descriptor takes a `poll` and a read. No write waits: how long a peer may take to
//! make room is for the caller to say, with [`crate::poll::writable`].

use std::io::{self, Read};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::socket;

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::time::Duration;

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
}
