//! Berkeley DB files that are no tables: of other programs, with keys as these write them.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::indexed::Format as _;
use crate::indexed::hash::Hash;
use crate::indexed::source::Broken;

/// The value of a key in a file of type hash; nothing when there is no such key, or no such file.
///
/// # Errors
/// The file cannot be read, or is no such file.
pub fn get(path: &Path, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let broken = |broken| match broken {
        Broken::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    };
    Hash::open(&file).and_then(|format| format.get(&file, key)).map_err(broken)
}
