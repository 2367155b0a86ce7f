//! Bytes waiting for the filter: in memory up to a bound, beyond it in a file without a name.
//!
//! The file is created in the queue's own file system, whose free space was checked at MAIL, and unlinked at once: a
//! process that dies leaves nothing behind. It is no queue file and promises nothing, so it is never synced.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes kept in memory before they go to the file.
const MEMORY_LIMIT: usize = 64 * 1024;

/// A store that is written once, and then read, more than once if need be.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
}

impl Spool {
    /// An empty spool; nothing is created in `directory` before it is needed.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, memory: Vec::new(), file: None }
    }

    /// Appends.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.memory.extend_from_slice(bytes);
        if self.memory.len() >= MEMORY_LIMIT {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(self::nameless(&self.directory)?),
            };
            file.write_all(&self.memory)?;
            self.memory.clear();
        }
        Ok(())
    }

    /// All that was written, in order, from the beginning.
    pub(super) fn reader(&mut self) -> io::Result<Box<dyn Read + '_>> {
        let memory = Cursor::new(&self.memory);
        Ok(match &mut self.file {
            Some(file) => {
                file.seek(SeekFrom::Start(0))?;
                Box::new(BufReader::new(file).chain(memory))
            }
            None => Box::new(memory),
        })
    }
}

/// Postfix's line for a spool that cannot be written or read.
pub(super) fn log_spool_error(error: &io::Error) {
    log::warn!("proxy speed-adjust log I/O error: {}", sys::error_text(error));
}

/// A new file that no directory knows.
fn nameless(directory: &std::path::Path) -> io::Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // A name with a dot is no queue ID: queue scanners pass over it in the moment it exists.
        let path = directory.join(format!("{}.{number}.proxy", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_it_took() {
        let directory = std::env::temp_dir();
        for size in [0, 10, MEMORY_LIMIT, 3 * MEMORY_LIMIT + 17] {
            let mut spool = Spool::new(directory.clone());
            let content: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
            for piece in content.chunks(1000) {
                spool.write(piece).unwrap();
            }
            assert_eq!(spool.file.is_some(), size >= MEMORY_LIMIT);
            for time in ["first", "second"] {
                let mut back = Vec::new();
                spool.reader().unwrap().read_to_end(&mut back).unwrap();
                assert!(back == content, "{size}, the {time} time");
            }
        }
    }

    #[test]
    fn a_missing_directory_is_an_error_only_when_needed() {
        let mut spool = Spool::new(PathBuf::from("/nonexistent"));
        spool.write(b"small").unwrap();
        assert!(spool.write(&[0; MEMORY_LIMIT]).is_err());
    }
}
