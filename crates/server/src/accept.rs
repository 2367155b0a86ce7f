//! Taking a connection from a listen socket, or from the front end that hands it over.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;

use crate::connection::Connection;
use crate::passing::Passing;
use crate::start::Transport;

/// Number of the first listen socket as master leaves it.
const LISTEN: i32 = 6;

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

/// What came at a listen socket.
pub(crate) enum Accepted {
    /// A client.
    Client(Connection),
    /// A front end that hands a client over.
    Passing(Passing),
}

impl Accepted {
    /// The client; waits for the front end. `None` when it was lost on the way (already logged).
    pub(crate) fn complete(self) -> Option<Connection> {
        match self {
            Self::Client(connection) => Some(connection),
            Self::Passing(passing) => passing.wait(),
        }
    }
}

/// Takes what came at a listen socket; `None` when there is nothing after all, or it was lost on the way (already logged).
pub(crate) fn accept(listener: &OwnedFd, transport: Transport, limit: Duration) -> Option<Accepted> {
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
    Some(match transport {
        Transport::Pass => Accepted::Passing(Passing::new(socket, limit)),
        Transport::Inet => Accepted::Client(Connection::new(socket, peer, Some(limit))),
        _ => Accepted::Client(Connection::new(socket, None, Some(limit))),
    })
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
                // The socket does not listen any more: the service is drained.
                | Errno::EINVAL
        )
    )
}
