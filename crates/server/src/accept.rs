//! Taking a connection from a listen socket.

use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ipc::attr::{Decoder, Flags};
use nix::errno::Errno;

use crate::connection::{Connection, PassAttributes};
use crate::start::Transport;

/// Number of the first listen socket as master leaves it.
const LISTEN: i32 = 6;
/// How long a front end may take to hand over a descriptor, and then its attributes.
const PASS_LIMIT: Duration = Duration::from_secs(100);

/// The listen sockets from master, close-on-exec.
pub(crate) fn inherit_listeners(count: usize) -> io::Result<Vec<OwnedFd>> {
    let last = i32::try_from(count).ok().and_then(|count| LISTEN.checked_add(count));
    (LISTEN..last.ok_or(io::ErrorKind::InvalidInput)?)
        .map(|n| {
            let fd = sys::fd::inherited(n)?;
            sys::fd::set_cloexec(&fd, true)?;
            // For its connections, which inherit it; whatever is no socket does not know it.
            let _ = sys::socket::set_keepalive(&fd);
            Ok(fd)
        })
        .collect()
}

/// Takes one connection; `None` when there is none after all, or it was lost on the way (already logged).
pub(crate) fn accept(listener: &OwnedFd, transport: Transport, limit: Duration) -> Option<Connection> {
    let (socket, peer) = match sys::socket::accept(listener) {
        Ok(accepted) => accepted,
        Err(error) => {
            if transport == Transport::Pass && !is_nothing_there(&error) {
                log::warn!("pass_accept_attr: cannot accept connection: {}", sys::error_text(&error));
            } else if !is_nothing_there(&error) {
                log::error!("accept connection: {}", sys::error_text(&error));
            }
            return None;
        }
    };
    match transport {
        Transport::Pass => {
            let socket = Connection::new(socket, None, None);
            let (passed, attributes) = receive_passed(&socket)?;
            Some(Connection::new(passed, None, Some(limit)).with_attributes(attributes))
        }
        Transport::Inet => Some(Connection::new(socket, peer, Some(limit))),
        _ => Some(Connection::new(socket, None, Some(limit))),
    }
}

/// Errors of accept that only mean that the client has gone, or another process was faster.
fn is_nothing_there(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::EAGAIN
                | Errno::ECONNREFUSED
                | Errno::ECONNRESET
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::EINTR
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::ENOTCONN
                | Errno::ENOBUFS
                | Errno::ECONNABORTED
                | Errno::EPROTO
        )
    )
}

/// The descriptor that a front end hands over on this stream.
pub(crate) fn receive_descriptor(stream: &Connection) -> Option<OwnedFd> {
    let failed = |what: &str, error: &io::Error| {
        log::warn!("pass_accept_attr: {what} file descriptor: {}", sys::error_text(error));
    };
    match sys::poll::readable(stream, Some(PASS_LIMIT)) {
        Ok(true) => {}
        Ok(false) => {
            failed("timeout receiving", &io::ErrorKind::TimedOut.into());
            return None;
        }
        Err(error) => {
            failed("timeout receiving", &error);
            return None;
        }
    }
    sys::pass::receive(stream).map_err(|error| failed("cannot receive", &error)).ok()
}

/// The descriptor and the attribute list behind it.
fn receive_passed(stream: &Connection) -> Option<(OwnedFd, PassAttributes)> {
    let passed = receive_descriptor(stream)?;
    let deadline = Instant::now() + PASS_LIMIT;
    let mut input = BufReader::new(Deadline { stream, deadline });
    let mut list = Decoder::null(&mut input, "pass socket", Flags::MISSING);
    match list.pairs() {
        Ok(pairs) => Some((passed, PassAttributes::new(pairs))),
        Err(error) => {
            error.warn();
            log::warn!("pass_accept_attr: cannot receive connection attributes: {}", error.os_text());
            None
        }
    }
}

/// Reads that all end by one moment.
struct Deadline<'a> {
    stream: &'a Connection,
    deadline: Instant,
}

impl Read for Deadline<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if !sys::poll::readable(self.stream, Some(left))? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sys::fd::read(self.stream.as_fd(), buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn passed(list: &[u8]) -> Option<PassAttributes> {
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        let (reader, _writer) = sys::fd::pipe().unwrap();
        sys::pass::send(&sender, &reader).unwrap();
        sender.write_all(list).unwrap();
        drop(sender);
        receive_passed(&Connection::new(receiver.into(), None, None)).map(|(_, attributes)| attributes)
    }

    #[test]
    fn descriptor_and_attributes() {
        let found = passed(b"client_address\x00192.0.2.9\0client_port\x001234\0\0").unwrap();
        assert_eq!(found.get("client_address"), Some(&b"192.0.2.9"[..]));
        assert_eq!(found.get("client_port"), Some(&b"1234"[..]));
        assert_eq!(found.get("server_port"), None);
        assert!(passed(b"\0").unwrap().is_empty());
        assert!(passed(b"client_address\x00192").is_none());
    }
}
