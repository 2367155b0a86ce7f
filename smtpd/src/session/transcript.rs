//! What client and server said, for the notice to the postmaster (spec smtpd 1.9).
//!
//! Lines are kept from one end of a transaction to the next, and dropped with it unless something happened that
//! `notify_classes` asks to be told about. The line count is bounded by `smtpd_history_flush_threshold`, the length of
//! a line by the command length.

use access::settings::classes::Classes;

/// Room for the start of a session, so that it need not grow line by line.
const ROOM: usize = 512;

/// The lines since the last end of a transaction, and what went wrong in them.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    lines: Vec<u8>,
    count: usize,
    errors: Classes,
}

impl Transcript {
    /// The client said this.
    pub(crate) fn input(&mut self, line: &[u8]) {
        self.push(b"In:  ", line);
    }

    /// The server said this.
    pub(crate) fn out(&mut self, line: &[u8]) {
        self.push(b"Out: ", line);
    }

    fn push(&mut self, direction: &[u8], line: &[u8]) {
        if self.lines.capacity() == 0 {
            self.lines.reserve(ROOM);
        }
        self.lines.extend_from_slice(direction);
        self.lines.extend_from_slice(line);
        self.lines.push(b'\n');
        self.count += 1;
    }

    /// Something went wrong.
    pub(crate) fn error(&mut self, class: Classes) {
        self.errors.insert(class);
    }

    /// A message was accepted: what went wrong before is of no interest any more.
    pub(crate) fn forgive(&mut self) {
        self.errors = Classes::NONE;
    }

    /// Number of lines.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Empties the transcript: its lines, and the classes of errors in them.
    pub(crate) fn take(&mut self) -> (Vec<u8>, Classes) {
        self.count = 0;
        (std::mem::take(&mut self.lines), std::mem::take(&mut self.errors))
    }

    /// Drops all, keeping the memory for the next lines.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
        self.lines.clear();
        self.errors = Classes::NONE;
    }

    /// The classes of errors so far.
    pub(crate) fn errors(&self) -> Classes {
        self.errors
    }
}
