//! A lookup table that keeps the keys it is asked for.
//!
//! It stands where the instance's proxymap would listen, so that a table `proxy:texthash:NAME` of the configuration is
//! this one: it says of itself what kind of table it is, and so is asked for all the keys that a table of that kind
//! would be asked for, in the order in which a daemon looks for them. Spec ipc.md section 10.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::instance::Instance;

/// The flag of a table of fixed strings, and that of patterns.
const FIXED: u32 = 16;
const PATTERN: u32 = 32;
/// Statuses of replies: the key was found, it was not, the look-up failed for now.
const FOUND: u32 = 0;
const MISSING: u32 = 1;
const RETRY: u32 = 2;

/// A running recorder; it ends with the test's process.
#[derive(Debug)]
pub struct RecordingMap {
    keys: Arc<Mutex<Vec<String>>>,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl RecordingMap {
    /// Listens at the `proxymap` socket of an instance that is laid out and has no such service. `proxy:regexp:NAME`
    /// is a table of patterns, every other one of fixed strings; the key `retry`, and a key in which `retry.` or
    /// `.retry` stands, fails for now; else a key has the value that `values` has for `NAME KEY`, or for it.
    ///
    /// # Panics
    /// When the socket cannot be made.
    pub fn start(instance: &Instance, values: HashMap<String, String>) -> RecordingMap {
        let path: PathBuf = instance.queue_directory().join("private/proxymap");
        let listener = UnixListener::bind(&path).expect("the instance has no proxymap");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("our own socket");
        let keys = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        let (of_thread, values) = ((Arc::clone(&keys), Arc::clone(&asked)), Arc::new(values));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let ((keys, asked), values) = (of_thread.clone(), Arc::clone(&values));
                thread::spawn(move || serve(&socket, &keys, &asked, &values));
            }
        });
        RecordingMap { keys, asked }
    }

    /// The keys since the last call, each as `NAME KEY`.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The tables that were asked, each as `NAME FLAGS` with the flags of the request, in alphabetical order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn serve(
    mut socket: &UnixStream,
    keys: &Mutex<Vec<String>>,
    asked: &Mutex<BTreeSet<String>>,
    values: &HashMap<String, String>,
) -> Option<()> {
    socket.write_all(b"protocol\0proxymap_protocol\0\0").ok()?;
    let mut reader = BufReader::new(socket);
    loop {
        let mut request = HashMap::new();
        loop {
            let name = word(&mut reader)?;
            if name.is_empty() {
                break;
            }
            request.insert(name, word(&mut reader)?);
        }
        let get = |name: &str| request.get(name).map_or("", String::as_str);
        let (table, key) = (get("table"), get("key"));
        let (kind, name) = table.split_once(':').unwrap_or(("", table));
        // Since 3.11 requests tell two kinds of flags, and every reply those of the table.
        let is_new = request.contains_key("instance_flags");
        let reply = if get("request") == "open" {
            let flags: u32 = get(if is_new { "instance_flags" } else { "flags" }).parse().unwrap_or(0);
            format!("status\0{FOUND}\0flags\0{}\0\0", flags | if kind == "regexp" { PATTERN } else { FIXED })
        } else {
            let flags = format!("{name} {}", get("flags"));
            asked.lock().unwrap_or_else(PoisonError::into_inner).insert(flags);
            keys.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{name} {key}"));
            let retry = key == "retry" || key.contains("retry.") || key.contains(".retry");
            let value = values.get(&format!("{name} {key}")).or_else(|| values.get(key)).filter(|_| !retry);
            let status = if retry {
                RETRY
            } else if value.is_some() {
                FOUND
            } else {
                MISSING
            };
            let flags = if is_new { format!("flags\0{}\0", get("flags")) } else { String::new() };
            format!("status\0{status}\0{flags}value\0{}\0\0", value.map_or("", String::as_str))
        };
        socket.write_all(reply.as_bytes()).ok()?;
    }
}

fn word(reader: &mut impl BufRead) -> Option<String> {
    let mut bytes = Vec::new();
    reader.read_until(0, &mut bytes).ok()?;
    (bytes.pop() == Some(0)).then(|| String::from_utf8_lossy(&bytes).into_owned())
}
