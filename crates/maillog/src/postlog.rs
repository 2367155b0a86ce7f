//! The client of postlogd: one datagram a line (spec master 4.3, ipc 19).

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use sys::last_words::{Line, Way};
use sys::time::StampStyle;

use crate::copies::Destination;
use crate::file::{LogFile, LogFileError};

/// Where a program that may do so writes the line itself when postlogd cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fallback {
    /// `maillog_file`; without one, the line goes to syslog.
    pub(crate) path: Option<PathBuf>,
    pub(crate) permissions: u32,
    /// Copies of it.
    pub(crate) destinations: Vec<Destination>,
}

/// A connection to postlogd's socket.
pub(crate) struct Postlog {
    path: PathBuf,
    host: String,
    fallback: Option<Fallback>,
    socket: Option<Arc<UnixDatagram>>,
}

impl Postlog {
    /// Connects now, so that a later chroot does no harm; a failure is tried again with each line.
    pub(crate) fn open(path: PathBuf, host: &str, fallback: Option<Fallback>) -> Self {
        let socket = sys::socket::connect_unix_datagram(&path).ok().map(Arc::new);
        Self { path, host: first_label(host), fallback, socket }
    }

    /// As [`Postlog::open`]; the fallback is only looked for when there is no connection.
    pub(crate) fn open_early(path: PathBuf, host: &str, fallback: impl FnOnce() -> Option<Fallback>) -> Self {
        let mut postlog = Self::open(path, host, None);
        if postlog.socket.is_none() {
            postlog.fallback = fallback();
        }
        postlog
    }

    /// The host name in each line.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The connection, if there is one or can be made. A line that it does not take is lost.
    pub(crate) fn socket(&mut self) -> Option<Arc<UnixDatagram>> {
        if self.socket.is_none() {
            self.socket = sys::socket::connect_unix_datagram(&self.path).ok().map(Arc::new);
        }
        self.socket.clone()
    }

    /// Forgets a connection whose other end has gone.
    pub(crate) fn disconnect(&mut self) {
        self.socket = None;
    }

    /// Appends one line, begun by [`begin_record`], to the file where this program may do that; false when it may not.
    ///
    /// # Errors
    /// [`LogFileError`].
    pub(crate) fn append(&self, record: &[u8]) -> Result<bool, LogFileError> {
        let Some(file) = &self.fallback else { return Ok(false) };
        if let Some(path) = &file.path {
            LogFile::open(path, file.permissions)?.append(record)?;
        }
        file.destinations.iter().for_each(|destination| destination.append(record, file.permissions));
        Ok(file.path.is_some())
    }

    /// Whether [`Self::append`] cannot make this program wait: no pipe, no terminal.
    pub(crate) fn has_plain_file(&self) -> bool {
        let path = self.fallback.as_ref().and_then(|file| file.path.as_ref());
        path.is_some_and(|path| match path.metadata() {
            Ok(data) => data.is_file(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        })
    }

    /// A line for a signal handler. The fallback is not for it.
    pub(crate) fn last_words(&self, tag: &str, text: &str) -> Option<Line> {
        let copy = self.socket.as_ref().and_then(|socket| sys::last_words::copy(socket).ok());
        Some(Line {
            way: Way::Socket(copy, CString::new(self.path.as_os_str().as_bytes()).ok()?),
            before: Vec::new(),
            stamp: Some(StampStyle::Log),
            after: format!(" {} {tag}: {text}", self.host).into_bytes(),
        })
    }
}

/// `Mon DD HH:MM:SS HOST `, which `IDENT[PID]: TEXT` follows, without a line end.
pub(crate) fn begin_record(host: &str, record: &mut Vec<u8>) {
    record.extend_from_slice(&sys::time::stamp_of(SystemTime::now(), StampStyle::Log));
    record.push(b' ');
    record.extend_from_slice(host.as_bytes());
    record.push(b' ');
}

/// The host name up to its first dot.
pub(crate) fn first_label(host: &str) -> String {
    host.split('.').next().unwrap_or(host).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_datagram() {
        let path = std::env::temp_dir().join(format!("maillog-postlog-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut client = Postlog::open(path.clone(), "spec.example.com", None);
        let mut record = Vec::new();
        begin_record(client.host(), &mut record);
        record.extend_from_slice(b"postfix/postmap[23239]: fatal: open /nonexistent: No such file");
        client.socket().unwrap().send(&record).unwrap();
        let mut buffer = [0; 4096];
        let got = daemon.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..got]).unwrap();
        let (stamp, rest) = text.split_at(16);
        assert_eq!(stamp.len(), "Nov 22 06:14:14 ".len());
        assert_eq!(rest, "spec postfix/postmap[23239]: fatal: open /nonexistent: No such file");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn without_a_socket_the_fallback_takes_the_line() {
        let dir = std::env::temp_dir().join(format!("maillog-fallback-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("log");
        let fallback = Fallback { path: Some(file.clone()), permissions: 0o600, destinations: Vec::new() };
        let mut client = Postlog::open(dir.join("none"), "h", Some(fallback));
        assert!(
            client.socket().is_none() && client.append(b"a/b[1]: text").unwrap() && client.has_plain_file()
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a/b[1]: text\n");
        let fallback =
            Fallback { path: Some(dir.join("no/log")), permissions: 0o600, destinations: Vec::new() };
        let client = Postlog::open(dir.join("none"), "h", Some(fallback));
        let error = client.append(b"a/b[1]: text").unwrap_err().to_string();
        assert!(
            error.ends_with("no/log': cannot create file exclusively: No such file or directory"),
            "{error}"
        );
        std::fs::remove_dir_all(dir).unwrap();
    }
}
