//! One message to one server (spec smtp-client 7): commands out, in one go where the server takes that, replies in, and whom
//! they are about.

mod commands;
mod ending;
mod fate;
mod replies;
mod step;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use delivery::{Delivery, Relay, Status};
use queue::sendopts;

use crate::features::Features;
use crate::session::{SMTPUTF8_FOUND, Session};
use crate::settings::Settings;
use crate::tally::Tally;
use fate::Fate;
use step::Step;

/// Bytes of commands that may be on their way before their replies are read.
const BURST: usize = 4096;
/// Replies are read after that time, whatever is still to be sent.
const PATIENCE: Duration = Duration::from_secs(10);
/// The status of a message that exceeds a server's limit.
const TOO_LARGE: &str = "5.3.4";

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
    // Of a connection used again nothing is known, or what the attempt before it has left (observed, 3.11.7).
    if session.life.reuses == 0 {
        tally.stand(&session.standing);
    }
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
            transaction.tally.attempt_failed(&transaction.relay, &transaction.session.progress, &status);
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
            self.session.enter(step.phase());
            self.session.set_limit(step.limit(&self.settings.limits));
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
}

/// Who took the message or refused it, on a connection that stood then.
fn at<'r>(name: &'r str, session: &Session<'_>) -> Relay<'r> {
    Relay { connected: session.ready, reuses: session.life.reuses, ..name.into() }
}

/// The host name of `HOST[ADDRESS]:PORT`.
fn host_of(relay: &str) -> &[u8] {
    relay.split('[').next().unwrap_or_default().as_bytes()
}
