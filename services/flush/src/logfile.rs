//! The logs of sites: `flush/SITE`, a queue ID a line, appended to and emptied under an exclusive lock.
//!
//! The name is the site in lower case, with `_` for each byte that is neither letter nor digit; the directory may be
//! hashed. What is in a log need not be in the queue any more, nor only for that site.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipc::flush::Status;
use queue::{QueueDirectory, QueueId, QueueName};
use sys::error_text;
use sys::flock::{Guard, Mode, Wait};

use crate::schedule::{Dead, Schedule, Urgency, touch};

/// Longest line that is read at once; a queue ID is shorter.
const LINE_LIMIT: u64 = 256;
/// How much of a bad line is shown.
const SHOWN: usize = 30;
/// The directory is not nested deeper than names are long.
const DEPTH_LIMIT: usize = 255;

/// The name of a site's log.
pub fn name(site: &[u8]) -> String {
    let plain = |byte: &u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte.to_ascii_lowercase()) } else { '_' }
    };
    site.iter().map(plain).collect()
}

/// All logs.
#[derive(Debug)]
pub(crate) struct Logs {
    directory: QueueDirectory,
}

impl Logs {
    /// The logs of this queue directory.
    pub(crate) fn new(directory: QueueDirectory) -> Self {
        Self { directory }
    }

    fn relative_path(&self, name: &str) -> PathBuf {
        self.directory.hashing().path_by_name(QueueName::Flush, name)
    }

    /// Appends a message.
    pub(crate) fn add(&self, name: &str, id: &QueueId) -> Status {
        match self.append(name, id) {
            Ok(()) => Status::Ok,
            Err(error) => {
                log::warn!("append to fast flush logfile {name}: {}", error_text(&error));
                Status::Fail
            }
        }
    }

    fn append(&self, name: &str, id: &QueueId) -> io::Result<()> {
        let relative = self.relative_path(name);
        let path = self.directory.resolve(&relative);
        let options = OpenOptions::new().append(true).create(true).mode(0o600).clone();
        let file = match options.open(&path) {
            Err(error)
                if error.kind() == ErrorKind::NotFound && self.directory.make_parents(&relative)? =>
            {
                options.open(&path)?
            }
            other => other?,
        };
        let lock = locked(file)?;
        // One write: a reader that looks in between sees whole lines.
        lock.file().write_all(format!("{id}\n").as_bytes())
    }

    /// Schedules every message of a log, and empties it. No log is no message.
    pub(crate) fn send(&self, name: &str, schedule: &Schedule, dead: Dead) -> Status {
        let relative = self.relative_path(name);
        let path = self.directory.resolve(&relative);
        match send_path(&path, name, schedule, dead) {
            Ok(()) => Status::Ok,
            Err(error) if error.kind() == ErrorKind::NotFound => Status::Ok,
            Err(error) => {
                log::warn!("fast flush logfile {name}: {}", error_text(&error));
                Status::Fail
            }
        }
    }

    /// Sends logs that have not been read for so long; removes empty ones that nothing was added to for so long.
    pub(crate) fn refresh(&self, unread_for: Duration, unchanged_for: Duration, schedule: &Schedule) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let older = |stamp: i64, span: Duration| {
            u64::try_from(stamp).unwrap_or(0).saturating_add(span.as_secs()) < now
        };
        self.each(&PathBuf::from(QueueName::Flush.as_str()), 0, &mut |path, name, metadata| {
            let outcome = if metadata.size() > 0 {
                if !older(metadata.atime(), unread_for) {
                    return;
                }
                send_path(path, name, schedule, Dead::Leave)
            } else {
                if !older(metadata.mtime(), unchanged_for) {
                    return;
                }
                fs::remove_file(path)
            };
            match outcome {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    log::warn!("fast flush logfile {name}: {}", error_text(&error));
                }
                _ => {}
            }
        });
    }

    /// Visits each log; a name of one character may be a directory of the hashing.
    fn each(&self, relative: &Path, depth: usize, visit: &mut dyn FnMut(&Path, &str, &fs::Metadata)) {
        let entries = match fs::read_dir(self.directory.resolve(relative)) {
            Ok(entries) if depth <= DEPTH_LIMIT => entries,
            Ok(_) => return,
            Err(error) => {
                log::warn!("open directory {}: {}", relative.display(), error_text(&error));
                return;
            }
        };
        for entry in entries.flatten() {
            let file_name = entry.file_name();
            let Some(name) = file_name.to_str().filter(|name| is_name(name)) else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() && name.len() == 1 => {
                    self.each(&relative.join(name), depth + 1, visit);
                }
                Ok(metadata) if metadata.is_file() => visit(&entry.path(), name, &metadata),
                _ => {}
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn locked(file: File) -> io::Result<Guard<File>> {
    Guard::new(file, Mode::Exclusive, Wait::Forever)?.ok_or_else(|| ErrorKind::WouldBlock.into())
}

/// Schedules the messages of the log at `path`. The log stays locked meanwhile, so that none is added unseen.
fn send_path(path: &Path, name: &str, schedule: &Schedule, dead: Dead) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let lock = locked(file)?;
    if dead == Dead::Revive {
        schedule.revive();
    }
    let mut input = BufReader::new(lock.file());
    let mut line = Vec::new();
    let mut count = 0u64;
    loop {
        line.clear();
        if input.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        count += 1;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        match QueueId::parse(text) {
            // One that is not there has been delivered, or is being delivered.
            Ok(id) => {
                schedule.message(&id, Urgency::AsItIs);
            }
            Err(_) => {
                let start = maillog::shown(&text[..text.len().min(SHOWN)]);
                log::warn!("bad queue id \"{start}...\" in fast flush logfile {name}");
            }
        }
    }
    if count > 0 {
        lock.file().set_len(0)?;
    }
    touch(lock.file())?;
    drop(lock);
    if count > 0 {
        schedule.scan_incoming();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names() {
        for (site, expected) in [
            ("Relay.Test", "relay_test"),
            ("[192.0.2.1]", "_192_0_2_1_"),
            ("../../etc/passwd", "______etc_passwd"),
            ("b\u{fc}cher.example", "b__cher_example"),
        ] {
            assert_eq!(name(site.as_bytes()), expected);
        }
    }
}
