//! Finishing: the file is completed and handed on, bounced, or removed (spec cleanup 15).

use ipc::cleanup::{Flags, Reply, Status};
use queue::{QueueDirectory, QueueName};

use crate::message::Message;

/// What became of a message.
#[derive(Debug)]
pub struct Finished {
    /// What the client is told.
    pub reply: Reply,
    /// Where the file is, if there is one.
    pub queued: Option<QueueName>,
}

impl Message<'_> {
    /// The client has gone before the end. What it gave up may have been too large already: a front end that found it
    /// so says no more, and Postfix's cleanup logs its own finding (observed, 3.7.11).
    pub fn give_up(&mut self) {
        if self.output_ok() {
            let result = self.file.writer().flush();
            self.written(result);
        }
        self.fail(Status::BAD);
    }

    /// Ends the message; the client has said all it had to say.
    ///
    /// # Errors
    /// The text of a fatal error: a file that cannot be moved to `hold`.
    pub fn finish(mut self, directory: &QueueDirectory) -> Result<Finished, String> {
        if self.output_ok() {
            if self.recipients.last.is_none() {
                self.fail(Status::RCPT);
            }
            if !self.is_complete() {
                self.fail(Status::BAD);
            }
        }
        if self.flags.contains(Flags::DISCARD) {
            self.status = Status::OK;
        }
        if self.output_ok() {
            let size = self.size;
            let result = self.file.rewrite_size(&size);
            self.written(result);
        }
        if self.wants_bounce() {
            self.bounce();
        }
        if !self.status.is_ok() || self.flags.contains(Flags::DISCARD) {
            return Ok(self.remove());
        }
        self.commit(directory)
    }

    fn commit(mut self, directory: &QueueDirectory) -> Result<Finished, String> {
        let mut queue = QueueName::Incoming;
        if self.flags.contains(Flags::HOLD) {
            queue = QueueName::Hold;
            self.file.move_to(directory, queue).map_err(|error| {
                format!("{}: move to hold queue failed: {}", self.id, sys::error_text(&error))
            })?;
        }
        let mut reply = Reply { status: Status::OK, reason: self.reason };
        let queued = match self.file.commit() {
            Ok(()) => Some(queue),
            Err(error) => {
                let too_large = error.kind() == std::io::ErrorKind::FileTooLarge;
                reply.status = if too_large { Status::SIZE } else { Status::WRITE };
                None
            }
        };
        Ok(Finished { reply, queued })
    }

    fn remove(mut self) -> Finished {
        let failed = self.status.intersects(Status::SIZE | Status::WRITE);
        if failed && self.file.writer().flush().is_err() {
            log::warn!("mail_stream_cleanup: close error");
        }
        if let Err(error) = self.file.discard() {
            log::warn!("{}: remove queue file: {}", self.id, sys::error_text(&error));
        }
        Finished { reply: Reply { status: self.status, reason: self.reason }, queued: None }
    }
}
