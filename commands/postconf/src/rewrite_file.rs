//! A file is changed by way of a copy: written beside it, made safe, renamed over it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sys::flock::{Mode, Wait, lock};

use crate::Stop;

/// Configuration files are for everyone to read.
const MODE: u32 = 0o644;

/// The longest line that is copied.
const LONGEST: u64 = 1 << 24;

/// A file that is being replaced.
pub(crate) struct Rewrite {
    path: PathBuf,
    temporary: PathBuf,
    reader: BufReader<File>,
    writer: BufWriter<File>,
}

impl Rewrite {
    /// Opens a file and its copy. Two commands at a time would undo each other's work, so the copy is
    /// locked.
    ///
    /// # Errors
    /// When a file cannot be opened or locked.
    pub(crate) fn open(path: &Path) -> Result<Self, Stop> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let copy = locked_copy(&temporary)?;
        let reset = copy.set_len(0).and_then(|()| copy.set_permissions(PermissionsExt::from_mode(MODE)));
        reset.map_err(|error| failed("truncate", &temporary, &error))?;
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => {
                let _ = std::fs::remove_file(&temporary);
                let path = path.display();
                return Err(Stop::fatal(format!("open {path} for reading: {}", sys::error_text(&error))));
            }
        };
        let (reader, writer) = (BufReader::new(file), BufWriter::new(copy));
        Ok(Self { path: path.to_owned(), temporary, reader, writer })
    }

    /// The file that is rewritten.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next physical line, with its line end; a last line without one is given one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn line(&mut self) -> Result<Option<Vec<u8>>, Stop> {
        let mut line = Vec::new();
        let mut bounded = std::io::Read::take(&mut self.reader, LONGEST);
        let read =
            bounded.read_until(b'\n', &mut line).map_err(|error| failed("read", &self.path, &error))?;
        if read == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            if line.len() as u64 == LONGEST {
                return Err(Stop::fatal(format!("{}: line is too long", self.path.display())));
            }
            line.push(b'\n');
        }
        Ok(Some(line))
    }

    /// Writes to the copy.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&mut self, text: &[u8]) -> Result<(), Stop> {
        self.writer.write_all(text).map_err(|error| failed("write", &self.temporary, &error))
    }

    /// Puts the copy in the file's place.
    ///
    /// # Errors
    /// When it cannot be made safe or renamed.
    pub(crate) fn finish(mut self) -> Result<(), Stop> {
        let written = self.writer.flush().and_then(|()| self.writer.get_ref().sync_all());
        written.map_err(|error| failed("write", &self.temporary, &error))?;
        std::fs::rename(&self.temporary, &self.path)
            .map_err(|error| failed("rename", &self.temporary, &error))
    }
}

/// Who had the lock before may have renamed the file that was waited for: then it is main.cf itself
/// now, and not to be written to.
fn locked_copy(path: &Path) -> Result<File, Stop> {
    loop {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(path);
        let file = file.map_err(|error| failed("open", path, &error))?;
        lock(&file, Mode::Exclusive, Wait::Forever).map_err(|error| failed("lock", path, &error))?;
        let ours = file.metadata().map_err(|error| failed("fstat", path, &error))?;
        match path.metadata() {
            Ok(there) if there.dev() == ours.dev() && there.ino() == ours.ino() => return Ok(file),
            _ => {}
        }
    }
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Stop {
    Stop::fatal(format!("{what} {}: {}", path.display(), sys::error_text(error)))
}
