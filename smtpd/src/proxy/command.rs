//! A command for the filter: its line, the reply that it wants, and its shape in the spool.

use std::io::{self, Read};

use super::counters::Phase;

/// The first digit a reply must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// 2, for everything but DATA.
    Positive,
    /// 3, for DATA.
    Intermediate,
}

impl Wanted {
    /// It, as the reply has it.
    pub(super) fn digit(self) -> u8 {
        match self {
            Self::Positive => b'2',
            Self::Intermediate => b'3',
        }
    }
}

/// A command for the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// The line.
    pub line: Vec<u8>,
    /// What it is.
    pub phase: Phase,
}

impl Command {
    /// A command of the client, as recorded: RCPT or DATA.
    pub(super) fn of_client(line: Vec<u8>, wanted: Wanted) -> Self {
        let phase = if wanted == Wanted::Intermediate { Phase::Data } else { Phase::Rcpt };
        Self { line, phase }
    }

    /// What its reply must begin with.
    pub(super) fn wanted(&self) -> Wanted {
        if self.phase == Phase::Data { Wanted::Intermediate } else { Wanted::Positive }
    }

    /// What stands before a command in the spool: the digit that its reply must begin with, and the length of its line.
    /// Nothing when the line is too long for that.
    pub(super) fn recorded_head(line: &[u8], wanted: Wanted) -> Option<[u8; 3]> {
        let [high, low] = u16::try_from(line.len()).ok()?.to_be_bytes();
        Some([wanted.digit(), high, low])
    }

    /// Reads a command from the spool: what its reply must begin with, and its line.
    pub(super) fn read(spool: &mut impl Read) -> io::Result<(Wanted, Vec<u8>)> {
        let mut head = [0; 3];
        spool.read_exact(&mut head)?;
        let mut line = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        spool.read_exact(&mut line)?;
        Ok((if head[0] == b'3' { Wanted::Intermediate } else { Wanted::Positive }, line))
    }
}
