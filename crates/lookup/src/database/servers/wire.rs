//! A socket whose waits all end at one time.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
#[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql"))]
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use smtp::client::{ConnectError, Endpoint, Families, Socket};
#[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql"))]
use sys::transport::Transport;

use super::{Host, Place};
use crate::settings::settings;

/// The socket, its buffer, and when patience ends.
#[derive(Debug)]
pub(in crate::database) struct Wire(BufReader<Patient>);

#[derive(Debug)]
struct Patient {
    carrier: Carrier,
    deadline: Instant,
    /// The socket's own limits for reading and for writing, without TLS. Zero: none yet.
    limits: Limits,
}

#[derive(Debug, Default)]
struct Limits {
    read: Duration,
    write: Duration,
}

/// What the bytes go by.
#[derive(Debug)]
enum Carrier {
    Plain(Socket),
    #[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql"))]
    Tls(Box<tls::Socket>),
}

/// Why there is no connection.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "memcache", feature = "mysql", feature = "pgsql")),
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
        Ok(Wire(BufReader::new(Patient {
            carrier: Carrier::Plain(socket),
            deadline,
            limits: Limits::default(),
        })))
    }

    /// Whether the socket leads to another process of this machine.
    #[cfg(any(feature = "ldap", feature = "mysql"))]
    pub(in crate::database) fn is_local(&self) -> bool {
        matches!(self.0.get_ref().carrier, Carrier::Plain(Socket::Unix(_)))
    }

    /// Puts TLS around the socket.
    #[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql"))]
    pub(super) fn protect(
        &mut self,
        client: &tls::client::Client,
        peer: tls::client::Peer<'_>,
    ) -> Result<tls::client::Outcome, tls::HandshakeError> {
        // What came before the handshake is not protected by it.
        if !self.0.buffer().is_empty() {
            return Err(io::Error::from(io::ErrorKind::InvalidData).into());
        }
        let patient = self.0.get_mut();
        let socket = match &patient.carrier {
            Carrier::Plain(Socket::Tcp(tcp)) => tcp.try_clone()?,
            // No more is done with it than with one of TCP: it is read, written and waited for.
            Carrier::Plain(Socket::Unix(unix)) => TcpStream::from(OwnedFd::from(unix.try_clone()?)),
            Carrier::Tls(_) => return Err(io::Error::from(io::ErrorKind::AlreadyExists).into()),
        };
        let mut socket = tls::Socket::new(socket);
        let limit = remaining(patient.deadline)?;
        let outcome = tls::client::Handshake::new(client, peer)?.run(&mut socket, limit)?;
        patient.carrier = Carrier::Tls(Box::new(socket));
        Ok(outcome)
    }

    /// Whether there is TLS around the socket.
    #[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql"))]
    pub(in crate::database) fn is_protected(&self) -> bool {
        matches!(self.0.get_ref().carrier, Carrier::Tls(_))
    }

    /// When the waits that follow end.
    pub(in crate::database) fn until(&mut self, deadline: Instant) {
        self.0.get_mut().deadline = deadline;
    }

    pub(in crate::database) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)?;
        self.0.get_mut().flush()
    }

    #[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql"))]
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

/// Does what the socket waits with itself until it is done or the time is over. Setting the socket's limit costs as much as
/// asking: it is shorter than what is left, so that it serves for the questions that follow, and the wait has several parts.
fn in_parts<T>(
    deadline: Instant,
    limit: &mut Duration,
    set: impl Fn(Option<Duration>) -> io::Result<()>,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let left = remaining(deadline)?;
    if limit.is_zero() || *limit > left {
        *limit = left - left / 4;
        set(Some(*limit))?;
    }
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        *limit = remaining(deadline)?;
        set(Some(*limit))?;
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (deadline, limit) = (self.deadline, &mut self.limits.read);
        match &mut self.carrier {
            Carrier::Plain(Socket::Tcp(socket)) => {
                in_parts(deadline, limit, |limit| socket.set_read_timeout(limit), || (&*socket).read(buffer))
            }
            Carrier::Plain(Socket::Unix(socket)) => {
                in_parts(deadline, limit, |limit| socket.set_read_timeout(limit), || (&*socket).read(buffer))
            }
            #[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql"))]
            Carrier::Tls(socket) => {
                remaining(deadline)?;
                within(deadline, socket, WaitFor::Input, |socket| socket.read_at_once(buffer))
            }
        }
    }
}

impl Write for Patient {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let (deadline, limit) = (self.deadline, &mut self.limits.write);
        match &mut self.carrier {
            Carrier::Plain(Socket::Tcp(socket)) => in_parts(
                deadline,
                limit,
                |limit| socket.set_write_timeout(limit),
                || (&*socket).write(buffer),
            ),
            Carrier::Plain(Socket::Unix(socket)) => in_parts(
                deadline,
                limit,
                |limit| socket.set_write_timeout(limit),
                || (&*socket).write(buffer),
            ),
            #[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql"))]
            Carrier::Tls(socket) => {
                remaining(deadline)?;
                within(deadline, socket, WaitFor::Room, |socket| socket.write_at_once(buffer))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.carrier {
            Carrier::Plain(_) => Ok(()),
            #[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql"))]
            Carrier::Tls(socket) => {
                within(self.deadline, socket, WaitFor::Room, |socket| socket.flush_at_once())
            }
        }
    }
}

/// What is waited for.
#[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql"))]
#[derive(Clone, Copy)]
enum WaitFor {
    Input,
    Room,
}

/// Does what waits for nobody again until it is done or the time is over.
#[cfg(any(feature = "ldap", feature = "mysql", feature = "pgsql"))]
fn within<T>(
    deadline: Instant,
    socket: &mut tls::Socket,
    wait: WaitFor,
    mut attempt: impl FnMut(&mut tls::Socket) -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match attempt(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        let left = Some(remaining(deadline)?);
        let in_time = match wait {
            WaitFor::Input => sys::poll::readable(&*socket, left)?,
            WaitFor::Room => sys::poll::writable(&*socket, left)?,
        };
        if !in_time {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_limit_serves_for_questions_to_come_and_never_outlasts_the_deadline() {
        let (mut limit, given) = (Duration::ZERO, RefCell::new(Vec::new()));
        let set = |limit: Option<Duration>| {
            given.borrow_mut().extend(limit);
            Ok(())
        };
        let minute = Duration::from_mins(1);
        for _ in 0..3 {
            in_parts(Instant::now() + minute, &mut limit, set, || Ok(())).expect("an answer at once");
        }
        assert_eq!(given.borrow().len(), 1, "{given:?}");

        // The socket's limit is reached twice before the answer is there.
        let deadline = Instant::now() + minute / 2;
        let mut left = 2;
        let answer = || {
            left -= 1;
            if left < 0 { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        };
        in_parts(deadline, &mut limit, set, answer).expect("an answer in time");
        assert_eq!(given.borrow().len(), 4, "{given:?}");
        assert!(given.borrow()[1..].iter().all(|limit| *limit <= minute / 2), "{given:?}");

        let late = in_parts(Instant::now(), &mut limit, set, || Ok(())).expect_err("no time is left");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
