//! The log of an instance, of which each look reads only what is new.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log::LogLine;

/// The file.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    seen: Mutex<Seen>,
}

/// What has been read of it.
#[derive(Debug, Default)]
struct Seen {
    /// Which file it was: one that was rotated is another one.
    inode: u64,
    /// Its bytes, in whole lines.
    offset: u64,
    /// Its lines, without those about the machine's clock.
    text: String,
    lines: Vec<LogLine>,
}

impl LogFile {
    /// A file that may not be there yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, seen: Mutex::default() }
    }

    /// The log as it stands.
    pub(crate) fn text(&self) -> String {
        self.look().text.clone()
    }

    /// Its lines as they stand.
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        self.look().lines.clone()
    }

    /// The text of the first line with this part.
    pub(crate) fn find(&self, part: &str) -> Option<String> {
        self.look().lines.iter().find(|line| line.text.contains(part)).map(|line| line.text.clone())
    }

    fn look(&self) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let file = File::open(&self.path);
        let Some((mut file, data)) = file.ok().and_then(|file| file.metadata().ok().map(|data| (file, data)))
        else {
            *seen = Seen::default();
            return seen;
        };
        if data.ino() != seen.inode || data.len() < seen.offset {
            *seen = Seen { inode: data.ino(), ..Seen::default() };
        }
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(seen.offset)).is_ok() && file.read_to_end(&mut bytes).is_ok() {
            seen.add(&bytes);
        }
        seen
    }
}

impl Seen {
    fn add(&mut self, bytes: &[u8]) {
        // A line that is being written is not there yet.
        let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        self.offset += end as u64;
        let text = String::from_utf8_lossy(&bytes[..end]);
        for line in text.split_inclusive('\n').filter(|line| !is_of_the_clock(line)) {
            self.text.push_str(line);
            self.lines.extend(line.lines().filter_map(LogLine::parse));
        }
    }
}

/// Since Linux 6.13 the times of files are finer than those of `time(2)`, which Postfix compares them with: up to a tick
/// behind a full second its cleanup thinks that the file system is a second ahead. That is nothing that a test is about.
fn is_of_the_clock(line: &str) -> bool {
    line.trim_end().ends_with("warning: file system clock is 1 seconds ahead of local clock")
        || line.trim_end().ends_with("warning: resetting file time stamps - this hurts performance")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_new_and_what_was_rotated() {
        let path = std::env::temp_dir().join(format!("conformance-log-{}", std::process::id()));
        let line = |number: u32| format!("Nov 22 06:14:14 mx postfix/smtpd[{number}]: connect from a\n");
        let _ = fs::remove_file(&path);
        let log = LogFile::new(path.clone());
        assert_eq!((log.text(), log.lines().len(), log.find("connect")), (String::new(), 0, None));
        fs::write(&path, line(1) + "Nov 22").unwrap();
        assert_eq!((log.text(), log.lines().len()), (line(1), 1));
        fs::write(&path, line(1) + &line(2)).unwrap();
        assert_eq!((log.text(), log.lines()[1].pid), (line(1) + &line(2), 2));
        assert_eq!(log.find("from a").as_deref(), Some("connect from a"));
        let rotated = path.with_extension("1");
        fs::rename(&path, &rotated).unwrap();
        fs::write(&path, line(3)).unwrap();
        assert_eq!((log.text(), log.lines()[0].pid), (line(3), 3));
        fs::write(&path, "").unwrap();
        assert_eq!(log.text(), "");
        fs::remove_file(&path).unwrap();
        fs::remove_file(&rotated).unwrap();
    }
}
