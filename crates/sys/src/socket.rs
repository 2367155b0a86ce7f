//! Sockets: listeners of every kind, connections with a time limit, accept, addresses and options.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

pub use std::net::TcpStream;

/// A TCP listener with `SO_REUSEADDR`, `SO_REUSEPORT` and, for IPv6, `IPV6_V6ONLY`; non-blocking, close-on-exec.
///
/// `window` is `tcp_windowsize`, set on both buffers when it is above 0.
///
/// # Errors
/// What `socket`, `setsockopt`, `bind` or `listen` say.
pub fn listen_inet(address: SocketAddr, backlog: i32, window: usize) -> io::Result<OwnedFd> {
    let socket = listener_to_be(address)?;
    if window > 0 {
        socket.set_recv_buffer_size(window)?;
        socket.set_send_buffer_size(window)?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Whether [`listen_inet`] would get the address; nobody can connect meanwhile.
///
/// # Errors
/// What `socket`, `setsockopt` or `bind` say.
pub fn try_bind_inet(address: SocketAddr) -> io::Result<()> {
    listener_to_be(address)?.bind(&SockAddr::from(address))
}

fn listener_to_be(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Changes how many connections may wait to be accepted; the kernel has a limit of its own (`net.core.somaxconn`).
///
/// # Errors
/// What `listen` says.
pub fn set_backlog(listener: impl AsFd, backlog: i32) -> io::Result<()> {
    SockRef::from(&listener.as_fd()).listen(backlog)
}

/// Has new connections go to the second of the sockets that listen at the address of this one (`SO_REUSEPORT`), in the order
/// in which they began to: while this is the first, to the one that came after it. Where there is no second, nothing
/// changes. What has begun to connect to this one stays with it.
///
/// # Errors
/// What `setsockopt` says.
pub fn steer_to_newest(listener: &OwnedFd) -> io::Result<()> {
    // One instruction: the answer is 1, an index that the kernel ignores where there are not so many.
    let code = u16::try_from(libc::BPF_RET | libc::BPF_K).map_err(io::Error::other)?;
    let mut program = [libc::sock_filter { code, jt: 0, jf: 0, k: 1 }];
    let filter = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    let length = libc::socklen_t::try_from(size_of_val(&filter)).map_err(io::Error::other)?;
    // SAFETY: the kernel copies the program, whose length is the array's, before the call returns; it writes nothing.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends the listening of a TCP socket for every process that has it. Connections that nobody has accepted are reset.
///
/// # Errors
/// What `shutdown` says.
pub fn stop_listening(listener: &OwnedFd) -> io::Result<()> {
    SockRef::from(listener).shutdown(std::net::Shutdown::Both)
}

/// A UNIX stream listener at `path`; non-blocking, close-on-exec. The path must not exist.
///
/// # Errors
/// What `socket`, `bind` or `listen` say.
pub fn listen_unix(path: &Path, backlog: i32) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A UNIX datagram socket at `path`; non-blocking, close-on-exec. The path must not exist.
///
/// # Errors
/// What `socket` or `bind` say.
pub fn listen_unix_datagram(path: &Path) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Makes a FIFO with this mode (umask applies).
///
/// # Errors
/// What `mkfifo` says.
pub fn make_fifo(path: &Path, mode: u32) -> io::Result<()> {
    Ok(nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(mode))?)
}

/// Opens a FIFO for reading and writing, non-blocking, so that it never shows end of file.
///
/// # Errors
/// What `open` says; `InvalidInput` when the path is not a FIFO.
pub fn open_fifo(path: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    let file =
        std::fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(file.into())
}

/// Opens a FIFO for writing, non-blocking; a FIFO that nobody reads is an error.
///
/// # Errors
/// What `open` says: `ENXIO` without a reader; `InvalidInput` when the path is not a FIFO.
pub fn open_fifo_writer(path: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    let file = std::fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(file.into())
}

/// Connects to a UNIX stream socket. A full backlog is waited for, up to `limit`: then `TimedOut`.
///
/// # Errors
/// What `socket` or `connect` say.
pub fn connect_unix(path: &Path, limit: Option<Duration>) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    // connect() on a UNIX socket blocks on nothing but the listener's backlog, and obeys the send time limit.
    socket.set_write_timeout(limit)?;
    match socket.connect(&address) {
        Ok(()) => {}
        Err(error) if limit.is_some() && error.kind() == io::ErrorKind::WouldBlock => {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        Err(error) => return Err(error),
    }
    if limit.is_some() {
        socket.set_write_timeout(None)?;
    }
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// Connects to a UNIX stream socket without waiting for anything; the connection itself blocks.
///
/// # Errors
/// What `socket` or `connect` say: `EAGAIN` when the listener's backlog is full.
pub fn connect_unix_at_once(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(false)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// A datagram socket connected to `path`; blocking, close-on-exec.
///
/// # Errors
/// What `socket` or `connect` say.
pub fn connect_unix_datagram(path: &Path) -> io::Result<UnixDatagram> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixDatagram::from(OwnedFd::from(socket)))
}

/// Connects to a TCP address within `limit`, from `from` when given (port 0: any).
///
/// # Errors
/// What `socket`, `bind` or `connect` say; `TimedOut` at the limit.
pub fn connect_inet(
    to: SocketAddr,
    limit: Option<Duration>,
    from: Option<SocketAddr>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if let Some(from) = from {
        socket.bind(&SockAddr::from(from))?;
    }
    match limit {
        Some(limit) => connect_within(&socket, &SockAddr::from(to), limit)?,
        None => socket.connect(&SockAddr::from(to))?,
    }
    Ok(TcpStream::from(OwnedFd::from(socket)))
}

/// Connects a blocking socket, which obeys the send time limit: non-blocking mode would take twice the system calls.
fn connect_within(socket: &Socket, to: &SockAddr, limit: Duration) -> io::Result<()> {
    let late = || io::Error::from_raw_os_error(libc::ETIMEDOUT);
    if limit.is_zero() {
        return Err(late());
    }
    let start = Instant::now();
    socket.set_write_timeout(Some(limit))?;
    match socket.connect(to).map_err(|error| (error.raw_os_error(), error)) {
        Ok(()) => {}
        Err((Some(libc::EINPROGRESS), _)) => return Err(late()),
        // A caught signal: the system goes on connecting, and tells by readiness to write how it ended.
        Err((Some(libc::EINTR), _)) => {
            if !crate::poll::writable(socket, Some(limit.saturating_sub(start.elapsed())))? {
                return Err(late());
            }
            socket.take_error()?.map_or(Ok(()), Err)?;
        }
        Err((_, error)) => return Err(error),
    }
    socket.set_write_timeout(None)
}

/// Accepts one connection: a blocking, close-on-exec descriptor, and the peer when it is an IP address.
///
/// # Errors
/// What `accept4` says.
pub fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let fd = listener.as_fd();
    let (socket, address) = SockRef::from(&fd).accept()?;
    Ok((socket.into(), address.as_socket()))
}

/// The peer's address, when it is an IP address.
///
/// # Errors
/// What `getpeername` says.
pub fn peer_address(fd: impl AsFd) -> io::Result<Option<SocketAddr>> {
    Ok(SockRef::from(&fd.as_fd()).peer_addr()?.as_socket())
}

/// The local address, when it is an IP address.
///
/// # Errors
/// What `getsockname` says.
pub fn local_address(fd: impl AsFd) -> io::Result<Option<SocketAddr>> {
    Ok(SockRef::from(&fd.as_fd()).local_addr()?.as_socket())
}

/// Turns `SO_KEEPALIVE` on; what a listener accepts inherits it.
///
/// # Errors
/// What `setsockopt` says.
pub fn set_keepalive(fd: impl AsFd) -> io::Result<()> {
    SockRef::from(&fd.as_fd()).set_keepalive(true)
}

/// Turns `TCP_NODELAY` on or off.
///
/// # Errors
/// What `setsockopt` says.
pub fn set_nodelay(fd: impl AsFd, on: bool) -> io::Result<()> {
    SockRef::from(&fd.as_fd()).set_tcp_nodelay(on)
}

/// Limits each blocking read (`SO_RCVTIMEO`); `None` waits for ever.
///
/// # Errors
/// What `setsockopt` says.
pub fn set_read_timeout(fd: impl AsFd, limit: Option<Duration>) -> io::Result<()> {
    SockRef::from(&fd.as_fd()).set_read_timeout(limit)
}

/// Limits each blocking write (`SO_SNDTIMEO`); `None` waits for ever.
///
/// # Errors
/// What `setsockopt` says.
pub fn set_write_timeout(fd: impl AsFd, limit: Option<Duration>) -> io::Result<()> {
    SockRef::from(&fd.as_fd()).set_write_timeout(limit)
}

/// The error a non-blocking operation has left on the socket (`SO_ERROR`).
///
/// # Errors
/// What `getsockopt` says.
pub fn take_error(fd: impl AsFd) -> io::Result<Option<io::Error>> {
    SockRef::from(&fd.as_fd()).take_error()
}

/// Receives, without waiting; of a datagram the part that does not fit the buffer is lost.
///
/// # Errors
/// What `recv` says; `WouldBlock` when none is there.
pub fn receive(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    use nix::sys::socket::MsgFlags;
    use std::os::fd::AsRawFd;
    Ok(nix::sys::socket::recv(fd.as_fd().as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
}

/// Sends what there is room for, without waiting, whatever the mode of the descriptor. No signal comes of a peer that has
/// gone.
///
/// # Errors
/// What `send` says; `WouldBlock` when there is no room.
pub fn send(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    use nix::sys::socket::MsgFlags;
    use std::os::fd::AsRawFd;
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(nix::sys::socket::send(fd.as_fd().as_raw_fd(), bytes, flags)?)
}

/// Sends on a descriptor that blocks, and waits for room up to a time. Of many who wait for the same reader each piece of room
/// wakes one, where `poll` would wake them all.
///
/// # Errors
/// What `send` says; `WouldBlock` when there is no room in time, `Interrupted` after a signal.
pub fn send_within(fd: impl AsFd, bytes: &[u8], limit: Duration) -> io::Result<usize> {
    use nix::sys::socket::MsgFlags;
    use std::os::fd::AsRawFd;
    // To the system, nothing is for ever.
    let limit = limit.max(Duration::from_millis(1));
    SockRef::from(&fd.as_fd()).set_write_timeout(Some(limit))?;
    Ok(nix::sys::socket::send(fd.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?)
}

/// Ends the connection in both directions, for every process that has it open.
///
/// # Errors
/// What `shutdown` says: `ENOTCONN` when the peer has ended it.
pub fn shut_down(fd: impl AsFd) -> io::Result<()> {
    SockRef::from(&fd.as_fd()).shutdown(std::net::Shutdown::Both)
}

/// Looks at the bytes that wait without taking them, and without waiting for more.
///
/// # Errors
/// What `recv` says; `WouldBlock` when nothing is there.
pub fn peek(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    use nix::sys::socket::MsgFlags;
    use std::os::fd::AsRawFd;
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    Ok(nix::sys::socket::recv(fd.as_fd().as_raw_fd(), buffer, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_backlog_is_a_timeout() {
        let path = std::env::temp_dir().join(format!("sys-sock-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = listen_unix(&path, 1).unwrap();
        let mut held = Vec::new();
        let start = Instant::now();
        let error = loop {
            match connect_unix(&path, Some(Duration::from_millis(50))) {
                Ok(stream) => held.push(stream),
                Err(error) => break error,
            }
            assert!(held.len() < 100);
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(5));
        let (accepted, peer) = accept(&listener).unwrap();
        assert!(peer.is_none() && !crate::fd::is_nonblocking(&accepted).unwrap());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn inet_listen_connect_accept() {
        let listener = listen_inet("127.0.0.1:0".parse().unwrap(), 5, 0).unwrap();
        set_keepalive(&listener).unwrap();
        let at = local_address(&listener).unwrap().unwrap();
        let client = connect_inet(at, Some(Duration::from_secs(5)), None).unwrap();
        assert!(crate::poll::readable(&listener, Some(Duration::from_secs(5))).unwrap());
        let (accepted, peer) = accept(&listener).unwrap();
        assert_eq!(peer, Some(client.local_addr().unwrap()));
        assert!(SockRef::from(&accepted).keepalive().unwrap());
        assert_eq!(accept(&listener).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn inet_connects_end_with_an_error_in_time() {
        let listener = listen_inet("127.0.0.1:0".parse().unwrap(), 1, 0).unwrap();
        let at = local_address(&listener).unwrap().unwrap();
        assert_eq!(connect_inet(at, Some(Duration::ZERO), None).unwrap_err().kind(), io::ErrorKind::TimedOut);
        // Nobody accepts: when the backlog is full, the answer to the next one does not come.
        let mut held = Vec::new();
        let error = loop {
            match connect_inet(at, Some(Duration::from_millis(100)), None) {
                Ok(stream) => held.push(stream),
                Err(error) => break error,
            }
            assert!(held.len() < 100);
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop((held, listener));
        let refused = connect_inet(at, Some(Duration::from_secs(60)), None).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
