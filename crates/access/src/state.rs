//! What lists leave behind: actions on the message, and flags for the lists that run later.

use crate::settings::classes::Classes;
use crate::verdict::Detail;

/// Actions of access tables that act on the whole message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actions {
    /// HOLD.
    pub hold: bool,
    /// DISCARD.
    pub discard: bool,
    /// FILTER transport:nexthop; the last one wins.
    pub filter: Option<Vec<u8>>,
    /// REDIRECT address; the last one wins.
    pub redirect: Option<Vec<u8>>,
    /// BCC addresses.
    pub bcc: Vec<Vec<u8>>,
    /// PREPEND header lines, the first on top.
    pub prepend: Vec<Vec<u8>>,
}

/// Flags that one list passes on to the next, within a session.
#[derive(Debug, Clone, Default)]
pub struct AccessState {
    /// `defer_if_permit` after the client list. A deferral is worded when it is sent.
    pub client: Option<Detail>,
    /// After the helo list.
    pub helo: Option<Detail>,
    /// After the sender list.
    pub sender: Option<Detail>,
    /// In force.
    pub defer_if_permit: Option<Detail>,
    /// In force, for one list.
    pub defer_if_reject: Option<Detail>,
    /// What the postmaster is told besides what was refused: what was refused with a warning only, or put off instead.
    pub told: Classes,
    /// reject_unlisted_sender has been asked for by a list in this transaction.
    pub(crate) sender_listed: bool,
    /// reject_unlisted_recipient has run for this recipient.
    pub recipient_listed: bool,
}

impl AccessState {
    /// A new mail transaction: what was found out about the sender is void.
    pub fn new_transaction(&mut self) {
        self.sender = None;
        self.sender_listed = false;
        self.recipient_listed = false;
    }
}
