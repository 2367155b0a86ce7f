//! Keys of session tickets, from tlsmgr: the current one and one more are kept (spec tls-sasl 10).
//!
//! They are asked for when a handshake needs one. Without an answer there are no tickets for a while, and TLS goes on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipc::client::Timers;
use ipc::tlsmgr::{Client, KEY, Unanswered};
use tls::{TicketKey, TicketKeys};

/// How long tlsmgr is left alone after it did not answer.
const PAUSE: Duration = Duration::from_secs(60);

/// The keys of a process.
#[derive(Debug)]
pub(super) struct Tickets {
    lifetime: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    client: Client,
    current: Option<TicketKey>,
    other: Option<TicketKey>,
    not_before: Option<Instant>,
}

impl Tickets {
    /// No keys so far. `service` is tlsmgr's name.
    pub(super) fn new(service: &str, timers: Timers, lifetime: Duration) -> Self {
        let client = Client::new(service, timers);
        Self { lifetime, state: Mutex::new(State { client, current: None, other: None, not_before: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long after its time a key is good for reading.
    fn grace(&self) -> i64 {
        i64::try_from(self.lifetime.as_secs() / 2).unwrap_or(i64::MAX)
    }
}

impl State {
    fn ask(&mut self, name: &[u8]) -> Option<TicketKey> {
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        match self.client.ticket_key(name) {
            Ok(key) => {
                self.not_before = None;
                key.as_ref().and_then(parse)
            }
            Err(Unanswered) => {
                self.not_before = Some(Instant::now() + PAUSE);
                None
            }
        }
    }
}

impl TicketKeys for Tickets {
    fn current(&self) -> Option<TicketKey> {
        let mut state = self.state();
        if state.current.as_ref().is_none_or(|key| key.expires < now()) {
            let fresh = state.ask(b"")?;
            if state.current.as_ref() != Some(&fresh) {
                state.other = state.current.replace(fresh);
            }
        }
        state.current.clone()
    }

    fn named(&self, name: &[u8; 16]) -> Option<TicketKey> {
        let mut state = self.state();
        let oldest = now().saturating_sub(self.grace());
        let found =
            [&state.current, &state.other].into_iter().flatten().find(|key| key.name == *name).cloned();
        match found {
            Some(key) => Some(key).filter(|key| key.expires >= oldest),
            None => {
                let key = state.ask(name)?;
                state.other = Some(key.clone());
                Some(key)
            }
        }
    }

    fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn parse(bytes: &[u8; KEY]) -> Option<TicketKey> {
    let (name, rest) = bytes.split_first_chunk::<16>()?;
    let (cipher, rest) = rest.split_first_chunk::<32>()?;
    let (mac, rest) = rest.split_first_chunk::<32>()?;
    let expires = i64::from_ne_bytes(*rest.first_chunk::<8>()?);
    Some(TicketKey { name: *name, cipher: *cipher, mac: *mac, expires })
}
