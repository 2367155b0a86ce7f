//! Who took a message, or refused it.

use ipc::delivery::{MessageTimes, Moment};

/// Who took a message or refused it, and when, where a connection was made for it.
#[derive(Debug, Clone, Copy)]
pub struct Relay<'a> {
    /// As in the log: a host, a service, or `none`.
    pub name: &'a str,
    /// When the connection stood.
    pub connected: Moment,
    /// When it was over; what is not known is now.
    pub delivered: Moment,
    /// How often the connection had been used before.
    pub reuses: i32,
    /// What became of TLS, as the log has it from 3.11 on; nothing where that is not told.
    pub tls: &'a str,
}

impl<'a> From<&'a str> for Relay<'a> {
    fn from(name: &'a str) -> Self {
        Self { name, connected: Moment::default(), delivered: Moment::default(), reuses: 0, tls: "" }
    }
}

impl<'a> From<&'a String> for Relay<'a> {
    fn from(name: &'a String) -> Self {
        name.as_str().into()
    }
}

impl Relay<'_> {
    /// The times of a message with those of this delivery.
    pub(crate) fn times(&self, times: &MessageTimes) -> MessageTimes {
        let Self { connected, delivered, reuses, .. } = *self;
        if connected.is_known() { MessageTimes { connected, delivered, reuses, ..*times } } else { *times }
    }
}
