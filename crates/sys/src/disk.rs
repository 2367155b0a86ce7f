//! File systems: free space, and what it takes until files and their names are safe.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::statfs;

/// What a file system has left for ordinary users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// Blocks an unprivileged process may still use.
    pub(crate) blocks: u64,
    /// Bytes in one block.
    pub(crate) block_size: u64,
    /// Files it may still make; nothing where the file system does not count them.
    pub(crate) files: Option<u64>,
}

impl Free {
    /// Files that can still be made; nothing where the file system does not count them.
    #[must_use]
    pub fn files(self) -> Option<u64> {
        self.files
    }

    /// Free space in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.blocks.saturating_mul(self.block_size)
    }
}

/// Free space of the file system that holds `path`.
///
/// # Errors
/// What `statvfs` says.
pub fn free(path: &Path) -> io::Result<Free> {
    let found = nix::sys::statvfs::statvfs(path)?;
    let files = (found.files() > 0).then(|| found.files_available());
    Ok(Free { blocks: found.blocks_available(), block_size: found.fragment_size(), files })
}

/// Whether `fsync` of a file makes the names safe, too, that it has been given before: the file system has a journal (or
/// logs of its kind), a new name changes the file's own entry (its link count, or the time of its last change), and what
/// was changed together is committed together. Known of ext4, XFS and Btrfs; POSIX does not promise it.
///
/// # Errors
/// What `fstatfs` says.
pub fn syncs_names(file: &File) -> io::Result<bool> {
    let kind = statfs::fstatfs(file)?.filesystem_type();
    Ok([statfs::EXT4_SUPER_MAGIC, statfs::XFS_SUPER_MAGIC, statfs::BTRFS_SUPER_MAGIC].contains(&kind))
}

/// Writes out what a file holds, and waits for it. It is not safe then, but no name that the file gets from now on is safe
/// earlier than its content.
///
/// # Errors
/// What `sync_file_range` says.
pub fn write_out(file: &File) -> io::Result<()> {
    let whole =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the call takes no addresses; the descriptor is open while the file is borrowed.
    crate::checked(unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), 0, 0, whole) }).map(|_| ())
}

/// Renames a file, but never over another one. `InvalidInput` or `Unsupported`: the file system cannot do that.
///
/// # Errors
/// What `renameat2` says.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    Ok(renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_name_is_not_taken_over() {
        let folder = std::env::temp_dir().join(format!("sys-disk-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.join(name));
        fs::write(&one, "1").unwrap();
        fs::write(&other, "2").unwrap();
        assert_eq!(rename_new(&one, &other).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&other).unwrap();
        rename_new(&one, &other).unwrap();
        let file = File::open(&other).unwrap();
        write_out(&file).unwrap();
        syncs_names(&file).unwrap();
        assert_eq!((fs::read(&other).unwrap(), one.exists()), (b"1".to_vec(), false));
        fs::remove_dir_all(folder).unwrap();
    }
}
