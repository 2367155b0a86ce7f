//! Free space of a file system.

use std::io;
use std::path::Path;

/// What a file system has left for ordinary users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// Blocks an unprivileged process may still use.
    pub(crate) blocks: u64,
    /// Bytes in one block.
    pub(crate) block_size: u64,
}

impl Free {
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
    Ok(Free { blocks: found.blocks_available(), block_size: found.fragment_size() })
}
