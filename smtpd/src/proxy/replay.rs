//! `speed_adjust`: the transaction is recorded while the slow client talks, and replayed to the filter at full speed.
//!
//! Shape of the spool: for each command a byte (`2` or `3`, the digit its reply must begin with), its length as two
//! bytes, and its text; DATA is the last of them, and all that follows is content as it goes over the wire, without
//! the final dot. EHLO, XFORWARD and MAIL are not in the spool: they are said when the connection opens.

use std::io::{self, Read};
use std::sync::Arc;

use access::replies;
use maillog::Cause;

use super::call::call;
use super::command::{Command, Wanted};
use super::connection::FilterConnection;
use super::counters::Phase;
use super::failure::Failure;
use super::gate::Busy;
use super::outcome::{DividedMessage, RecipientVerdict};
use super::params::{Outage, ProxyParams};
use super::spool::{Spool, log_spool_error};
use super::spooled::Spooled;
use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::origin::Origin;

/// Commands read from the spool at a time.
const BATCH: usize = 50;

/// A transaction waiting for its filter.
#[derive(Debug)]
pub(super) struct Recording {
    params: Arc<ProxyParams>,
    origin: Origin,
    mail: Vec<u8>,
    spool: Spool,
    failed: bool,
    /// For the case that no filter can be reached, and for answers of LMTP.
    recipients: Vec<Recipient>,
}

/// How a transaction ended.
#[derive(Debug)]
pub(super) enum Played {
    /// With this reply.
    Answered(Vec<u8>),
    /// The conversation with the filter has failed.
    Broken,
    /// No filter can be reached, and mail is not to wait for one.
    Unfiltered(Spooled),
    /// With an answer for each recipient.
    Each(DividedMessage),
}

impl Recording {
    /// Starts with MAIL.
    pub(super) fn new(params: &Arc<ProxyParams>, transaction: &Envelope) -> Self {
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
    pub(super) fn recipient(&mut self, rcpt: &Recipient, command: &[u8]) -> Result<(), Failure> {
        if self.params.options.outage != Outage::Tempfail || self.is_lmtp() {
            self.recipients.push(rcpt.clone());
        }
        self.command(command, Wanted::Positive)
    }

    /// Records a command.
    pub(super) fn command(&mut self, command: &[u8], wanted: Wanted) -> Result<(), Failure> {
        // Command lines are bounded by line_length_limit, or by a command filter's result.
        let Some(head) = Command::recorded_head(command, wanted) else { return Err(Failure::of_spool()) };
        self.write(&head);
        self.write(command);
        if self.failed { Err(Failure::of_spool()) } else { Ok(()) }
    }

    /// Records bytes of content.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if !self.failed
            && let Err(error) = self.spool.write(bytes)
        {
            log_spool_error(&error);
            self.failed = true;
        }
    }

    /// Calls the filter and plays it all. The first negative reply ends it.
    pub(super) fn replay(mut self) -> Played {
        if self.failed {
            return Played::Broken;
        }
        let place = match self.params.gate.as_ref().map(|gate| gate.enter(&self.origin.address)).transpose() {
            Ok(place) => place,
            Err(Busy) => return Played::Answered(replies::FILTER_BUSY.into()),
        };
        let result = self.play();
        drop(place);
        match result {
            Ok(replies) if self.is_lmtp() => {
                let each = self.recipients.iter().cloned().zip(replies);
                let verdicts = each.map(|(rcpt, reply)| RecipientVerdict { rcpt, reply }).collect();
                let message = Some(Spooled::new(self.recipients, self.spool));
                Played::Each(DividedMessage { verdicts, message })
            }
            Ok(replies) => replies.into_iter().next().flatten().map_or(Played::Broken, Played::Answered),
            Err(failure) if self.params.goes_without(&failure) => {
                Played::Unfiltered(Spooled::new(self.recipients, self.spool))
            }
            Err(failure) if failure.spoils => Played::Broken,
            Err(failure) => Played::Answered(failure.refusal.text),
        }
    }

    /// A filter that breaks off before its verdict gets the message a second time, or another one does, where there is
    /// reason to believe that it helps: there are others, or a restart has been announced. Never a third time: it may be
    /// the message that breaks it.
    fn play(&mut self) -> Result<Answers, Failure> {
        let options = &self.params.options;
        let again = self.params.filters.count() > 1 || !options.grace_time.is_zero();
        let connection = call(&self.params, &self.origin, &self.mail, None)?;
        let filter = connection.filter();
        match self.play_to(connection) {
            Err(failure) if again && failure.cause == Cause::Lost => {}
            result => return result,
        }
        // From here on it is no outage: a message that breaks filters must not get around them.
        let broken = |failure: Failure| Failure { phase: Phase::Verdict, ..failure };
        let connection = call(&self.params, &self.origin, &self.mail, Some(filter)).map_err(broken)?;
        self.play_to(connection)
    }

    fn is_lmtp(&self) -> bool {
        self.params.options.lmtp().is_some()
    }

    /// Plays the commands and the content; the verdict, or what came in between.
    fn play_to(&mut self, mut connection: FilterConnection) -> Result<Answers, Failure> {
        let lmtp = self.is_lmtp();
        let mut reader = self.spool.reader().map_err(unreadable)?;
        let played = if lmtp {
            play_lmtp_commands(&mut connection, &mut reader)
        } else {
            play_commands(&mut connection, &mut reader).map(|()| vec![None])
        };
        let mut answers = match played {
            Ok(answers) if answers.iter().all(Option::is_some) => {
                connection.leave();
                return Ok(answers);
            }
            Ok(answers) => answers,
            Err(failure) => {
                connection.leave();
                return Err(failure);
            }
        };
        if let Err(failure) = play_content(&mut connection, &mut reader) {
            connection.leave();
            return Err(failure);
        }
        let open: Vec<&mut Option<Vec<u8>>> = answers.iter_mut().filter(|answer| answer.is_none()).collect();
        let verdict = connection.finish(open.len());
        if verdict.replies.is_empty() {
            return Err(Failure::generic(Phase::Verdict, verdict.broken.unwrap_or(Cause::Lost)));
        }
        for (answer, reply) in open.into_iter().zip(verdict.replies) {
            *answer = Some(reply);
        }
        Ok(answers)
    }
}

/// Replies to the message: one, with LMTP one for each recipient, as far as they came.
type Answers = Vec<Option<Vec<u8>>>;

/// With LMTP a recipient that the filter refuses has its answer; the others go on. DATA follows when there are any.
fn play_lmtp_commands(connection: &mut FilterConnection, spool: &mut impl Read) -> Result<Answers, Failure> {
    let mut answers = Vec::new();
    loop {
        let mut commands = Vec::new();
        let mut data = None;
        while data.is_none() && commands.len() < BATCH {
            let (wanted, line) = Command::read(spool).map_err(unreadable)?;
            let command = Command::of_client(line, wanted);
            if wanted == Wanted::Intermediate { data = Some(command) } else { commands.push(command) }
        }
        connection.exchange(&commands, &mut |_, result| match result {
            Err(failure) if failure.spoils => Err(failure),
            result => {
                answers.push(result.err().map(|failure| failure.refusal.text));
                Ok(())
            }
        })?;
        if let Some(data) = data {
            if answers.iter().any(Option::is_none) {
                connection.command(data)?;
            }
            return Ok(answers);
        }
    }
}

fn play_commands(connection: &mut FilterConnection, spool: &mut impl Read) -> Result<(), Failure> {
    let mut last = false;
    while !last {
        let mut commands = Vec::new();
        while !last && commands.len() < BATCH {
            let (wanted, line) = Command::read(spool).map_err(unreadable)?;
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

fn unreadable(error: io::Error) -> Failure {
    log_spool_error(&error);
    Failure::of_spool()
}
