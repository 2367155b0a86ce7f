//! A Redis server: Debian's, with a folder and a port of its own, and nothing on disk.

use std::env;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::network::Network;
use crate::port::free_port;
use crate::suite::{library_path, peer_program};

static COUNTER: AtomicU32 = AtomicU32::new(0);

const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct Redis {
    home: PathBuf,
    port: u16,
    /// Who keeps the network that it is in, where that is not everybody's.
    network: Option<u32>,
    child: Option<Child>,
}

impl Redis {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn start() -> Self {
        Self::start_in(None)
    }

    /// Starts it in a network, at all addresses of that.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn start_within(network: &Network) -> Self {
        Self::start_in(Some(network.id()))
    }

    fn start_in(network: Option<u32>) -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let home = env::temp_dir().join(format!("postern-redis-{}-{number}", process::id()));
        fs::create_dir_all(&home).expect("a new folder");
        let mut server = Self { home, port: free_port(), network, child: None };
        server.run();
        server
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again; it has forgotten everything.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn run(&mut self) {
        let port = self.port.to_string();
        let program = peer_program("redis-server");
        let bind = if self.network.is_some() { "0.0.0.0" } else { "127.0.0.1" };
        let mut command = match self.network {
            None => Command::new(&program),
            Some(keeper) => {
                let mut command = Command::new("/usr/bin/nsenter");
                command.args(["-t", &keeper.to_string(), "-n"]).arg(&program);
                command
            }
        };
        let child = command
            .args(["--port", &port, "--bind", bind, "--protected-mode", "no"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&self.home)
            .env_clear()
            .env("LD_LIBRARY_PATH", library_path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's redis-server");
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while !self.serves() {
            assert!(Instant::now() < deadline, "redis-server does not serve");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn serves(&self) -> bool {
        let Some(keeper) = self.network else {
            return TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        };
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}", self.port);
        let mut command = Command::new("nsenter");
        command.args(["-t", &keeper.to_string(), "-n", "bash", "-c", &script]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Ends it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
        drop(fs::remove_dir_all(&self.home));
    }
}
