//! A server that has been connected to: its greeting, what it can do, and the exchange of commands and replies (spec
//! smtp-client 6).

mod kept;
mod login;
mod starttls;

use std::fmt;
use std::io::ErrorKind;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use delivery::{Delivery, Status};
use ipc::delivery::Moment;
use lookup::KeyForm;
use queue::sendopts;
use smtp::client::{Conversation, Irregularity, ReplyLimits};
use smtp::stream::{Error, TimeLimit};

use crate::answer::Answer;
use crate::details::{Cause, Phase, Progress};
use crate::features::{Features, Keywords};
use crate::logins::Protection;
use crate::notices::Transcript;
use crate::protocol::Protocol;
use crate::settings::{Settings, Tables};
use crate::tls::{Agreed, Security, Standing, Terms, Tls, Wire};

pub(crate) use kept::Life;

bitflags::bitflags! {
    /// Attributes of XFORWARD that a server takes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct Attributes: u8 {
        const NAME = 1;
        const ADDR = 2;
        const PORT = 4;
        const PROTO = 8;
        const HELO = 16;
        const IDENT = 32;
        const SOURCE = 64;
    }
}

/// What of a message may need SMTPUTF8.
pub(crate) const SMTPUTF8_FOUND: i64 =
    sendopts::SMTPUTF8_HEADER | sendopts::SMTPUTF8_SENDER | sendopts::SMTPUTF8_RECIPIENT;
/// How much of a line that is no reply the log shows.
const GARBAGE_SHOWN: usize = 100;

/// Where a server is, as it is called in the log.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// `HOST[ADDRESS]`
    pub(crate) host: String,
    /// `HOST[ADDRESS]:PORT`, or as above for a socket in the file system.
    pub(crate) relay: String,
    /// The address alone.
    pub(crate) address: String,
    /// The destination that it is a server of, as it is written.
    pub(crate) destination: String,
}

/// What a session knows of the request that it is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) tables: &'a Tables,
    pub(crate) tls: &'a Tls,
    pub(crate) delivery: &'a Delivery<'a>,
    /// Servers with this host's name are this host.
    pub(crate) detects_loops: bool,
    /// No server is preferred to this one.
    pub(crate) is_best: bool,
    /// Where TLS is no must, and does not work, it may be left out.
    pub(crate) goes_without_tls: bool,
}

/// Why a server cannot be used.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) status: Status,
    pub(crate) left: Left,
}

/// What there is to be done with a server that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// The connection still stands: it is to be ended as it should be.
    Connection,
    Nothing,
    /// It is to be tried without TLS.
    ClearText,
    /// It may be of use for later mail.
    Mail,
    /// The connection still stands, and other servers may have what this one lacks.
    Others,
}

/// A connection to a server.
pub(crate) struct Session<'a> {
    context: Context<'a>,
    pub(crate) names: Names,
    conversation: Conversation<Wire>,
    transcript: Transcript<'a>,
    pub(crate) terms: Terms,
    pub(crate) standing: Standing,
    protection: Protection,
    /// What a session of TLS is told to be.
    agreed: Option<Agreed>,
    pub(crate) features: Features,
    /// The longest message that it takes, if it says so.
    pub(crate) size_limit: Option<i64>,
    pub(crate) attributes: Attributes,
    /// Those that it offers for logging in and that the filter lets pass.
    mechanisms: String,
    /// A table could not tell: that is why the connection is no good.
    pub(crate) has_table_failed: bool,
    /// It knows who this client is.
    pub(crate) is_logged_in: bool,
    /// The dot is to come late, by itself.
    pub(crate) delays_dot: bool,
    /// How long the connection may be used.
    pub(crate) life: Life,
    /// Which part of the dialogue it is in.
    pub(crate) progress: Progress,
    /// When the connection stood and the server was ready for mail.
    pub(crate) ready: Moment,
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("names", &self.names)
            .field("features", &self.features)
            .finish_non_exhaustive()
    }
}

impl<'a> Session<'a> {
    /// Begins on a connection, with the greeting still to come.
    pub(crate) fn new(
        context: Context<'a>,
        names: Names,
        Security { terms, standing }: Security,
        wire: Wire,
    ) -> Result<Self, Status> {
        let limits = ReplyLimits {
            line_length_limit: context.settings.reply_length_limit,
            utf8: context.settings.utf8,
        };
        let conversation =
            Conversation::new(wire, context.settings.limits.helo, limits).map_err(|error| {
                lost(&names, &Error::Lost(Some(error)), "receiving the initial server greeting")
            })?;
        let transcript = Transcript::new(&context.settings.notices, context.delivery, &names.relay);
        Ok(Self {
            context,
            names,
            conversation,
            transcript,
            terms,
            standing,
            protection: Protection::None,
            agreed: None,
            features: Features::empty(),
            size_limit: None,
            attributes: Attributes::empty(),
            mechanisms: String::new(),
            has_table_failed: false,
            is_logged_in: false,
            delays_dot: false,
            life: Life::default(),
            progress: Progress::at(Phase::Greeting),
            ready: Moment::default(),
        })
    }

    /// Reads the greeting and introduces this host.
    pub(crate) fn greet(&mut self) -> Result<(), Unusable> {
        if self.context.tls.settings.wraps {
            self.protect()?;
            self.enter(Phase::Greeting);
        }
        self.set_limit(self.context.settings.limits.helo);
        let answer = self.read("receiving the initial server greeting").map_err(broken)?;
        if answer.class() != 2 {
            let status = self.refusal(&answer);
            let softens = answer.class() == 5 && self.context.settings.skips_5xx_greeting;
            return Err(refused(if softens { status.softened() } else { status }));
        }
        let ehlo = self.looks_at_greeting(&answer);
        match self.context.settings.protocol {
            Protocol::Lmtp => self.introduce("LHLO")?,
            Protocol::Smtp if ehlo => self.introduce_with_fall_back()?,
            Protocol::Smtp => {
                self.introduce("HELO")?;
            }
        }
        if !self.conversation.socket().is_encrypted() {
            self.secure().map_err(|unusable| match unusable.left {
                Left::Nothing if self.may_go_without_tls() => Unusable { left: Left::ClearText, ..unusable },
                _ => unusable,
            })?;
        }
        // A message that is not for this server is refused without a login (observed, 3.7.11).
        if !self.lacks_smtputf8() {
            self.log_in()?;
        }
        self.ready = SystemTime::now().into();
        Ok(())
    }

    /// What the words of a greeting say; whether EHLO is to be tried.
    fn looks_at_greeting(&mut self, answer: &Answer) -> bool {
        let settings = self.context.settings;
        let mut ehlo = settings.always_sends_ehlo;
        if settings.protocol == Protocol::Smtp
            && answer.text.iter().all(|byte| matches!(byte, b'2' | b'0' | b' ' | b'*' | b'\t' | b'\n'))
        {
            ehlo &= !self.works_around_pix();
        }
        let text = String::from_utf8_lossy(&answer.text);
        for (number, word) in
            text.split([' ', '\t', '\n']).filter(|word| !word.is_empty()).skip(1).enumerate()
        {
            if number == 0 {
                if self.context.detects_loops && word.eq_ignore_ascii_case(&settings.hostname) {
                    log::warn!("host {} greeted me with my own hostname {word}", self.names.relay);
                }
            } else if word.eq_ignore_ascii_case("ESMTP") && !self.is_without_esmtp() {
                ehlo = true;
            }
        }
        ehlo && !settings.never_sends_ehlo && !self.is_without_esmtp()
    }

    fn is_without_esmtp(&self) -> bool {
        // Kept in the one place that PIX work-arounds have an effect on.
        self.features.contains(Features::NO_ESMTP)
    }

    /// Turns on what a firewall needs that hides the server's greeting; whether EHLO is none of it.
    fn works_around_pix(&mut self) -> bool {
        let context = self.context;
        let settings = context.settings;
        let words = match context.tables.pix_workarounds.find(self.names.address.as_bytes(), KeyForm::Full) {
            Ok(Some(words)) => String::from_utf8_lossy(&words).into_owned(),
            Ok(None) => settings.pix_workarounds.clone(),
            Err(_) => {
                let title = context.tables.pix_workarounds.title();
                log::warn!("{}: {title} lookup error for {}", context.delivery.id(), self.names.address);
                settings.pix_workarounds.clone()
            }
        };
        let age = age_of(context.delivery.request().times.arrival);
        let mut used = Vec::new();
        for word in config::list::text_words(&words) {
            if word.eq_ignore_ascii_case("disable_esmtp") {
                self.features |= Features::NO_ESMTP;
                used.push("disable_esmtp");
            } else if word.eq_ignore_ascii_case("delay_dotcrlf") && age >= settings.pix_threshold {
                self.delays_dot = true;
                used.push("delay_dotcrlf");
            }
        }
        if !used.is_empty() {
            let words = used.join(settings.separator());
            log::info!(
                "{}: enabling PIX workarounds: {words} for {}",
                context.delivery.id(),
                self.names.relay
            );
        }
        self.is_without_esmtp()
    }

    /// EHLO, and HELO where the server does not know that.
    fn introduce_with_fall_back(&mut self) -> Result<(), Unusable> {
        let answer = self.say_hello("EHLO")?;
        if answer.0.class() == 2 {
            return self.learn(&answer.0, &answer.1);
        }
        if answer.0.code() == 421 {
            return Err(refused(self.refusal(&answer.0)));
        }
        self.introduce("HELO")
    }

    fn introduce(&mut self, verb: &str) -> Result<(), Unusable> {
        let (answer, lines) = self.say_hello(verb)?;
        if answer.class() != 2 {
            return Err(refused(self.refusal(&answer)));
        }
        if verb == "HELO" { Ok(()) } else { self.learn(&answer, &lines) }
    }

    fn say_hello(&mut self, verb: &str) -> Result<(Answer, Vec<Vec<u8>>), Unusable> {
        self.enter(Phase::Hello);
        let stage = format!("performing the {verb} handshake");
        self.write(format!("{verb} {}", self.context.settings.helo_name).as_bytes())
            .map_err(|error| broken(self.lost(&error, &stage)))?;
        let reply = self.read_reply().map_err(|error| broken(self.lost(&error, &stage)))?;
        Ok((Answer::of_reply(&reply), reply.lines().to_vec()))
    }

    /// Reads features from the lines of a reply.
    fn learn(&mut self, answer: &Answer, lines: &[Vec<u8>]) -> Result<(), Unusable> {
        debug_assert_eq!(answer.class(), 2, "a reply with features");
        let discarded = self.discarded().map_err(refused)?;
        if !discarded.silent && !discarded.features.is_empty() {
            log::info!("discarding EHLO keywords: {}", discarded.names(self.context.settings.separator()));
        }
        let mut features = self.features;
        for (number, line) in lines.iter().enumerate() {
            let text = String::from_utf8_lossy(line.get(4..).unwrap_or_default());
            let mut words = text.split([' ', '\t', '=']).filter(|word| !word.is_empty());
            let Some(keyword) = words.next() else { continue };
            if number == 0 {
                self.is_not_this_host(keyword)?;
                continue;
            }
            let Some(feature) = Features::of_keyword(keyword) else { continue };
            if discarded.features.contains(feature) {
                continue;
            }
            features |= feature;
            match feature {
                Features::SIZE => self.learn_limit(words.next()),
                Features::AUTH => self.learn_mechanisms(text.get(keyword.len()..).unwrap_or_default()),
                Features::XFORWARD => self.attributes = words.filter_map(attribute).collect(),
                _ => {}
            }
        }
        if features.contains(Features::SMTPUTF8) && !features.contains(Features::EIGHT_BIT) {
            log::info!("host {} offers SMTPUTF8 support, but not 8BITMIME", self.names.host);
            features |= Features::EIGHT_BIT;
        }
        self.features = features;
        Ok(())
    }

    fn discarded(&self) -> Result<Keywords, Status> {
        let maps = &self.context.tables.discarded;
        match maps.find(self.names.address.as_bytes(), KeyForm::Full) {
            Ok(Some(words)) => Ok(Keywords::parse(&String::from_utf8_lossy(&words))),
            Ok(None) => Ok(self.context.settings.discarded),
            Err(_) => {
                let (id, title) = (self.context.delivery.id(), maps.title());
                log::warn!("{id}: {title} map lookup error for {}", self.names.address);
                Err(Status::new("4.3.0", format!("local data error while talking to {}", self.names.host)))
            }
        }
    }

    fn is_not_this_host(&self, name: &str) -> Result<(), Unusable> {
        if !self.context.detects_loops || !name.eq_ignore_ascii_case(&self.context.settings.hostname) {
            return Ok(());
        }
        log::warn!("host {} replied to HELO/EHLO with my own hostname {name}", self.names.relay);
        let code = if self.context.is_best { "5.4.6" } else { "4.4.6" };
        let nexthop = String::from_utf8_lossy(self.context.delivery.nexthop()).into_owned();
        Err(refused(Status::new(code, format!("mail for {nexthop} loops back to myself"))))
    }

    /// The number behind SIZE. What is none leaves that of a line before it.
    fn learn_limit(&mut self, word: Option<&str>) {
        let Some(word) = word else { return };
        if !word.bytes().all(|byte| byte.is_ascii_digit()) {
            log::warn!("bad EHLO SIZE limit \"{word}\" from {}", self.names.relay);
            return;
        }
        self.size_limit = word.parse().ok().filter(|limit| *limit > 0);
    }

    /// The message needs SMTPUTF8, and the server does not have it.
    pub(crate) fn lacks_smtputf8(&self) -> bool {
        let options = i64::from(self.context.delivery.request().sendopts);
        let needs = options & sendopts::SMTPUTF8_REQUESTED != 0 && options & SMTPUTF8_FOUND != 0;
        needs && !self.features.contains(Features::SMTPUTF8)
    }

    /// What is looked up.
    pub(crate) fn tables(&self) -> &'a Tables {
        self.context.tables
    }

    /// Another part of the dialogue begins.
    pub(crate) fn enter(&mut self, phase: Phase) {
        self.progress = Progress::at(phase);
    }

    /// Limits how long each of the following writes and reads may take, or a whole command and a whole reply.
    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.conversation.set_time_limit(match self.context.settings.min_data_rate {
            Some(min_data_rate) => TimeLimit::Deadline { limit, min_data_rate },
            None => TimeLimit::PerCall(limit),
        });
    }

    /// The same for content.
    pub(crate) fn set_content_limit(&mut self, limit: Duration) {
        self.set_limit(limit);
        self.conversation.begin_content();
    }

    /// Queues a command.
    pub(crate) fn write(&mut self, line: &[u8]) -> Result<(), Error> {
        self.transcript.out(line);
        self.conversation.write_line(line)
    }

    /// Queues content.
    pub(crate) fn write_content(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.conversation.write_at_hand(bytes)
    }

    /// Sends what is queued.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.conversation.flush()
    }

    /// Reads a reply; `stage` is what is told when none comes.
    pub(crate) fn read(&mut self, stage: &str) -> Result<Answer, Status> {
        match self.read_reply() {
            Ok(reply) => Ok(Answer::of_reply(&reply)),
            Err(error) => Err(self.lost(&error, stage)),
        }
    }

    /// What is told of a recipient whom an answer is about.
    pub(crate) fn failure(&mut self, answer: &Answer, command: &str) -> Status {
        self.look_at(answer);
        answer.failure(&self.names.host, command)
    }

    fn refusal(&mut self, answer: &Answer) -> Status {
        self.look_at(answer);
        answer.refusal(&self.names.host)
    }

    fn look_at(&mut self, answer: &Answer) {
        if answer.is_against_protocol() {
            self.transcript.blame_server();
        }
    }

    /// A table could not tell what to do here.
    pub(crate) fn blame_table(&mut self) {
        self.transcript.blame_table();
    }

    fn read_reply(&mut self) -> Result<smtp::Reply, Error> {
        let (id, relay, address) = (self.context.delivery.id(), &self.names.relay, &self.names.address);
        let settings = self.context.settings;
        let limit = settings.reply_length_limit;
        let pipelines = self.features.contains(Features::PIPELINING);
        let kind = match settings.protocol {
            Protocol::Smtp => "ESMTP",
            Protocol::Lmtp => "LMTP",
        };
        let tables = self.context.tables;
        let replies = &settings.replies;
        let (mut has_failed, mut is_spoilt) = (false, false);
        let transcript = &mut self.transcript;
        let mut replaced = |line: &[u8]| {
            let found = tables.replies.as_ref()?.lookup(line).unwrap_or_else(|_| {
                log::warn!("{id}: table {replies} lookup error for {}", maillog::shown(line));
                has_failed = true;
                None
            })?;
            let (old, new) = (maillog::shown(line), maillog::shown(&found));
            log::info!("{relay}: replacing server reply \"{old}\" with \"{new}\"");
            Some(found)
        };
        let mut filter = |line: &[u8]| {
            transcript.input(line);
            let found = replaced(line);
            if let Some(found) = &found {
                transcript.replaced(found);
            }
            found
        };
        let reply = self.conversation.read_filtered(&mut filter, &mut |fact| match fact {
            Irregularity::LongLine(start) => {
                log::warn!("{relay}: response longer than {limit}: {}...", maillog::shown(start));
            }
            Irregularity::Garbage(line) if pipelines => {
                is_spoilt = true;
                let shown = &line[..line.len().min(GARBAGE_SHOWN)];
                log::warn!("{id}: non-{kind} response from {relay}: {}", maillog::shown(shown));
                if settings.helpful_warnings {
                    let maps = settings.protocol.parameter("smtp_discard_ehlo_keyword_address_maps");
                    log::warn!(
                        "to prevent loss of mail, turn off command pipelining for {address} with the \
                         {maps} parameter"
                    );
                }
            }
            Irregularity::Garbage(_) => is_spoilt = true,
        });
        self.has_table_failed |= has_failed;
        self.life.is_spoilt |= is_spoilt;
        if has_failed {
            self.blame_table();
        }
        if is_spoilt {
            self.transcript.blame_server();
        }
        if has_failed { Err(Error::Lost(None)) } else { reply }
    }

    /// What is told when the connection breaks.
    pub(crate) fn lost(&self, error: &Error, stage: &str) -> Status {
        if self.has_table_failed {
            return Status::new("4.3.0", format!("local data error while talking to {}", self.names.host));
        }
        self.progress.broke(match error {
            Error::Timeout => Cause::Timeout,
            Error::Lost(_) => Cause::Lost,
        });
        lost(&self.names, error, stage)
    }

    /// Takes leave; whether that went well. What happens here changes nothing for a recipient.
    pub(crate) fn quit(&mut self) -> bool {
        self.set_limit(self.context.settings.limits.quit);
        self.write(b"QUIT").and_then(|()| self.flush()).is_ok() && self.hear_quit()
    }

    /// Waits for what the server says to QUIT, if it is to be; whether all is as it should be.
    pub(crate) fn hear_quit(&mut self) -> bool {
        self.set_limit(self.context.settings.limits.quit);
        self.context.settings.skips_quit_response || self.read_reply().is_ok()
    }
}

/// Reads nothing more from a server that was told QUIT already.
fn lost(names: &Names, error: &Error, stage: &str) -> Status {
    if let Error::Lost(Some(error)) = error
        && error.kind() == ErrorKind::InvalidData
    {
        log::warn!("TLS library problem: {error}");
    }
    let text = match error {
        Error::Timeout => format!("conversation with {} timed out while {stage}", names.host),
        Error::Lost(_) => format!("lost connection with {} while {stage}", names.host),
    };
    Status::new("4.4.2", text)
}

fn broken(status: Status) -> Unusable {
    Unusable { status, left: Left::Nothing }
}

fn refused(status: Status) -> Unusable {
    Unusable { status, left: Left::Connection }
}

fn attribute(word: &str) -> Option<Attributes> {
    Attributes::all().iter_names().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, found)| found)
}

fn age_of(arrival: Moment) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let arrival = Duration::from_secs(u64::try_from(arrival.sec).unwrap_or_default());
    now.saturating_sub(arrival)
}
