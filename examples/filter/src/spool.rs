//! Where a message waits until its scan is over: in memory up to a bound, then in a file without a name.
//!
//! The file is removed from its folder as soon as it is open, so nothing is left over however the filter ends. It need
//! not be synced: nobody has been told yet that the message is accepted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Where spools may put what memory is not for.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder of the files.
    pub folder: PathBuf,
    /// Bytes of a message that stay in memory.
    pub memory: usize,
}

/// One message.
#[derive(Debug)]
pub struct Spool<'a> {
    place: &'a Place,
    memory: Vec<u8>,
    file: Option<File>,
    size: u64,
}

impl<'a> Spool<'a> {
    pub fn new(place: &'a Place) -> Spool<'a> {
        Spool { place, memory: Vec::new(), file: None, size: 0 }
    }

    /// Adds bytes at the end.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.memory.len() + bytes.len() > self.place.memory {
            let file = match self.file.take() {
                Some(file) => file,
                None => self.open()?,
            };
            let file = self.file.insert(file);
            file.write_all(&self.memory)?;
            self.memory.clear();
            if bytes.len() > self.place.memory {
                file.write_all(bytes)?;
            }
        }
        if bytes.len() <= self.place.memory {
            self.memory.extend_from_slice(bytes);
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Gives everything to `sink`, piece by piece.
    pub fn read<E: From<io::Error>>(self, sink: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if let Some(mut file) = self.file {
            file.seek(SeekFrom::Start(0))?;
            let mut block = vec![0; 64 * 1024];
            loop {
                match file.read(&mut block)? {
                    0 => break,
                    length => sink(&block[..length])?,
                }
            }
        }
        sink(&self.memory)
    }

    fn open(&self) -> io::Result<File> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = self.place.folder.join(format!(".example-filter-{}-{number}", process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let folder = std::env::temp_dir().join(format!("example-filter-spool-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let place = Place { folder: folder.clone(), memory: 100 };
        for sizes in [vec![], vec![40, 60], vec![40, 61], vec![101], vec![5000, 3, 99, 1, 2000], vec![7; 100]]
        {
            let mut spool = Spool::new(&place);
            let mut expected = Vec::new();
            for (number, size) in sizes.iter().enumerate() {
                let piece = vec![u8::try_from(number).unwrap(); *size];
                spool.write(&piece).unwrap();
                expected.extend_from_slice(&piece);
            }
            assert_eq!(spool.size(), expected.len() as u64);
            assert_eq!(spool.file.is_some(), expected.len() > 100);
            let mut found = Vec::new();
            let mut sink = |bytes: &[u8]| -> io::Result<()> {
                found.extend_from_slice(bytes);
                Ok(())
            };
            spool.read(&mut sink).unwrap();
            assert_eq!(found, expected);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(&folder).unwrap();
        let mut spool = Spool::new(&place);
        assert!(spool.write(&[0; 101]).is_err());
    }
}
