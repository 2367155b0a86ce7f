//! Debian's `smtp-sink` as the mail server of the rest of the world: it takes every message and keeps it in a file.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use crate::plan::MAIL_OWNER;
use crate::suite::{library_path, peer_program};

/// A running `smtp-sink`, ended when dropped.
#[derive(Debug)]
pub struct Sink {
    child: Child,
    folder: PathBuf,
}

impl Sink {
    /// Listens on a loopback port; messages go to files in a new folder below `home`.
    ///
    /// # Panics
    /// When it does not start within ten seconds.
    pub fn start(port: u16, home: &Path) -> Sink {
        let sink =
            Sink::spawn(&[], &format!("127.0.0.1:{port}"), &home.join(format!("sink-{port}")), "nobody");
        sink.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        sink
    }

    /// Speaks LMTP on a socket, as the mail owner's, that nobody else need reach.
    ///
    /// # Panics
    /// When it does not start within ten seconds.
    pub fn start_lmtp(socket: &Path, home: &Path) -> Sink {
        let sink =
            Sink::spawn(&["-L"], &format!("unix:{}", socket.display()), &home.join("sink-lmtp"), MAIL_OWNER);
        sink.wait_until(|| socket.exists());
        // Made by root before it became the mail owner.
        fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).expect("the instance's own folder");
        sink
    }

    fn spawn(options: &[&str], endpoint: &str, folder: &Path, account: &str) -> Sink {
        fs::create_dir_all(folder).expect("the instance's own folder");
        fs::set_permissions(folder, fs::Permissions::from_mode(0o1777)).expect("our own folder");
        // Started by root it wants to know who else to be.
        let user: &[&str] = if Uid::effective().is_root() { &["-u", account] } else { &[] };
        let child = Command::new(peer_program("smtp-sink"))
            .args(user)
            .args(options)
            .args(["-d", "message.", endpoint, "100"])
            .current_dir(folder)
            .env("LD_LIBRARY_PATH", library_path())
            // Its complaint about the unpacked package's missing configuration is nobody's business.
            .stderr(Stdio::null())
            .spawn()
            .expect("smtp-sink is among the peers");
        Sink { child, folder: folder.to_owned() }
    }

    fn wait_until(&self, listens: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !listens() {
            assert!(Instant::now() < deadline, "smtp-sink for {} does not listen", self.folder.display());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The messages that have arrived, each with smtp-sink's own headers (`X-Mail-Args`, `X-Rcpt-Args` ...) in front.
    pub fn messages(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let texts = entries.filter_map(|entry| fs::read(entry.path()).ok());
        texts
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .filter(|text| !text.is_empty())
            .collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
