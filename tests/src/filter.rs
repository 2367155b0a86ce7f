//! A before-queue filter that plays a script: what it answers to each verb, where it fails, and what it heard.
//!
//! Without a script it is a polite filter: greets, takes XFORWARD, MAIL, RCPT and DATA, and accepts the message. A
//! script replaces single answers:
//!
//! ```no_run
//! use conformance::{Play, ScriptedFilter};
//!
//! let filter = ScriptedFilter::start();
//! filter.play("RCPT", [Play::say("550 5.1.1 no such"), Play::say("250 2.1.5 ok")]);
//! // ... a client talks to an smtpd whose smtpd_proxy_filter is 127.0.0.1:{filter.port()} ...
//! assert!(filter.heard().iter().any(|line| line == "DATA"));
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::shared::Shared;
use crate::tls_server::{ServerWire, TlsServer};

/// What the filter does in one place of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Play {
    /// Sends these bytes.
    Bytes(Vec<u8>),
    /// Sends these bytes, and then reads nothing more, with the connection open, until the test ends.
    Deaf(Vec<u8>),
    /// Sends these bytes, and closes the connection.
    Last(Vec<u8>),
    /// Closes the connection.
    Close,
    /// Breaks the connection.
    Reset,
    /// Says nothing, and leaves the connection open until the peer closes it.
    Silence,
}

impl Play {
    /// Sends these lines, each with CR LF.
    pub fn say(lines: &str) -> Play {
        Play::Bytes(lines.lines().flat_map(|line| format!("{line}\r\n").into_bytes()).collect())
    }

    /// Sends these lines, each with CR LF, and closes the connection.
    pub fn say_and_close(lines: &str) -> Play {
        Play::Last(lines.lines().flat_map(|line| format!("{line}\r\n").into_bytes()).collect())
    }
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, VecDeque<Play>>,
    close_after_content_lines: Option<usize>,
    lingering: Duration,
    tls: Option<TlsServer>,
    /// TLS comes before the greeting.
    wraps: bool,
    /// By the number of the connection: two may be open at a time, and what matters is who said what.
    heard: BTreeMap<usize, Vec<Vec<u8>>>,
    connections: usize,
    open: usize,
    most_open: usize,
    /// Those that are open, by number.
    sockets: BTreeMap<usize, TcpStream>,
}

impl State {
    fn hear(&mut self, connection: usize, line: &[u8]) {
        self.heard.entry(connection).or_default().push(line.to_vec());
    }

    fn lines(&self) -> Vec<Vec<u8>> {
        self.heard.values().flatten().cloned().collect()
    }
}

/// A running scripted filter; gone when dropped.
#[derive(Debug)]
pub struct ScriptedFilter {
    address: SocketAddr,
    shared: Arc<Shared<State>>,
}

impl ScriptedFilter {
    /// Listens on a free loopback port.
    ///
    /// # Panics
    /// When there is none.
    pub fn start() -> ScriptedFilter {
        ScriptedFilter::start_on(0)
    }

    /// Listens on this loopback port, for tests in which a filter comes late.
    ///
    /// # Panics
    /// When somebody else has it.
    pub fn start_on(port: u16) -> ScriptedFilter {
        ScriptedFilter::start_at(Ipv4Addr::LOCALHOST.into(), port)
    }

    /// Listens on this port of another address of this host.
    ///
    /// # Panics
    /// When somebody else has it.
    pub fn start_at(address: IpAddr, port: u16) -> ScriptedFilter {
        let listener = TcpListener::bind((address, port)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared::<State>::default());
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &of_thread));
        ScriptedFilter { address, shared }
    }

    /// Listens on a Unix-domain socket as well, open to everybody.
    ///
    /// # Panics
    /// When the socket cannot be made.
    pub fn listen_at(&self, path: &Path) {
        let listener = UnixListener::bind(path).expect("a free path");
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("our own socket");
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                // Reads, writes and shutdowns are the same system calls on every kind of socket.
                begin(TcpStream::from(OwnedFd::from(socket)), &shared);
            }
        });
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What to answer to a verb: the first time, the second time, ... the last answer goes on for ever. `banner` is
    /// the greeting, `.` the end of the message, `334` what answers the response to a challenge.
    pub fn play(&self, verb: &str, answers: impl IntoIterator<Item = Play>) -> &ScriptedFilter {
        self.shared.state().answers.insert(verb.to_owned(), answers.into_iter().collect());
        self
    }

    /// As [`ScriptedFilter::play`] with one answer for ever.
    pub fn say(&self, verb: &str, lines: &str) -> &ScriptedFilter {
        self.play(verb, [Play::say(lines)])
    }

    /// Closes the connection after so many lines of content.
    pub fn close_in_content(&self, lines: usize) -> &ScriptedFilter {
        self.shared.state().close_after_content_lines = Some(lines);
        self
    }

    /// Takes so long to close after QUIT.
    pub fn linger(&self, span: Duration) -> &ScriptedFilter {
        self.shared.state().lingering = span;
        self
    }

    /// Does TLS behind a STARTTLS that is answered with a 2; before the greeting when `wraps`. What `handshake` is to be
    /// answered with, if anything, comes in place of the handshake.
    pub fn tls(&self, server: TlsServer, wraps: bool) -> &ScriptedFilter {
        let mut state = self.shared.state();
        (state.tls, state.wraps) = (Some(server), wraps);
        drop(state);
        self
    }

    /// Polite again, and nothing heard.
    pub fn reset(&self) {
        let mut state = self.shared.state();
        let (connections, open) = (state.connections, state.open);
        *state = State { connections, open, most_open: open, ..State::default() };
    }

    /// Every line heard, one connection after the other, without line ends; each that ended adds `<closed>`. Waits
    /// until no connection is open.
    pub fn heard(&self) -> Vec<String> {
        self.heard_bytes().iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// The same as bytes.
    ///
    /// # Panics
    /// When a connection stays open.
    pub fn heard_bytes(&self) -> Vec<Vec<u8>> {
        let state = self.shared.once(
            |state| state.open == 0,
            |state| format!("a connection to the filter stays open; heard {:?}", state.lines()),
        );
        state.lines()
    }

    /// Hears what has been sent on connections that are open, and no more: then they end.
    pub fn hang_up(&self) {
        for socket in self.shared.state().sockets.values() {
            drop(socket.shutdown(Shutdown::Read));
        }
    }

    /// What was heard until now, open connections included.
    pub fn heard_so_far(&self) -> Vec<String> {
        self.shared.state().lines().iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// How many connections were open at a time, at most, since the last reset.
    pub fn most_open(&self) -> usize {
        self.shared.state().most_open
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }
}

impl Drop for ScriptedFilter {
    fn drop(&mut self) {
        self.shared.stop();
        // A connection wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared<State>>) {
    for socket in listener.incoming().flatten() {
        if shared.is_stopped() {
            return;
        }
        begin(socket, shared);
    }
}

fn begin(socket: TcpStream, shared: &Arc<Shared<State>>) {
    let mut state = shared.state();
    state.connections += 1;
    state.open += 1;
    state.most_open = state.most_open.max(state.open);
    let number = state.connections;
    if let Ok(socket) = socket.try_clone() {
        state.sockets.insert(number, socket);
    }
    drop(state);
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let Ok(copy) = socket.try_clone() else { return };
        let mut reader = BufReader::new(ServerWire::Plain(copy));
        let end = converse(&mut reader, &shared, number);
        if end == End::Silence {
            // Whatever the peer still says is heard, but not answered.
            while hear(&mut reader, &shared, number).is_ok() {}
        }
        let mut state = shared.state();
        state.hear(number, b"<closed>");
        // First: whoever sees the end of the connection may open another one at once.
        state.open -= 1;
        state.sockets.remove(&number);
        drop(state);
        reader.get_mut().close_notify();
        if end == End::Reset {
            drop(SockRef::from(&socket).set_linger(Some(Duration::ZERO)));
        } else {
            drop(socket.shutdown(Shutdown::Both));
        }
        shared.changed();
    });
}

/// How the filter's part in a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Reset,
    Silence,
}

type Reader = BufReader<ServerWire>;

/// One connection, to its end.
fn converse(reader: &mut Reader, shared: &Shared<State>, number: usize) -> End {
    dialogue(reader, shared, number).err().unwrap_or(End::Close)
}

fn dialogue(reader: &mut Reader, shared: &Shared<State>, number: usize) -> Result<(), End> {
    if shared.state().wraps {
        protect(reader, shared, number)?;
    }
    answer(reader, shared, "banner")?;
    let mut is_challenged = false;
    loop {
        let line = hear(reader, shared, number)?;
        let verb = if is_challenged {
            "334".to_owned()
        } else {
            String::from_utf8_lossy(&line).split_whitespace().next().unwrap_or("").to_ascii_uppercase()
        };
        if verb == "QUIT" {
            let span = shared.state().lingering;
            thread::sleep(span);
            return Ok(());
        }
        let answered = answer(reader, shared, &verb)?;
        is_challenged = answered.starts_with(b"334");
        if verb == "DATA" && answered.starts_with(b"3") {
            content(reader, shared, number)?;
            answer(reader, shared, ".")?;
        }
        if verb == "STARTTLS" && answered.starts_with(b"2") {
            protect(reader, shared, number)?;
        }
    }
}

/// Puts TLS around the connection, or plays what is to be in its place.
fn protect(reader: &mut Reader, shared: &Shared<State>, number: usize) -> Result<(), End> {
    if shared.state().answers.contains_key("handshake") {
        answer(reader, shared, "handshake")?;
    }
    let Some(server) = shared.state().tls.clone() else { return Ok(()) };
    let tcp = reader.get_ref().tcp().try_clone().map_err(|_| End::Close)?;
    match server.accept(tcp) {
        Ok((stream, said)) => {
            shared.state().hear(number, format!("<{said}>").as_bytes());
            *reader = BufReader::new(ServerWire::Tls(stream));
            Ok(())
        }
        Err(_) => {
            shared.state().hear(number, b"<no handshake>");
            Err(End::Close)
        }
    }
}

/// Reads up to the final dot.
fn content(reader: &mut Reader, shared: &Shared<State>, number: usize) -> Result<(), End> {
    let close_after = shared.state().close_after_content_lines;
    for count in 1.. {
        let line = hear(reader, shared, number)?;
        if close_after == Some(count) {
            return Err(End::Close);
        }
        if line == b"." {
            break;
        }
    }
    Ok(())
}

fn hear(reader: &mut Reader, shared: &Shared<State>, number: usize) -> Result<Vec<u8>, End> {
    let mut line = Vec::new();
    let len = reader.read_until(b'\n', &mut line).map_err(|_| End::Close)?;
    if len == 0 {
        return Err(End::Close);
    }
    if line.ends_with(b"\n") {
        line.pop();
    }
    if line.ends_with(b"\r") {
        line.pop();
    }
    shared.state().hear(number, &line);
    Ok(line)
}

fn answer(reader: &mut Reader, shared: &Shared<State>, place: &str) -> Result<Vec<u8>, End> {
    let mut send = |bytes: &[u8]| {
        let socket = reader.get_mut();
        socket.write_all(bytes).and_then(|()| socket.flush()).map_err(|_| End::Close)
    };
    match shared.next_answer(place) {
        Play::Bytes(bytes) => {
            send(&bytes)?;
            Ok(bytes)
        }
        Play::Deaf(bytes) => {
            send(&bytes)?;
            while !shared.is_stopped() {
                thread::sleep(Duration::from_millis(20));
            }
            Err(End::Close)
        }
        Play::Last(bytes) => {
            send(&bytes)?;
            Err(End::Close)
        }
        Play::Close => Err(End::Close),
        Play::Reset => Err(End::Reset),
        Play::Silence => Err(End::Silence),
    }
}

impl Shared<State> {
    fn next_answer(&self, place: &str) -> Play {
        let mut state = self.state();
        match state.answers.get_mut(place) {
            Some(answers) if answers.len() > 1 => answers.pop_front().expect("more than one"),
            Some(answers) if answers.len() == 1 => answers[0].clone(),
            _ => polite(place),
        }
    }
}

fn polite(place: &str) -> Play {
    Play::say(match place {
        "banner" => "220 filter.example.com ESMTP",
        "EHLO" => "250-filter.example.com\n250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\n250 8BITMIME",
        "DATA" => "354 go",
        "." => "250 2.0.0 filter accepted",
        _ => "250 2.0.0 ok",
    })
}
