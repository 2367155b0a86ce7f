//! An event server that echoes what its clients send, and drains. For the tests of the skeleton.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::time::Duration;

use server::{Connection, EventLoop, EventService, Fatal, Interest, Readiness, Service, Start, Timer, Token};

struct Probe {
    clients: HashMap<u64, Connection>,
    next: u64,
}

impl Service for Probe {
    fn configure(_: &Start) -> Result<Self, Fatal> {
        Ok(Self { clients: HashMap::new(), next: 0 })
    }
}

impl Probe {
    fn close(&mut self, token: u64, events: &mut EventLoop) {
        if let Some(connection) = self.clients.remove(&token) {
            events.cancel_timer(Timer(token));
            let _ = events.forget(&connection);
        }
    }
}

impl EventService for Probe {
    const DRAINS: bool = true;

    fn accepted(&mut self, mut connection: Connection, events: &mut EventLoop, _: &Start) {
        connection.set_limit(None);
        self.next += 1;
        events.set_timer(Timer(self.next), Duration::from_secs(30));
        if events.watch(&connection, Token(self.next), Interest::Read).is_ok() {
            self.clients.insert(self.next, connection);
        }
    }

    fn connections(&self) -> usize {
        self.clients.len()
    }

    fn ready(&mut self, token: Token, _: Readiness, events: &mut EventLoop, _: &Start) {
        let mut bytes = [0; 4096];
        let Some(connection) = self.clients.get_mut(&token.0) else { return };
        let answer = match connection.read(&mut bytes) {
            Ok(count @ 1..) if bytes.starts_with(b"pid") => {
                let _ = count;
                format!("{}\n", std::process::id()).into_bytes()
            }
            Ok(count @ 1..) => bytes.get(..count).unwrap_or_default().to_vec(),
            _ => return self.close(token.0, events),
        };
        if connection.write_all(&answer).is_err() {
            self.close(token.0, events);
        }
    }

    fn timer(&mut self, timer: Timer, events: &mut EventLoop, _: &Start) {
        log::info!("client timed out");
        self.close(timer.0, events);
    }
}

fn main() {
    server::event::<Probe>("probe_event")
}
