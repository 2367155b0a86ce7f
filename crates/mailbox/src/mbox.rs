//! Mailbox files: one message behind the other (spec local-delivery 10).
//!
//! ```text
//! Mbox::open    lock file, open, locks of the file       -> Target
//! Target::append  copy, sync; cut back on any error
//! drop          file closed, then the lock file removed
//! ```

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use delivery::{CopyError, Delivery, Form, Ids};
use sys::file::OpenError;

use crate::failure::Failure;
use crate::locking::{DotlockFile, Locking};

/// What is written at once.
const BUFFER: usize = 32 * 1024;

/// What becomes of a mailbox beside which no lock file can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dotlock {
    /// It is not delivered to.
    Must,
    /// It is delivered to, after a warning; but not while somebody else has the lock file.
    May,
}

/// A mailbox file that is to be opened.
#[derive(Debug, Clone, Copy)]
pub struct Mbox<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// Its locks.
    pub locking: &'a Locking,
    /// How much the lock file matters.
    pub dotlock: Dotlock,
    /// Whom a new file is given to, if not to who makes it.
    pub new_owner: Option<Ids>,
    /// The code of an error that says nothing of itself.
    pub code: &'static str,
}

/// A mailbox file, open and locked.
#[derive(Debug)]
pub struct Target {
    // Closed before the lock file goes.
    file: File,
    metadata: Metadata,
    is_new: bool,
    _dotlock: Option<DotlockFile>,
}

impl Mbox<'_> {
    /// Locks and opens it; it is made when it is not there.
    ///
    /// # Errors
    /// It cannot be opened or locked, or somebody tries to lead us astray.
    pub fn open(&self) -> Result<Target, Failure> {
        let dotlock = self.make_dotlock()?;
        let (file, is_new) =
            sys::file::open_to_append(self.path, 0o600).map_err(|error| self.refused(&error))?;
        if is_new && let Some(owner) = self.new_owner {
            self.give_to(&file, owner);
        }
        let opened = self.status(&file)?;
        if opened.is_file() {
            self.locking.lock(&file).map_err(|error| {
                let text = format!("unable to lock for exclusive access: {}", sys::error_text(&error));
                Failure::of_file(&error, self.code, text)
            })?;
        }
        let metadata = self.status(&file)?;
        // Whoever had the lock before may have removed it.
        if metadata.nlink() != 1 {
            log::warn!("{}: file status changed unexpectedly", self.shown_path());
            return Err(Failure::refusal("4.2.0", "target file status changed unexpectedly"));
        }
        Ok(Target { file, metadata, is_new, _dotlock: dotlock })
    }

    fn make_dotlock(&self) -> Result<Option<DotlockFile>, Failure> {
        if !self.locking.has_dotlock() || fs::metadata(self.path).is_ok_and(|found| !found.is_file()) {
            return Ok(None);
        }
        let error = match self.locking.make_dotlock(self.path) {
            Ok(made) => return Ok(Some(made)),
            Err(error) => error,
        };
        let why = sys::error_text(&error);
        let is_held = error.kind() == io::ErrorKind::AlreadyExists;
        let text = [b"unable to create lock file ", self.bytes(), b".lock: ", why.as_bytes()].concat();
        if is_held {
            return Err(Failure::of_file(&error, "4.2.0", text));
        }
        match self.dotlock {
            Dotlock::Must => Err(Failure::of_file(&error, self.code, text)),
            Dotlock::May => {
                log::warn!("{}", text.escape_ascii());
                Ok(None)
            }
        }
    }

    fn refused(&self, error: &OpenError) -> Failure {
        match error.io() {
            Some(cause) => Failure::of_file(cause, self.code, error.to_string()),
            None => Failure::refusal(self.code, error.to_string()),
        }
    }

    fn status(&self, file: &File) -> Result<Metadata, Failure> {
        file.metadata().map_err(|error| {
            Failure::of_file(&error, self.code, format!("cannot fstat file: {}", sys::error_text(&error)))
        })
    }

    fn give_to(&self, file: &File, owner: Ids) {
        if let Err(error) =
            std::os::unix::fs::fchown(file, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))
        {
            let path = self.shown_path();
            log::warn!("{path}: cannot change file ownership: {}", sys::error_text(&error));
        }
    }

    fn bytes(&self) -> &[u8] {
        self.path.as_os_str().as_bytes()
    }

    fn shown_path(&self) -> impl std::fmt::Display {
        self.bytes().escape_ascii()
    }
}

impl Target {
    /// What it is and whose it is.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Writes the message behind what is there, to the disk. Returns where it begins.
    ///
    /// # Errors
    /// It cannot be copied; a regular file is then as it was.
    pub fn append(&mut self, delivery: &Delivery<'_>, form: &Form<'_>, path: &Path) -> Result<u64, Failure> {
        let is_file = self.metadata.is_file();
        let before = if is_file { self.file.seek(SeekFrom::End(0)).map_err(CopyError::Write)? } else { 0 };
        let mut output = BufWriter::with_capacity(BUFFER, &self.file);
        let copied = delivery.copy(form, &mut output);
        // What is left of a failed copy must not be written when the buffer goes.
        let (_, _) = output.into_parts();
        let result = copied.and_then(|()| if is_file { self.sync(path) } else { Ok(()) });
        if result.is_err() && is_file {
            // Where that fails, too, there is nothing more to be done.
            let _ = self.file.set_len(before);
        }
        result.map(|()| before).map_err(Failure::from)
    }

    fn sync(&self, path: &Path) -> Result<(), CopyError> {
        self.file.sync_all().map_err(CopyError::Write)?;
        if self.is_new {
            sync_directory(path.parent()).map_err(CopyError::Write)?;
        }
        Ok(())
    }
}

/// Makes the names in a directory as lasting as the files. One that cannot be opened for reading is left to the system.
pub(crate) fn sync_directory(directory: Option<&Path>) -> io::Result<()> {
    match directory.map(File::open) {
        Some(Ok(directory)) => directory.sync_all(),
        _ => Ok(()),
    }
}
