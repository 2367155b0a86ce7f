//! What a service manager is told: the datagrams of sd_notify(3), where `NOTIFY_SOCKET` names a socket for them.
//!
//! Each is lines `NAME=VALUE`: `READY=1` when all sockets are open, `RELOADING=1` and again `READY=1` around a reload,
//! `STOPPING=1` at the end, and `WATCHDOG=1` at twice the rate that `WATCHDOG_USEC` asks for, from the loop that it is a
//! proof of. Postfix's master tells nothing; without the variable neither does this one. Nothing is waited for, and a
//! datagram that cannot be sent is dropped: the manager must not keep mail from being served. The processes that master
//! makes do not see the variables, unless `import_environment` names them.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use sys::error_text;

/// The manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// The manager that the environment names. A socket that is not there is told once.
    pub(crate) fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let connected = sys::socket::connect_unix_datagram(&address(name.clone()));
        let socket = connected.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        match socket {
            Ok(socket) => Self { socket: Some(socket), watchdog: watchdog() },
            Err(error) => {
                log::warn!("NOTIFY_SOCKET={}: {}", name.to_string_lossy(), error_text(&error));
                Self::default()
            }
        }
    }

    /// All sockets are open, and their clients are served. A reload ends so, too.
    pub(crate) fn ready(&self, status: &str) {
        // By another process than the manager started, where master was told to detach itself (`-w`).
        self.tell(&format!("MAINPID={}\nREADY=1\nSTATUS={status}\n", sys::process::pid()));
    }

    /// The configuration is about to be read again.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", now.as_micros()));
    }

    /// The end has begun.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\n");
    }

    /// The loop turns, if the manager wants to know; when it wants the next word.
    pub(crate) fn prove_alive(&self) -> Option<Duration> {
        let interval = self.watchdog?;
        self.tell("WATCHDOG=1\n");
        Some(interval / 2)
    }

    fn tell(&self, text: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(text.as_bytes());
        }
    }
}

/// `@` stands for the byte that begins a name outside of the file system.
fn address(name: OsString) -> PathBuf {
    let mut bytes = name.into_vec();
    if let Some(first) = bytes.first_mut().filter(|first| **first == b'@') {
        *first = 0;
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The time within which the manager wants a sign, when it wants it of this process.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| {
        let value = std::env::var_os(name)?;
        std::str::from_utf8(value.as_bytes()).ok()?.parse::<u64>().ok()
    };
    let is_ours = std::env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == u64::try_from(sys::process::pid().as_raw()).ok();
    number("WATCHDOG_USEC").filter(|&limit| limit > 0 && is_ours).map(Duration::from_micros)
}
