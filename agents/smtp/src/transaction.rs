//! One message to one server (spec smtp-client 7): commands out, in one go where the server takes that, replies in, and whom
//! they are about.

mod commands;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use delivery::{Action, Delivery, Relay, Status};
use ipc::delivery::Recipient;
use queue::{notify, sendopts};
use smtp::stream::Error;

use crate::answer::Answer;
use crate::content::{self, Trouble};
use crate::features::Features;
use crate::protocol::Protocol;
use crate::session::{SMTPUTF8_FOUND, Session};
use crate::settings::{ProbeEnd, Settings};
use crate::tally::Tally;

/// Bytes of commands that may be on their way before their replies are read.
const BURST: usize = 4096;
/// Replies are read after that time, whatever is still to be sent.
const PATIENCE: Duration = Duration::from_secs(10);
/// The status of a message that exceeds a server's limit.
const TOO_LARGE: &str = "5.3.4";
const END_OF_DATA: &str = "sending end of data -- message may be sent more than once";

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// One of the two, by its place.
    Xforward(usize),
    Mail,
    /// Of a recipient, by its place.
    Rcpt(usize),
    Data,
    /// Ends a probe.
    Reset,
}

impl Step {
    /// What is told where no reply comes.
    fn stage(self) -> &'static str {
        match self {
            Self::Xforward(0) => "sending XFORWARD name/address",
            Self::Xforward(_) => "sending XFORWARD protocol/helo_name",
            Self::Mail => "sending MAIL FROM",
            Self::Rcpt(_) => "sending RCPT TO",
            Self::Data => "sending DATA command",
            Self::Reset => "sending final RSET",
        }
    }

    /// As it is called where a reply is told.
    fn command(self) -> &'static str {
        match self {
            Self::Xforward(0) => "XFORWARD name/address",
            Self::Xforward(_) => "XFORWARD helo/protocol",
            Self::Mail => "MAIL FROM",
            Self::Rcpt(_) => "RCPT TO",
            Self::Data => "DATA",
            Self::Reset => "RSET",
        }
    }
}

/// What a server has said to a recipient.
#[derive(Debug)]
enum Fate {
    /// Nothing so far.
    Open(Recipient),
    Accepted(Recipient),
    /// It is not taken, and no other server is asked.
    Over,
    /// Another server may take it.
    Kept(Recipient),
}

impl Fate {
    /// This server may still take it.
    fn is_undecided(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Accepted(_))
    }

    /// The recipient, unless all that is to be told of him was told.
    fn undone(self) -> Option<Recipient> {
        match self {
            Self::Open(recipient) | Self::Accepted(recipient) | Self::Kept(recipient) => Some(recipient),
            Self::Over => None,
        }
    }
}

/// Where the message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Envelope,
    /// The server takes none of it; replies still to come are about nothing.
    Refused,
    /// The server waits for content.
    Content,
}

/// How a dialogue ended in which all that is to be told was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// The connection broke behind it.
    Broken,
    /// The server was not asked.
    Uncounted,
}

/// A message on its way to a server.
struct Transaction<'t, 'a> {
    session: &'t mut Session<'a>,
    settings: &'a Settings,
    delivery: &'a Delivery<'a>,
    tally: &'t mut Tally<'a>,
    is_final: bool,
    relay: String,
    fates: Vec<Fate>,
    phase: Phase,
    converts: bool,
    /// QUIT went with the final dot.
    has_quit: bool,
    /// Nothing more is to be said on this connection.
    must_close: bool,
    /// RSET was said, or is not needed.
    is_reset: bool,
}

/// What became of a session.
#[derive(Debug)]
pub(crate) enum After<'a> {
    Ended,
    /// Its connection is for the next request.
    Kept(Box<Session<'a>>),
    /// The server is to be tried once more, without TLS.
    WithoutTls,
}

/// Delivers to those who are left, and ends the session unless it is to be kept. `is_final` says that no other server is
/// tried.
pub(crate) fn deliver<'a>(
    mut session: Session<'a>,
    settings: &'a Settings,
    delivery: &'a Delivery<'a>,
    tally: &mut Tally<'a>,
    is_final: bool,
) -> After<'a> {
    let fates = std::mem::take(&mut tally.left).into_iter().map(Fate::Open).collect();
    let request = delivery.request();
    let converts = !session.features.contains(Features::EIGHT_BIT)
        && settings.converts_mime
        && request.encoding != b"7bit";
    session.decide_requiretls();
    tally.stand(&session.standing);
    let name = session.names.relay.clone();
    let mut transaction = Transaction {
        session: &mut session,
        settings,
        delivery,
        tally,
        is_final,
        relay: name,
        fates,
        phase: Phase::Envelope,
        converts,
        has_quit: false,
        must_close: false,
        is_reset: false,
    };
    match transaction.run() {
        Ok(end) => {
            transaction.put_back();
            let (has_quit, must_close) = (transaction.has_quit, transaction.must_close);
            let is_kept = !has_quit && !must_close && session.is_to_be_kept();
            // Where a reply to QUIT is waited for, a session without one has not come to its end (observed, 3.7.11).
            let is_whole = match (must_close || is_kept, has_quit) {
                (true, _) => true,
                (false, true) => session.hear_quit(),
                (false, false) => session.quit(),
            };
            tally.has_completed |= end == End::Whole && is_whole;
            // After what was no reply nobody is sure of the next one; there was no QUIT, and is none.
            if is_kept && !session.life.is_spoilt {
                return After::Kept(Box::new(session));
            }
        }
        Err(status) => {
            // Those of whom the server has said something already are for the next one (observed, 3.7.11).
            let has_undecided = transaction.fates.iter().any(Fate::is_undecided);
            transaction.put_back();
            if transaction.session.may_go_without_tls() && has_undecided {
                log::info!("{}: {}", delivery.id(), maillog::shown(&status.text));
                return After::WithoutTls;
            }
            let relay = at(&transaction.relay, transaction.session);
            transaction.tally.site_failed(relay, &status, is_final);
        }
    }
    After::Ended
}

impl Transaction<'_, '_> {
    /// Those who are not decided are left.
    fn put_back(&mut self) {
        self.tally.left = std::mem::take(&mut self.fates).into_iter().filter_map(Fate::undone).collect();
    }

    fn run(&mut self) -> Result<End, Status> {
        if let Some(status) = self.unfit() {
            // What is too large is not worth a QUIT; what needs SMTPUTF8 is refused before the session counts (observed,
            // 3.7.11).
            let is_too_large = status.code() == TOO_LARGE;
            self.must_close = is_too_large && !self.session.is_to_be_kept();
            if is_too_large {
                self.message_failed(&status);
            } else {
                self.passed_over(&status);
            }
            return Ok(if self.session.lacks_smtputf8() { End::Uncounted } else { End::Whole });
        }
        self.envelope()?;
        match self.phase {
            Phase::Content if self.delivery.is_probe() => {}
            Phase::Content if self.has_accepted() => self.content()?,
            Phase::Content => self.nothing()?,
            Phase::Envelope | Phase::Refused if self.is_reset => {}
            Phase::Envelope | Phase::Refused => return Ok(self.reset()),
        }
        Ok(End::Whole)
    }

    /// Why the message is nothing for this server, whatever it may say.
    fn unfit(&self) -> Option<Status> {
        let (request, host) = (self.delivery.request(), &self.session.names.host);
        if self.session.lacks_smtputf8() {
            let text = if self.settings.minor < 11 {
                format!("SMTPUTF8 is required, but was not offered by host {host}")
            } else {
                format!(
                    "message requires SMTPUTF8, but no server was found that supports SMTPUTF8. \
                     The last attempted server was {host}"
                )
            };
            return Some(Status::new("5.6.7", text));
        }
        if let Some(status) = self.session.lacks_requiretls() {
            return Some(status);
        }
        if let Some(limit) = self.session.size_limit
            && limit < request.content_size
        {
            let size = request.content_size;
            let text = format!("message size {size} exceeds size limit {limit} of server {host}");
            return Some(Status::new(TOO_LARGE, text));
        }
        None
    }

    /// Addresses that are not ASCII are taken for those of SMTPUTF8.
    fn is_international(&self) -> bool {
        let options = i64::from(self.delivery.request().sendopts);
        options & (sendopts::SMTPUTF8_REQUESTED | SMTPUTF8_FOUND) != 0
    }

    /// All commands up to DATA, or to the end of a probe.
    fn envelope(&mut self) -> Result<(), Status> {
        let pipelines = self.session.features.contains(Features::PIPELINING);
        let mut pending = VecDeque::new();
        let (mut burst, mut last) = (0, Instant::now());
        for (step, line) in self.steps() {
            let length = line.len() + 2;
            if !pipelines || burst + length > BURST || last.elapsed() > PATIENCE {
                self.drain(&mut pending)?;
                (burst, last) = (0, Instant::now());
            }
            // With replies still to come nothing is known yet.
            if pending.is_empty() && !self.goes_on() {
                break;
            }
            self.session.set_limit(self.limit(step));
            self.session.write(&line).map_err(|error| self.session.lost(&error, step.stage()))?;
            burst += length;
            if step == Step::Reset {
                self.is_reset = true;
                self.quit_at_once().map_err(|error| self.session.lost(&error, step.stage()))?;
            }
            pending.push_back(step);
        }
        self.drain(&mut pending)
    }

    /// Whether there is anybody left to deliver to.
    fn goes_on(&self) -> bool {
        self.phase == Phase::Envelope && self.fates.iter().any(Fate::is_undecided)
    }

    fn has_accepted(&self) -> bool {
        self.fates.iter().any(|fate| matches!(fate, Fate::Accepted(_)))
    }

    /// Reads the replies to what is on its way.
    fn drain(&mut self, pending: &mut VecDeque<Step>) -> Result<(), Status> {
        while let Some(step) = pending.pop_front() {
            self.session.set_limit(self.limit(step));
            match self.session.read(step.stage()) {
                Ok(answer) => self.hear(step, &answer),
                // All is told by then.
                Err(_) if step == Step::Reset => self.must_close = true,
                Err(status) => return Err(status),
            }
        }
        Ok(())
    }

    fn hear(&mut self, step: Step, answer: &Answer) {
        match step {
            Step::Xforward(_) if answer.class() != 2 => {
                let (relay, text) = (&self.relay, maillog::shown(&answer.text));
                log::warn!("host {relay} said: {text} (in reply to {} command)", step.command());
            }
            Step::Xforward(_) | Step::Reset => {}
            Step::Mail if answer.class() != 2 => {
                let status = self.session.failure(answer, step.command());
                self.message_failed(&status);
            }
            Step::Mail => {}
            Step::Rcpt(place) => self.hear_of_recipient(place, answer),
            Step::Data if answer.class() == 3 => self.hear_go_on(answer),
            Step::Data if self.has_accepted() => {
                let status = self.session.failure(answer, step.command());
                self.message_failed(&status);
            }
            Step::Data => self.phase = Phase::Refused,
        }
    }

    fn hear_of_recipient(&mut self, place: usize, answer: &Answer) {
        if self.phase == Phase::Refused {
            return;
        }
        let fate = std::mem::replace(&mut self.fates[place], Fate::Over);
        let Fate::Open(recipient) = fate else {
            self.fates[place] = fate;
            return;
        };
        self.fates[place] = if answer.class() == 2 {
            if self.delivery.is_probe() && self.settings.probe_end == ProbeEnd::Rcpt {
                self.sent(&recipient, &answer.success(&self.session.names.host));
                Fate::Over
            } else {
                Fate::Accepted(recipient)
            }
        } else {
            let status = self.session.failure(answer, Step::Rcpt(place).command());
            self.recipient_failed(recipient, &status)
        };
    }

    /// The server waits for content.
    fn hear_go_on(&mut self, answer: &Answer) {
        self.phase = Phase::Content;
        if !self.delivery.is_probe() {
            return;
        }
        let status = Status::of_reply("2.0.0", answer.text.clone(), host_of(&self.relay), &answer.text);
        for recipient in self.take_accepted() {
            self.sent(&recipient, &status);
        }
        self.must_close = true;
    }

    fn take_accepted(&mut self) -> Vec<Recipient> {
        let accepted = self.take(|fate| matches!(fate, Fate::Accepted(_)));
        accepted.into_iter().map(|(_, recipient)| recipient).collect()
    }

    /// Takes those out whose fate is one of these, each with his place.
    fn take(&mut self, is_wanted: impl Fn(&Fate) -> bool) -> Vec<(usize, Recipient)> {
        let wanted = self.fates.iter_mut().enumerate().filter(|(_, fate)| is_wanted(fate));
        let taken =
            |(place, fate): (usize, &mut Fate)| Some((place, std::mem::replace(fate, Fate::Over).undone()?));
        wanted.filter_map(taken).collect()
    }

    /// A recipient has the message, or would have.
    fn sent(&mut self, recipient: &Recipient, status: &Status) {
        let has_dsn = self.session.features.contains(Features::DSN);
        let mut told = recipient.clone();
        if has_dsn {
            // The next server tells of it.
            told.notify_flags &= !i32::try_from(notify::SUCCESS).unwrap_or(0);
        }
        let is_final = self.settings.protocol == Protocol::Lmtp && self.settings.is_final && !has_dsn;
        let action = if is_final { Action::Delivered } else { Action::Relayed };
        let relay = at(&self.relay, self.session);
        self.tally.sent(&told, relay, status, action);
    }

    fn recipient_failed(&mut self, recipient: Recipient, status: &Status) -> Fate {
        let relay = at(&self.relay, self.session);
        self.tally.failed(recipient, relay, status, self.is_final).map_or(Fate::Over, Fate::Kept)
    }

    /// Nobody of whom nothing is decided gets the message from this server.
    fn message_failed(&mut self, status: &Status) {
        self.end_message(|tally, relay, is_final| tally.all_failed(relay, status, is_final));
    }

    /// The same where another server may have what this one lacks: from 3.11 on it is asked, whatever the status.
    fn passed_over(&mut self, status: &Status) {
        if self.settings.minor < 11 {
            return self.message_failed(status);
        }
        self.end_message(|tally, relay, is_final| tally.passed_over(relay, status, is_final));
    }

    /// Those who are kept, all or none, stay where they are in the request's order.
    fn end_message(&mut self, tell: impl FnOnce(&mut Tally<'_>, Relay<'_>, bool)) {
        self.phase = Phase::Refused;
        let (places, recipients): (Vec<usize>, Vec<Recipient>) =
            self.take(Fate::is_undecided).into_iter().unzip();
        self.tally.left = recipients;
        let relay = at(&self.relay, self.session);
        tell(self.tally, relay, self.is_final);
        for (place, recipient) in places.into_iter().zip(std::mem::take(&mut self.tally.left)) {
            self.fates[place] = Fate::Kept(recipient);
        }
    }

    /// The content, and what the server says to it.
    fn content(&mut self) -> Result<(), Status> {
        let first = self.fates.iter().find_map(|fate| match fate {
            Fate::Accepted(recipient) => Some(recipient.clone()),
            _ => None,
        });
        let Some(first) = first else { return Ok(()) };
        self.session.set_content_limit(self.settings.limits.data_xfer);
        let told = &mut self.tally.told_of_long_lines;
        let sent = content::send(self.session, self.settings, self.delivery, &first, self.converts, told);
        match sent.and_then(|()| self.end_content().map_err(Trouble::Connection)) {
            Ok(()) => {}
            Err(Trouble::Connection(error)) => {
                // A server that has had enough may have said why before it went.
                self.session.set_limit(self.settings.limits.data_done);
                let stage = "sending message body";
                let lost = self.session.lost(&error, stage);
                let answer = self.session.read(stage).map_err(|_| lost.clone())?;
                if !matches!(answer.class(), 4 | 5) {
                    return Err(lost);
                }
                self.must_close = true;
                let status = self.session.failure(&answer, "end of DATA");
                self.message_failed(&status);
                return Ok(());
            }
            Err(Trouble::Unreadable { is_damaged }) => {
                self.must_close = true;
                self.message_failed(&Status::new("5.3.0", "unreadable mail queue entry"));
                if is_damaged {
                    self.delivery.mark_corrupt();
                }
                return Ok(());
            }
            Err(Trouble::Checks) => {
                let _ = self.session.flush();
                self.session.blame_table();
                let host = &self.session.names.host;
                return Err(Status::new("4.3.0", format!("local data error while talking to {host}")));
            }
            Err(Trouble::Structure(error)) => {
                self.must_close = true;
                self.message_failed(&Status::new("5.6.0", error.text()));
                return Ok(());
            }
        }
        self.session.set_limit(self.settings.limits.data_done);
        match self.settings.protocol {
            Protocol::Smtp => {
                let answer = self.session.read(END_OF_DATA)?;
                if answer.class() == 2 {
                    let status = answer.success(&self.session.names.host);
                    for recipient in self.take_accepted() {
                        self.sent(&recipient, &status);
                    }
                } else {
                    let status = self.session.failure(&answer, "end of DATA");
                    self.message_failed(&status);
                }
            }
            Protocol::Lmtp => self.hear_each()?,
        }
        Ok(())
    }

    /// LMTP's replies, one for each recipient that was accepted.
    fn hear_each(&mut self) -> Result<(), Status> {
        for place in 0..self.fates.len() {
            if !matches!(self.fates[place], Fate::Accepted(_)) {
                continue;
            }
            let answer = self.session.read(END_OF_DATA)?;
            let Fate::Accepted(recipient) = std::mem::replace(&mut self.fates[place], Fate::Over) else {
                continue;
            };
            if answer.class() == 2 {
                self.sent(&recipient, &answer.success(&self.session.names.host));
            } else {
                let status = self.session.failure(&answer, "end of DATA");
                self.fates[place] = self.recipient_failed(recipient, &status);
            }
        }
        Ok(())
    }

    /// The dot, with QUIT behind it where the server takes that.
    fn end_content(&mut self) -> Result<(), Error> {
        if self.session.delays_dot {
            self.session.flush()?;
            std::thread::sleep(self.settings.pix_delay);
        }
        self.session.write(b".")?;
        self.quit_at_once()?;
        self.session.flush()
    }

    /// Takes leave without waiting for what the server says to the command before, where it takes that.
    fn quit_at_once(&mut self) -> Result<(), Error> {
        if self.session.features.contains(Features::PIPELINING) && !self.session.is_to_be_kept() {
            self.session.write(b"QUIT")?;
            self.has_quit = true;
        }
        Ok(())
    }

    /// The server wants content for nobody: it gets an empty message, whose reply is about nothing.
    fn nothing(&mut self) -> Result<(), Status> {
        self.session.set_limit(self.settings.limits.data_done);
        self.end_content().map_err(|error| self.session.lost(&error, END_OF_DATA))?;
        self.session.read(END_OF_DATA).map(drop)
    }

    /// What happens here changes nothing for a recipient.
    fn reset(&mut self) -> End {
        self.session.set_limit(self.settings.limits.rset);
        let said = self.session.write(b"RSET").and_then(|()| self.quit_at_once());
        if said.is_ok() && self.session.read(Step::Reset.stage()).is_ok() {
            return End::Whole;
        }
        self.must_close = true;
        End::Broken
    }

    fn limit(&self, step: Step) -> Duration {
        let limits = &self.settings.limits;
        match step {
            Step::Xforward(_) => limits.xforward,
            Step::Mail => limits.mail,
            Step::Rcpt(_) => limits.rcpt,
            Step::Data => limits.data_init,
            Step::Reset => limits.rset,
        }
    }

    /// The commands, in order, as they go over the wire.
    fn steps(&self) -> Vec<(Step, Vec<u8>)> {
        let mut steps: Vec<(Step, Vec<u8>)> = Vec::new();
        if self.settings.sends_xforward {
            steps.extend(self.xforward());
        }
        steps.push((Step::Mail, self.mail()));
        for (place, fate) in self.fates.iter().enumerate() {
            if let Fate::Open(recipient) = fate {
                steps.push((Step::Rcpt(place), self.rcpt(recipient)));
            }
        }
        let ends_at_rcpt = self.delivery.is_probe() && self.settings.probe_end == ProbeEnd::Rcpt;
        steps.push(if ends_at_rcpt {
            (Step::Reset, b"RSET".to_vec())
        } else {
            (Step::Data, b"DATA".to_vec())
        });
        steps
    }
}

/// Who took the message or refused it, on a connection that stood then.
fn at<'r>(name: &'r str, session: &Session<'_>) -> Relay<'r> {
    Relay { connected: session.ready, reuses: session.life.reuses, ..name.into() }
}

/// The host name of `HOST[ADDRESS]:PORT`.
fn host_of(relay: &str) -> &[u8] {
    relay.split('[').next().unwrap_or_default().as_bytes()
}
