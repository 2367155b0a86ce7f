//! A connection that is kept between requests.

use std::io::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fmt, io};

use super::stream::{CONNECT_PAUSE, connect_failure};
use super::{Stream, connect_wait};
use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Encoding, Error, Flags};

/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Tries of a bounded request.
const BOUNDED_TRIES: u32 = 2;

/// How long a server may take for the second of requests that came together, and the further ones, before it is one that
/// does not answer these.
const TOGETHER_PATIENCE: Duration = Duration::from_millis(200);

/// The limits of a persistent connection; zero means no limit.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// Limit of each read and write: `ipc_timeout`.
    pub timeout: Duration,
    /// A connection unused for so long is closed: `ipc_idle`.
    pub idle: Duration,
    /// A connection of this age is closed, used or not: `ipc_ttl`.
    pub ttl: Duration,
}

impl Default for Timers {
    /// Postfix's defaults of `ipc_timeout`, `ipc_idle` and `ipc_ttl`.
    fn default() -> Self {
        Timers {
            timeout: Duration::from_secs(3600),
            idle: Duration::from_secs(5),
            ttl: Duration::from_secs(1000),
        }
    }
}

#[derive(Debug)]
struct Open {
    stream: Stream,
    since: Instant,
    used: Instant,
    /// It has answered requests that came together.
    takes_many: bool,
}

/// A client of a multi server: opened at first use, closed by its timers or by the server's hanging up.
#[derive(Debug)]
pub struct Persistent {
    path: String,
    service: String,
    protocol: Option<Protocol>,
    encoding: Encoding,
    timers: Timers,
    open: Option<Open>,
    /// A server has left requests unanswered that came together.
    takes_one_at_a_time: bool,
}

/// Failed connections, told of as often as Postfix tries.
#[derive(Debug, Default)]
struct Tries {
    told: u32,
    last: Option<Instant>,
}

impl Tries {
    /// Another failure: the number under which it is told, if it is.
    fn failed(&mut self, now: Instant) -> Option<u32> {
        if self.last.is_some_and(|last| now.duration_since(last) < CONNECT_PAUSE) {
            return None;
        }
        self.last = Some(now);
        self.told += 1;
        Some(self.told)
    }
}

/// Why one try failed, and whether it is worth a warning at the first one.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    /// EPIPE or ENOENT: the server went away between requests, which is normal.
    ordinary: bool,
}

impl Failure {
    /// Whether it is nothing to be told of at once.
    pub(crate) fn is_ordinary(&self) -> bool {
        self.ordinary
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure {
            text: sys::error_text(&error),
            ordinary: matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::NotFound),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        error.warn();
        Failure {
            text: error.os_text(),
            ordinary: matches!(error, Error::Closed { .. } | Error::Premature { source: None, .. }),
        }
    }
}

impl Persistent {
    /// A client of the service at `path`, such as `private/rewrite`, that announces `protocol`.
    #[must_use]
    pub fn new(path: &str, protocol: Protocol, timers: Timers) -> Persistent {
        Persistent { protocol: Some(protocol), ..Persistent::unannounced(path, protocol.encoding, timers) }
    }

    /// A client of a server that announces nothing: dnsblog, policy servers.
    #[must_use]
    pub(crate) fn unannounced(path: &str, encoding: Encoding, timers: Timers) -> Persistent {
        Persistent {
            path: path.to_owned(),
            service: path.rsplit('/').next().unwrap_or(path).to_owned(),
            protocol: None,
            encoding,
            timers,
            open: None,
            takes_one_at_a_time: false,
        }
    }

    /// Closes the connection when its idle or ttl timer has run out. A server calls this from its event
    /// loop; [`Persistent::request`] does it by itself.
    pub fn expire(&mut self) {
        let over = |since: Instant, limit: Duration| !limit.is_zero() && since.elapsed() >= limit;
        if let Some(open) = &self.open
            && (over(open.used, self.timers.idle)
                || over(open.since, self.timers.ttl)
                || open.stream.is_readable())
        {
            self.open = None;
        }
    }

    /// Opens the connection if there is none, as patiently as [`connect_wait`].
    ///
    /// # Errors
    ///
    /// The text of the fatal error that Postfix ends with when the service does not come.
    pub fn wait_for_service(&mut self) -> Result<(), String> {
        self.expire();
        if self.open.is_none() {
            let stream = connect_wait(&self.path, self.timers.timeout)?;
            // Whoever answers with something else is told of at the request.
            self.open = self.begin(stream).ok();
        }
        Ok(())
    }

    /// Closes the connection, if any.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Sends `request` and reads the reply with `parse`, again and again until that works.
    ///
    /// `parse` gets the reply's list under the strict rules, and reads its end.
    pub fn request<T>(
        &mut self,
        request: &Encoder,
        parse: impl FnMut(&mut Decoder<'_, Stream>) -> Result<T, Error>,
    ) -> T {
        self.request_for("problem talking to", request, parse)
    }

    /// The same; `what` is the beginning of the warning, in front of the service.
    pub(crate) fn request_for<T>(
        &mut self,
        what: &str,
        request: &Encoder,
        mut parse: impl FnMut(&mut Decoder<'_, Stream>) -> Result<T, Error>,
    ) -> T {
        let mut tries = 0;
        loop {
            tries += 1;
            self.await_service();
            match self.exchange(request, Flags::STRICT, &mut parse) {
                Ok(reply) => return reply,
                Err(failure) => {
                    if tries > 1 || !failure.ordinary {
                        log::warn!("{what} service {}: {}", self.service, failure.text);
                    }
                    self.open = None;
                    sleep(RETRY_PAUSE);
                }
            }
        }
    }

    /// Connects if need be, again and again until that works. Postfix tries every ten seconds and tells of each try;
    /// here the lines are the same and the tries more, so that nobody waits longer than the service is away.
    fn await_service(&mut self) {
        self.expire();
        let mut told = Tries::default();
        while self.open.is_none() {
            match Stream::connect(&self.path, self.timers.timeout) {
                Ok(stream) => {
                    match self.begin(stream) {
                        Ok(open) => self.open = Some(open),
                        // The request meets the same, and tells of it.
                        Err(_) => return,
                    }
                }
                Err(error) => {
                    if let Some(count) = told.failed(Instant::now()) {
                        log::warn!("{}", connect_failure(count, &self.path, &error));
                    }
                    sleep(RETRY_PAUSE);
                }
            }
        }
    }

    /// Sends `request` and reads the reply with `parse` under the given rules; two tries.
    ///
    /// `None` when both failed; the last failure has been logged.
    pub(crate) fn try_request<T>(
        &mut self,
        request: &Encoder,
        flags: Flags,
        mut parse: impl FnMut(&mut Decoder<'_, Stream>) -> Result<T, Error>,
    ) -> Option<T> {
        for tries in 1..=BOUNDED_TRIES {
            self.expire();
            match self.exchange(request, flags, &mut parse) {
                Ok(reply) => return Some(reply),
                Err(failure) => {
                    self.open = None;
                    if tries == BOUNDED_TRIES || !failure.ordinary {
                        log::warn!("problem talking to server {}: {}", self.path, failure.text);
                    }
                    if tries < BOUNDED_TRIES {
                        sleep(RETRY_PAUSE);
                    }
                }
            }
        }
        None
    }

    /// Sends requests at once and reads their replies in order, once, and tells nothing of what fails: those replies that
    /// came, which may be none. Unless they are all of them the connection is closed.
    ///
    /// Postfix's servers answer the first of requests that come together, and leave the others unread in their buffer until
    /// more comes (observed, 3.7.11). Who does that is found out on each new connection by not waiting long, and is sent one
    /// request at a time from then on. The requests together must find room in the socket's buffer, and so must their replies.
    pub(crate) fn exchange_together<T>(
        &mut self,
        requests: &[Encoder],
        mut parse: impl FnMut(&mut Decoder<'_, Stream>) -> Result<T, Error>,
    ) -> Vec<T> {
        let mut replies = Vec::with_capacity(requests.len());
        if self.takes_one_at_a_time {
            return replies;
        }
        self.await_service();
        let Some(mut open) = self.open.take() else { return replies };
        let lists: Vec<u8> = requests.iter().cloned().flat_map(Encoder::finish).collect();
        if open.stream.write_all(&lists).is_err() {
            return replies;
        }
        let name = open.stream.name().to_owned();
        for number in 0..requests.len() {
            if number == 1 && !open.takes_many && open.stream.set_timeout(TOGETHER_PATIENCE).is_err() {
                return replies;
            }
            let mut list = Decoder::new(self.encoding, &mut open.stream, &name, Flags::STRICT);
            match parse(&mut list) {
                Ok(reply) => replies.push(reply),
                Err(_) => {
                    self.takes_one_at_a_time = number > 0 && !open.takes_many;
                    return replies;
                }
            }
        }
        let is_known = open.takes_many || open.stream.set_timeout(self.timers.timeout).is_ok();
        if is_known {
            open.takes_many = true;
            open.used = Instant::now();
            self.open = Some(open);
        }
        replies
    }

    /// One try, on the connection that there is, or else on a new one.
    fn exchange<T>(
        &mut self,
        request: &Encoder,
        flags: Flags,
        parse: &mut impl FnMut(&mut Decoder<'_, Stream>) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect()?,
        };
        request.clone().send(&mut open.stream)?;
        let name = open.stream.name().to_owned();
        let mut list = Decoder::new(self.encoding, &mut open.stream, &name, flags);
        let reply = parse(&mut list)?;
        open.used = Instant::now();
        self.open = Some(open);
        Ok(reply)
    }

    /// One try of what is more than a request and its reply. When it fails the connection is closed.
    pub(crate) fn converse<T>(
        &mut self,
        talk: &mut impl FnMut(&mut Stream) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.expire();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect()?,
        };
        let result = talk(&mut open.stream)?;
        open.used = Instant::now();
        self.open = Some(open);
        Ok(result)
    }

    fn connect(&self) -> Result<Open, Failure> {
        self.begin(Stream::connect(&self.path, self.timers.timeout)?)
    }

    fn begin(&self, mut stream: Stream) -> Result<Open, Failure> {
        if let Some(protocol) = self.protocol {
            let name = stream.name().to_owned();
            protocol.expect(&mut stream, &name)?;
        }
        let now = Instant::now();
        Ok(Open { stream, since: now, used: now, takes_many: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_of_every_ten_seconds() {
        let (start, mut tries) = (Instant::now(), Tries::default());
        let told: Vec<_> =
            [0, 1, 9, 10, 11, 20, 35, 36].map(|at| tries.failed(start + Duration::from_secs(at))).to_vec();
        assert_eq!(told, [Some(1), None, None, Some(2), None, Some(3), Some(4), None]);
    }
}
