//! A Redis server: Debian's, with a folder and a port of its own, and nothing on disk.

use std::env;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::port::free_port;
use crate::suite::{library_path, peer_program};

static COUNTER: AtomicU32 = AtomicU32::new(0);

const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct Redis {
    home: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Redis {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not serve.
    pub fn start() -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let home = env::temp_dir().join(format!("postern-redis-{}-{number}", process::id()));
        fs::create_dir_all(&home).expect("a new folder");
        let mut server = Self { home, port: free_port(), child: None };
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
        let child = Command::new(peer_program("redis-server"))
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
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
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not serve");
            thread::sleep(Duration::from_millis(20));
        }
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
