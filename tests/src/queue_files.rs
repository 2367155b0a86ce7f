//! Queue files as tests see them: through Debian's postcat, and masked for comparison.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::instance::PEERS_CONFIGURATION;
use crate::program::run;
use crate::suite::peer_program;

/// One message file in a queue directory.
#[derive(Debug, Clone)]
pub struct QueueFile {
    /// The path of the file.
    pub path: PathBuf,
    /// The queue directory it lies in (`incoming`, `hold` ...).
    pub queue: String,
    /// Its name.
    pub queue_id: String,
    /// The permission bits.
    pub mode: u32,
}

impl QueueFile {
    /// The files of one queue directory, sub-directories of one character included, in order of arrival.
    pub(crate) fn list(queue_directory: &Path, queue: &str) -> Vec<QueueFile> {
        let mut found = Vec::new();
        collect(&queue_directory.join(queue), queue, &mut found);
        // Cached: a file may be written, or go, while they are compared.
        found.sort_by_cached_key(|file: &QueueFile| {
            fs::metadata(&file.path).and_then(|meta| meta.modified()).ok()
        });
        found
    }

    /// The records as Debian's `postcat -v` prints them, one a line.
    ///
    /// # Panics
    /// When postcat refuses the file.
    pub fn records(&self) -> Vec<String> {
        let path = self.path.to_str().expect("test folders have plain names");
        let configuration = self.configuration();
        let outcome = run(&peer_program("postcat"), &["-v", path], &[("MAIL_CONFIG", &configuration)], b"");
        let complaint = outcome
            .err()
            .lines()
            .filter(|line| !line.starts_with("postcat: name_mask"))
            .any(|line| line.contains("warning") || line.contains("fatal"));
        assert!(outcome.status == Some(0) && !complaint, "postcat {path}: {}", outcome.err());
        let short = format!("{}/{}", self.queue, self.queue_id);
        outcome.out().lines().map(|line| line.replace(path, &short)).collect()
    }

    /// The message content as Debian's `postcat -bh` prints it.
    pub fn content(&self) -> String {
        let path = self.path.to_str().expect("test folders have plain names");
        let configuration = self.configuration();
        run(&peer_program("postcat"), &["-bh", path], &[("MAIL_CONFIG", &configuration)], b"").out()
    }

    /// The bytes of the file.
    ///
    /// # Panics
    /// When the file has gone.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }

    /// Whether the file is one whole message as a queue manager would take it: marked complete, records from the size
    /// record to the end record, nothing behind, and the size record true to the content. One that was not marked when it
    /// was listed may have gone since.
    pub fn is_complete(&self) -> bool {
        self.mode & 0o700 == 0o700 && is_whole(&self.bytes())
    }

    /// The configuration directory for Debian's postcat, which lies beside the queue directory.
    fn configuration(&self) -> String {
        let depth = self.path.ancestors().position(|folder| folder.ends_with("spool")).expect("below spool");
        let home = self.path.ancestors().nth(depth + 1).expect("spool lies in a folder");
        let peers = home.join(PEERS_CONFIGURATION);
        if peers.exists() { peers } else { home.join("etc") }.to_string_lossy().into_owned()
    }
}

/// Walks the records without following pointers: enough for files that nobody has edited.
fn is_whole(bytes: &[u8]) -> bool {
    let mut position = 0;
    let (mut content_start, mut content_end) = (None, None);
    let mut last = 0;
    while let Some((kind, data, next)) = record_at(bytes, position) {
        match kind {
            b'M' => content_start = Some(next),
            b'X' => content_end = Some(position),
            _ if position == 0 && (kind != b'C' || data.len() != 95) => return false,
            _ => {}
        }
        (last, position) = (kind, next);
        if kind == b'E' {
            break;
        }
    }
    let announced =
        bytes.get(2..17).and_then(|field| String::from_utf8_lossy(field).trim().parse::<usize>().ok());
    let size = content_end.zip(content_start).map(|(end, start)| end - start);
    last == b'E' && position == bytes.len() && announced.is_some() && announced == size
}

/// Type, data and the position behind the record at `position`.
fn record_at(bytes: &[u8], position: usize) -> Option<(u8, &[u8], usize)> {
    let kind = *bytes.get(position)?;
    let (mut length, mut at) = (0_usize, position + 1);
    for shift in [0, 7, 14, 21] {
        let byte = *bytes.get(at)?;
        at += 1;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((kind, bytes.get(at..at + length)?, at + length));
        }
    }
    None
}

fn collect(folder: &Path, queue: &str, found: &mut Vec<QueueFile>) {
    let Ok(entries) = folder.read_dir() else { return };
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            collect(&entry.path(), queue, found);
            continue;
        }
        found.push(QueueFile {
            path: entry.path(),
            queue: queue.to_owned(),
            queue_id: entry.file_name().to_string_lossy().into_owned(),
            mode: meta.permissions().mode() & 0o7777,
        });
    }
}
