//! A queue directory of their own for tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::name::QueueName;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("postern-queue-{}-{name}-{count}", std::process::id()));
        for queue in QueueName::ALL {
            fs::create_dir_all(path.join(queue.as_str())).expect("temporary directory");
        }
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
