//! Debian's `postfix-policyd-spf-python`, which asks the DNS whether a client may send for a domain.
//!
//! It reads requests from standard input, as a child of spawn(8) does; here each connection has one, in a mount
//! namespace with the name server of the test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::real_filter::filters_root;

/// The server: connections wait until [`SpfPolicy::serve`] is called, and all ends when it is dropped.
#[derive(Debug)]
pub struct SpfPolicy {
    listener: TcpListener,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    children: Mutex<Vec<Child>>,
    stopped: AtomicBool,
}

impl SpfPolicy {
    /// A server on a port of its own.
    ///
    /// # Errors
    /// The reason why it cannot run here: its package is not unpacked, or there is no Python.
    pub fn start() -> Result<SpfPolicy, String> {
        let program = program();
        for path in [program.as_path(), Path::new("/usr/bin/python3")] {
            if !path.exists() {
                return Err(format!("{} is missing: run tests/setup-filters", path.display()));
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        Ok(SpfPolicy { listener, shared: Arc::default() })
    }

    /// `inet:127.0.0.1:PORT`
    ///
    /// # Panics
    /// Not on a bound socket.
    pub fn endpoint(&self) -> String {
        format!("inet:{}", self.listener.local_addr().expect("a bound socket"))
    }

    /// Serves with this resolv.conf; the configuration file is written beside it.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn serve(&self, resolv_conf: &Path) {
        let settings = resolv_conf.with_file_name("policyd-spf.conf");
        let text = "debugLevel = 0\nTestOnly = 1\nHELO_reject = Fail\nMail_From_reject = Fail\n\
                    PermError_reject = True\nTempError_Defer = True\nskip_addresses = 127.0.0.0/8\n";
        fs::write(&settings, text).expect("the instance's folder");
        let (listener, shared) = (self.listener.try_clone().expect("a socket"), Arc::clone(&self.shared));
        let resolv_conf = resolv_conf.to_owned();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let child = child(socket, &resolv_conf, &settings).expect("unshare and Python");
                shared.children.lock().unwrap_or_else(PoisonError::into_inner).push(child);
            }
        });
    }
}

impl Drop for SpfPolicy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Ok(address) = self.listener.local_addr() {
            drop(TcpStream::connect(address));
        }
        let mut children = self.shared.children.lock().unwrap_or_else(PoisonError::into_inner);
        for child in children.iter_mut() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn program() -> PathBuf {
    filters_root().join("usr/bin/policyd-spf")
}

fn child(socket: TcpStream, resolv_conf: &Path, settings: &Path) -> std::io::Result<Child> {
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec /usr/bin/python3 \"$@\"";
    let output = OwnedFd::from(socket.try_clone()?);
    Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .args([resolv_conf, &program(), settings])
        .env("PYTHONPATH", filters_root().join("usr/lib/python3/dist-packages"))
        .stdin(OwnedFd::from(socket))
        .stdout(output)
        .spawn()
}
