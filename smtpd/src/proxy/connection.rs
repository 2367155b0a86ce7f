//! A connection to the filter: one command, one reply, and what each wrong reply means.

use std::sync::Arc;
use std::time::Instant;

use access::local_header_rewrite::RewriteContext;
use maillog::{Cause, FilterFailure};
use metrics::{Activity, Family, Fault};
use smtp::client::{Attribute, ConnectError, Conversation, Features, Irregularity, Socket, XforwardLines};
use smtp::stream::Error;
use smtp::{Reply, printable};

use super::command::{Command, Wanted};
use super::counters::Phase;
use super::failure::Failure;
use super::filters::{Idle, LEAVE, Lease, wait_for_end};
use super::learning::{Learnt, without};
use super::params::{Protocol, ProxyParams};
use crate::mail::origin::Origin;
use crate::mail::refusal::Refusal;

/// How many bytes of an over-long XFORWARD attribute the warning shows.
const SHOWN: usize = 10;
/// Commands that travel together: few enough for their replies not to fill the buffers of both sides (RFC 2920,
/// section 3.1).
const GROUP: usize = 50;

/// Turns the result of a command into whether to go on.
pub(super) type Judge<'j> = dyn FnMut(&Command, Result<(), Failure>) -> Result<(), Failure> + 'j;

/// Whether a filter is called for the first time for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// A failure is logged.
    First,
    /// All have been called and failed, within the grace period: it has been said.
    Again,
}

/// What the filter said to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Its replies: one, with LMTP one a recipient. Fewer when the conversation broke.
    pub replies: Vec<Vec<u8>>,
    /// Why there are not all of them.
    pub broken: Option<Cause>,
}

/// An open conversation with the filter, past its MAIL command.
pub(super) struct FilterConnection {
    params: Arc<ProxyParams>,
    /// Closed before its place is given back: fields are dropped in order.
    conversation: Conversation<Socket>,
    lease: Lease,
    features: Features,
    attempt: Attempt,
    /// Messages it has had, this one included.
    messages: u32,
    /// It was put away after an earlier message.
    resumed: bool,
    /// The same, and it has not answered since.
    unproven: bool,
    /// The last message was given up.
    unfinished: bool,
    /// Why the filter talks no more: time-out, end of file. A broken connection is logged once.
    broken: Option<Cause>,
    /// No reply is outstanding, and no content under way.
    in_step: bool,
    phase: Phase,
    since: Instant,
    last_reply: Vec<u8>,
}

impl std::fmt::Debug for FilterConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { lease, broken, .. } = self;
        write!(f, "FilterConnection {{ filter: {}, broken: {broken:?} }}", lease.endpoint())
    }
}

impl FilterConnection {
    /// Goes through EHLO, XFORWARD and MAIL with this filter, or through the last two on a connection that an earlier
    /// message has left.
    pub(super) fn open(
        params: &Arc<ProxyParams>,
        mut lease: Lease,
        origin: &Origin,
        mail: &[u8],
        attempt: Attempt,
    ) -> Result<Self, Failure> {
        if let Some(idle) = lease.idle() {
            let mut connection = Self::resumed(params, lease, idle);
            match connection.begin(origin, mail) {
                Ok(()) => return Ok(connection),
                Err(failure) if connection.is_stale(&failure) => {
                    connection.take_leave();
                    lease = connection.lease;
                    lease.count(|counters| counters.stale += 1);
                }
                Err(failure) => {
                    connection.quit();
                    return Err(failure);
                }
            }
        }
        let mut connection = Self::connect(params, lease, attempt)?;
        match connection.introduce().and_then(|()| connection.begin(origin, mail)) {
            Ok(()) => Ok(connection),
            Err(failure) => {
                connection.quit();
                Err(failure)
            }
        }
    }

    fn connect(params: &Arc<ProxyParams>, lease: Lease, attempt: Attempt) -> Result<Self, Failure> {
        lease.make_room();
        let since = Instant::now();
        match connect(params, &lease) {
            Ok(conversation) => {
                lease.count(|counters| counters.connections += 1);
                if metrics::is_on() {
                    metrics::count(Family::SmtpdProxyConnections, &[&lease.endpoint().to_string()]);
                }
                Ok(Self { attempt, ..Self::new(params, lease, conversation) })
            }
            Err((cause, reason)) => {
                lease.failed();
                let failure = Failure::generic(Phase::Connect, cause);
                if attempt == Attempt::First {
                    log::warn!("connect to proxy filter {}: {reason}", lease.endpoint());
                    detail(params, &lease, &failure, since, &reason);
                }
                Err(failure)
            }
        }
    }

    fn new(params: &Arc<ProxyParams>, lease: Lease, conversation: Conversation<Socket>) -> Self {
        Self {
            params: Arc::clone(params),
            lease,
            conversation,
            features: Features::default(),
            attempt: Attempt::First,
            messages: 0,
            resumed: false,
            unproven: false,
            unfinished: false,
            broken: None,
            in_step: true,
            phase: Phase::Greeting,
            since: Instant::now(),
            last_reply: Vec::new(),
        }
    }

    fn resumed(params: &Arc<ProxyParams>, lease: Lease, idle: Idle) -> Self {
        let Idle { conversation, features, messages, unfinished, .. } = idle;
        let fresh = Self::new(params, lease, conversation);
        Self { features, messages, unfinished, resumed: true, unproven: true, ..fresh }
    }

    /// The filter had gone, or says that it goes, or takes no other client on this connection; and this message has
    /// nothing to do with it.
    fn is_stale(&self, failure: &Failure) -> bool {
        let leaves = failure.cause == Cause::Lost || self.last_reply.starts_with(b"421");
        let refuses = failure.cause == Cause::Reply && failure.phase == Phase::Xforward;
        (self.unproven && leaves) || (self.resumed && refuses)
    }

    /// Which filter it is.
    pub(super) fn filter(&self) -> usize {
        self.lease.index()
    }

    /// Greeting and EHLO: here the filter's own words never reach the client.
    fn introduce(&mut self) -> Result<(), Failure> {
        self.enter(Phase::Greeting);
        self.expect(b"connection request", Wanted::Positive).map_err(Failure::in_our_words)?;
        let verb = match self.params.options.protocol {
            Protocol::Smtp => &b"EHLO "[..],
            Protocol::Lmtp(_) => b"LHLO ",
        };
        let ehlo = [verb, self.params.ehlo.as_slice()].concat();
        self.enter(Phase::Ehlo);
        self.send(&ehlo)?;
        let reply = self.expect(&ehlo, Wanted::Positive).map_err(Failure::in_our_words)?;
        self.features = Features::of_reply(&reply);
        if self.params.options.ehlo_learning {
            let learnt = Learnt::of(&self.features);
            if self.lease.learn(learnt) && !learnt.xforward {
                log::warn!(
                    "proxy {} does not announce XFORWARD: what is behind it will take it for the client",
                    self.lease.endpoint()
                );
            }
        }
        Ok(())
    }

    /// XFORWARD and MAIL.
    fn begin(&mut self, origin: &Origin, mail: &[u8]) -> Result<(), Failure> {
        self.messages = self.messages.saturating_add(1);
        let mut commands = Vec::new();
        if std::mem::take(&mut self.unfinished) {
            commands.push(Command { line: b"RSET".to_vec(), phase: Phase::Xforward });
        }
        commands
            .extend(self.xforward(origin).into_iter().map(|line| Command { line, phase: Phase::Xforward }));
        commands.push(Command { line: mail.to_vec(), phase: Phase::Mail });
        self.exchange(&commands, &mut |command, result| {
            let ours = command.phase == Phase::Xforward;
            result.map_err(|failure| if ours { failure.in_our_words() } else { failure })
        })
    }

    fn xforward(&self, origin: &Origin) -> Vec<Vec<u8>> {
        let wanted = self.features.xforward();
        let mut lines = XforwardLines::default();
        for attribute in Attribute::ALL.into_iter().filter(|&attribute| wanted.has(attribute)) {
            let value = value(attribute, origin);
            if lines.add(attribute, value) {
                let value = value.unwrap_or_default();
                let shown = printable(&value[..value.len().min(SHOWN)]).into_owned();
                let name = attribute.name();
                log::warn!("XFORWARD command payload {name}={shown}... exceeds SMTP protocol limit");
            }
        }
        lines.finish()
    }

    /// Sends a command and judges the reply.
    pub(super) fn command(&mut self, command: Command) -> Result<(), Failure> {
        self.exchange(&[command], &mut |_, result| result)
    }

    /// Sends commands, in groups when the filter can take them so, and has each result judged in its turn; an error
    /// from `judge` ends it.
    pub(super) fn exchange(&mut self, commands: &[Command], judge: &mut Judge<'_>) -> Result<(), Failure> {
        let together = self.params.options.pipelining && self.features.has("PIPELINING");
        for group in commands.chunks(if together { GROUP } else { 1 }) {
            let lines: Vec<_> = group.iter().map(|command| self.fitting(command)).collect();
            for (command, line) in group.iter().zip(&lines) {
                self.enter(command.phase);
                let sent = self.send(line);
                if !together {
                    sent.or_else(|failure| judge(command, Err(failure)))?;
                }
            }
            for (index, (command, line)) in group.iter().zip(&lines).enumerate() {
                self.enter(command.phase);
                self.in_step = index + 1 == group.len();
                let result = self.expect(line, command.wanted()).map(|_| ());
                if result.is_ok() && command.phase == Phase::Data {
                    self.in_step = false;
                }
                judge(command, result)?;
            }
        }
        Ok(())
    }

    /// A command without what the filter has not announced, where that is wanted.
    fn fitting(&self, command: &Command) -> Vec<u8> {
        let options = &self.params.options;
        let mut line = command.line.clone();
        if options.prdr() && command.phase == Phase::Mail {
            // Between the client and us.
            line = without(&line, |word| word.eq_ignore_ascii_case(b"PRDR"));
        }
        if options.ehlo_learning && matches!(command.phase, Phase::Mail | Phase::Rcpt) {
            line = Learnt::of(&self.features).fitting(&line);
        }
        line
    }

    fn enter(&mut self, phase: Phase) {
        metrics::activity(if phase == Phase::Verdict { Activity::Verdict } else { Activity::Filter });
        self.phase = phase;
        self.since = Instant::now();
        self.conversation.set_timeout(self.params.timeouts.of(phase));
    }

    fn send(&mut self, command: &[u8]) -> Result<(), Failure> {
        if self.broken.is_none() {
            let result = self.conversation.write_line(command);
            self.note(result);
        }
        self.broken.map_or(Ok(()), |cause| Err(Failure::generic(self.phase, cause)))
    }

    /// Reads the reply to `command`.
    fn expect(&mut self, command: &[u8], wanted: Wanted) -> Result<Reply, Failure> {
        let Some(reply) = self.read_reply() else {
            let cause = self.broken.unwrap_or(Cause::Lost);
            return Err(Failure::generic(self.phase, cause));
        };
        let first = reply.first_byte();
        if first == Some(wanted.digit()) {
            self.unproven = false;
            return Ok(reply);
        }
        let (phase, cause) = (self.phase, Cause::Reply);
        let failure = match first {
            // A client must not take the filter's yes to something else for a yes to its own command.
            Some(b'2' | b'3') => Failure::generic(phase, cause),
            _ => Failure { refusal: Refusal::foreign(ended(&reply)), spoils: false, phase, cause },
        };
        if !self.is_stale(&failure) {
            let filter = self.lease.endpoint();
            log::warn!("proxy {filter} rejected \"{}\": \"{reply}\"", printable(command));
            if failure.is_outage() {
                self.lease.failed();
            }
            if first != Some(b'5') || failure.is_outage() {
                detail(&self.params, &self.lease, &failure, self.since, &reply.log_text());
            }
            self.unproven = false;
        }
        Err(failure)
    }

    fn read_reply(&mut self) -> Option<Reply> {
        if self.broken.is_some() {
            return None;
        }
        let filter = self.lease.endpoint();
        let limit = self.params.reply_limits.line_length_limit;
        let result = self.conversation.read_reply(&mut |irregularity| match irregularity {
            Irregularity::Garbage(line) => {
                log::warn!("received garbage from proxy {filter}: {}", printable(line));
            }
            Irregularity::LongLine(line) => {
                log::warn!("{filter}: response longer than {limit}: {}...", printable(line));
            }
        });
        let reply = self.note(result)?;
        self.last_reply = reply.text();
        Some(reply)
    }

    /// Queues bytes of content.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.phase != Phase::Content {
            self.enter(Phase::Content);
        }
        if self.broken.is_none() {
            let result = self.conversation.write(bytes);
            self.note(result);
        }
    }

    /// Why the filter does not listen any more.
    pub(super) fn broken(&self) -> Option<Cause> {
        self.broken
    }

    /// Sends the final dot and reads the filter's verdict, whatever it is: so many replies.
    pub(super) fn finish(mut self, replies: usize) -> Verdict {
        self.enter(Phase::Verdict);
        self.lease.count(|counters| counters.messages += 1);
        let mut verdict = Verdict { replies: Vec::new(), broken: None };
        if self.send(b".").is_ok() {
            for _ in 0..replies {
                let Some(reply) = self.read_reply() else { break };
                self.lease.answered();
                self.lease.count(|counters| counters.verdict(reply.first_byte()));
                self.measure();
                if !matches!(reply.first_byte(), Some(b'2' | b'5')) {
                    let failure = Failure::generic(Phase::Verdict, Cause::Reply);
                    detail(&self.params, &self.lease, &failure, self.since, &reply.log_text());
                }
                verdict.replies.push(ended(&reply));
            }
        }
        verdict.broken = self.broken;
        self.in_step = true;
        self.leave();
        verdict
    }

    /// Counts how long the filter has taken for its verdict; a filter that takes more than half of its time is near its end.
    fn measure(&self) {
        if !metrics::is_on() {
            return;
        }
        let (filter, took) = (self.lease.endpoint(), self.since.elapsed());
        metrics::observe(Family::SmtpdProxyVerdictTime, &[&filter.to_string()], took);
        metrics::fault_over(Fault::Filter, &filter);
        let limit = self.params.timeouts.verdict;
        if took > limit / 2 {
            let detail =
                format_args!("a verdict took {:.1} of {} seconds", took.as_secs_f64(), limit.as_secs());
            metrics::fault(Fault::FilterSlow, &filter, &detail);
        } else {
            metrics::fault_over(Fault::FilterSlow, &filter);
        }
    }

    /// The message is over, or is given up: the connection waits for the next one, or ends.
    pub(super) fn leave(self) {
        let leaving = self.last_reply.starts_with(b"421");
        if self.broken.is_some() || !self.in_step || leaving || !self.lease.may_keep(self.messages) {
            self.quit();
            return;
        }
        let unfinished = self.phase != Phase::Verdict;
        let idle = Idle::new(self.conversation, self.features, self.messages, unfinished);
        self.lease.keep(idle);
    }

    /// Says QUIT, without waiting for the answer, and closes. Returns the filter's last reply, or the generic one
    /// when the connection broke.
    pub(super) fn quit(mut self) -> Vec<u8> {
        if self.broken.is_some() {
            return Refusal::generic().text;
        }
        self.take_leave();
        self.last_reply
    }

    /// Says QUIT. Where conversations are counted, the next one must not begin before the filter has ended this one, or
    /// has had time to.
    fn take_leave(&mut self) {
        if self.broken.is_some() {
            return;
        }
        let goodbye = self.conversation.write_line(b"QUIT").and_then(|()| self.conversation.flush());
        match goodbye {
            Err(error) => log::debug!("QUIT to proxy {}: {error}", self.lease.endpoint()),
            Ok(()) if self.params.gate.is_some() && self.in_step => {
                wait_for_end(&mut self.conversation, Instant::now() + LEAVE);
            }
            Ok(()) => {}
        }
    }

    fn note<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        let cause = match result {
            Ok(value) => return Some(value),
            Err(Error::Timeout) => Cause::Timeout,
            Err(Error::Lost(_)) => Cause::Lost,
        };
        self.broken = Some(cause);
        if self.unproven && cause == Cause::Lost {
            return None;
        }
        let filter = self.lease.endpoint();
        self.lease.failed();
        let failure = Failure::generic(self.phase, cause);
        if self.attempt == Attempt::Again && failure.may_be_restart() {
            return None;
        }
        match cause {
            Cause::Timeout => log::warn!("timeout talking to proxy {filter}"),
            _ => log::warn!("lost connection with proxy {filter}"),
        }
        detail(&self.params, &self.lease, &failure, self.since, &printable(&self.last_reply));
        None
    }
}

/// Counts a failure, and tells more about it than Postfix does, where that is wanted.
fn detail(params: &ProxyParams, lease: &Lease, failure: &Failure, since: Instant, words: &str) {
    lease.count(|counters| counters.fail(failure.phase));
    if metrics::is_on() {
        let (filter, phase, cause) =
            (lease.endpoint().to_string(), failure.phase.name(), failure.cause.name());
        metrics::count(Family::SmtpdProxyFailures, &[&filter, phase, cause]);
        let kind = match failure.cause {
            Cause::Timeout if failure.phase != Phase::Connect => Some(Fault::FilterSlow),
            // What it says of a message or a recipient is no fault of its own.
            Cause::Reply if !failure.is_outage() => None,
            _ => Some(Fault::Filter),
        };
        if let Some(kind) = kind {
            metrics::fault(kind, &filter, &format_args!("phase={phase}, cause={cause}: {words}"));
        }
    }
    if params.options.log_details {
        let told = FilterFailure {
            kind: "proxy",
            filter: &lease.endpoint(),
            phase: failure.phase.name(),
            cause: failure.cause,
            elapsed: since.elapsed(),
            said: Some(words),
        };
        log::info!("{told}");
    }
}

/// Connects; on failure the system's words.
fn connect(params: &ProxyParams, lease: &Lease) -> Result<Conversation<Socket>, (Cause, String)> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound, TimedOut, WouldBlock};
    let limit = params.timeouts.of(Phase::Connect);
    let filter = lease.endpoint();
    let (cause, reason) = match filter.connect(limit, params.families) {
        Ok(socket) => match Conversation::new(socket, limit, params.reply_limits) {
            Ok(conversation) => return Ok(conversation),
            Err(error) => (Cause::Unreachable, sys::error_text(&error)),
        },
        Err(ConnectError::Io(error)) => {
            let cause = match error.kind() {
                ConnectionRefused | NotFound | WouldBlock => Cause::Refused,
                TimedOut => Cause::Timeout,
                _ => Cause::Unreachable,
            };
            (cause, sys::error_text(&error))
        }
        Err(ConnectError::NotFound(reason)) => {
            log::warn!("host or service {filter} not found: {reason}");
            (Cause::Unreachable, "Cannot assign requested address".to_owned())
        }
    };
    Err((cause, reason))
}

/// A reply for the client: the filter's, but a reply that was cut off at `line_length_limit` gets an end, or the client
/// would wait for more of it (as it does with Postfix 3.7.11).
fn ended(reply: &Reply) -> Vec<u8> {
    let mut text = reply.text();
    let last_line = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    if let Some(separator) = text.get_mut(last_line + 3).filter(|separator| **separator == b'-') {
        *separator = b' ';
    }
    text
}

/// The value for XFORWARD; `None` for what is not known.
fn value(attribute: Attribute, origin: &Origin) -> Option<&[u8]> {
    // An empty value, which only XFORWARD can tell, is passed on as one (observed, 3.7.11).
    let known = |value: &'_ [u8]| value != b"unknown";
    let value = match attribute {
        Attribute::Name => Some(origin.name.as_slice()),
        Attribute::Addr => Some(origin.rfc_address.as_slice()),
        Attribute::Port => Some(origin.port.as_slice()),
        Attribute::Proto => Some(origin.protocol.as_slice()),
        Attribute::Helo => return origin.helo.as_deref(),
        Attribute::Ident => return origin.ident.as_deref(),
        Attribute::Source => {
            return Some(match origin.rewrite_context {
                RewriteContext::Local => b"LOCAL",
                RewriteContext::Remote => b"REMOTE",
            });
        }
    };
    value.filter(|value| known(value))
}
