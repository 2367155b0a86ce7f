//! Standard input, which a signal ends.

use std::io::{self, BufReader, ErrorKind, Read};

use sys::signal::{self, Signal};

/// What ends the command early.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Whether one of those signals has come.
pub(crate) fn is_interrupted() -> bool {
    ENDING.iter().any(|signal| signal::taken(*signal))
}

/// Standard input, buffered.
pub(crate) fn standard() -> BufReader<Raw> {
    BufReader::new(Raw)
}

/// Unbuffered standard input; a read that a signal interrupts fails for good.
#[derive(Debug)]
pub(crate) struct Raw;

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stdin = io::stdin();
        loop {
            if is_interrupted() {
                return Err(io::Error::other(Signalled));
            }
            match sys::fd::read(&stdin, buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// The command was told to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted by a signal")]
pub(crate) struct Signalled;
