//! `speed_adjust`: the transaction is recorded while the slow client talks, and replayed to the filter at full speed.
//!
//! Shape of the spool: for each command a byte (`2` or `3`, the digit its reply must begin with), its length as two
//! bytes, and its text; DATA is the last of them, and all that follows is content as it goes over the wire, without
//! the final dot. EHLO, XFORWARD and MAIL are not in the spool: they are said when the connection opens.

use std::io::{self, Read};
use std::sync::Arc;

use super::Busy;
use super::call::call;
use super::connection::{Command, FilterConnection, Wanted};
use super::counters::Phase;
use super::failure::{Cause, Failure};
use super::params::{Outage, ProxyParams};
use super::spool::Spool;
use super::unfiltered::Unfiltered;
use crate::destination::{Origin, Refusal};
use crate::replies;
use crate::transaction::{Recipient, Transaction};

/// Commands read from the spool at a time.
const BATCH: usize = 50;

/// A transaction waiting for its filter.
#[derive(Debug)]
pub struct Recording {
    params: Arc<ProxyParams>,
    origin: Origin,
    mail: Vec<u8>,
    spool: Spool,
    failed: bool,
    /// For the case that no filter can be reached.
    recipients: Vec<Recipient>,
}

/// How a transaction ended.
#[derive(Debug)]
pub enum Played {
    /// With this reply.
    Answered(Vec<u8>),
    /// No filter can be reached, and mail is not to wait for one.
    Unfiltered(Unfiltered),
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
            recipients: Vec::new(),
        }
    }

    /// Records an accepted recipient.
    pub fn recipient(&mut self, rcpt: &Recipient, command: &[u8]) -> Result<(), Failure> {
        if self.params.options.outage != Outage::Tempfail {
            self.recipients.push(rcpt.clone());
        }
        self.command(command, Wanted::Positive)
    }

    /// Records a command.
    pub fn command(&mut self, command: &[u8], wanted: Wanted) -> Result<(), Failure> {
        let digit = match wanted {
            Wanted::Positive => b'2',
            Wanted::Intermediate => b'3',
        };
        // Command lines are bounded by line_length_limit, or by a command filter's result.
        let Ok(len) = u16::try_from(command.len()) else { return Err(Failure::of_spool()) };
        self.write(&[digit]);
        self.write(&len.to_be_bytes());
        self.write(command);
        if self.failed { Err(Failure::of_spool()) } else { Ok(()) }
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

    /// Calls the filter and plays it all. The first negative reply ends it.
    pub fn replay(mut self) -> Played {
        if self.failed {
            return Played::Answered(Refusal::generic().0);
        }
        let place = match self.params.gate.as_ref().map(|gate| gate.enter(&self.origin.address)).transpose() {
            Ok(place) => place,
            Err(Busy) => return Played::Answered(replies::FILTER_BUSY.into()),
        };
        let result = self.play();
        drop(place);
        match result {
            Ok(reply) => Played::Answered(reply),
            Err(failure) if self.params.goes_without(&failure) => {
                Played::Unfiltered(Unfiltered::new(self.recipients, self.spool))
            }
            Err(failure) => Played::Answered(failure.refusal.0),
        }
    }

    /// A filter that breaks off before its verdict gets the message a second time, or another one does, where there is
    /// reason to believe that it helps: there are others, or a restart has been announced. Never a third time: it may be
    /// the message that breaks it.
    fn play(&mut self) -> Result<Vec<u8>, Failure> {
        let options = &self.params.options;
        let again = self.params.filters.count() > 1 || !options.grace_time.is_zero();
        let connection = call(&self.params, &self.origin, &self.mail, None)?;
        let filter = connection.filter();
        match play(connection, &mut self.spool) {
            Err(failure) if again && failure.cause == Cause::Lost => {}
            result => return result,
        }
        // From here on it is no outage: a message that breaks filters must not get around them.
        let broken = |failure: Failure| Failure { phase: Phase::Verdict, ..failure };
        let connection = call(&self.params, &self.origin, &self.mail, Some(filter)).map_err(broken)?;
        play(connection, &mut self.spool)
    }
}

/// Plays the commands and the content of the spool; the verdict, or what came in between.
fn play(mut connection: FilterConnection, spool: &mut Spool) -> Result<Vec<u8>, Failure> {
    let mut reader = spool.reader().map_err(unreadable)?;
    match play_commands(&mut connection, &mut reader)
        .and_then(|()| play_content(&mut connection, &mut reader))
    {
        Ok(()) => {}
        Err(failure) => {
            connection.leave();
            return Err(failure);
        }
    }
    let verdict = connection.finish(1);
    match (verdict.replies.into_iter().next(), verdict.broken) {
        (Some(reply), _) => Ok(reply),
        (None, cause) => Err(Failure::generic(Phase::Verdict, cause.unwrap_or(Cause::Lost))),
    }
}

fn play_commands(connection: &mut FilterConnection, spool: &mut impl Read) -> Result<(), Failure> {
    let mut last = false;
    while !last {
        let mut commands = Vec::new();
        while !last && commands.len() < BATCH {
            let (wanted, line) = read_command(spool).map_err(unreadable)?;
            last = wanted == Wanted::Intermediate;
            commands.push(Command::of_client(line, wanted));
        }
        connection.exchange(&commands, &mut |_, result| result)?;
    }
    Ok(())
}

fn play_content(connection: &mut FilterConnection, spool: &mut impl Read) -> Result<(), Failure> {
    let mut content = [0; 4096];
    loop {
        let len = spool.read(&mut content).map_err(unreadable)?;
        if len == 0 {
            return Ok(());
        }
        connection.write(&content[..len]);
        if let Some(cause) = connection.broken() {
            return Err(Failure::generic(Phase::Content, cause));
        }
    }
}

/// Reads a command: what its reply must begin with, and its line.
pub fn read_command(spool: &mut impl Read) -> io::Result<(Wanted, Vec<u8>)> {
    let mut head = [0; 3];
    spool.read_exact(&mut head)?;
    let mut line = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    spool.read_exact(&mut line)?;
    Ok((if head[0] == b'3' { Wanted::Intermediate } else { Wanted::Positive }, line))
}

fn unreadable(error: io::Error) -> Failure {
    log_spool_error(&error);
    Failure::of_spool()
}

/// Postfix's line for a spool that cannot be written or read.
pub fn log_spool_error(error: &io::Error) {
    log::warn!("proxy speed-adjust log I/O error: {}", sys::error_text(error));
}
