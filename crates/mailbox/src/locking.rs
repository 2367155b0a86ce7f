//! The locks of a mailbox file: `mailbox_delivery_lock` and its like (spec local-delivery 10.2).

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use config::Config;
use sys::flock::{self, Mode, Wait};

/// What is wrong with a list of locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockingError(String);

impl std::fmt::Display for LockingError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for LockingError {}

/// Which locks are taken, and how long they are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locking {
    dotlock: bool,
    flock: bool,
    fcntl: bool,
    /// `deliver_lock_attempts`
    attempts: i32,
    /// `deliver_lock_delay`
    delay: Duration,
    /// `stale_lock_time`
    stale: Duration,
}

impl Locking {
    /// As the parameter of this name says.
    ///
    /// # Errors
    /// A word that names no lock, no word at all, or a parameter that is wrong.
    pub fn new(config: &Config, parameter: &str) -> Result<Self, LockingError> {
        let wrong = |error: config::Error| LockingError(error.to_string());
        let mut locking = Self {
            dotlock: false,
            flock: false,
            fcntl: false,
            attempts: config.integer("deliver_lock_attempts").map_err(wrong)?,
            delay: config.time("deliver_lock_delay").map_err(wrong)?,
            stale: config.time("stale_lock_time").map_err(wrong)?,
        };
        let value = config.text(parameter).map_err(wrong)?;
        for word in config::list::text_words(&value) {
            let chosen = match word.to_ascii_lowercase().as_str() {
                "dotlock" => &mut locking.dotlock,
                "flock" => &mut locking.flock,
                "fcntl" => &mut locking.fcntl,
                _ => {
                    return Err(LockingError(format!("unknown {parameter} value \"{word}\" in \"{value}\"")));
                }
            };
            *chosen = true;
        }
        if !(locking.dotlock || locking.flock || locking.fcntl) {
            let text = format!("parameter {parameter} specifies no applicable mailbox locking method");
            return Err(LockingError(text));
        }
        Ok(locking)
    }

    pub(crate) fn has_dotlock(&self) -> bool {
        self.dotlock
    }

    /// Makes the lock file that stands beside a mailbox.
    pub(crate) fn make_dotlock(&self, mailbox: &Path) -> io::Result<DotlockFile> {
        let mut path = mailbox.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let make = || match OpenOptions::new().write(true).create_new(true).mode(0o0).open(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        };
        let made = self.try_repeatedly(make, || {
            if !self.is_stale(&path) {
                return Ok(());
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        })?;
        if made { Ok(DotlockFile { path }) } else { Err(io::ErrorKind::AlreadyExists.into()) }
    }

    fn is_stale(&self, path: &Path) -> bool {
        let changed = fs::metadata(path).ok().and_then(|metadata| u64::try_from(metadata.ctime()).ok());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        changed.is_some_and(|changed| Duration::from_secs(changed) + self.stale < now)
    }

    /// Takes the locks of the open file, which closing it gives back.
    pub(crate) fn lock(&self, file: &File) -> io::Result<()> {
        if self.flock {
            self.must_lock(|| flock::lock(file, Mode::Exclusive, Wait::No))?;
        }
        if self.fcntl {
            self.must_lock(|| flock::try_lock_record(file, Mode::Exclusive))?;
        }
        Ok(())
    }

    fn must_lock(&self, attempt: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
        if self.try_repeatedly(attempt, || Ok(()))? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Tries as often as configured; before another attempt it does what helps, and pauses for about the configured time.
    fn try_repeatedly(
        &self,
        mut attempt: impl FnMut() -> io::Result<bool>,
        help: impl Fn() -> io::Result<()>,
    ) -> io::Result<bool> {
        for turn in 1..=self.attempts.max(1) {
            if attempt()? {
                return Ok(true);
            }
            if turn < self.attempts {
                help()?;
                thread::sleep(self.delay.mul_f64(0.75 + random_fraction() / 2.0));
            }
        }
        Ok(false)
    }
}

/// Between 0 and 1.
fn random_fraction() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

/// A lock file, taken away when it goes out of scope.
#[derive(Debug)]
pub(crate) struct DotlockFile {
    path: PathBuf,
}

impl Drop for DotlockFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            let path = self.path.as_os_str().as_bytes().escape_ascii();
            log::warn!("remove {path}: {}", sys::error_text(&error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locking() -> Locking {
        Locking {
            dotlock: true,
            flock: true,
            fcntl: true,
            attempts: 1,
            delay: Duration::ZERO,
            stale: Duration::from_secs(500),
        }
    }

    #[test]
    fn one_holder_at_a_time() {
        let path = std::env::temp_dir().join(format!("mailbox-locking-{}", std::process::id()));
        let locking = locking();
        let (one, two) = (File::create(&path).unwrap(), File::create(&path).unwrap());
        let held = locking.make_dotlock(&path).unwrap();
        assert_eq!(locking.make_dotlock(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(held);
        locking.lock(&one).unwrap();
        for kind in ["flock", "fcntl"] {
            let other = Locking { flock: kind == "flock", fcntl: kind == "fcntl", ..locking.clone() };
            assert_eq!(other.lock(&two).unwrap_err().kind(), io::ErrorKind::WouldBlock, "{kind}");
        }
        drop(one);
        locking.lock(&two).unwrap();
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_lock_file_that_nobody_holds() {
        let path = std::env::temp_dir().join(format!("mailbox-stale-{}", std::process::id()));
        let locking =
            Locking { stale: Duration::ZERO, attempts: 200, delay: Duration::from_millis(20), ..locking() };
        let lock = path.with_extension("lock");
        File::create(&lock).unwrap();
        drop(locking.make_dotlock(&path).unwrap());
        assert!(!lock.exists());
    }
}
