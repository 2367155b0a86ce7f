//! Programs that run to an end: commands, tools, masters that refuse to start.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::suite::library_path;

/// How long a program may run that should come to an end by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Outcome {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Runs a program of either suite or of the peers to its end, with an environment of its own: the library path the
/// peers need, `PATH`, and what is given. One that does not end is killed after five minutes.
///
/// # Panics
/// When it cannot be started.
pub fn run(program: &Path, arguments: &[&str], environment: &[(&str, &str)], input: &[u8]) -> Outcome {
    run_within(PATIENCE, program, arguments, environment, input)
}

/// As [`run`], killed after this time.
pub(crate) fn run_within(
    patience: Duration,
    program: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: &[u8],
) -> Outcome {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C")
        .env("TZ", "UTC")
        .env("LD_LIBRARY_PATH", library_path())
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {}: {error}", program.display()));
    let mut stdin = child.stdin.take().expect("asked for a pipe");
    let input = input.to_vec();
    // A program that ends without reading everything is no error of the test's.
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let (ended, end) = channel::<()>();
    let pid = i32::try_from(child.id()).expect("a process id is an int");
    let watchdog = thread::spawn(move || {
        if end.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            // It has not been waited for: the number is still its own.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output().expect("a started child can be waited for");
    drop(ended);
    watchdog.join().expect("the watchdog does not panic");
    feeder.join().expect("the feeder does not panic");
    Outcome { status: output.status.code(), stdout: output.stdout, stderr: output.stderr }
}
