//! A connection to the filter: one command, one reply, and what each wrong reply means.

use std::sync::Arc;

use smtp::client::{Attribute, ConnectError, Conversation, Features, Irregularity, Socket, XforwardLines};
use smtp::stream::Error;
use smtp::{Reply, printable};

use super::ProxyParams;
use crate::destination::{Origin, Refusal, RewriteContext};

/// How many bytes of an over-long XFORWARD attribute the warning shows.
const SHOWN: usize = 10;

/// The first digit a reply must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// 2, for everything but DATA.
    Positive,
    /// 3, for DATA.
    Intermediate,
}

impl Wanted {
    fn digit(self) -> u8 {
        match self {
            Self::Positive => b'2',
            Self::Intermediate => b'3',
        }
    }
}

/// What a failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reply for the client.
    pub refusal: Refusal,
    /// The transaction is spoilt: the filter did not answer, or answered something else than was asked. A 4xx or 5xx
    /// reply, in any place, spoils nothing.
    pub spoils: bool,
}

impl Failure {
    fn spoiling() -> Self {
        Self { refusal: Refusal::generic(), spoils: true }
    }

    /// The same with nothing of the filter's own words.
    fn generic(self) -> Self {
        Self { refusal: Refusal::generic(), ..self }
    }
}

/// An open conversation with the filter, past its MAIL command.
pub struct FilterConnection {
    params: Arc<ProxyParams>,
    conversation: Conversation<Socket>,
    /// The filter still talks: no time-out, no end of file. A broken connection is logged once.
    alive: bool,
    last_reply: Vec<u8>,
}

impl std::fmt::Debug for FilterConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { params, alive, .. } = self;
        write!(f, "FilterConnection {{ filter: {}, alive: {alive} }}", params.filter)
    }
}

impl FilterConnection {
    /// Connects and says EHLO, XFORWARD and MAIL.
    pub fn open(params: &Arc<ProxyParams>, origin: &Origin, mail: &[u8]) -> Result<Self, Failure> {
        let conversation = connect(params).map_err(|reason| {
            log::warn!("connect to proxy filter {}: {reason}", params.filter);
            Failure::spoiling()
        })?;
        let mut connection =
            Self { params: Arc::clone(params), conversation, alive: true, last_reply: Vec::new() };
        match connection.introduce(origin).and_then(|()| connection.command(mail, Wanted::Positive)) {
            Ok(()) => Ok(connection),
            Err(failure) => {
                connection.quit();
                Err(failure)
            }
        }
    }

    /// Greeting, EHLO, XFORWARD: here the filter's own words never reach the client.
    fn introduce(&mut self, origin: &Origin) -> Result<(), Failure> {
        self.expect(b"connection request", Wanted::Positive).map_err(Failure::generic)?;
        let ehlo = [b"EHLO ", self.params.ehlo.as_slice()].concat();
        self.send(&ehlo)?;
        let reply = self.expect(&ehlo, Wanted::Positive).map_err(Failure::generic)?;
        for line in self.xforward(&Features::of_reply(&reply), origin) {
            self.command(&line, Wanted::Positive).map_err(Failure::generic)?;
        }
        Ok(())
    }

    fn xforward(&self, features: &Features, origin: &Origin) -> Vec<Vec<u8>> {
        let wanted = features.xforward();
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
    pub fn command(&mut self, command: &[u8], wanted: Wanted) -> Result<(), Failure> {
        self.send(command)?;
        self.expect(command, wanted).map(|_| ())
    }

    fn send(&mut self, command: &[u8]) -> Result<(), Failure> {
        if self.alive {
            let result = self.conversation.write_line(command);
            self.note(result);
        }
        if self.alive { Ok(()) } else { Err(Failure::spoiling()) }
    }

    /// Reads the reply to `command`.
    fn expect(&mut self, command: &[u8], wanted: Wanted) -> Result<Reply, Failure> {
        let reply = self.read_reply().ok_or_else(Failure::spoiling)?;
        let first = reply.first_byte();
        if first == Some(wanted.digit()) {
            return Ok(reply);
        }
        let filter = &self.params.filter;
        log::warn!("proxy {filter} rejected \"{}\": \"{reply}\"", printable(command));
        // A client must not take the filter's yes to something else for a yes to its own command.
        Err(match first {
            Some(b'2' | b'3') => Failure::spoiling(),
            _ => Failure { refusal: Refusal(ended(&reply)), spoils: false },
        })
    }

    fn read_reply(&mut self) -> Option<Reply> {
        if !self.alive {
            return None;
        }
        let params = Arc::clone(&self.params);
        let filter = &params.filter;
        let limit = params.reply_limits.line_length_limit;
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
    pub fn write(&mut self, bytes: &[u8]) {
        if self.alive {
            let result = self.conversation.write(bytes);
            self.note(result);
        }
    }

    /// Whether the filter still listens.
    pub fn alive(&self) -> bool {
        self.alive
    }

    /// Sends the final dot and returns the filter's verdict, whatever it is.
    pub fn finish(mut self) -> Vec<u8> {
        let reply = match self.send(b".") {
            Ok(()) => self.read_reply(),
            Err(_) => None,
        };
        let reply = reply.map_or_else(|| Refusal::generic().0, |reply| ended(&reply));
        self.quit();
        reply
    }

    /// Says QUIT, without waiting for the answer, and closes. Returns the filter's last reply, or the generic one
    /// when the connection broke.
    pub fn quit(mut self) -> Vec<u8> {
        if !self.alive {
            return Refusal::generic().0;
        }
        let goodbye = self.conversation.write_line(b"QUIT").and_then(|()| self.conversation.flush());
        if let Err(error) = goodbye {
            log::debug!("QUIT to proxy {}: {error}", self.params.filter);
        }
        self.last_reply
    }

    fn note<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => return Some(value),
            Err(Error::Timeout) => log::warn!("timeout talking to proxy {}", self.params.filter),
            Err(Error::Lost(_)) => log::warn!("lost connection with proxy {}", self.params.filter),
        }
        self.alive = false;
        None
    }
}

/// Connects; on failure the system's words.
fn connect(params: &ProxyParams) -> Result<Conversation<Socket>, String> {
    let socket = params.filter.connect(params.timeout, params.families).map_err(|error| match error {
        ConnectError::Io(error) => sys::error_text(&error),
        ConnectError::NotFound(reason) => {
            log::warn!("host or service {} not found: {reason}", params.filter);
            "Cannot assign requested address".to_owned()
        }
    })?;
    Conversation::new(socket, params.timeout, params.reply_limits).map_err(|error| sys::error_text(&error))
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
    let known = |value: &'_ [u8]| value != b"unknown" && !value.is_empty();
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
