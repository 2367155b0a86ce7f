//! The rewrite half of trivial-rewrite: an address in standard form; and the client for both halves.
//!
//! Request (null encoding, strict): `request` = `rewrite`, `rule` = `local` or `remote`, `address` in
//! external form. Reply: `flags` (server state; 1 asks for a new connection), `address`.
//!
//! [`Client`] keeps one connection for rewrite and resolve requests, tries for ever, and remembers the last
//! answer of each kind for half a minute. Source: spec ipc 7.

use std::io::{self, BufRead, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Error};
use crate::client::{Persistent, Timers};
use crate::resolve::{self, Purpose, Resolved};

/// How long an answer is remembered.
const CACHE_TIME: Duration = Duration::from_secs(30);
/// Pause before asking again after an answer that makes no sense.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The server asks for a new connection.
const RECONNECT: i32 = 1;

/// Which domain is appended to addresses that have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// `myorigin`, `mydomain`: envelopes, and headers of local mail.
    Local,
    /// `remote_header_rewrite_domain`: headers of other mail.
    Remote,
}

impl Rule {
    /// The value of `rule`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rule::Local => "local",
            Rule::Remote => "remote",
        }
    }

    /// The rule of this name.
    #[must_use]
    pub fn find(name: &[u8]) -> Option<Rule> {
        [Rule::Local, Rule::Remote].into_iter().find(|rule| rule.name().as_bytes() == name)
    }
}

/// A rewrite request, without its `request` attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name of the rule, as received.
    pub rule: Vec<u8>,
    /// The address in external form.
    pub address: Vec<u8>,
}

impl Request {
    /// Reads what follows `request`.
    pub fn read<R: BufRead + ?Sized>(list: &mut Decoder<'_, R>) -> Result<Request, Error> {
        let request = Request { rule: list.string("rule")?, address: list.string("address")? };
        list.end()?;
        Ok(request)
    }
}

/// Sends the reply to a rewrite request; the server's state is always 0.
pub fn send_reply(address: &[u8], output: &mut (impl Write + ?Sized)) -> io::Result<()> {
    Encoder::null().int("flags", 0).string("address", address).send(output)
}

/// Rule and address.
type RewriteKey = (Rule, Vec<u8>);
/// Sender and address.
type ResolveKey = (Vec<u8>, Vec<u8>);

/// The last answer of one kind.
#[derive(Debug)]
struct Cached<K, V> {
    key: K,
    value: V,
    since: Instant,
}

fn cached<K: PartialEq, V: Clone>(entry: Option<&Cached<K, V>>, key: &K) -> Option<V> {
    entry
        .filter(|entry| entry.since.elapsed() < CACHE_TIME && entry.key == *key)
        .map(|entry| entry.value.clone())
}

/// A client of trivial-rewrite. Every request succeeds, if need be after the service has come back.
#[derive(Debug)]
pub struct Client {
    connection: Persistent,
    rewritten: Option<Cached<RewriteKey, Vec<u8>>>,
    resolved: [Option<Cached<ResolveKey, Resolved>>; 2],
}

impl Client {
    /// A client of the service at `path`: `private/` and `rewrite_service_name`.
    #[must_use]
    pub fn new(path: &str, timers: Timers) -> Client {
        Client {
            connection: Persistent::new(path, Protocol::TRIVIAL_REWRITE, timers),
            rewritten: None,
            resolved: [None, None],
        }
    }

    /// Closes the connection when its timers have run out; for a server's idle moments.
    pub fn expire(&mut self) {
        self.connection.expire();
    }

    /// The standard form of an address, both in external form.
    pub fn rewrite(&mut self, rule: Rule, address: &[u8]) -> Vec<u8> {
        let key = (rule, address.to_vec());
        if let Some(value) = cached(self.rewritten.as_ref(), &key) {
            return value;
        }
        let request = Encoder::null()
            .string("request", "rewrite")
            .string("rule", rule.name())
            .string("address", address);
        let (server_flags, value) = self.connection.request(&request, |list| {
            let reply = (list.int("flags")?, list.string("address")?);
            list.end()?;
            Ok(reply)
        });
        self.mind(server_flags);
        self.rewritten = Some(Cached { key, value: value.clone(), since: Instant::now() });
        value
    }

    /// The standard form of an address, both in internal form.
    pub fn rewrite_internal(&mut self, rule: Rule, address: &address::Mailbox) -> address::Mailbox {
        address::Mailbox::from_external(&self.rewrite(rule, &address.to_external()))
    }

    /// Where mail to `address` goes; both addresses in internal form, the sender empty when not known.
    pub fn resolve(&mut self, sender: &[u8], address: &[u8]) -> Resolved {
        self.resolve_for(Purpose::Resolve, sender, address)
    }

    /// As [`Client::resolve`], by the settings for a certain purpose.
    pub fn resolve_for(&mut self, purpose: Purpose, sender: &[u8], address: &[u8]) -> Resolved {
        let key = (sender.to_vec(), address.to_vec());
        let slot = match purpose {
            Purpose::Resolve => 0,
            Purpose::Verify => 1,
        };
        if let Some(value) = cached(self.resolved[slot].as_ref(), &key) {
            return value;
        }
        let request = resolve::encode(purpose, sender, address);
        loop {
            let (server_flags, value) = self.connection.request(&request, Resolved::read);
            self.mind(server_flags);
            let lacking = if value.transport.is_empty() {
                "transport"
            } else if value.recipient.is_empty() && !address.is_empty() {
                "recipient"
            } else {
                self.resolved[slot] = Some(Cached { key, value: value.clone(), since: Instant::now() });
                return value;
            };
            log::warn!("resolve_clnt: null {lacking} result for: <{}>", String::from_utf8_lossy(address));
            self.connection.close();
            sleep(RETRY_PAUSE);
        }
    }

    fn mind(&mut self, server_flags: i32) {
        if server_flags & RECONNECT != 0 {
            self.connection.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Flags;
    use crate::client::Stream;
    use std::os::unix::net::UnixListener;

    /// A server of two connections: it hangs up after its first answer.
    fn serve(listener: UnixListener) {
        for _ in 0..2 {
            let (socket, _) = listener.accept().unwrap();
            let mut stream = Stream::new(socket, "rewrite");
            Protocol::TRIVIAL_REWRITE.announce(&mut stream).unwrap();
            let mut list = Decoder::null(&mut stream, "rewrite socket", Flags::STRICT);
            match list.string("request").unwrap().as_slice() {
                b"rewrite" => {
                    let request = Request::read(&mut list).unwrap();
                    send_reply(&[request.address.as_slice(), b"@example.com"].concat(), &mut stream).unwrap();
                }
                _ => {
                    let request = resolve::Request::read(&mut list).unwrap();
                    let reply = Resolved {
                        transport: b"smtp".to_vec(),
                        nexthop: b"example.com".to_vec(),
                        recipient: request.address,
                        flags: resolve::Flags::CLASS_DEFAULT,
                    };
                    reply.send(&mut stream).unwrap();
                }
            }
        }
    }

    #[test]
    fn both_requests_and_a_hang_up_between_them() {
        let path = std::env::temp_dir().join(format!("ipc-rewrite-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || serve(listener));
        let mut client = Client::new(path.to_str().unwrap(), Timers::default());
        assert_eq!(client.rewrite(Rule::Local, b"joe"), b"joe@example.com");
        // Remembered: the server would not answer a second time on this connection.
        assert_eq!(client.rewrite(Rule::Local, b"joe"), b"joe@example.com");
        let resolved = client.resolve(b"", b"joe@example.com");
        assert_eq!(
            (resolved.transport.as_slice(), resolved.flags),
            (&b"smtp"[..], resolve::Flags::CLASS_DEFAULT)
        );
        server.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
