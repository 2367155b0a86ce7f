//! Where the server of shared counters is: `redis:HOST:PORT`, and the addresses of its host.
//!
//! The C library's resolver asks name servers for as long as resolv.conf(5) lets it, and nothing ends it before. So a
//! thread asks, one at a time, and who waits for it does so for a bounded time; an answer that comes later is there
//! for the next who wants it.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// The longest name of a host.
const NAME_LIMIT: usize = 255;

/// A server.
#[derive(Debug)]
pub(crate) struct Place {
    /// As configured, for the log.
    text: String,
    host: String,
    port: u16,
    /// Those that were found last.
    addresses: Vec<SocketAddr>,
    /// Whether the host is to be looked up before it is used again.
    is_stale: bool,
    /// The look-up that has not ended.
    pending: Option<Receiver<io::Result<Vec<SocketAddr>>>>,
}

impl Place {
    /// What is configured.
    ///
    /// # Errors
    /// It has another form than `redis:HOST:PORT`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("anvil_shared_counters = {text}: expected redis:HOST:PORT");
        let (host, port) =
            text.strip_prefix("redis:").and_then(|rest| rest.rsplit_once(':')).ok_or_else(wrong)?;
        let port: u16 = match port.bytes().all(|byte| byte.is_ascii_digit()) {
            true => port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
            false => return Err(wrong()),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address = host.parse::<IpAddr>().ok();
        if address.is_none() && !is_name(host) {
            return Err(wrong());
        }
        Ok(Self {
            text: text.to_owned(),
            host: host.to_owned(),
            port,
            addresses: address.map(|address| SocketAddr::new(address, port)).into_iter().collect(),
            is_stale: address.is_none(),
            pending: None,
        })
    }

    /// As configured.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// None of the addresses was of use: they are asked for again.
    pub(crate) fn failed(&mut self) {
        self.is_stale = self.host.parse::<IpAddr>().is_err();
    }

    /// Gives up a look-up that has not ended: its thread stays behind where the process becomes another one.
    pub(crate) fn forget_pending(&mut self) {
        self.pending = None;
    }

    /// The addresses, looked up where that is due. Those that were known before serve on while none are found: a
    /// process that has changed its root may have no resolver.
    ///
    /// # Errors
    /// There are none.
    pub(crate) fn addresses(&mut self, patience: Duration) -> io::Result<&[SocketAddr]> {
        if self.is_stale {
            let (host, port) = (self.host.clone(), self.port);
            match self.look_up(patience, move || Ok((host.as_str(), port).to_socket_addrs()?.collect())) {
                Ok(addresses) => {
                    self.addresses = addresses;
                    self.is_stale = false;
                }
                Err(error) if self.addresses.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(&self.addresses)
    }

    fn look_up(
        &mut self,
        patience: Duration,
        ask: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> io::Result<Vec<SocketAddr>> {
        let pending = match self.pending.take() {
            Some(pending) => pending,
            None => {
                let (sender, receiver) = mpsc::sync_channel(1);
                let answer = move || drop(sender.send(ask()));
                // Nobody waits for its end.
                drop(thread::Builder::new().name("resolver".to_owned()).spawn(answer)?);
                receiver
            }
        };
        match pending.recv_timeout(patience) {
            Ok(Ok(addresses)) if addresses.is_empty() => Err(io::ErrorKind::AddrNotAvailable.into()),
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                self.pending = Some(pending);
                Err(io::Error::other(format!("looking up {} takes too long", self.host)))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(io::Error::other(format!("looking up {} failed", self.host)))
            }
        }
    }
}

/// Whether this can be the name of a host, in a wide sense.
fn is_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        !label.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    host.len() <= NAME_LIMIT && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_WHILE: Duration = Duration::from_secs(60);

    #[test]
    fn forms() {
        for text in [
            "redis:127.0.0.1:6379",
            "redis:[::1]:6379",
            "redis:::1:6379",
            "redis:no-such-host.invalid:6379",
            "redis:counters_1:65535",
            "redis:mx.example.com.:1",
        ] {
            assert_eq!(Place::parse(text).expect(text).text(), text);
        }
        for text in [
            "memcache:127.0.0.1:11211",
            "redis",
            "redis:",
            "redis:127.0.0.1",
            "redis:127.0.0.1:0",
            "redis:127.0.0.1:+1",
            "redis:127.0.0.1:",
            "redis:127.0.0.1:65536",
            "redis::1x",
            "redis::1",
            "redis:a b:1",
            "redis:a..b:1",
            "redis://127.0.0.1:1",
            "redis:a, redis:b:1",
        ] {
            let error = Place::parse(text).expect_err(text);
            assert_eq!(error, format!("anvil_shared_counters = {text}: expected redis:HOST:PORT"));
        }
    }

    #[test]
    fn names_are_looked_up_when_they_are_needed_and_after_a_failure() {
        let mut place = Place::parse("redis:localhost:1").expect("a server");
        assert!(place.is_stale && place.addresses.is_empty());
        assert!(!place.addresses(A_WHILE).expect("this host").is_empty());
        assert!(!place.is_stale);
        place.failed();
        assert!(place.is_stale && !place.addresses.is_empty());
        // An address is one, whatever fails.
        let mut place = Place::parse("redis:192.0.2.1:1").expect("a server");
        place.failed();
        assert!(!place.is_stale);
        assert_eq!(place.addresses(Duration::ZERO).expect("as written").len(), 1);
    }

    #[test]
    fn a_resolver_that_hangs_is_asked_once_and_heard_when_it_answers() {
        let mut place = Place::parse("redis:host:1").expect("a server");
        let (end, hang) = mpsc::channel();
        let slow = move || {
            hang.recv().map_err(io::Error::other)?;
            Ok(vec![SocketAddr::from(([192, 0, 2, 1], 1))])
        };
        let error = place.look_up(Duration::from_millis(1), slow).expect_err("no answer");
        assert_eq!(error.to_string(), "looking up host takes too long");
        let not_asked = || -> io::Result<Vec<SocketAddr>> { unreachable!("one at a time") };
        assert!(place.look_up(Duration::from_millis(1), not_asked).is_err());
        // Addresses that were known serve meanwhile.
        place.addresses = vec![SocketAddr::from(([192, 0, 2, 2], 1))];
        assert_eq!(place.addresses(Duration::from_millis(1)).expect("old ones").len(), 1);
        end.send(()).expect("the thread");
        let found = place.addresses(A_WHILE).expect("an answer");
        assert_eq!(found, [SocketAddr::from(([192, 0, 2, 1], 1))]);
        assert!(!place.is_stale && place.pending.is_none());
    }
}
