//! Messages that may come again, known to all processes (`smtpd_duplicate_time`).

use std::path::Path;
use std::time::{Duration, SystemTime};

use duplicates::{Fingerprint, Table};

/// The messages that are known, and for how long.
#[derive(Debug)]
pub struct Duplicates {
    table: Table,
    time: Duration,
}

impl Duplicates {
    /// Opens the table in this directory.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) fn open(directory: &Path, time: Duration) -> Result<Self, String> {
        Ok(Self { table: Table::open(directory)?, time })
    }

    /// The reply to a message that is known.
    pub(crate) fn reply(&self, to: &Fingerprint) -> Option<Vec<u8>> {
        self.table.find(to, SystemTime::now(), self.time)
    }

    /// Its client has not seen this reply.
    pub(crate) fn unread(&self, message: &Fingerprint, reply: &[u8]) {
        self.table.note(message, reply, SystemTime::now(), self.time);
    }
}
