//! The bundled example filter, between a before-filter and an after-filter server.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running example filter; killed when dropped.
#[derive(Debug)]
pub struct ExampleFilter {
    port: u16,
    next_hop: u16,
    child: Child,
}

impl ExampleFilter {
    /// Starts it on `port`, passing mail to `next_hop`.
    ///
    /// # Panics
    /// When it has not been built, or does not listen within ten seconds.
    pub fn start(port: u16, next_hop: u16) -> ExampleFilter {
        ExampleFilter { port, next_hop, child: spawn(port, next_hop) }
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL and starts another in its place.
    ///
    /// # Panics
    /// As [`ExampleFilter::start`].
    pub fn replace(&mut self) {
        self.kill();
        self.child = spawn(self.port, self.next_hop);
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).expect("process numbers are small");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("our own process");
    }

    /// Waits until it takes no more connections.
    ///
    /// # Panics
    /// When it still does after ten seconds.
    pub fn wait_until_deaf(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_listening(self.port) {
            assert!(Instant::now() < deadline, "the example filter still listens on port {}", self.port);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end; the exit status, or `None` when a signal ended it.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().expect("our own process").code()
    }

    fn kill(&mut self) {
        // Only one that has ended by itself cannot be killed, and that is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for ExampleFilter {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, next_hop: u16) -> Child {
    let program = example_program("example-filter");
    let child = Command::new(&program)
        .args([format!("127.0.0.1:{port}"), format!("127.0.0.1:{next_hop}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_listening(port) {
        assert!(Instant::now() < deadline, "the example filter does not listen on port {port}");
        thread::sleep(Duration::from_millis(10));
    }
    child
}

/// Looks at the kernel's list: to connect would be a session of the filter, and of the server behind it.
fn is_listening(port: u16) -> bool {
    let row = format!(":{port:04X} 00000000:0000 0A ");
    std::fs::read_to_string("/proc/net/tcp").is_ok_and(|table| table.contains(&row))
}

/// Where a program of `examples/` is: in the stage, or in the folder that cargo built the test into.
///
/// # Panics
/// When this program does not know where it is itself.
pub fn example_program(name: &str) -> PathBuf {
    if let Some(stage) = env::var_os("POSTERN_STAGE") {
        return Path::new(&stage).join("examples").join(name);
    }
    let test = env::current_exe().expect("a running program has a path");
    test.parent().and_then(Path::parent).expect("cargo puts tests two folders deep").join(name)
}
