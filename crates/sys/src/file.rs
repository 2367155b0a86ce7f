//! Opening files in directories that others may write to, without being led astray (spec master 2.3).
//!
//! An existing file must be a regular file with one link and must not be reached through a symbolic link,
//! unless root owns link and directory and nobody else may write the directory. A new file is created
//! exclusively, so that the check and the creation cannot be told apart by a third party.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Takes the room for so many bytes of a file, so that writing to them finds no full disk.
///
/// # Errors
/// What the system says.
pub fn allocate(file: &File, length: u64) -> io::Result<()> {
    let length = i64::try_from(length).map_err(io::Error::other)?;
    nix::fcntl::posix_fallocate(file, 0, length).map_err(io::Error::from)
}

/// Opens a file for reading and writing, without its time of last access being changed by that: where files are many and
/// are read once, each such change is one more entry in the file system's journal. Who may not ask for it (only the owner
/// may) has the file without.
///
/// # Errors
/// What `open` says.
pub fn open_unnoticed(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(target_os = "linux")]
    match options.clone().custom_flags(libc::O_NOATIME).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
        outcome => return outcome,
    }
    options.open(path)
}

/// Why a file was not opened; the text is Postfix's.
#[derive(Debug)]
pub enum OpenError {
    /// `open` of an existing file failed.
    Open(io::Error),
    /// Creating a new file failed.
    Create(io::Error),
    /// It has more than one name.
    HardLinks(u64),
    /// Its last component is a symbolic link that is not root's own.
    SymbolicLink,
    /// It is not a regular file (nor, where allowed, a terminal, pipe or device).
    NotRegular,
    /// The name was exchanged for another file while it was being opened.
    Replaced,
}

impl OpenError {
    /// The system's error, when one is the cause.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Open(error) | Self::Create(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => write!(out, "cannot open file: {}", crate::error_text(error)),
            Self::Create(error) => {
                write!(out, "cannot create file exclusively: {}", crate::error_text(error))
            }
            Self::HardLinks(count) => write!(out, "file has {count} hard links"),
            Self::SymbolicLink => out.write_str("file is a symbolic link"),
            Self::NotRegular => out.write_str("not a regular file"),
            Self::Replaced => out.write_str("file status changed unexpectedly"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io().map(|error| error as _)
    }
}

/// Opens `path` as `options` say, creating it with `mode` (umask applies) when it does not exist.
///
/// # Errors
/// One of [`OpenError`].
pub fn open_or_create(path: &Path, options: &OpenOptions, mode: u32) -> Result<File, OpenError> {
    open_either(path, options, mode, Kinds::RegularOrOutput).map(|(file, _)| file)
}

/// Opens a mailbox (spec local-delivery 10.3): whatever can be written to, without waiting for a reader of a pipe. Tells
/// whether it has just been made.
///
/// # Errors
/// One of [`OpenError`].
pub fn open_to_append(path: &Path, mode: u32) -> Result<(File, bool), OpenError> {
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(libc::O_NONBLOCK);
    open_either(path, &options, mode, Kinds::All)
}

/// What is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    /// Regular files; and terminals, pipes and devices, whatever their names.
    RegularOrOutput,
    /// Everything, by the same rules.
    All,
}

fn open_either(
    path: &Path,
    options: &OpenOptions,
    mode: u32,
    kinds: Kinds,
) -> Result<(File, bool), OpenError> {
    // Creation and removal by others may alternate; a bounded number of turns settles it. A link that leads nowhere is told as
    // such of a mailbox.
    for turn in 0..100 {
        match options.clone().create(false).open(path) {
            Ok(file) => return check(path, file, kinds).map(|file| (file, false)),
            Err(error) if error.kind() != io::ErrorKind::NotFound || kinds == Kinds::All && turn > 0 => {
                return Err(OpenError::Open(error));
            }
            Err(_) => {}
        }
        match options.clone().create_new(true).mode(mode).open(path) {
            Ok(file) => return check(path, file, kinds).map(|file| (file, true)),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(OpenError::Create(error));
            }
            Err(_) => {}
        }
    }
    Err(OpenError::Replaced)
}

/// Opens an existing `path` as `options` say.
///
/// # Errors
/// One of [`OpenError`].
pub fn open_existing(path: &Path, options: &OpenOptions) -> Result<File, OpenError> {
    let file = options.clone().create(false).open(path).map_err(OpenError::Open)?;
    check(path, file, Kinds::RegularOrOutput)
}

fn check(path: &Path, file: File, kinds: Kinds) -> Result<File, OpenError> {
    let opened = file.metadata().map_err(OpenError::Open)?;
    let kind = opened.file_type();
    if !kind.is_file() && kinds == Kinds::RegularOrOutput {
        // A terminal, pipe or socket behind /dev/stdout is what the administrator asked for.
        let passes = kind.is_char_device() || kind.is_fifo() || kind.is_socket();
        return if passes { Ok(file) } else { Err(OpenError::NotRegular) };
    }
    if opened.nlink() > 1 {
        return Err(OpenError::HardLinks(opened.nlink()));
    }
    let named = std::fs::symlink_metadata(path).map_err(OpenError::Open)?;
    if named.file_type().is_symlink() {
        if !is_roots_own(path, &named) {
            return Err(OpenError::SymbolicLink);
        }
    } else if (named.dev(), named.ino(), named.nlink()) != (opened.dev(), opened.ino(), opened.nlink()) {
        return Err(OpenError::Replaced);
    }
    Ok(file)
}

fn is_roots_own(path: &Path, link: &Metadata) -> bool {
    if link.uid() != 0 {
        return false;
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::metadata(parent).is_ok_and(|parent| parent.uid() == 0 && parent.mode() & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creates_reopens_and_refuses_links() {
        let dir = std::env::temp_dir().join(format!("sys-file-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let options = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true);
            options
        };
        let path = dir.join("a");
        open_or_create(&path, &options(), 0o600).unwrap();
        open_or_create(&path, &options(), 0o600).unwrap();
        std::fs::hard_link(&path, dir.join("b")).unwrap();
        let error = open_or_create(&path, &options(), 0o600).unwrap_err();
        assert_eq!(error.to_string(), "file has 2 hard links");
        std::fs::remove_file(dir.join("b")).unwrap();
        std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        std::os::unix::fs::symlink("a", dir.join("c")).unwrap();
        let error = open_existing(&dir.join("c"), &options()).unwrap_err();
        assert_eq!(error.to_string(), "file is a symbolic link");
        let error = open_or_create(&dir.join("no/d"), &options(), 0o600).unwrap_err();
        assert_eq!(error.to_string(), "cannot create file exclusively: No such file or directory");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
