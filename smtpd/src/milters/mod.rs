//! The mail filters of a session: what the session remembers of them.

use milter::Milters;

/// The filters, and what they have said so far.
#[derive(Debug, Default)]
pub(crate) struct SessionMilters {
    /// The conversations.
    pub filters: Milters,
    /// They were told of MAIL, and the end of that message was not told since.
    pub(crate) told_of_mail: bool,
    /// The message, or the one to come, is put on hold.
    pub hold: bool,
    /// The same: it is thrown away, and nobody is told more of it.
    pub discard: bool,
    /// The hold is in the log.
    pub(crate) hold_is_logged: bool,
    /// A queue file could not be written: nothing more is done in this session.
    pub broken: bool,
}
