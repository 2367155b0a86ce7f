//! An example SMTP before-queue content filter, and a template for filter authors.
//!
//!     example-filter LISTEN-ADDRESS NEXT-HOP
//!
//! It stands between two SMTP servers: the one that faces the clients (`smtpd_proxy_filter = LISTEN-ADDRESS`) and the
//! one behind the filter. Commands and replies pass through; a message waits in a spool until [`scan::Scanner`] has seen
//! all of it. The client has its answer only when the server behind has given its own.
//!
//! `main.rs` listens, `session.rs` is the conversation, `scan.rs` is the part to replace by your own.

mod content;
mod envelope;
mod headers;
mod log;
mod next_hop;
mod scan;
mod session;
mod spool;
mod verdict;
mod wire;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Arg, Command, value_parser};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::session::GRACE;
use crate::spool::Place;

/// What all sessions know.
#[derive(Debug)]
struct Shared {
    next_hop: String,
    place: Place,
    limit: usize,
    sessions: AtomicUsize,
    stop: AtomicBool,
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn main() -> ExitCode {
    let (listen, shared) = arguments();
    match run(&listen, Arc::new(shared)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::line(&format!("fatal: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> (String, Shared) {
    let mut matches = Command::new("example-filter")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An SMTP before-queue content filter: refuses the GTUBE and EICAR test strings.")
        .arg(Arg::new("listen").value_name("LISTEN-ADDRESS:PORT").required(true).help("Where it listens"))
        .arg(
            Arg::new("next-hop")
                .value_name("HOST:PORT")
                .required(true)
                .help("The server that takes good mail"),
        )
        .arg(
            Arg::new("sessions")
                .long("sessions")
                .value_name("NUMBER")
                .default_value("500")
                .value_parser(value_parser!(usize))
                .help("Sessions at a time; more are told 421"),
        )
        .arg(
            Arg::new("memory")
                .long("memory")
                .value_name("BYTES")
                .default_value("65536")
                .value_parser(value_parser!(usize))
                .help("Bytes of a message kept in memory until its scan is over; more go to a file"),
        )
        .arg(
            Arg::new("spool")
                .long("spool")
                .value_name("FOLDER")
                .value_parser(value_parser!(PathBuf))
                .help("Where these files are made [default: $TMPDIR or /tmp]"),
        )
        .get_matches();
    let mut text = |name: &str| matches.remove_one::<String>(name).expect("clap insists on it");
    let (listen, next_hop) = (text("listen"), text("next-hop"));
    let mut number = |name: &str| matches.remove_one::<usize>(name).expect("it has a default");
    let (limit, memory) = (number("sessions"), number("memory"));
    let folder = matches.remove_one("spool").unwrap_or_else(std::env::temp_dir);
    let place = Place { folder, memory };
    (listen, Shared { next_hop, place, limit, sessions: AtomicUsize::new(0), stop: AtomicBool::new(false) })
}

fn run(listen: &str, shared: Arc<Shared>) -> Result<(), String> {
    // Before any thread, so that all have them blocked and only the loop below hears of them.
    let signals = catch_signals().map_err(|error| format!("catch SIGTERM: {error}"))?;
    let listener = TcpListener::bind(listen).map_err(|error| format!("listen on {listen}: {error}"))?;
    loop {
        let mut fds = [listener.as_fd(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        if let Err(error) = poll(&mut fds, PollTimeout::NONE) {
            if error != nix::errno::Errno::EINTR {
                return Err(format!("poll: {error}"));
            }
            continue;
        }
        if fds[1].any() == Some(true) {
            break;
        }
        match listener.accept() {
            Ok((socket, _)) => start(socket, &shared),
            // A client that gave up in the queue, or no descriptor left: neither is a reason to stop.
            Err(error) => {
                log::line(&format!("accept: {error}"));
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
    drop(listener);
    shared.stop.store(true, Ordering::Relaxed);
    let end = Instant::now() + GRACE;
    while shared.sessions.load(Ordering::Acquire) > 0 && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn catch_signals() -> io::Result<SignalFd> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?)
}

/// Counts one session as long as it lives, however it ends.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::AcqRel);
    }
}

fn start(socket: TcpStream, shared: &Arc<Shared>) {
    let before = shared.sessions.fetch_add(1, Ordering::AcqRel);
    let counted = Counted(Arc::clone(shared));
    if before >= shared.limit {
        log::line("too many sessions");
        let mut socket = socket;
        let _ = io::Write::write_all(&mut socket, b"421 4.3.2 example-filter: too many sessions\r\n");
        return;
    }
    let thread = thread::Builder::new().stack_size(512 * 1024).spawn(move || {
        if let Err(error) = session::serve(socket, &counted.0) {
            log::line(&format!("session: {error}"));
        }
    });
    if let Err(error) = thread {
        log::line(&format!("no thread for a session: {error}"));
    }
}
