//! `speed_adjust`: the transaction is recorded while the slow client talks, and replayed to the filter at full speed.
//!
//! Shape of the spool: for each command a byte (`2` or `3`, the digit its reply must begin with), its length as two
//! bytes, and its text; DATA is the last of them, and all that follows is content as it goes over the wire, without
//! the final dot. EHLO, XFORWARD and MAIL are not in the spool: they are said when the connection opens.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use super::connection::{Failure, FilterConnection, Wanted};
use super::spool::Spool;
use super::{Busy, ProxyParams};
use crate::destination::{Origin, Refusal};
use crate::replies;
use crate::transaction::Transaction;

/// A transaction waiting for its filter.
#[derive(Debug)]
pub struct Recording {
    params: Arc<ProxyParams>,
    origin: Origin,
    mail: Vec<u8>,
    spool: Spool,
    failed: bool,
}

impl Recording {
    /// Starts with MAIL.
    pub fn new(params: &Arc<ProxyParams>, transaction: &Transaction) -> Self {
        Self {
            params: Arc::clone(params),
            origin: transaction.origin.clone(),
            mail: transaction.command.clone(),
            spool: Spool::new(params.spool_directory.clone()),
            failed: false,
        }
    }

    /// Records a command.
    pub fn command(&mut self, command: &[u8], wanted: Wanted) -> Result<(), Failure> {
        let digit = match wanted {
            Wanted::Positive => b'2',
            Wanted::Intermediate => b'3',
        };
        // Command lines are bounded by line_length_limit, or by a command filter's result.
        let Ok(len) = u16::try_from(command.len()) else { return Err(spool_failure()) };
        self.write(&[digit]);
        self.write(&len.to_be_bytes());
        self.write(command);
        if self.failed { Err(spool_failure()) } else { Ok(()) }
    }

    /// Records bytes of content.
    pub fn write(&mut self, bytes: &[u8]) {
        if !self.failed
            && let Err(error) = self.spool.write(bytes)
        {
            log_spool_error(&error);
            self.failed = true;
        }
    }

    /// Calls the filter and plays it all; returns the reply for the client. The first negative reply ends it.
    pub fn replay(self) -> Vec<u8> {
        if self.failed {
            return Refusal::generic().0;
        }
        let place = match self.params.gate.as_ref().map(|gate| gate.enter(&self.origin.address)).transpose() {
            Ok(place) => place,
            Err(Busy) => return replies::FILTER_BUSY.into(),
        };
        let reply = self.play();
        drop(place);
        reply
    }

    fn play(self) -> Vec<u8> {
        let spool = match self.spool.into_reader() {
            Ok(spool) => spool,
            Err(error) => {
                log_spool_error(&error);
                return Refusal::generic().0;
            }
        };
        let mut connection = match FilterConnection::open(&self.params, &self.origin, &self.mail) {
            Ok(connection) => connection,
            Err(failure) => return failure.refusal.0,
        };
        match play(&mut connection, &mut BufReader::new(spool)) {
            Ok(()) => connection.finish(),
            Err(refusal) => {
                connection.quit();
                refusal.0
            }
        }
    }
}

fn play(connection: &mut FilterConnection, spool: &mut impl Read) -> Result<(), Refusal> {
    let unreadable = |error: io::Error| {
        log_spool_error(&error);
        Refusal::generic()
    };
    let mut command = Vec::new();
    let mut wanted = Wanted::Positive;
    while wanted == Wanted::Positive {
        wanted = read_command(spool, &mut command).map_err(unreadable)?;
        connection.command(&command, wanted).map_err(|failure| failure.refusal)?;
    }
    let mut content = [0; 4096];
    loop {
        let len = spool.read(&mut content).map_err(unreadable)?;
        if len == 0 {
            return Ok(());
        }
        connection.write(&content[..len]);
        if !connection.alive() {
            return Err(Refusal::generic());
        }
    }
}

fn read_command(spool: &mut impl Read, command: &mut Vec<u8>) -> io::Result<Wanted> {
    let mut head = [0; 3];
    spool.read_exact(&mut head)?;
    command.resize(usize::from(u16::from_be_bytes([head[1], head[2]])), 0);
    spool.read_exact(command)?;
    Ok(if head[0] == b'3' { Wanted::Intermediate } else { Wanted::Positive })
}

fn spool_failure() -> Failure {
    Failure { refusal: Refusal::generic(), spoils: true }
}

fn log_spool_error(error: &io::Error) {
    log::warn!("proxy speed-adjust log I/O error: {}", sys::error_text(error));
}
