//! The local syslog socket.
//!
//! Our own transport and not the `syslog` crate's, whose line always carries a pid in brackets (postlogd must
//! leave it out), which asks for the local time in a way that fails once there are threads, and which does not
//! connect again after the syslog daemon was restarted. What glibc's `syslog(3)` sends, byte for byte:
//! `<PRI>Mon DD HH:MM:SS IDENT[PID]: TEXT` in one datagram, day padded with a blank; on a stream socket
//! followed by a NUL.

use std::ffi::CString;
use std::io::{self, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use sys::last_words::{Line, Way};
use sys::time::StampStyle;

use crate::stall;

const SOCKET: &str = "/dev/log";

/// A syslog facility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facility(u8);

/// Names as `syslog_facility` takes them, with their codes.
const FACILITIES: &[(&str, u8)] = &[
    ("auth", 4),
    ("authpriv", 10),
    ("cron", 9),
    ("daemon", 3),
    ("ftp", 11),
    ("kern", 0),
    ("lpr", 6),
    ("mail", 2),
    ("news", 7),
    // The name of old for auth.
    ("security", 4),
    ("syslog", 5),
    ("user", 1),
    ("uucp", 8),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

impl Facility {
    /// `mail`, which holds until main.cf is read.
    pub const MAIL: Self = Self(2);
}

impl FromStr for Facility {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        FACILITIES.iter().find(|(known, _)| *known == name).map(|(_, code)| Self(*code)).ok_or(())
    }
}

enum Transport {
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

/// A connection to the syslog daemon, renewed when the daemon was restarted.
pub(crate) struct Syslog {
    facility: Facility,
    transport: Option<Transport>,
}

impl Syslog {
    /// Connects now, so that a later chroot does no harm; a failure is tried again with each line.
    pub(crate) fn open(facility: Facility) -> Self {
        Self { facility, transport: connect(Path::new(SOCKET)).ok() }
    }

    /// `<PRI>Mon DD HH:MM:SS `, which `IDENT[PID]: TEXT` follows.
    pub(crate) fn begin(&self, level: u8, datagram: &mut Vec<u8>) {
        // Writing to memory cannot fail.
        let _ = write!(datagram, "<{}>", (self.facility.0 << 3) | level);
        datagram.extend_from_slice(&sys::time::stamp_of(SystemTime::now(), StampStyle::Syslog));
        datagram.push(b' ');
    }

    /// Sends one line, begun by [`Self::begin`]. Without a syslog daemon it is lost, as with `syslog(3)`.
    ///
    /// # Errors
    /// `WouldBlock` when the daemon takes no more.
    pub(crate) fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        for _ in 0..2 {
            if self.transport.is_none() {
                self.transport = connect(Path::new(SOCKET)).ok();
            }
            let Some(transport) = &mut self.transport else { break };
            match transport.send(datagram) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.transport = None,
                outcome => return outcome,
            }
        }
        Ok(())
    }

    /// A line for a signal handler.
    pub(crate) fn last_words(&self, level: u8, tag: &str, text: &str) -> Option<Line> {
        let copy = self.transport.as_ref().and_then(|transport| match transport {
            Transport::Datagram(socket) => sys::last_words::copy(socket).ok(),
            Transport::Stream(socket) => sys::last_words::copy(socket).ok(),
        });
        let end = if matches!(self.transport, Some(Transport::Stream(_))) { "\0" } else { "" };
        Some(Line {
            way: Way::Socket(copy, CString::new(SOCKET).ok()?),
            before: format!("<{}>", (self.facility.0 << 3) | level).into_bytes(),
            stamp: Some(StampStyle::Syslog),
            after: format!(" {tag}: {text}{end}").into_bytes(),
        })
    }
}

impl Transport {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagram(socket) => stall::send(socket, datagram),
            // A part of a line would spoil the next one.
            Self::Stream(socket) => match sys::poll::writable(&socket, Some(Duration::ZERO)) {
                Ok(true) => socket.write_all(&[datagram, b"\0"].concat()),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            },
        }
    }
}

fn connect(path: &Path) -> io::Result<Transport> {
    match sys::socket::connect_unix_datagram(path) {
        Ok(socket) => Ok(Transport::Datagram(socket)),
        // A stream socket refuses a datagram peer with EPROTOTYPE; some daemons listen on one.
        Err(_) => sys::socket::connect_unix(path, None).map(Transport::Stream),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facility_names() {
        assert_eq!("mail".parse(), Ok(Facility::MAIL));
        assert_eq!("local7".parse(), Ok(Facility(23)));
        assert_eq!("Mail".parse::<Facility>(), Err(()));
    }

    #[test]
    fn a_restarted_daemon_is_found_again() {
        let path = std::env::temp_dir().join(format!("maillog-syslog-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut transport = connect(&path).unwrap();
        transport.send(b"one").unwrap();
        let mut buffer = [0; 10];
        assert_eq!(daemon.recv(&mut buffer).unwrap(), 3);
        drop(daemon);
        assert!(transport.send(b"two").is_err());
        std::fs::remove_file(path).unwrap();
    }
}
