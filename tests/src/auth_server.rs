//! An authentication server that speaks Dovecot's protocol, says what the test tells it to, and keeps every request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::shared::Shared;

/// One line that a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRequest {
    /// The fields: `AUTH` or `CONT`, the number, and what follows.
    pub fields: Vec<String>,
}

impl AuthRequest {
    /// The response in it, decoded; nothing when there is none.
    pub fn response(&self) -> Option<String> {
        let encoded = match self.fields.first().map(String::as_str) {
            Some("CONT") => self.fields.get(2)?,
            _ => self.fields.last()?.strip_prefix("resp=")?,
        };
        Some(String::from_utf8_lossy(&BASE64_STANDARD.decode(encoded).unwrap_or_default()).into_owned())
    }

    /// All but the number, joined by blanks.
    pub fn text(&self) -> String {
        let fields = self.fields.iter().enumerate().filter(|(at, _)| *at != 1);
        fields.map(|(_, field)| field.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// What the server does about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthAnswer {
    /// Sends these bytes, in which `{id}` stands for the number of the request.
    Say(String),
    /// Closes the connection.
    HangUp,
}

impl AuthAnswer {
    /// A line.
    pub fn line(text: &str) -> AuthAnswer {
        AuthAnswer::Say(format!("{text}\n"))
    }
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<AuthRequest>,
    hellos: Vec<String>,
    open: Vec<TcpStream>,
}

/// A running server; gone, with all its connections, when dropped.
#[derive(Debug)]
pub struct AuthServer {
    port: u16,
    shared: Arc<Shared<State>>,
    listening: Option<JoinHandle<()>>,
}

type Answer = dyn Fn(&AuthRequest) -> AuthAnswer + Send + Sync;

impl AuthServer {
    /// What Dovecot says first, with these `MECH` lines: name and properties between blanks.
    pub fn greeting(mechanisms: &[&str]) -> String {
        let lines: String =
            mechanisms.iter().map(|line| format!("MECH\t{}\n", line.replace(' ', "\t"))).collect();
        format!("VERSION\t1\t2\n{lines}SPID\t123\nCUID\t1\nCOOKIE\tdeadbeef\nDONE\n")
    }

    /// Starts on any port.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(
        greeting: &str,
        answer: impl Fn(&AuthRequest) -> AuthAnswer + Send + Sync + 'static,
    ) -> AuthServer {
        AuthServer::start_on(0, greeting, answer)
    }

    /// Starts on this port, as one that was there before.
    ///
    /// # Panics
    /// When the port is taken.
    pub fn start_on(
        port: u16,
        greeting: &str,
        answer: impl Fn(&AuthRequest) -> AuthAnswer + Send + Sync + 'static,
    ) -> AuthServer {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let shared = Arc::new(Shared::<State>::default());
        let of_thread = Arc::clone(&shared);
        let (greeting, answer): (String, Arc<Answer>) = (greeting.to_owned(), Arc::new(answer));
        let listening = thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if of_thread.is_stopped() {
                    return;
                }
                of_thread.state().open.extend(socket.try_clone());
                let (shared, greeting, answer) =
                    (Arc::clone(&of_thread), greeting.clone(), Arc::clone(&answer));
                thread::spawn(move || {
                    let _ = serve(&socket, &shared, &greeting, answer.as_ref());
                    let _ = socket.shutdown(Shutdown::Both);
                });
            }
        });
        AuthServer { port, shared, listening: Some(listening) }
    }

    /// The value for `smtpd_sasl_path`.
    pub fn path(&self) -> String {
        format!("inet:127.0.0.1:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<AuthRequest> {
        self.shared.state().requests.clone()
    }

    /// What each connection said first: two lines.
    pub fn hellos(&self) -> Vec<String> {
        self.shared.state().hellos.clone()
    }
}

impl Drop for AuthServer {
    fn drop(&mut self) {
        self.shared.stop_at(self.port);
        // The port is free for the next one.
        drop(self.listening.take().map(JoinHandle::join));
        for socket in self.shared.state().open.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn serve(mut socket: &TcpStream, shared: &Shared<State>, greeting: &str, answer: &Answer) -> Option<()> {
    let mut reader = BufReader::new(socket);
    let hello = next_line(&mut reader)? + "\n" + &next_line(&mut reader)?;
    shared.state().hellos.push(hello);
    socket.write_all(greeting.as_bytes()).ok()?;
    loop {
        let line = next_line(&mut reader)?;
        let request = AuthRequest { fields: line.split('\t').map(str::to_owned).collect() };
        shared.state().requests.push(request.clone());
        match answer(&request) {
            AuthAnswer::HangUp => return None,
            AuthAnswer::Say(text) => {
                let id = request.fields.get(1).map_or("", String::as_str);
                socket.write_all(text.replace("{id}", id).as_bytes()).ok()?;
            }
        }
    }
}

fn next_line(reader: &mut BufReader<impl Read>) -> Option<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok().filter(|&length| length > 0)?;
    Some(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned())
}

/// RFC 4648 base64.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// What was encoded.
///
/// # Panics
/// When it is no base64.
pub fn unbase64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}
