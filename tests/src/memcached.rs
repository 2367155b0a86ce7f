//! Memcached: Debian's server, started from where `tests/setup-peers` unpacked it, on a port of its own. It writes down every
//! command.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::port::free_port;
use crate::server_process::comes_up;
use crate::suite::{library_path, peers_root};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct Memcached {
    port: u16,
    child: Option<Child>,
    log: PathBuf,
    /// How much of its log has been told.
    told: usize,
}

impl Memcached {
    /// Starts one.
    ///
    /// # Errors
    /// The reason why it cannot run here.
    pub fn start() -> Result<Memcached, String> {
        let program = peers_root().join("usr/bin/memcached");
        if !program.exists() {
            return Err(format!("{} is not there: run tests/setup-peers", program.display()));
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let log = env::temp_dir().join(format!("postern-memcached-{}-{number}.log", process::id()));
        let mut server = Memcached { port: free_port(), child: None, log, told: 0 };
        server.run()?;
        Ok(server)
    }

    /// Starts it again; it has forgotten everything.
    ///
    /// # Errors
    /// The reason why it does not serve.
    pub fn run(&mut self) -> Result<(), String> {
        let file = File::create(&self.log).map_err(|error| format!("{}: {error}", self.log.display()))?;
        self.told = 0;
        let mut child = Command::new(peers_root().join("usr/bin/memcached"))
            .args(["-vv", "-u", "nobody", "-l", "127.0.0.1", "-t", "1", "-p", &self.port.to_string()])
            .env_clear()
            .env("LD_LIBRARY_PATH", library_path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("memcached: {error}"))?;
        let serves = comes_up(&mut child, || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        self.child = Some(child);
        if serves { Ok(()) } else { Err("memcached does not serve".to_owned()) }
    }

    /// Its port at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a command, and tells the answer's first line.
    ///
    /// # Panics
    /// When the server is not there.
    pub fn command(&self, command: &str) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("memcached");
        socket.write_all(command.as_bytes()).expect("memcached reads");
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).expect("memcached answers");
        line.trim_end().to_owned()
    }

    /// Stores values.
    ///
    /// # Panics
    /// When the server is not there, or does not store one of them.
    pub fn store<'a>(&self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        let command = |(key, value): (&[u8], &[u8])| {
            let head = format!(" 0 0 {}\r\n", value.len());
            [b"set ", key, head.as_bytes(), value, b"\r\n"].concat()
        };
        let commands: Vec<_> = entries.map(command).collect();
        let answer = self.answer(&commands.concat());
        assert_eq!(answer, b"STORED\r\n".repeat(commands.len()), "{}", commands.concat().escape_ascii());
    }

    /// What it says of keys that are at most 250 bytes long.
    ///
    /// # Panics
    /// When the server is not there.
    pub fn values<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let commands: Vec<_> = keys.map(|key| [b"get ", key, b"\r\n"].concat()).collect();
        self.answer(&commands.concat())
    }

    fn answer(&self, commands: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("memcached");
        socket.write_all(&[commands, b"quit\r\n"].concat()).expect("memcached reads");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("memcached answers");
        answer
    }

    /// The commands that it was given, in order, since they were last told.
    pub fn commands(&mut self) -> Vec<Vec<u8>> {
        let text = fs::read(&self.log).unwrap_or_default();
        let new = text.get(self.told..).unwrap_or_default();
        let command = |line: &[u8]| {
            let line = line.strip_prefix(b"<")?;
            let start = line.iter().position(|byte| *byte == b' ')?;
            line[..start].iter().all(u8::is_ascii_digit).then(|| line[start + 1..].to_vec())
        };
        let commands = new.split(|byte| *byte == b'\n').filter_map(command).collect();
        self.told = text.len();
        commands
    }

    /// Ends it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        self.stop();
        drop(fs::remove_file(&self.log));
    }
}
