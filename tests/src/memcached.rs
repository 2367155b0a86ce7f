//! Memcached: Debian's server, started from where `tests/setup-peers` unpacked it, on a port of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::port::free_port;
use crate::server_process::comes_up;
use crate::suite::{library_path, peers_root};

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct Memcached {
    port: u16,
    child: Child,
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
        let port = free_port();
        let child = Command::new(program)
            .args(["-u", "nobody", "-l", "127.0.0.1", "-t", "1", "-p", &port.to_string()])
            .env_clear()
            .env("LD_LIBRARY_PATH", library_path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("memcached: {error}"))?;
        let mut server = Memcached { port, child };
        let serves = comes_up(&mut server.child, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        if serves { Ok(server) } else { Err("memcached does not serve".to_owned()) }
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

    /// Ends it.
    pub fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        self.stop();
    }
}
