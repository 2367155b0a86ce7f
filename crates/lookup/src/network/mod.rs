//! Tables behind a socket: `tcp:`, `socketmap:`, `proxy:` (spec tables 11 to 13).
//!
//! Every wait and every reply is bounded; a server that cannot be reached or makes no sense is a temporary error.

mod proxy;
mod socketmap;
mod tcp;

pub use proxy::ProxiedChanges;
pub(crate) use proxy::Proxy;
pub(crate) use socketmap::Socketmap;
pub(crate) use tcp::Tcp;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use config::printable;
use smtp::client::{ConnectError, Endpoint, Families};

use crate::OpenError;
use crate::faults;
use crate::settings::{only_examines, settings};

/// Limit of connecting, of each write and each read.
const TIMEOUT: Duration = Duration::from_secs(100);

/// A stream of either kind.
#[derive(Debug)]
enum Socket {
    Inet(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to one of the forms that [`Endpoint`] reads.
    fn connect_inet(server: &str) -> io::Result<Socket> {
        let stream = match endpoint(server).connect(TIMEOUT, Families::All) {
            Ok(smtp::client::Socket::Tcp(stream)) => stream,
            // Not with `inet:` before it.
            Ok(smtp::client::Socket::Unix(_)) => return Err(io::ErrorKind::InvalidInput.into()),
            Err(ConnectError::Io(error)) => return Err(error),
            Err(ConnectError::NotFound(why)) => {
                log::warn!("host or service {server} not found: {why}");
                return Err(io::Error::new(
                    io::ErrorKind::AddrNotAvailable,
                    "Cannot assign requested address",
                ));
            }
        };
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Socket::Inet(stream))
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

/// Where a server is; a port's name can be one of `known_tcp_ports`.
fn endpoint(server: &str) -> Endpoint {
    let known = |name: &str| settings().and_then(|settings| settings.known_ports.get(name));
    Endpoint::lenient(&format!("inet:{server}")).with_known_port(known)
}

/// What ends Postfix's process at the first look-up: it is not even the form of an address.
fn check_form(server: &str) -> Result<(), OpenError> {
    endpoint(server).grammar_fault().map_or(Ok(()), |fault| Err(OpenError::new(fault.to_string())))
}

/// Tells who only looks at a configuration why nobody can be where the server is said to be; others are told when they
/// call it.
fn examine(reference: &str, server: &str) {
    if only_examines()
        && let Some(why) = endpoint(server).fault()
    {
        faults::note(reference, &why);
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
