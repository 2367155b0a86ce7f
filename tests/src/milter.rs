//! A Milter that plays a script, and keeps every packet that it is sent.
//!
//! It agrees to what the script says, notes each packet in order, and answers each event as the script has it: with any
//! packets, with bytes that are none, with silence, or by closing. Spec milter.md sections 3 to 6.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::shared::Shared;

/// Codes of events, and the step flag by which a Milter says that it does not answer them.
const UNANSWERED: &[(u8, u32)] = &[
    (b'L', 0x80),
    (b'C', 0x1000),
    (b'H', 0x2000),
    (b'M', 0x4000),
    (b'R', 0x8000),
    (b'T', 0x1_0000),
    (b'U', 0x2_0000),
    (b'N', 0x4_0000),
    (b'B', 0x8_0000),
];

/// A packet from the mail system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MilterPacket {
    /// Its code.
    pub code: u8,
    /// What follows it.
    pub data: Vec<u8>,
}

impl MilterPacket {
    fn long(&self, at: usize) -> u32 {
        let bytes = self.data.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    }

    /// The packet as text: NUL is `|`, numbers of the negotiation and the port of a client are told.
    pub fn shown(&self) -> String {
        let mut text = String::from(char::from(self.code));
        if self.code == b'O' {
            let [version, actions, steps] = [0, 4, 8].map(|at| self.long(at));
            let _ = write!(text, " version {version} actions {actions:#x} steps {steps:#x}");
            return text;
        }
        let mut rest = self.data.as_slice();
        if self.code == b'C' {
            let name = rest.iter().position(|&byte| byte == 0).unwrap_or(0);
            push(&mut text, &rest[..name]);
            rest = rest.get(name + 1..).unwrap_or_default();
            if let [family @ (b'4' | b'6' | b'L'), high, low, address @ ..] = rest {
                let port = u16::from_be_bytes([*high, *low]);
                let _ = write!(text, "|{} port {port} ", char::from(*family));
                rest = address;
            } else {
                text.push('|');
            }
        }
        push(&mut text, rest);
        text
    }
}

fn push(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            0 => text.push('|'),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.extend(byte.escape_ascii().map(char::from)),
        }
    }
}

/// One thing that the Milter does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MilterPlay {
    /// Sends a packet: its code, and what follows.
    Packet(u8, Vec<u8>),
    /// Sends bytes as they are.
    Bytes(Vec<u8>),
    /// Sends each byte by itself from now on.
    ByteByByte,
    /// Closes the connection.
    Close,
    /// Says nothing more; the mail system has to close.
    Silence,
    /// Waits.
    Pause(Duration),
}

impl MilterPlay {
    /// A packet without data: `c`, `a`, `r`, `t`, `d` ...
    pub fn code(code: u8) -> MilterPlay {
        MilterPlay::Packet(code, Vec::new())
    }

    /// A packet of strings, each with its NUL.
    pub fn strings(code: u8, strings: &[&str]) -> MilterPlay {
        MilterPlay::Packet(code, joined(strings))
    }

    /// A packet of a number and strings.
    pub fn numbered(code: u8, number: u32, strings: &[&str]) -> MilterPlay {
        MilterPlay::Packet(code, [number.to_be_bytes().to_vec(), joined(strings)].concat())
    }
}

fn joined(strings: &[&str]) -> Vec<u8> {
    strings.iter().flat_map(|string| string.bytes().chain([0])).collect()
}

#[derive(Debug, Clone)]
struct Rule {
    code: u8,
    /// Only the n-th event of this code on a connection, from 0.
    occurrence: Option<usize>,
    plays: Vec<MilterPlay>,
}

/// What a Milter agrees to, and how it answers.
#[derive(Debug, Clone)]
pub struct MilterScript {
    version: u32,
    actions: u32,
    steps: u32,
    lists: Vec<u8>,
    rules: Vec<Rule>,
}

impl Default for MilterScript {
    /// Agrees to everything, and continues.
    fn default() -> Self {
        MilterScript { version: 6, actions: 0x1ff, steps: 0, lists: Vec::new(), rules: Vec::new() }
    }
}

impl MilterScript {
    /// Agrees to this.
    #[must_use]
    pub fn agreeing(mut self, version: u32, actions: u32, steps: u32) -> Self {
        (self.version, self.actions, self.steps) = (version, actions, steps);
        self
    }

    /// Asks for these macros at a stage, by its number.
    #[must_use]
    pub fn macros(mut self, stage: u32, names: &str) -> Self {
        self.lists.extend(stage.to_be_bytes());
        self.lists.extend(joined(&[names]));
        self
    }

    /// Does this at each event of a code.
    #[must_use]
    pub fn at(mut self, code: u8, plays: Vec<MilterPlay>) -> Self {
        self.rules.push(Rule { code, occurrence: None, plays });
        self
    }

    /// Does this at the n-th event of a code on a connection, from 0.
    #[must_use]
    pub fn at_nth(mut self, code: u8, occurrence: usize, plays: Vec<MilterPlay>) -> Self {
        self.rules.push(Rule { code, occurrence: Some(occurrence), plays });
        self
    }

    /// Does this at the end of each message, and continues.
    #[must_use]
    pub fn edits(self, mut plays: Vec<MilterPlay>) -> Self {
        plays.push(MilterPlay::code(b'c'));
        self.at(b'E', plays)
    }

    /// What is done about the n-th event of this code.
    fn plays(&self, code: u8, occurrence: usize) -> Vec<MilterPlay> {
        let fits = |rule: &&Rule| rule.code == code && rule.occurrence.is_none_or(|only| only == occurrence);
        if let Some(rule) = self.rules.iter().find(fits) {
            return rule.plays.clone();
        }
        match code {
            b'O' => {
                let numbers = [self.version, self.actions, self.steps].map(u32::to_be_bytes).concat();
                vec![MilterPlay::Packet(b'O', [numbers, self.lists.clone()].concat())]
            }
            b'D' | b'A' | b'Q' => Vec::new(),
            _ if UNANSWERED.iter().any(|(event, flag)| *event == code && self.steps & flag != 0) => {
                Vec::new()
            }
            _ => vec![MilterPlay::code(b'c')],
        }
    }
}

#[derive(Debug, Default)]
struct State {
    script: Arc<MilterScript>,
    /// The packets of each connection, in order of their beginnings.
    connections: Vec<Vec<MilterPacket>>,
    open: usize,
}

#[derive(Debug)]
enum Place {
    Port(u16),
    Path(PathBuf),
}

/// A running Milter; gone when dropped.
#[derive(Debug)]
pub struct ScriptedMilter {
    place: Place,
    shared: Arc<Shared<State>>,
}

impl ScriptedMilter {
    /// Listens on a loopback port.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(script: MilterScript) -> ScriptedMilter {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        Self::run(Place::Port(port), script, move || {
            let (socket, _) = listener.accept()?;
            // A byte written by itself is to be a packet by itself.
            socket.set_nodelay(true)?;
            Ok((Box::new(socket.try_clone()?), Box::new(socket)))
        })
    }

    /// Listens on a socket in the file system, which anyone may use.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn start_at(path: &Path, script: MilterScript) -> ScriptedMilter {
        let listener = UnixListener::bind(path).expect("a new socket");
        fs::set_permissions(path, Permissions::from_mode(0o666)).expect("our own socket");
        Self::run(Place::Path(path.to_owned()), script, move || {
            let (socket, _) = listener.accept()?;
            Ok((Box::new(socket.try_clone()?), Box::new(socket)))
        })
    }

    fn run(
        place: Place,
        script: MilterScript,
        accept: impl Fn() -> std::io::Result<(Box<dyn Read + Send>, Box<dyn Write + Send>)> + Send + 'static,
    ) -> ScriptedMilter {
        let shared = Arc::new(Shared::<State>::default());
        shared.state().script = Arc::new(script);
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            loop {
                let accepted = accept();
                if of_thread.is_stopped() {
                    return;
                }
                let Ok((input, mut output)) = accepted else { continue };
                let shared = Arc::clone(&of_thread);
                let (number, script) = {
                    let mut state = shared.state();
                    state.connections.push(Vec::new());
                    state.open += 1;
                    (state.connections.len() - 1, Arc::clone(&state.script))
                };
                thread::spawn(move || {
                    drop(serve(&mut BufReader::new(input), &mut output, &script, &shared, number));
                    drop(output);
                    shared.state().open -= 1;
                    shared.changed();
                });
            }
        });
        ScriptedMilter { place, shared }
    }

    /// Its place as the parameters have it.
    pub fn endpoint(&self) -> String {
        match &self.place {
            Place::Port(port) => format!("inet:127.0.0.1:{port}"),
            Place::Path(path) => format!("unix:{}", path.display()),
        }
    }

    /// Plays this on connections from now on.
    pub fn play(&self, script: MilterScript) {
        self.shared.state().script = Arc::new(script);
    }

    /// The packets of each connection since the last call, in order of their beginnings, once none is open.
    ///
    /// # Panics
    /// When one stays open.
    pub fn take(&self) -> Vec<Vec<MilterPacket>> {
        let mut state =
            self.shared.once(|state| state.open == 0, |_| "a connection to the Milter stays open".to_owned());
        std::mem::take(&mut state.connections)
    }

    /// The packets that a connection has had so far.
    pub fn packets(&self, connection: usize) -> Vec<MilterPacket> {
        self.shared.state().connections.get(connection).cloned().unwrap_or_default()
    }
}

impl Drop for ScriptedMilter {
    fn drop(&mut self) {
        match &self.place {
            Place::Port(port) => self.shared.stop_at(*port),
            Place::Path(path) => {
                self.shared.stop();
                drop(UnixStream::connect(path));
                drop(fs::remove_file(path));
            }
        }
    }
}

/// Talks until one side closes.
fn serve(
    input: &mut dyn Read,
    output: &mut dyn Write,
    script: &MilterScript,
    shared: &Shared<State>,
    number: usize,
) -> std::io::Result<()> {
    let mut counts = [0_usize; 256];
    let mut byte_by_byte = false;
    loop {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let mut data = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX)];
        input.read_exact(&mut data)?;
        let code = if data.is_empty() { 0 } else { data.remove(0) };
        // Tests that take everything while a connection is open lose what comes later.
        if let Some(packets) = shared.state().connections.get_mut(number) {
            packets.push(MilterPacket { code, data });
        }
        let occurrence = counts[usize::from(code)];
        counts[usize::from(code)] += 1;
        for play in script.plays(code, occurrence) {
            let bytes = match play {
                MilterPlay::Packet(code, data) => {
                    let length = u32::try_from(data.len() + 1).expect("tests send less");
                    [length.to_be_bytes().as_slice(), &[code], &data].concat()
                }
                MilterPlay::Bytes(bytes) => bytes,
                MilterPlay::ByteByByte => {
                    byte_by_byte = true;
                    continue;
                }
                MilterPlay::Pause(span) => {
                    thread::sleep(span);
                    continue;
                }
                MilterPlay::Close => return Ok(()),
                MilterPlay::Silence => {
                    let mut rest = Vec::new();
                    input.read_to_end(&mut rest)?;
                    return Ok(());
                }
            };
            if byte_by_byte {
                bytes.iter().try_for_each(|byte| output.write_all(&[*byte]))?;
            } else {
                output.write_all(&bytes)?;
            }
        }
        output.flush()?;
        if code == b'Q' {
            return Ok(());
        }
    }
}
