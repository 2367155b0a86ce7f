//! What a child tells master over the status channel: a record of twelve bytes (spec master 2.8).
//!
//! Process id (i32), generation (u32) and status (i32), in the machine's byte order. Nothing is ever sent the other
//! way. Refused: a record of another length (the caller sees the count) and a status that is neither word.

use std::fmt;

/// Bytes in a record.
pub(crate) const RECORD_LEN: usize = 12;

/// What a process says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has accepted work.
    Taken,
    /// It waits for work.
    Available,
    /// Neither, as sent.
    Unknown(i32),
}

/// One status record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Sender.
    pub pid: i32,
    /// The number master gave the sender at birth.
    pub generation: u32,
    /// What it reports.
    pub status: Status,
}

impl Record {
    /// Takes a record apart.
    pub fn decode(bytes: [u8; RECORD_LEN]) -> Self {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let status = match i32::from_ne_bytes(word(8)) {
            0 => Status::Taken,
            1 => Status::Available,
            other => Status::Unknown(other),
        };
        Self { pid: i32::from_ne_bytes(word(0)), generation: u32::from_ne_bytes(word(4)), status }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("0"),
            Self::Available => f.write_str("1"),
            Self::Unknown(n) => write!(f, "{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_manual() {
        let mut bytes = [0u8; RECORD_LEN];
        bytes[..4].copy_from_slice(&4660i32.to_ne_bytes());
        bytes[4..8].copy_from_slice(&8u32.to_ne_bytes());
        bytes[8..].copy_from_slice(&1i32.to_ne_bytes());
        let want = Record { pid: 4660, generation: 8, status: Status::Available };
        assert_eq!(Record::decode(bytes), want);
        bytes[8..].copy_from_slice(&7i32.to_ne_bytes());
        assert_eq!(Record::decode(bytes).status, Status::Unknown(7));
    }
}
