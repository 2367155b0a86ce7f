//! A policy server that answers what the test tells it to, and keeps every request.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use crate::shared::Shared;

/// The attributes of one request, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRequest(pub Vec<(String, String)>);

impl PolicyRequest {
    /// The value of an attribute; empty when it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The names, in order.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<PolicyRequest>,
    connections: usize,
}

/// A running policy server; gone when dropped.
#[derive(Debug)]
pub struct PolicyServer {
    port: u16,
    shared: Arc<Shared<State>>,
}

impl PolicyServer {
    /// Answers each request with the bytes that `answer` makes of it and of its number, counted from 0 over all
    /// connections; no bytes close the connection, and so does an answer that ends with an EOT (4), without it.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start<A: Into<Vec<u8>>>(
        answer: impl Fn(&PolicyRequest, usize) -> A + Send + Sync + 'static,
    ) -> PolicyServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let shared = Arc::new(Shared::<State>::default());
        let answer = move |request: &PolicyRequest, number| answer(request, number).into();
        let (of_thread, answer) = (Arc::clone(&shared), Arc::new(answer));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if of_thread.is_stopped() {
                    return;
                }
                of_thread.state().connections += 1;
                let (shared, answer) = (Arc::clone(&of_thread), Arc::clone(&answer));
                thread::spawn(move || {
                    let _ = serve(&socket, &shared, answer.as_ref());
                    let _ = socket.shutdown(Shutdown::Both);
                });
            }
        });
        PolicyServer { port, shared }
    }

    /// Answers everything with this action.
    ///
    /// # Panics
    /// When no port is free.
    pub fn saying(action: &'static str) -> PolicyServer {
        PolicyServer::start(move |_, _| format!("action={action}\n\n"))
    }

    /// `inet:127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("inet:127.0.0.1:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<PolicyRequest> {
        self.shared.state().requests.clone()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }
}

impl Drop for PolicyServer {
    fn drop(&mut self) {
        self.shared.stop_at(self.port);
    }
}

fn serve(
    mut socket: &TcpStream,
    shared: &Shared<State>,
    answer: &(dyn Fn(&PolicyRequest, usize) -> Vec<u8> + Send + Sync),
) -> Option<()> {
    let mut reader = BufReader::new(socket);
    let mut attributes = Vec::new();
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok().filter(|&length| length > 0)?;
        let line = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
        if !line.is_empty() {
            let (name, value) = line.split_once('=')?;
            attributes.push((name.to_owned(), value.to_owned()));
            continue;
        }
        let request = PolicyRequest(std::mem::take(&mut attributes));
        let number = {
            let mut state = shared.state();
            state.requests.push(request.clone());
            state.requests.len() - 1
        };
        let bytes = answer(&request, number);
        if bytes.is_empty() {
            return None;
        }
        let cut = bytes.strip_suffix(&[4]);
        socket.write_all(cut.unwrap_or(&bytes)).ok()?;
        if cut.is_some() {
            return None;
        }
    }
}
