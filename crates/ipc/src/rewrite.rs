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

/// How many addresses are asked for together, and how many bytes of them: their answers find room in a socket's buffer.
pub const TOGETHER: usize = 32;
/// Bytes of requests that are sent together. Postfix's server answers the first of those that it has read, and reads on only
/// when more comes; of more than this it would read the rest from the middle of a request (observed).
const TOGETHER_BYTES: usize = 4096;
/// Bytes of a request at most, without sender and address.
const REQUEST_BYTES: usize = 64;

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

    /// As [`Client::resolve_for`], for many addresses: the answers in their order. Where the server permits it there is one
    /// wait for [`TOGETHER`] of them.
    pub fn resolve_all(&mut self, purpose: Purpose, sender: &[u8], addresses: &[&[u8]]) -> Vec<Resolved> {
        let mut answers = Vec::with_capacity(addresses.len());
        while let Some(rest) = addresses.get(answers.len()..).filter(|rest| !rest.is_empty()) {
            let mut size = 0;
            let fits = |address: &&&[u8]| {
                size += REQUEST_BYTES + sender.len() + address.len();
                size <= TOGETHER_BYTES
            };
            let requests: Vec<_> = rest
                .iter()
                .take(TOGETHER)
                .take_while(fits)
                .map(|address| resolve::encode(purpose, sender, address))
                .collect();
            let before = answers.len();
            if requests.len() > 1 {
                let replies = self.connection.exchange_together(&requests, Resolved::read);
                for ((server_flags, value), address) in replies.into_iter().zip(rest) {
                    // Whoever answers with nothing is asked again.
                    if value.transport.is_empty() || value.recipient.is_empty() && !address.is_empty() {
                        self.connection.close();
                        break;
                    }
                    self.mind(server_flags);
                    answers.push(value);
                }
            }
            // What is left of them is asked for with all patience.
            let asked = answers.len() - before;
            for address in rest.iter().take(requests.len().max(1)).skip(asked) {
                answers.push(self.resolve_for(purpose, sender, address));
            }
        }
        answers
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

    /// The answer of the servers here.
    fn by_smtp(request: resolve::Request) -> Resolved {
        Resolved {
            transport: b"smtp".to_vec(),
            nexthop: b"example.com".to_vec(),
            recipient: request.address,
            flags: resolve::Flags::CLASS_DEFAULT,
        }
    }

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
                    by_smtp(request).send(&mut stream).unwrap();
                }
            }
        }
    }

    /// Answers so many resolve requests on each connection, of those that came together the first only or all of them.
    fn resolve_for_all(listener: &UnixListener, connections: usize, answers_all: bool) -> usize {
        let mut answered = 0;
        for _ in 0..connections {
            let (socket, _) = listener.accept().unwrap();
            let mut stream = Stream::new(socket, "rewrite");
            Protocol::TRIVIAL_REWRITE.announce(&mut stream).unwrap();
            while stream.fill_buf().is_ok_and(|ahead| !ahead.is_empty()) {
                let mut list = Decoder::null(&mut stream, "rewrite socket", Flags::STRICT);
                list.string("request").unwrap();
                let request = resolve::Request::read(&mut list).unwrap();
                by_smtp(request).send(&mut stream).unwrap();
                answered += 1;
                if !answers_all {
                    let (reader, _) = stream.input();
                    reader.consume(reader.buffer().len());
                }
            }
        }
        answered
    }

    #[test]
    fn many_addresses_of_a_server_that_takes_them_and_of_one_that_does_not() {
        let addresses: Vec<_> = (0..100).map(|number| format!("joe{number}@example.com")).collect();
        let addresses: Vec<_> = addresses.iter().map(|address| address.as_bytes()).collect();
        let path = std::env::temp_dir().join(format!("ipc-rewrite-all-{}", std::process::id()));
        for answers_all in [true, false] {
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).unwrap();
            // Who answers the first only is asked for the others one by one, on another connection.
            let (few, connections) = if answers_all { (100, 1) } else { (8, 2) };
            let server = std::thread::spawn(move || resolve_for_all(&listener, connections, answers_all));
            let mut client = Client::new(path.to_str().unwrap(), Timers::default());
            let answers = client.resolve_all(Purpose::Resolve, b"x@example.com", &addresses[..few]);
            drop(client);
            assert_eq!(server.join().unwrap(), few);
            for (answer, address) in answers.iter().zip(&addresses) {
                assert_eq!(answer.recipient, *address);
            }
            assert_eq!(answers.len(), few);
        }
        std::fs::remove_file(path).unwrap();
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
