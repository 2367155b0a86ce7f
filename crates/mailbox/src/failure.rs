//! Why a message is not in a mailbox.

use std::io;

use delivery::{CopyError, Ids, Status, file_error_code};

/// A delivery that was not made.
#[derive(Debug)]
pub enum Failure {
    /// It is the message that is damaged. The recipient is tried again, and nothing is logged of him.
    Message,
    /// Something is wrong with the mailbox, or with reading the message.
    Mailbox {
        /// A code of class 4 or 5, and what went wrong.
        status: Status,
        /// Nobody gave permission.
        is_denied: bool,
    },
}

impl Failure {
    /// An error of the file system. The code is that of the error, or this one.
    pub(crate) fn of_file(error: &io::Error, otherwise: &'static str, text: impl Into<Vec<u8>>) -> Self {
        Self::Mailbox {
            status: Status::new(file_error_code(error, otherwise), text),
            is_denied: error.kind() == io::ErrorKind::PermissionDenied,
        }
    }

    /// A mailbox that is not written to for what it is.
    pub fn refusal(code: &'static str, text: impl Into<Vec<u8>>) -> Self {
        Self::Mailbox { status: Status::new(code, text), is_denied: false }
    }

    /// Tells the administrator of a maildir that these ids have no access to.
    pub fn warn_of_access(&self, ids: Ids) {
        if let Self::Mailbox { status, is_denied: true } = self {
            let why = status.text.escape_ascii();
            log::warn!("maildir access problem for UID/GID={}/{}: {why}", ids.uid, ids.gid);
            log::warn!("perhaps you need to create the maildirs in advance");
        }
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        if matches!(error, CopyError::Corrupt) {
            return Self::Message;
        }
        let is_denied =
            matches!(&error, CopyError::Write(error) if error.kind() == io::ErrorKind::PermissionDenied);
        Self::Mailbox { status: error.status(), is_denied }
    }
}
