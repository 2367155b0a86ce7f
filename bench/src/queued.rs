//! Messages that lie in the queue when a suite starts.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use conformance::Instance;

/// Which domains the recipients are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Domains {
    /// All in one.
    One,
    /// So many in turn: `d1.example` and so on.
    Several(usize),
    /// Each in one of its own.
    Own,
}

/// What is in the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queued {
    /// How many messages.
    pub(crate) messages: usize,
    /// Recipients of each.
    pub(crate) recipients: usize,
    /// Lines of content of each, some sixty bytes long.
    pub(crate) lines: usize,
    /// Where the recipients are.
    pub(crate) domains: Domains,
    /// Whether the messages wait for a time that does not come.
    pub(crate) waits: bool,
}

impl Queued {
    /// Puts the messages into the queue, as cleanup would.
    pub(crate) fn fill(&self, instance: &Instance) {
        let spool = instance.queue_directory();
        let queue = spool.join(if self.waits { "deferred" } else { "incoming" });
        let owner = fs::metadata(spool.join("incoming")).expect("laid out").uid();
        let due = SystemTime::now() + Duration::from_secs(100_000);
        let mut next = 0;
        for number in 0..self.messages {
            let recipients = (0..self.recipients).map(|_| {
                next += 1;
                let domain = match self.domains {
                    Domains::One => "drain.example".to_owned(),
                    Domains::Several(count) => format!("d{}.example", next % count + 1),
                    Domains::Own => format!("d{next}.example"),
                };
                format!("user{next}@{domain}")
            });
            let bytes = message(&recipients.collect::<Vec<_>>(), self.lines);
            let id = format!("{:05X}{:07X}", number * 7919 % 0xf_ffff, number + 0x100_0000);
            let folder: PathBuf = if self.waits { queue.join(&id[..1]) } else { queue.clone() };
            if !folder.is_dir() {
                fs::create_dir_all(&folder).expect("ours");
                std::os::unix::fs::chown(&folder, Some(owner), None).expect("root");
            }
            let path: &Path = &folder.join(&id);
            fs::write(path, bytes).expect("ours");
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("ours");
            std::os::unix::fs::chown(path, Some(owner), None).expect("root");
            if self.waits {
                fs::File::open(path).and_then(|file| file.set_modified(due)).expect("ours");
            }
        }
    }

    /// How many deliveries there are, at most.
    pub(crate) fn deliveries(&self) -> f64 {
        f64::from(u32::try_from(self.messages * self.recipients).unwrap_or(u32::MAX))
    }
}

/// Whether everything has been delivered.
pub(crate) fn is_empty(instance: &Instance) -> bool {
    ["incoming", "active"].iter().all(|queue| {
        fs::read_dir(instance.queue_directory().join(queue)).is_ok_and(|mut entries| entries.next().is_none())
    })
}

/// A whole queue file.
fn message(recipients: &[String], lines: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let put = |file: &mut Vec<u8>, kind: u8, data: &[u8]| {
        file.push(kind);
        let mut length = data.len();
        while length > 127 {
            file.push(u8::try_from(length & 127).unwrap_or_default() | 128);
            length >>= 7;
        }
        file.push(u8::try_from(length).unwrap_or_default());
        file.extend_from_slice(data);
    };
    let size = |content: usize, offset: usize| {
        format!("{content:15} {offset:15} {:15} {:15} {content:15} {:15}", recipients.len(), 0, 0)
    };
    put(&mut file, b'C', size(0, 0).as_bytes());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    put(&mut file, b'T', format!("{now} 0").as_bytes());
    put(&mut file, b'A', b"rewrite_context=local");
    put(&mut file, b'S', b"ann@sender.example");
    for recipient in recipients {
        put(&mut file, b'R', recipient.as_bytes());
    }
    put(&mut file, b'M', b"");
    let offset = file.len();
    for _ in 0..lines {
        put(&mut file, b'N', b"X-Line: some sixty bytes of content, as they come with mail");
    }
    let content = file.len() - offset;
    put(&mut file, b'X', b"");
    put(&mut file, b'E', b"");
    let mut head = Vec::new();
    put(&mut head, b'C', size(content, offset).as_bytes());
    file[..head.len()].copy_from_slice(&head);
    file
}
