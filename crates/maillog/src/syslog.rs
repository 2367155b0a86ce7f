//! The local syslog socket.
//!
//! Facilities, severities and the logger are the `syslog` crate's; its traits take what is our own, the format and the
//! transport. The format: what glibc's `syslog(3)` sends, byte for byte: `<PRI>Mon DD HH:MM:SS IDENT[PID]: TEXT` in one
//! datagram, day padded with a blank; on a stream socket followed by a NUL. The crate's formats always have a pid in
//! brackets (postlogd must leave it out) and ask for the local time in a way that fails once there are threads. The
//! transport: the crate's does not connect again after the syslog daemon was restarted, and waits for one that stands
//! still.

use std::ffi::CString;
use std::io::{self, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use sys::last_words::{Line, Way};
use sys::time::StampStyle;
use syslog::{Facility as Code, LogFormat, Logger, Severity as Level};

use crate::line::{KEPT_LENGTH, Severity};
use crate::stall;

const SOCKET: &str = "/dev/log";

/// A syslog facility.
#[derive(Debug, Clone, Copy)]
pub struct Facility(Code);

impl Facility {
    /// `mail`, which holds until main.cf is read.
    pub const MAIL: Self = Self(Code::LOG_MAIL);

    /// `<PRI>` of a line.
    fn priority(self, level: Level) -> u32 {
        self.0 as u32 | level as u32
    }
}

impl FromStr for Facility {
    type Err = ();

    /// A name as `syslog_facility` takes it.
    ///
    /// # Errors
    /// The crate knows more: names in upper case, with `LOG_` in front, and four that the C library has no name for.
    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            // The name of old.
            "security" => Ok(Self(Code::LOG_AUTH)),
            "ntp" | "audit" | "alert" | "clock_daemon" => Err(()),
            _ if name.starts_with("log_") || name.bytes().any(|byte| byte.is_ascii_uppercase()) => Err(()),
            _ => name.parse().map(Self),
        }
    }
}

/// A connection to the syslog daemon, renewed when the daemon was restarted.
pub(crate) struct Syslog(Logger<Connection, Format>);

/// Our format.
struct Format {
    facility: Facility,
}

/// Our transport: what is written goes out as one line at [`Write::flush`].
struct Connection {
    socket: Option<Socket>,
    line: Vec<u8>,
}

enum Socket {
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

impl Syslog {
    /// Connects now, so that a later chroot does no harm; a failure is tried again with each line.
    pub(crate) fn open(facility: Facility) -> Self {
        let connection = Connection { socket: connect(Path::new(SOCKET)).ok(), line: Vec::new() };
        Self(Logger::new(connection, Format { facility }))
    }

    /// Sends `IDENT[PID]: TEXT`. Without a syslog daemon it is lost, as with `syslog(3)`.
    ///
    /// # Errors
    /// `WouldBlock` when the daemon takes no more.
    pub(crate) fn send(&mut self, severity: Severity, line: &[u8]) -> io::Result<()> {
        let sent = match severity {
            Severity::Info => self.0.info(line),
            Severity::Warning => self.0.warning(line),
            Severity::Error => self.0.err(line),
            Severity::Fatal | Severity::Panic => self.0.crit(line),
        };
        sent.map_err(|error| match error {
            syslog::Error::Write(error) | syslog::Error::Io(error) => error,
            error @ syslog::Error::Initialization(_) => io::Error::other(error),
        })
    }

    /// A fatal line for a signal handler.
    pub(crate) fn last_words(&self, tag: &str, text: &str) -> Option<Line> {
        let socket = &self.0.backend.socket;
        let copy = socket.as_ref().and_then(|socket| match socket {
            Socket::Datagram(socket) => sys::last_words::copy(socket).ok(),
            Socket::Stream(socket) => sys::last_words::copy(socket).ok(),
        });
        let end = if matches!(socket, Some(Socket::Stream(_))) { "\0" } else { "" };
        let priority = self.0.formatter.facility.priority(Level::LOG_CRIT);
        Some(Line {
            way: Way::Socket(copy, CString::new(SOCKET).ok()?),
            before: format!("<{priority}>").into_bytes(),
            stamp: Some(StampStyle::Syslog),
            after: format!(" {tag}: {text}{end}").into_bytes(),
        })
    }
}

impl LogFormat<&[u8]> for Format {
    fn format<W: Write>(&self, out: &mut W, level: Level, line: &[u8]) -> syslog::Result<()> {
        write!(out, "<{}>", self.facility.priority(level))?;
        out.write_all(&sys::time::stamp_of(SystemTime::now(), StampStyle::Syslog))?;
        out.write_all(b" ")?;
        out.write_all(line)?;
        Ok(out.flush()?)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let sent = self.send();
        self.line.clear();
        self.line.shrink_to(KEPT_LENGTH);
        sent
    }
}

impl Connection {
    fn send(&mut self) -> io::Result<()> {
        for _ in 0..2 {
            if self.socket.is_none() {
                self.socket = connect(Path::new(SOCKET)).ok();
            }
            let Some(socket) = &mut self.socket else { break };
            match socket.send(&self.line) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.socket = None,
                outcome => return outcome,
            }
        }
        Ok(())
    }
}

impl Socket {
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

fn connect(path: &Path) -> io::Result<Socket> {
    match sys::socket::connect_unix_datagram(path) {
        Ok(socket) => Ok(Socket::Datagram(socket)),
        // A stream socket refuses a datagram peer with EPROTOTYPE; some daemons listen on one.
        Err(_) => sys::socket::connect_unix(path, None).map(Socket::Stream),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facility_names() {
        let priority = |name: &str| name.parse().map(|facility: Facility| facility.priority(Level::LOG_INFO));
        let known = [
            ("kern", 0),
            ("user", 1),
            ("mail", 2),
            ("daemon", 3),
            ("auth", 4),
            ("security", 4),
            ("syslog", 5),
            ("lpr", 6),
            ("news", 7),
            ("uucp", 8),
            ("cron", 9),
            ("authpriv", 10),
            ("ftp", 11),
            ("local0", 16),
            ("local7", 23),
        ];
        for (name, code) in known {
            assert_eq!(priority(name), Ok(code << 3 | 6), "{name}");
        }
        for name in ["", "Mail", "LOG_MAIL", "log_mail", "ntp", "audit", "alert", "clock_daemon", "local8"] {
            assert_eq!(priority(name), Err(()), "{name}");
        }
    }

    #[test]
    fn lines_through_the_crates_logger() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let connection = Connection { socket: Some(Socket::Datagram(ours)), line: Vec::new() };
        let mut syslog = Syslog(Logger::new(connection, Format { facility: Facility::MAIL }));
        let severities = [
            (Severity::Info, 22),
            (Severity::Warning, 20),
            (Severity::Error, 19),
            (Severity::Fatal, 18),
            (Severity::Panic, 18),
        ];
        let mut buffer = [0; 100];
        for (severity, priority) in severities {
            syslog.send(severity, b"postfix/smtpd[1]: \xc3\xa4").unwrap();
            let count = theirs.recv(&mut buffer).unwrap();
            let text = &buffer[..count];
            assert!(text.starts_with(format!("<{priority}>").as_bytes()), "{}", text.escape_ascii());
            // `Mon DD HH:MM:SS`
            let (_, rest) = text.split_at(format!("<{priority}>").len() + 15);
            assert_eq!(rest, b" postfix/smtpd[1]: \xc3\xa4");
        }
    }

    #[test]
    fn a_restarted_daemon_is_found_again() {
        let path = std::env::temp_dir().join(format!("maillog-syslog-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut socket = connect(&path).unwrap();
        socket.send(b"one").unwrap();
        let mut buffer = [0; 10];
        assert_eq!(daemon.recv(&mut buffer).unwrap(), 3);
        drop(daemon);
        assert!(socket.send(b"two").is_err());
        std::fs::remove_file(path).unwrap();
    }
}
