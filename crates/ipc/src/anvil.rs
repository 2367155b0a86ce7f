//! anvil: connection counts and event rates of SMTP clients (spec ipc 8).
//!
//! Plain encoding, many requests on a connection. A request is an event and the client's identity,
//! `SERVICE:CLIENT`; the reply is a status, and for most events the counters. The service is a help and not a
//! necessity: a client whose two tries fail goes on without counters.

use std::io::{self, BufRead, Write};
use std::net::IpAddr;
use std::time::Duration;

use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::client::{Persistent, Timers};
use crate::dialect::Dialect;

/// Where the service listens, relative to the queue directory. No parameter changes it.
pub const PATH: &str = "private/anvil";

const REQUEST: &str = "request";
const IDENT: &str = "ident";
const STATUS: &str = "status";
const COUNT: &str = "count";
const RATE: &str = "rate";

/// The request was served.
pub(crate) const STATUS_OK: i32 = 0;
/// The request was not understood.
pub(crate) const STATUS_FAIL: i32 = -1;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session begins.
    Connect,
    /// A session ends.
    Disconnect,
    /// MAIL.
    Message,
    /// RCPT or VRFY.
    Recipient,
    /// A TLS handshake that did not resume a session.
    NewTls,
    /// The rate of new TLS sessions, without an event.
    NewTlsStatus,
    /// AUTH.
    Auth,
    /// A TLS trace, in dialects that count them.
    TlsTrace,
    /// All counters, without an event.
    Lookup,
}

const EVENTS: &[(Event, &str)] = &[
    (Event::Connect, "connect"),
    (Event::Disconnect, "disconnect"),
    (Event::Message, "message"),
    (Event::Recipient, "recipient"),
    (Event::NewTls, "newtls"),
    (Event::NewTlsStatus, "newtls_status"),
    (Event::Auth, "auth"),
    (Event::TlsTrace, "tlstr"),
    (Event::Lookup, "lookup"),
];

impl Event {
    /// The event with this name on the wire.
    #[must_use]
    pub fn named(name: &[u8], dialect: Dialect) -> Option<Event> {
        let event = EVENTS.iter().find(|(_, known)| known.as_bytes() == name).map(|(event, _)| *event);
        event.filter(|event| *event != Event::TlsTrace || dialect.anvil_counts_tls_traces())
    }

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        EVENTS.iter().find(|(event, _)| *event == self).map_or("", |(_, name)| name)
    }
}

/// A request as the server reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The event's name; one that is not an [`Event`] is answered with [`Reply::failed`].
    pub event: Vec<u8>,
    /// `SERVICE:CLIENT`.
    pub ident: Vec<u8>,
}

impl Request {
    /// Reads a request. Something behind the two attributes is told in the log, but the request stands, as in
    /// Postfix (observed, 3.7.11).
    ///
    /// # Errors
    /// A list that does not have the two attributes in their order.
    pub fn read<R: BufRead + ?Sized>(input: &mut R, from: &str) -> Result<Request, Error> {
        let mut list = Decoder::new(Protocol::ANVIL.encoding, input, from, Flags::STRICT);
        let request = Request { event: list.string(REQUEST)?, ident: list.string(IDENT)? };
        match list.end() {
            Err(error @ Error::Unexpected { .. }) => error.warn(),
            other => other?,
        }
        Ok(request)
    }
}

/// All counters of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Open sessions.
    pub count: i32,
    /// Sessions begun in this period.
    pub rate: i32,
    /// Messages in this period.
    pub mail: i32,
    /// Recipients in this period.
    pub rcpt: i32,
    /// New TLS sessions in this period.
    pub newtls: i32,
    /// AUTH commands in this period.
    pub auth: i32,
    /// TLS traces in this period, in dialects that count them.
    pub tlstr: i32,
}

/// A reply as the server writes it.
#[derive(Clone, Debug)]
pub struct Reply(Encoder);

impl Reply {
    fn with_status(status: i32) -> Encoder {
        Encoder::new(Protocol::ANVIL.encoding).int(STATUS, status)
    }

    /// To a request that is not understood.
    #[must_use]
    pub fn failed() -> Reply {
        Reply(Self::with_status(STATUS_FAIL))
    }

    /// To `disconnect`.
    #[must_use]
    pub fn ok() -> Reply {
        Reply(Self::with_status(STATUS_OK))
    }

    /// To `connect`.
    #[must_use]
    pub fn connect(count: i32, rate: i32) -> Reply {
        Reply(Self::with_status(STATUS_OK).int(COUNT, count).int(RATE, rate))
    }

    /// To every other event.
    #[must_use]
    pub fn rate(rate: i32) -> Reply {
        Reply(Self::with_status(STATUS_OK).int(RATE, rate))
    }

    /// To `lookup`. Where TLS traces are counted the client wants them last; Postfix 3.12 sends it something else there
    /// (spec ipc 8.4).
    #[must_use]
    pub fn lookup(counters: &Counters, dialect: Dialect) -> Reply {
        let list = Self::with_status(STATUS_OK)
            .int(COUNT, counters.count)
            .int(RATE, counters.rate)
            .int("mail", counters.mail)
            .int("rcpt", counters.rcpt)
            .int("newtls", counters.newtls)
            .int("auth", counters.auth);
        Reply(if dialect.anvil_counts_tls_traces() { list.int("tlstr", counters.tlstr) } else { list })
    }

    /// Writes the reply.
    ///
    /// # Errors
    /// What the write says.
    pub fn send(self, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
        self.0.send(output)
    }
}

/// What is known of a client after `connect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Open sessions, this one included.
    pub count: i32,
    /// Sessions begun in this period.
    pub rate: i32,
}

/// The client: one connection, kept for the life of a process. Each function gives `None` when the service
/// does not help; that has been logged.
#[derive(Debug)]
pub struct Anvil {
    connection: Persistent,
}

impl Anvil {
    /// A client; it connects at the first event. `timeout` is `ipc_timeout`.
    #[must_use]
    pub fn new(timeout: Duration) -> Anvil {
        let timers = Timers { timeout, idle: Duration::ZERO, ttl: Duration::ZERO };
        Anvil { connection: Persistent::new(PATH, Protocol::ANVIL, timers) }
    }

    /// A session begins.
    pub fn connect(&mut self, ident: &str) -> Option<Connected> {
        self.ask(Event::Connect, ident, |list| {
            let count = list.int(COUNT)?;
            Ok(Connected { count, rate: list.int(RATE)? })
        })
    }

    /// A session ends; false when the service does not know.
    pub fn disconnect(&mut self, ident: &str) -> bool {
        self.ask(Event::Disconnect, ident, |_| Ok(())).is_some()
    }

    /// MAIL: the message rate.
    pub fn message(&mut self, ident: &str) -> Option<i32> {
        self.rate(Event::Message, ident)
    }

    /// RCPT or VRFY: the recipient rate.
    pub fn recipient(&mut self, ident: &str) -> Option<i32> {
        self.rate(Event::Recipient, ident)
    }

    /// A new TLS session: their rate.
    pub fn newtls(&mut self, ident: &str) -> Option<i32> {
        self.rate(Event::NewTls, ident)
    }

    /// The rate of new TLS sessions, without counting one.
    pub fn newtls_status(&mut self, ident: &str) -> Option<i32> {
        self.rate(Event::NewTlsStatus, ident)
    }

    /// AUTH: the rate of such commands.
    pub fn auth(&mut self, ident: &str) -> Option<i32> {
        self.rate(Event::Auth, ident)
    }

    /// All counters.
    pub fn lookup(&mut self, ident: &str, dialect: Dialect) -> Option<Counters> {
        self.ask(Event::Lookup, ident, |list| {
            Ok(Counters {
                count: list.int(COUNT)?,
                rate: list.int(RATE)?,
                mail: list.int("mail")?,
                rcpt: list.int("rcpt")?,
                newtls: list.int("newtls")?,
                auth: list.int("auth")?,
                tlstr: if dialect.anvil_counts_tls_traces() { list.int("tlstr")? } else { 0 },
            })
        })
    }

    fn rate(&mut self, event: Event, ident: &str) -> Option<i32> {
        self.ask(event, ident, |list| list.int(RATE))
    }

    fn ask<T>(
        &mut self,
        event: Event,
        ident: &str,
        rest: impl Fn(&mut Decoder<'_, crate::client::Stream>) -> Result<T, Error>,
    ) -> Option<T> {
        let request =
            Encoder::new(Protocol::ANVIL.encoding).string(REQUEST, event.name()).string(IDENT, ident);
        // A server that does not know the event says so by a status alone, which is no failure of the connection.
        let reply = self.connection.try_request(&request, Flags::NONE, |list| {
            if list.int(STATUS)? != STATUS_OK {
                return list.end().map(|()| None);
            }
            let reply = rest(list)?;
            list.end()?;
            Ok(Some(reply))
        });
        reply.flatten()
    }
}

/// The identity of an SMTP client at a service: its address, or since 3.8 the network it is in.
///
/// `service` is the service's name in master.cf. The prefix lengths are `smtpd_client_ipv4_prefix_length` and
/// `smtpd_client_ipv6_prefix_length`.
#[must_use]
pub fn ident(service: &str, client: &Client<'_>) -> String {
    let text = match client {
        Client::Address(address) => format!("{service}:{address}"),
        Client::Network(address, prefix) => format!("{service}:{}", network(*address, *prefix)),
        Client::Text(text) => format!("{service}:{text}"),
    };
    text.chars().map(|c| if c.is_ascii_control() { '?' } else { c }).collect()
}

/// Whom an SMTP server counts.
#[derive(Clone, Copy, Debug)]
pub enum Client<'a> {
    /// One address.
    Address(IpAddr),
    /// All addresses that share so many leading bits with this one.
    Network(IpAddr, u8),
    /// A client without an IP address, such as `unknown`.
    Text(&'a str),
}

fn network(address: IpAddr, prefix: u8) -> String {
    let (network, full) = match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(u32::from(32 - prefix.min(32))).unwrap_or(0);
            (IpAddr::from((u32::from(v4) & mask).to_be_bytes()), 32)
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(u32::from(128 - prefix.min(128))).unwrap_or(0);
            (IpAddr::from((u128::from(v6) & mask).to_be_bytes()), 128)
        }
    };
    if prefix >= full { network.to_string() } else { format!("{network}/{prefix}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_postfixs_bytes() {
        let bytes = |reply: Reply| {
            let mut wire = Vec::new();
            reply.send(&mut wire).unwrap();
            String::from_utf8(wire).unwrap()
        };
        assert_eq!(bytes(Reply::connect(1, 2)), "status=0\ncount=1\nrate=2\n\n");
        assert_eq!(bytes(Reply::failed()), "status=4294967295\n\n");
        assert_eq!(bytes(Reply::ok()), "status=0\n\n");
        assert_eq!(bytes(Reply::rate(7)), "status=0\nrate=7\n\n");
        let counters = Counters { count: 1, rate: 2, mail: 3, rcpt: 4, newtls: 5, auth: 6, tlstr: 7 };
        let all = |minor| bytes(Reply::lookup(&counters, Dialect::of_postfix_3(minor)));
        assert_eq!(all(7), "status=0\ncount=1\nrate=2\nmail=3\nrcpt=4\nnewtls=5\nauth=6\n\n");
        assert_eq!(all(11), all(7));
        assert_eq!(all(12), "status=0\ncount=1\nrate=2\nmail=3\nrcpt=4\nnewtls=5\nauth=6\ntlstr=7\n\n");
    }

    #[test]
    fn requests() {
        let read = |mut wire: &[u8]| Request::read(&mut wire, "anvil socket").ok();
        let request = Request { event: b"connect".to_vec(), ident: b"smtp:192.0.2.1".to_vec() };
        assert_eq!(read(b"request=connect\nident=smtp:192.0.2.1\n\n"), Some(request.clone()));
        assert_eq!(read(b"request=connect\nident=smtp:192.0.2.1\nmore=x\n\n"), Some(request));
        assert_eq!(read(b"ident=a\nrequest=connect\n\n"), None);
        assert_eq!(read(b"request=connect\n\n"), None);
        assert_eq!(read(b"\n"), None);
        assert_eq!(read(b"request=connect\nident=a\n"), None);
        let named = |name, minor| Event::named(name, Dialect::of_postfix_3(minor));
        assert_eq!(named(b"newtls_status", 7), Some(Event::NewTlsStatus));
        assert_eq!(named(b"newtls_report", 7), None);
        assert_eq!(named(b"tlstr", 11), None);
        assert_eq!(named(b"tlstr", 12), Some(Event::TlsTrace));
    }

    #[test]
    fn identities() {
        let v4: IpAddr = "192.0.2.77".parse().unwrap();
        let v6: IpAddr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        let table: &[(Client<'_>, &str)] = &[
            (Client::Address(v4), "smtp:192.0.2.77"),
            (Client::Network(v4, 32), "smtp:192.0.2.77"),
            (Client::Network(v4, 24), "smtp:192.0.2.0/24"),
            (Client::Network(v4, 0), "smtp:0.0.0.0/0"),
            (Client::Network(v6, 84), "smtp:2001:db8:1:2:3::/84"),
            (Client::Network(v6, 128), "smtp:2001:db8:1:2:3:4:5:6"),
            (Client::Text("a\tb"), "smtp:a?b"),
        ];
        for (client, text) in table {
            assert_eq!(ident("smtp", client), *text);
        }
    }
}
