//! Tables behind a socket: `tcp:`, `socketmap:`, `proxy:` (spec tables 11 to 13).
//!
//! Every wait and every reply is bounded; a server that cannot be reached or makes no sense is a temporary error.

mod proxy;
mod socketmap;
mod tcp;

pub(crate) use proxy::Proxy;
pub(crate) use socketmap::Socketmap;
pub(crate) use tcp::Tcp;

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use config::printable;

/// Limit of connecting, of each write and each read.
const TIMEOUT: Duration = Duration::from_secs(100);

/// A stream of either kind.
#[derive(Debug)]
enum Socket {
    Inet(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to `host:port`.
    fn connect_inet(host_port: &str) -> io::Result<Socket> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "Name or service not known");
        let found = host_port.to_socket_addrs().map_err(|error| {
            let words = error.to_string();
            let why = words.strip_prefix("failed to lookup address information: ");
            let why = why.unwrap_or("Servname not supported for ai_socktype");
            log::warn!("host or service {host_port} not found: {why}");
            io::Error::new(io::ErrorKind::AddrNotAvailable, "Cannot assign requested address")
        })?;
        for address in found {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(TIMEOUT))?;
                    stream.set_write_timeout(Some(TIMEOUT))?;
                    return Ok(Socket::Inet(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn connect_unix(path: &str) -> io::Result<Socket> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Socket::Unix(stream))
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Inet(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Inet(stream) => stream.write(buffer),
            Socket::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// The text of an error; a time-out has its own word everywhere.
fn text(error: &io::Error) -> String {
    if is_timeout(error) { "Connection timed out".to_owned() } else { sys::error_text(error) }
}

fn shown(bytes: &[u8], limit: usize) -> String {
    printable(&bytes[..bytes.len().min(limit)])
}
