//! `maillog_file` opened and appended to: by postlogd, and by the programs that may when postlogd is away.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::line::KEPT_LENGTH;

/// Why a log file could not be opened or written; the text is Postfix's.
#[derive(Debug, thiserror::Error)]
pub enum LogFileError {
    /// It was not opened.
    #[error("open logfile '{}': {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sys::file::OpenError,
    },
    /// A line was not written.
    #[error("logfile '{}' write error: {}", path.display(), sys::error_text(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Lines are written before there are more bytes than this.
const GATHERED: usize = 32 * 1024;

/// An open log file; each line, or a group of whole lines, is one write to its end.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    path: PathBuf,
    /// Lines to be written, with their ends; the room is kept.
    whole: Vec<u8>,
}

impl LogFile {
    /// Opens or creates the file with these permissions (umask applies).
    ///
    /// # Errors
    /// [`LogFileError::Open`].
    pub fn open(path: &Path, permissions: u32) -> Result<Self, LogFileError> {
        let mut options = OpenOptions::new();
        options.append(true).mode(permissions);
        let opened = sys::file::open_or_create(path, &options, permissions);
        let opened = opened.or_else(|source| inherited(path).ok_or(source));
        opened
            .map(|file| Self { file, path: path.to_path_buf(), whole: Vec::new() })
            .map_err(|source| LogFileError::Open { path: path.to_path_buf(), source })
    }

    /// Appends a line; the line end is added here.
    ///
    /// # Errors
    /// [`LogFileError::Write`].
    pub fn append(&mut self, line: &[u8]) -> Result<(), LogFileError> {
        self.gather(line)?;
        self.write()
    }

    /// Takes a line that [`LogFile::write`] appends with others.
    ///
    /// # Errors
    /// [`LogFileError::Write`], when there is no room for it before others are written.
    pub fn gather(&mut self, line: &[u8]) -> Result<(), LogFileError> {
        if self.whole.len() + line.len() >= GATHERED {
            self.write()?;
        }
        self.whole.extend_from_slice(line);
        self.whole.push(b'\n');
        Ok(())
    }

    /// Appends the lines that were gathered.
    ///
    /// # Errors
    /// [`LogFileError::Write`].
    pub fn write(&mut self) -> Result<(), LogFileError> {
        let outcome = self.file.write_all(&self.whole);
        self.whole.clear();
        self.whole.shrink_to(KEPT_LENGTH);
        outcome.map_err(|source| LogFileError::Write { path: self.path.clone(), source })
    }

    /// A second handle on the same open file.
    ///
    /// # Errors
    /// What `dup` says.
    pub fn duplicate(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, path: self.path.clone(), whole: Vec::new() })
    }

    /// A second descriptor of the same open file.
    pub(crate) fn copy(&self) -> io::Result<OwnedFd> {
        sys::last_words::copy(&self.file)
    }
}

/// Standard output itself, where its name cannot be opened: that of a socket, as under systemd, and of a pipe that another
/// user has made, as in a container. Postfix gives up there.
pub(crate) fn inherited(path: &Path) -> Option<File> {
    let is_it = path == Path::new("/dev/stdout");
    is_it.then(|| std::io::stdout().as_fd().try_clone_to_owned().ok()).flatten().map(File::from)
}
