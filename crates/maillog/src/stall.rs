//! A log that takes no lines: postlogd cannot start, or the syslog daemon stands still, and the queue of its socket is full.
//!
//! Postfix's programs then wait, master too, which is the one that would have to start postlogd: nobody is served any more.
//! Here a program waits once, for a bounded time, so that a burst of lines is not torn; master and postlogd, whom all others
//! wait for, do not wait at all. What is not taken goes to `maillog_file` itself where the program may write that, else to
//! stderr and syslog. Lines that are missing are counted, and the log is told when it takes lines again.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a line waits for room, once.
const PATIENCE: Duration = Duration::from_secs(5);
/// Programs that never wait.
const IMPATIENT: &[&str] = &["master", "postlogd"];

/// The last line found no room.
static STALLED: AtomicBool = AtomicBool::new(false);
/// Lines that the log has not got, and has not heard of.
static MISSING: AtomicU64 = AtomicU64::new(0);

/// Sends one datagram to the log, on a socket that blocks.
///
/// # Errors
/// `WouldBlock` when there is no room in time; otherwise what `send` says.
pub(crate) fn send(socket: impl AsFd, line: &[u8]) -> io::Result<()> {
    let is_patient = !STALLED.load(Ordering::Relaxed) && !IMPATIENT.contains(&crate::process_name());
    let mut deadline = None;
    let mut sent = sys::socket::send(&socket, line);
    loop {
        match sent {
            Ok(_) => {
                STALLED.store(false, Ordering::Relaxed);
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted && deadline.is_none() => {
                sent = sys::socket::send(&socket, line);
            }
            Err(error)
                if is_patient && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                let now = Instant::now();
                let left = deadline.get_or_insert(now + PATIENCE).saturating_duration_since(now);
                if left.is_zero() {
                    STALLED.store(true, Ordering::Relaxed);
                    return Err(ErrorKind::WouldBlock.into());
                }
                sent = sys::socket::send_within(&socket, line, left);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Counts a line that the log has not got.
pub(crate) fn missing() {
    MISSING.fetch_add(1, Ordering::Relaxed);
}

/// What the log has not heard yet; [`took_notice`] follows when it has.
pub(crate) fn notice() -> Option<(u64, String)> {
    match MISSING.load(Ordering::Relaxed) {
        0 => None,
        1 => Some((1, "1 line before this could not be written to this log".to_owned())),
        count => Some((count, format!("{count} lines before this could not be written to this log"))),
    }
}

/// The log has heard of so many.
pub(crate) fn took_notice(count: u64) {
    MISSING.fetch_sub(count, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_line_waits_for_room() {
        let path = std::env::temp_dir().join(format!("maillog-stall-{}", std::process::id()));
        let log = UnixDatagram::bind(&path).unwrap();
        let program = UnixDatagram::unbound().unwrap();
        program.connect(&path).unwrap();
        while sys::socket::send(&program, b"line").is_ok() {}
        std::thread::scope(|scope| {
            let waits: Vec<_> = (0..4).map(|_| scope.spawn(|| send(&program, b"late"))).collect();
            let mut line = [0; 8];
            let mut late = 0;
            while late < waits.len() {
                let count = log.recv(&mut line).unwrap();
                late += usize::from(&line[..count] == b"late");
            }
            waits.into_iter().for_each(|wait| wait.join().unwrap().unwrap());
        });
        std::fs::remove_file(path).unwrap();
    }
}
