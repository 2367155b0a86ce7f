//! Names of the queue directories and the hashing of their contents.
//!
//! [`Hashing`] holds `hash_queue_names` and `hash_queue_depth` and computes the path of a file from queue and ID, as
//! all programs that share a queue directory must do alike. `maildrop` is never hashed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

use crate::id::QueueId;

/// A directory below `queue_directory` that holds files named by queue ID (or by domain, for `flush`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueName {
    /// Messages from `postdrop`, and re-queued mail; read by `pickup`.
    Maildrop,
    /// Messages written by `cleanup`.
    Incoming,
    /// Messages that the queue manager has opened.
    Active,
    /// Messages that wait for a retry.
    Deferred,
    /// Messages that nobody scans until they are released.
    Hold,
    /// Message files that the queue manager could not parse.
    Corrupt,
    /// Only searched by `postcat -q`.
    Saved,
    /// Logs of undeliverable recipients, one a message.
    Bounce,
    /// Logs of deferred recipients.
    Defer,
    /// Logs for success, verbose and delay reports.
    Trace,
    /// One file a destination domain.
    Flush,
}

impl QueueName {
    /// All queues.
    pub const ALL: [Self; 11] = [
        Self::Maildrop,
        Self::Incoming,
        Self::Active,
        Self::Deferred,
        Self::Hold,
        Self::Corrupt,
        Self::Saved,
        Self::Bounce,
        Self::Defer,
        Self::Trace,
        Self::Flush,
    ];

    /// The directory's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Maildrop => "maildrop",
            Self::Incoming => "incoming",
            Self::Active => "active",
            Self::Deferred => "deferred",
            Self::Hold => "hold",
            Self::Corrupt => "corrupt",
            Self::Saved => "saved",
            Self::Bounce => "bounce",
            Self::Defer => "defer",
            Self::Trace => "trace",
            Self::Flush => "flush",
        }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// No queue has this name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown queue name: {0}")]
pub struct UnknownQueue(pub String);

impl FromStr for QueueName {
    type Err = UnknownQueue;

    fn from_str(name: &str) -> Result<Self, UnknownQueue> {
        Self::ALL
            .into_iter()
            .find(|queue| queue.as_str() == name)
            .ok_or_else(|| UnknownQueue(name.to_owned()))
    }
}

/// Which queues spread their files over sub-directories, and how deep.
///
/// ```
/// use queue::{Hashing, QueueId, QueueName};
/// let hashing = Hashing::new("deferred, defer", 1);
/// let id: QueueId = "AFD0C9962EE".parse().unwrap();
/// assert_eq!(hashing.path(QueueName::Deferred, &id).to_str(), Some("deferred/A/AFD0C9962EE"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashing {
    names: Vec<String>,
    depth: usize,
}

impl Hashing {
    /// From the values of `hash_queue_names` (list separators are comma and white space) and `hash_queue_depth`.
    pub fn new(hash_queue_names: &str, hash_queue_depth: usize) -> Self {
        let names = hash_queue_names
            .split(|c: char| c == ',' || c.is_ascii_whitespace())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        Self { names, depth: hash_queue_depth }
    }

    /// Whether the queue is hashed.
    pub fn applies_to(&self, queue: QueueName) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(queue.as_str()))
    }

    /// Levels of sub-directories in the queue.
    pub fn depth_of(&self, queue: QueueName) -> usize {
        self.depth_in(queue.as_str())
    }

    fn depth_in(&self, directory: &str) -> usize {
        if self.names.iter().any(|name| name.eq_ignore_ascii_case(directory)) { self.depth } else { 0 }
    }

    /// The path of a queue file, relative to `queue_directory`.
    pub fn path(&self, queue: QueueName, id: &QueueId) -> PathBuf {
        self.path_below(Path::new(""), queue, id)
    }

    /// The path of a queue file in the queue directory of this path.
    pub(crate) fn path_below(&self, root: &Path, queue: QueueName, id: &QueueId) -> PathBuf {
        self.named(root, queue.as_str(), &id.hash_key(), id.as_str())
    }

    /// The path of a file that is not named by a queue ID (`flush`): the name is its own hash key.
    pub fn path_by_name(&self, queue: QueueName, name: &str) -> PathBuf {
        self.named(Path::new(""), queue.as_str(), name, name)
    }

    /// The path of a file that is named by a queue ID, in a directory that need not be one of ours.
    pub fn path_in(&self, directory: &str, id: &QueueId) -> PathBuf {
        self.named(Path::new(""), directory, &id.hash_key(), id.as_str())
    }

    fn named(&self, root: &Path, queue: &str, key: &str, name: &str) -> PathBuf {
        let depth = self.depth_in(queue);
        let length = root.as_os_str().len() + queue.len() + 2 * depth + name.len() + 3;
        let mut path = PathBuf::with_capacity(length);
        path.push(root);
        path.push(queue);
        for character in key.chars().chain(std::iter::repeat('_')).take(depth) {
            path.push(character.encode_utf8(&mut [0; 4]));
        }
        path.push(name);
        path
    }
}

impl Default for Hashing {
    /// Postfix's default: `deferred, defer`, one level.
    fn default() -> Self {
        Self::new("deferred, defer", 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashed_paths() {
        for (names, depth, queue, id, expected) in [
            ("deferred, defer", 1, QueueName::Deferred, "AFD0C9962EE", "deferred/A/AFD0C9962EE"),
            ("deferred, defer", 1, QueueName::Active, "AFD0C9962EE", "active/AFD0C9962EE"),
            ("HOLD", 2, QueueName::Hold, "4jXJlq4m2tz1SlqS", "hold/A/3/4jXJlq4m2tz1SlqS"),
            ("hold\tincoming", 4, QueueName::Hold, "AB", "hold/A/B/_/_/AB"),
            ("", 1, QueueName::Defer, "AB", "defer/AB"),
        ] {
            let path = Hashing::new(names, depth).path(queue, &id.parse().expect("valid"));
            assert_eq!(path.to_str(), Some(expected));
        }
    }

    #[test]
    fn names_come_back() {
        for queue in QueueName::ALL {
            assert_eq!(queue.as_str().parse(), Ok(queue));
        }
        assert!("Active".parse::<QueueName>().is_err());
    }
}
