//! An example SMTP before-queue content filter, and a template for filter authors.
//!
//!     example-filter LISTEN-ADDRESS NEXT-HOP
//!
//! It stands between two SMTP servers: the one that faces the clients (`smtpd_proxy_filter = LISTEN-ADDRESS`) and the
//! one behind the filter. Commands and replies pass through; the message streams through [`scan::Scanner`], is never
//! held whole, and gets one header more. The client has its answer only when the server behind has given its own.
//!
//! `main.rs` listens, `session.rs` is the conversation, `scan.rs` is the part to replace by your own.

#![forbid(unsafe_code)]

mod scan;
mod session;

use std::env;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use smtp::client::Endpoint;
use sys::poll::{PollFd, PollFlags};
use sys::signal::{Interrupts, Signal};

/// Sessions at a time; the server in front has a limit of its own (`maxproc` in master.cf), this is the last resort.
const SESSION_LIMIT: usize = 500;
/// How long sessions may take to finish after SIGTERM.
const GRACE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [listen, next_hop] = arguments.as_slice() else {
        eprintln!("usage: example-filter listen-address:port next-hop-address:port");
        return ExitCode::from(2);
    };
    match Endpoint::parse(next_hop)
        .map_err(|error| error.to_string())
        .and_then(|next_hop| run(listen, next_hop))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("example-filter: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(listen: &str, next_hop: Endpoint) -> Result<(), String> {
    let listener = TcpListener::bind(listen).map_err(|error| format!("listen on {listen}: {error}"))?;
    let signals = catch_sigterm().map_err(|error| format!("catch SIGTERM: {error}"))?;
    let next_hop = Arc::new(next_hop);
    let sessions = Arc::new(AtomicUsize::new(0));
    loop {
        let mut fds = [listener.as_fd(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        sys::poll::any(&mut fds, None).map_err(|error| format!("poll: {error}"))?;
        if sys::signal::taken(Signal::SIGTERM) {
            break;
        }
        match listener.accept() {
            Ok((socket, _)) => start(socket, &next_hop, &sessions),
            // A client that gave up in the queue, or no descriptor left: neither is a reason to stop.
            Err(error) => {
                eprintln!("accept: {error}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
    drop(listener);
    let end = Instant::now() + GRACE;
    while sessions.load(Ordering::Acquire) > 0 && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn catch_sigterm() -> std::io::Result<OwnedFd> {
    let pipe = sys::signal::pipe()?;
    sys::signal::catch(Signal::SIGTERM, Interrupts::Yes)?;
    Ok(pipe)
}

/// Counts one session as long as it lives, however it ends.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn start(socket: TcpStream, next_hop: &Arc<Endpoint>, sessions: &Arc<AtomicUsize>) {
    let before = sessions.fetch_add(1, Ordering::AcqRel);
    let counted = Counted(Arc::clone(sessions));
    if before >= SESSION_LIMIT {
        // Closing without a greeting makes the server in front answer its client with a 451.
        return;
    }
    let next_hop = Arc::clone(next_hop);
    let thread = thread::Builder::new().spawn(move || {
        let _counted = counted;
        if let Err(error) = session::serve(socket, &next_hop) {
            eprintln!("session: {error}");
        }
    });
    if let Err(error) = thread {
        eprintln!("no thread for a session: {error}");
    }
}
