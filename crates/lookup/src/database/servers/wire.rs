//! A socket whose waits all end at one time.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use smtp::client::{ConnectError, Endpoint, Families, Socket};

use super::{Host, Place};
use crate::settings::settings;

/// The socket, its buffer, and when patience ends.
#[derive(Debug)]
pub(in crate::database) struct Wire(BufReader<Patient>);

#[derive(Debug)]
struct Patient {
    socket: Socket,
    deadline: Instant,
}

/// Why there is no connection.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "mysql", feature = "pgsql")),
    expect(dead_code, reason = "not all engines tell")
)]
pub(in crate::database) enum NoWire {
    Io(io::Error),
    /// The host's name, or the port's, is not known.
    Unknown(String),
}

impl Wire {
    pub(in crate::database) fn connect(host: &Host, deadline: Instant) -> Result<Wire, NoWire> {
        let limit = remaining(deadline).map_err(NoWire::Io)?;
        let socket = match &host.place {
            Place::Unix(path) => {
                Socket::Unix(sys::socket::connect_unix(path, Some(limit)).map_err(NoWire::Io)?)
            }
            Place::Inet { host, port } => {
                let known = |name: &str| settings().and_then(|settings| settings.known_ports.get(name));
                let endpoint = Endpoint::lenient(&format!("inet:[{host}]:{port}")).with_known_port(known);
                endpoint.connect(limit, Families::All).map_err(|error| match error {
                    ConnectError::Io(error) => NoWire::Io(error),
                    ConnectError::NotFound(why) => NoWire::Unknown(why),
                })?
            }
        };
        if let Socket::Tcp(socket) = &socket {
            socket.set_nodelay(true).map_err(NoWire::Io)?;
        }
        Ok(Wire(BufReader::new(Patient { socket, deadline })))
    }

    /// Whether the socket leads to another process of this machine.
    #[cfg(feature = "mysql")]
    pub(in crate::database) fn is_local(&self) -> bool {
        matches!(self.0.get_ref().socket, Socket::Unix(_))
    }

    /// When the waits that follow end.
    pub(in crate::database) fn until(&mut self, deadline: Instant) {
        self.0.get_mut().deadline = deadline;
    }

    pub(in crate::database) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Takes leave with this: nobody waits for it.
    pub(in crate::database) fn leave(&mut self, bytes: &[u8]) {
        self.until(Instant::now() + Duration::from_millis(100));
        let _ = self.send(bytes);
    }

    /// Fills the buffer.
    pub(in crate::database) fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(buffer)
    }
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = remaining(self.deadline)?;
        match &mut self.socket {
            Socket::Tcp(socket) => {
                TcpStream::set_read_timeout(socket, Some(left))?;
                socket.read(buffer)
            }
            Socket::Unix(socket) => {
                UnixStream::set_read_timeout(socket, Some(left))?;
                socket.read(buffer)
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let left = remaining(self.deadline)?;
        match &mut self.socket {
            Socket::Tcp(socket) => {
                TcpStream::set_write_timeout(socket, Some(left))?;
                socket.write(buffer)
            }
            Socket::Unix(socket) => {
                UnixStream::set_write_timeout(socket, Some(left))?;
                socket.write(buffer)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
