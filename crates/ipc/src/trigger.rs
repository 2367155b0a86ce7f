//! Triggers: a few bytes that wake a server up (spec ipc 16).
//!
//! A stream socket gets the bytes and one NUL, a FIFO the bytes alone; there is never an answer. The caller
//! keeps [`Sent`] until the peer has closed, or drops it when it cannot wait.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::client::Stream;

/// There is nothing that could be triggered; the text is Postfix's.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// No such file, or one that cannot be seen.
    #[error("unable to look up {}: {}", path.display(), sys::error_text(source))]
    Path {
        /// The path of the service.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another kind of file.
    #[error("{} is not a socket or a fifo", .0.display())]
    Kind(PathBuf),
}

/// Looks whether there is a service at `path`, running or not.
///
/// # Errors
/// [`Missing`].
pub fn look_up(path: impl AsRef<Path>) -> Result<(), Missing> {
    let path = path.as_ref();
    match std::fs::metadata(path) {
        Ok(data) if data.file_type().is_socket() || data.file_type().is_fifo() => Ok(()),
        Ok(_) => Err(Missing::Kind(path.to_path_buf())),
        Err(source) => Err(Missing::Path { path: path.to_path_buf(), source }),
    }
}

/// Wake up: for pickup any byte will do.
pub const WAKEUP: &[u8] = b"W";
/// Flush the queue: forget dead destinations, ignore time stamps, scan deferred and incoming.
pub const FLUSH: &[u8] = b"FADI";

/// How much longer than the time limit of a trigger its connection may stay open.
const CLOSE_MARGIN: Duration = Duration::from_secs(100);

/// A trigger that was delivered.
#[derive(Debug)]
#[must_use = "dropping it closes the connection before the server has seen the trigger"]
pub struct Sent {
    stream: Option<Stream>,
    deadline: Instant,
}

/// Sends `bytes` to the server at `path`, such as `public/qmgr`. `timeout` is `trigger_timeout`.
///
/// # Errors
///
/// Nobody listens there, or does not take the bytes in time.
pub fn send(path: impl AsRef<Path>, bytes: &[u8], timeout: Duration) -> io::Result<Sent> {
    let path = path.as_ref();
    let deadline = Instant::now() + timeout + CLOSE_MARGIN;
    if std::fs::metadata(path)?.file_type().is_fifo() {
        write_fifo(path, bytes)?;
        return Ok(Sent { stream: None, deadline });
    }
    let mut stream = Stream::connect(path, timeout)?;
    match stream.write_all(&[bytes, b"\0"].concat()) {
        // It took the connection, which is the wake-up, and has closed it without reading.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
            Ok(Sent { stream: None, deadline })
        }
        written => written.map(|()| Sent { stream: Some(stream), deadline }),
    }
}

/// Sends a wake-up to the server at `path` without waiting for anything: a server whose queue of connections is full
/// has wake-ups enough, and one that reads later still finds the bytes.
///
/// # Errors
///
/// Nobody listens there, or the server has not taken the last wake-ups yet (`WouldBlock`).
pub fn wake_up(path: impl AsRef<Path>) -> io::Result<()> {
    send_at_once(path, WAKEUP)
}

/// As [`wake_up`], with other bytes.
///
/// # Errors
///
/// As there.
pub fn send_at_once(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    let path = path.as_ref();
    if std::fs::metadata(path)?.file_type().is_fifo() {
        return write_fifo(path, bytes);
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    (&socket).write_all(&[bytes, b"\0"].concat())
}

/// A service of type `fifo` in master.cf.
fn write_fifo(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlag::O_NONBLOCK.bits();
    OpenOptions::new().write(true).custom_flags(flags).open(path)?.write_all(bytes)
}

impl Sent {
    /// Waits until the server has closed, for at most `limit` and no longer than the trigger's own limit.
    pub fn wait(mut self, limit: Duration) {
        let end = self.deadline.min(Instant::now() + limit);
        let Some(stream) = &mut self.stream else { return };
        let mut byte = [0u8; 1];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || stream.set_timeout(left).is_err() {
                return;
            }
            match stream.read(&mut byte) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_fifo_is_woken_up_like_a_socket() {
        let path = std::env::temp_dir().join(format!("ipc-wake-up-fifo-{}", std::process::id()));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let nobody_reads = wake_up(&path);
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        wake_up(&path).unwrap();
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(byte, *WAKEUP);
        assert!(nobody_reads.is_err());
    }

    #[test]
    fn a_full_server_is_not_waited_for() {
        let path = std::env::temp_dir().join(format!("ipc-wake-up-{}", std::process::id()));
        let server = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        server.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        server.listen(1).unwrap();
        let results: Vec<_> = (0..10).map(|_| wake_up(&path)).collect();
        std::fs::remove_file(&path).unwrap();
        assert!(results[0].is_ok());
        assert_eq!(results[9].as_ref().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut bytes = Vec::new();
        (&server.accept().unwrap().0).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"W\0");
    }

    #[test]
    fn bytes_and_one_nul() {
        let path = std::env::temp_dir().join(format!("ipc-trigger-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let sent = send(&path, WAKEUP, Duration::from_secs(10)).unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        let mut bytes = [0u8; 16];
        assert_eq!(socket.read(&mut bytes).unwrap(), 2);
        assert_eq!(&bytes[..2], b"W\0");
        drop(socket);
        sent.wait(Duration::from_secs(2));
        std::fs::remove_file(path).unwrap();
    }
}
