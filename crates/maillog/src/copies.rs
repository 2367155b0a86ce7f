//! Where the log goes in addition: copies of its lines, and its events (`maillog_copies`, `maillog_events`; not of Postfix).
//!
//! postlogd writes them, so that there is one writer, and one order for the log, its copies and its events. Nobody waits for
//! them: what a destination does not take at once is kept, up to [`KEPT_LIMIT`]; what is more is left out, and counted in a
//! line of its own once there is room again. A destination that cannot be opened is tried again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::file::inherited;
use crate::postlog::begin_record;

/// Bytes that wait for a destination.
const KEPT_LIMIT: usize = 1024 * 1024;
/// Before a destination is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// What is tried when lines wait and none follow.
const PAUSE: Duration = Duration::from_millis(100);
/// A pipe that is ready for writing takes so many bytes at once.
const AT_ONCE: usize = 4096;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The line as it is.
    Line,
    /// One JSON object a line (`logline`).
    Event,
}

/// Where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file, a named pipe, a device; `/dev/stdout` is what the mail system was started with.
    File(PathBuf),
    /// A socket that somebody listens on, for a stream or for datagrams.
    Socket(PathBuf),
}

/// One of `maillog_copies` and `maillog_events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// What.
    pub form: Form,
    /// Where.
    pub place: Place,
}

impl Destination {
    /// One word of such a parameter: `/PATH` or `unix:/PATH`.
    pub(crate) fn parse(form: Form, word: &str) -> Option<Self> {
        let place = match word.strip_prefix("unix:") {
            Some(path) => path.starts_with('/').then(|| Place::Socket(path.into()))?,
            None => word.starts_with('/').then(|| Place::File(word.into()))?,
        };
        Some(Self { form, place })
    }

    /// A plain file, or one that is not there yet.
    #[must_use]
    pub fn plain_file(&self) -> Option<&Path> {
        let Place::File(path) = &self.place else { return None };
        let is_plain = match path.metadata() {
            Ok(data) => data.is_file(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        is_plain.then_some(path)
    }

    /// Appends one record to a plain file, for a program that may write it while postlogd is away.
    pub(crate) fn append(&self, record: &[u8], permissions: u32) {
        let Some(path) = self.plain_file() else { return };
        let mut line = Vec::new();
        self.form.add(record, &mut line);
        // Who has no log to tell it to loses a copy, not the line.
        if let Ok((mut file, _)) = sys::file::open_to_append(path, permissions) {
            let _ = file.write_all(&line);
        }
    }
}

impl Form {
    /// Appends a record in this form, with its end.
    fn add(self, record: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Line => out.extend_from_slice(record),
            Self::Event => out.extend_from_slice(logline::event(record, SystemTime::now()).as_bytes()),
        }
        out.push(b'\n');
    }
}

/// The destinations as postlogd has them.
#[derive(Debug, Clone)]
pub struct Copies(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    all: Vec<Copy>,
    host: String,
    permissions: u32,
    /// A thread tries again.
    is_tried: bool,
}

#[derive(Debug)]
struct Copy {
    destination: Destination,
    open: Option<Open>,
    /// Lines, or the rest of one, with their ends.
    kept: Vec<u8>,
    missing: u64,
    tried: Option<Instant>,
    /// Why it could not be opened; and whether that has been told.
    failure: Option<(String, bool)>,
}

#[derive(Debug)]
enum Open {
    /// A file, or what else takes what it has room for.
    File(File),
    Stream(OwnedFd),
    Datagrams(OwnedFd),
    /// An inherited descriptor, whose mode is not ours to change.
    Inherited(File),
}

impl Copies {
    /// Opens them, with the privileges of now; nothing, when there are none.
    pub(crate) fn open(destinations: &[Destination], host: &str, permissions: u32) -> Option<Self> {
        let make = |destination: &Destination| Copy {
            destination: destination.clone(),
            open: None,
            kept: Vec::new(),
            missing: 0,
            tried: None,
            failure: None,
        };
        let mut all: Vec<Copy> = destinations.iter().map(make).collect();
        all.iter_mut().for_each(|copy| copy.reopen(permissions));
        let inner = Inner { all, host: crate::postlog::first_label(host), permissions, is_tried: false };
        (!destinations.is_empty()).then(|| Self(Arc::new(Mutex::new(inner))))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line, without its end, that [`Copies::write`] writes.
    pub fn gather(&self, record: &[u8]) {
        let mut inner = self.inner();
        let mut made = HashMap::new();
        for copy in &mut inner.all {
            let line = made.entry(copy.destination.form == Form::Event).or_insert_with(|| {
                let mut line = Vec::new();
                copy.destination.form.add(record, &mut line);
                line
            });
            copy.keep(line);
        }
    }

    /// Writes what destinations take.
    pub fn write(&self) {
        let mut inner = self.inner();
        let is_rest = inner.write();
        if is_rest && !inner.is_tried {
            inner.is_tried = true;
            let copies = self.clone();
            // Without the thread, the next line brings what is kept along.
            let started = std::thread::Builder::new().name("copies".into()).spawn(move || copies.try_again());
            inner.is_tried = started.is_ok();
        }
    }

    /// What went wrong since it was asked for last.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.inner().all.iter_mut().filter_map(Copy::complaint).collect()
    }

    fn try_again(&self) {
        loop {
            sys::process::sleep(PAUSE);
            let mut inner = self.inner();
            if !inner.write() {
                inner.is_tried = false;
                return;
            }
        }
    }
}

impl Inner {
    /// Whether something is left.
    fn write(&mut self) -> bool {
        let mut is_rest = false;
        for copy in &mut self.all {
            copy.write(self.permissions);
            if copy.missing > 0 && copy.kept.is_empty() {
                let mut record = Vec::new();
                begin_record(&self.host, &mut record);
                let (ident, id) = (crate::logger::ident_at_start(), sys::process::id());
                let missing = std::mem::take(&mut copy.missing);
                // Writing to memory cannot fail.
                let _ =
                    write!(record, "{ident}[{id}]: warning: {missing} lines before this are missing here");
                copy.destination.form.add(&record, &mut copy.kept);
                copy.write(self.permissions);
            }
            is_rest |= !copy.kept.is_empty();
        }
        is_rest
    }
}

impl Copy {
    fn keep(&mut self, line: &[u8]) {
        if self.missing == 0 && self.kept.len() + line.len() <= KEPT_LIMIT {
            self.kept.extend_from_slice(line);
        } else {
            self.missing += 1;
        }
    }

    fn write(&mut self, permissions: u32) {
        if self.open.is_none() && !self.kept.is_empty() {
            self.reopen(permissions);
        }
        let Some(open) = &mut self.open else { return };
        let mut done = 0;
        let failure = loop {
            let rest = self.kept.get(done..).unwrap_or_default();
            if rest.is_empty() {
                break None;
            }
            match open.write(rest) {
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        self.kept.drain(..done);
        if self.kept.is_empty() {
            self.kept.shrink_to(AT_ONCE);
        }
        match failure {
            None => self.failure = None,
            Some(error) if error.kind() == ErrorKind::WouldBlock => {}
            Some(error) => {
                self.fail(sys::error_text(&error));
                self.broken();
            }
        }
    }

    /// A socket's other end has gone, and has got a part of a line; a file keeps its place.
    fn broken(&mut self) {
        if !matches!(self.open, Some(Open::File(_))) {
            self.open = None;
        }
    }

    fn reopen(&mut self, permissions: u32) {
        if self.tried.is_some_and(|tried| tried.elapsed() < RETRY) {
            return;
        }
        self.tried = Some(Instant::now());
        match open(&self.destination.place, permissions) {
            Ok(open) => self.open = Some(open),
            Err(why) => self.fail(why),
        }
    }

    fn fail(&mut self, why: String) {
        if self.failure.is_none() {
            self.failure = Some((why, false));
        }
    }

    fn complaint(&mut self) -> Option<String> {
        let (why, is_told) = self.failure.as_mut()?;
        let (Place::File(path) | Place::Socket(path)) = &self.destination.place;
        (!std::mem::replace(is_told, true))
            .then(|| format!("copy of the log to {}: {why}; it is tried again", path.display()))
    }
}

fn open(place: &Place, permissions: u32) -> Result<Open, String> {
    let text = |error: io::Error| sys::error_text(&error);
    match place {
        Place::File(path) => match sys::file::open_to_append(path, permissions) {
            Ok((file, _)) => Ok(Open::File(file)),
            Err(error) => inherited(path).map(Open::Inherited).ok_or_else(|| error.to_string()),
        },
        Place::Socket(path) => match sys::socket::connect_unix_at_once(path) {
            Ok(stream) => Ok(Open::Stream(stream.into())),
            // `EPROTOTYPE`: it is one for datagrams.
            Err(error) => match sys::socket::connect_unix_datagram(path) {
                Ok(socket) => Ok(Open::Datagrams(socket.into())),
                Err(_) => Err(text(error)),
            },
        },
    }
}

impl Open {
    /// Writes some of these lines, without waiting.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(lines),
            Self::Stream(socket) => sys::socket::send(socket, lines),
            Self::Datagrams(socket) => {
                let end = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1);
                let line = &lines[..end];
                sys::socket::send(socket, line.strip_suffix(b"\n").unwrap_or(line)).map(|_| end)
            }
            Self::Inherited(file) => match sys::socket::send(&*file, lines) {
                Err(error) if error.kind() != ErrorKind::WouldBlock && !is_socket(file) => {
                    match sys::poll::writable(file.as_fd(), Some(Duration::ZERO))? {
                        true => file.write(&lines[..lines.len().min(AT_ONCE)]),
                        false => Err(ErrorKind::WouldBlock.into()),
                    }
                }
                sent => sent,
            },
        }
    }
}

fn is_socket(file: &File) -> bool {
    use std::os::unix::fs::FileTypeExt;
    file.metadata().is_ok_and(|data| data.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    const RECORD: &[u8] = b"Nov 30 15:00:00 mx postfix/smtpd[23]: connect from a[192.0.2.1]";

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("maillog-copies-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn destination(form: Form, word: &str, folder: &Path) -> Destination {
        Destination::parse(form, &word.replace('~', &folder.display().to_string())).unwrap()
    }

    #[test]
    fn words() {
        for word in ["relative", "unix:relative", "inet:a:1", "-", "", "unix:"] {
            assert_eq!(Destination::parse(Form::Line, word), None, "{word}");
        }
        let place = |word| Destination::parse(Form::Event, word).unwrap().place;
        assert_eq!(place("/a/b"), Place::File("/a/b".into()));
        assert_eq!(place("unix:/a/b"), Place::Socket("/a/b".into()));
    }

    #[test]
    fn each_destination_gets_all() {
        let folder = folder("all");
        let stream = UnixListener::bind(folder.join("stream")).unwrap();
        let datagrams = UnixDatagram::bind(folder.join("datagrams")).unwrap();
        let destinations = [
            destination(Form::Line, "~/lines", &folder),
            destination(Form::Event, "~/events", &folder),
            destination(Form::Line, "unix:~/stream", &folder),
            destination(Form::Event, "unix:~/datagrams", &folder),
            destination(Form::Line, "~/none/file", &folder),
        ];
        let copies = Copies::open(&destinations, "mx.example.com", 0o600).unwrap();
        copies.gather(RECORD);
        copies.write();
        let complaints = copies.complaints();
        assert!(complaints.len() == 1 && complaints[0].contains("none/file: "), "{complaints:?}");
        assert_eq!(copies.complaints(), [""; 0]);
        let line = [RECORD, b"\n"].concat();
        assert_eq!(std::fs::read(folder.join("lines")).unwrap(), line);
        let event = std::fs::read_to_string(folder.join("events")).unwrap();
        assert!(
            event.ends_with("}\n") && event.contains("\"fields\":{\"client\":\"a[192.0.2.1]\"}"),
            "{event}"
        );
        let mut got = vec![0; line.len()];
        stream.accept().unwrap().0.read_exact(&mut got).unwrap();
        assert_eq!(got, line);
        let mut got = [0; 4096];
        let count = datagrams.recv(&mut got).unwrap();
        assert_eq!(&got[..count], event.trim_end().as_bytes());
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// A reader that does not read holds nobody up; when it reads, it gets whole lines, and is told how many are missing.
    #[test]
    fn a_destination_that_stands_still() {
        let folder = folder("still");
        let listener = UnixListener::bind(folder.join("socket")).unwrap();
        let destinations = [destination(Form::Line, "unix:~/socket", &folder)];
        let copies = Copies::open(&destinations, "mx", 0o600).unwrap();
        let sent = 40_000;
        for _ in 0..sent {
            copies.gather(RECORD);
            copies.write();
        }
        let mut text = String::new();
        let (mut stream, _) = listener.accept().unwrap();
        let mut part = vec![0; 65_536];
        while !text.ends_with(" missing here\n") {
            let count = stream.read(&mut part).unwrap();
            assert!(count > 0);
            text.push_str(std::str::from_utf8(&part[..count]).unwrap());
        }
        let mut lines: Vec<&str> = text.lines().collect();
        let told = lines.pop().unwrap().split("warning: ").nth(1).unwrap();
        let missing: usize = told.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(lines.len() + missing, sent);
        assert!(missing > 0 && lines.iter().all(|line| line.as_bytes() == RECORD));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
