//! The server behind the filter: takes every message, unless a check has told it to fail.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a filter may take to let go of its connections.
const SETTLE: Duration = Duration::from_secs(5);

/// A message that was acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// `NAME=value` as they came.
    pub xforward: Vec<String>,
    pub mail: Vec<u8>,
    pub rcpt: Vec<Vec<u8>>,
    /// In wire form, without the final dot.
    pub content: Vec<u8>,
}

impl Delivery {
    fn is_of(&self, token: &str) -> bool {
        let start = format!("<{token}.").into_bytes();
        self.rcpt.iter().any(|line| line.windows(start.len()).any(|bytes| bytes.eq_ignore_ascii_case(&start)))
    }
}

/// Where the server can be told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Mail,
    Rcpt,
    Data,
    /// After some content.
    Content,
    /// At the final dot.
    End,
}

/// How.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// With this reply.
    Say(String),
    /// By closing the connection.
    Close,
    /// By saying nothing until the check says so.
    Wait,
}

#[derive(Debug, Default)]
struct State {
    failure: Option<(Stage, Failure, &'static str)>,
    deliveries: Vec<Delivery>,
    open: Vec<(usize, TcpStream)>,
    connections: usize,
    /// How many of them belong to earlier checks.
    earlier: usize,
    /// Whether a transaction has reached the stage at which it was told to fail.
    reached: bool,
    stopped: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running server.
#[derive(Debug)]
pub struct Sink {
    address: String,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Sink {
    pub fn start(address: &str) -> Result<Sink, String> {
        let sink = Sink { address: address.into(), shared: Arc::default(), thread: Mutex::new(None) };
        sink.listen()?;
        Ok(sink)
    }

    /// Listens again after [`Sink::stop`].
    pub fn listen(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("listen on {}: {error}", self.address);
        let listener = TcpListener::bind(&self.address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        self.shared.state().stopped = false;
        let shared = Arc::clone(&self.shared);
        let thread = thread::spawn(move || accept(&listener, &shared));
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    /// Is not there any more: connections are closed, new ones refused.
    pub fn stop(&self) {
        self.shared.state().stopped = true;
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
        for (_, stream) in &self.shared.state().open {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Fails from now on, in commands that have this text in them.
    pub fn fail(&self, stage: Stage, failure: Failure, with: &'static str) {
        let mut state = self.shared.state();
        state.failure = Some((stage, failure, with));
        state.reached = false;
    }

    /// Fails no longer.
    pub fn polite(&self) {
        self.shared.state().failure = None;
        self.shared.changed.notify_all();
    }

    /// Waits until the stage at which to fail is reached; whether it was.
    pub fn wait_until_reached(&self, limit: Duration) -> bool {
        let state = self.shared.state();
        let result = self.shared.changed.wait_timeout_while(state, limit, |state| !state.reached);
        result.unwrap_or_else(PoisonError::into_inner).0.reached
    }

    /// The messages with this token in a recipient.
    pub fn taken(&self, token: &str) -> Vec<Delivery> {
        let state = self.shared.state();
        state.deliveries.iter().filter(|delivery| delivery.is_of(token)).cloned().collect()
    }

    /// The same, after waiting for one: whether a filter has said yes too early is for one check to say.
    pub fn wait_for(&self, token: &str) -> Vec<Delivery> {
        let is_missing = |state: &mut State| !state.deliveries.iter().any(|delivery| delivery.is_of(token));
        drop(self.shared.changed.wait_timeout_while(self.shared.state(), SETTLE, is_missing));
        self.taken(token)
    }

    /// What is open now belongs to earlier checks: nobody waits for its end any more.
    pub fn next_check(&self) {
        let mut state = self.shared.state();
        state.earlier = state.connections;
    }

    /// Waits until the filter has closed the connections of this check; not for ever, it may keep some.
    pub fn settle(&self) {
        // A filter that is about to connect has not yet.
        thread::sleep(Duration::from_millis(50));
        let state = self.shared.state();
        drop(self.shared.changed.wait_timeout_while(state, SETTLE, |state| {
            state.open.iter().any(|(number, _)| *number > state.earlier)
        }));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        if shared.state().stopped {
            return;
        }
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        let (Ok(()), Ok(copy)) = (stream.set_nonblocking(false), stream.try_clone()) else { continue };
        let _ = stream.set_nodelay(true);
        let mut state = shared.state();
        state.connections += 1;
        let number = state.connections;
        state.open.push((number, copy));
        drop(state);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let _ = serve(&stream, &shared);
            let _ = stream.shutdown(Shutdown::Both);
            shared.state().open.retain(|(other, _)| *other != number);
            shared.changed.notify_all();
        });
    }
}

/// One connection; `None` at its end.
fn serve(stream: &TcpStream, shared: &Shared) -> Option<()> {
    let mut input = BufReader::with_capacity(64 * 1024, stream);
    let say = |text: &str| -> Option<()> {
        let mut stream = stream;
        stream.write_all(format!("{text}\r\n").as_bytes()).ok()
    };
    say("220 filter-test.example.com ESMTP")?;
    let mut current = Delivery::default();
    loop {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_ascii_end();
        let text = String::from_utf8_lossy(line).into_owned();
        let verb = text.split_ascii_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let verb = verb.split(':').next().unwrap_or_default();
        match verb {
            "EHLO" | "HELO" => {
                current = Delivery::default();
                if verb == "HELO" {
                    say("250 filter-test.example.com")?;
                    continue;
                }
                say(concat!(
                    "250-filter-test.example.com\r\n250-PIPELINING\r\n250-SIZE 2000000000\r\n250-VRFY\r\n250-ETRN\r\n",
                    "250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n",
                    "250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING"
                ))?;
            }
            "XFORWARD" if !current.mail.is_empty() => say("503 5.5.1 Error: MAIL transaction in progress")?,
            "XFORWARD" => {
                current.xforward.extend(text.split_ascii_whitespace().skip(1).map(String::from));
                say("250 2.0.0 Ok")?;
            }
            "MAIL" if !current.mail.is_empty() => say("503 5.5.1 Error: nested MAIL command")?,
            "MAIL" => {
                if let Some(reply) = failure(shared, Stage::Mail, line)? {
                    say(&reply)?;
                    continue;
                }
                current.mail = line.to_vec();
                say("250 2.1.0 Ok")?;
            }
            "RCPT" if current.mail.is_empty() => say("503 5.5.1 Error: need MAIL command")?,
            "RCPT" => {
                if let Some(reply) = failure(shared, Stage::Rcpt, line)? {
                    say(&reply)?;
                    continue;
                }
                current.rcpt.push(line.to_vec());
                say("250 2.1.5 Ok")?;
            }
            "DATA" if current.rcpt.is_empty() => say("503 5.5.1 Error: need RCPT command")?,
            "DATA" => {
                if let Some(reply) = failure(shared, Stage::Data, line)? {
                    say(&reply)?;
                    continue;
                }
                say("354 End data with <CR><LF>.<CR><LF>")?;
                current.content = content(&mut input, shared)?;
                let reply = failure(shared, Stage::End, line)?;
                let done = std::mem::take(&mut current);
                if let Some(reply) = reply {
                    say(&reply)?;
                    continue;
                }
                // First: who has the reply looks for the message.
                shared.state().deliveries.push(done);
                shared.changed.notify_all();
                say("250 2.0.0 Ok: queued as FILTERTEST")?;
            }
            "RSET" => {
                current = Delivery::default();
                say("250 2.0.0 Ok")?;
            }
            "NOOP" => say("250 2.0.0 Ok")?,
            "VRFY" => say("252 2.0.0 maybe")?,
            "QUIT" => return say("221 2.0.0 Bye"),
            _ => say("500 5.5.2 Error: command not recognized")?,
        }
    }
}

/// The reply with which this stage fails now, if it does; `None` outside means that the connection is to be closed.
fn failure(shared: &Shared, stage: Stage, line: &[u8]) -> Option<Option<String>> {
    let mut state = shared.state();
    let Some((at, how, with)) = state.failure.clone() else { return Some(None) };
    if at != stage || !String::from_utf8_lossy(line).contains(with) {
        return Some(None);
    }
    state.reached = true;
    shared.changed.notify_all();
    match how {
        Failure::Say(reply) => Some(Some(reply)),
        Failure::Close => None,
        Failure::Wait => {
            let deadline = Instant::now() + Duration::from_secs(60);
            while state.failure.is_some() && Instant::now() < deadline {
                let wait = Duration::from_millis(100);
                state = shared.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
            Some(None)
        }
    }
}

/// Content up to CR LF `.` CR LF, in wire form. It is never taken for complete when the connection ends before.
fn content(input: &mut BufReader<&TcpStream>, shared: &Shared) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let start = content.len();
        let after_crlf = start == 0 || content.ends_with(b"\r\n");
        if input.read_until(b'\n', &mut content).ok()? == 0 {
            return None;
        }
        if after_crlf && &content[start..] == b".\r\n" {
            content.truncate(start);
            return Some(content);
        }
        failure(shared, Stage::Content, b"")?;
    }
}
