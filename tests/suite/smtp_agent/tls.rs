//! What the cases of TLS have on top: identities of servers, and a table of policies that says what a case wants.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use conformance::{Clients, Identity, Instance, KeyKind, Special, TlsServer, sha256, sha512};

/// Those that servers and the client have, by their names. `root` vouches for all but `self` and `stranger`.
static IDENTITIES: LazyLock<Vec<(&str, Identity)>> = LazyLock::new(|| {
    let root = Identity::self_issued(KeyKind::Ecdsa, "Root", Special::Authority);
    let below = root.issue(KeyKind::Ecdsa, "Below", Special::Authority);
    let other_root = Identity::self_issued(KeyKind::Ecdsa, "Other", Special::Authority);
    let of = |name: &str, hosts: &[&str]| root.issue_for(KeyKind::Ecdsa, name, hosts);
    vec![
        ("good", of("mx.example.com", &["mx.example.com"])),
        ("local", of("localhost", &["localhost"])),
        ("dom", of("example.com", &["example.com"])),
        ("bare", root.issue(KeyKind::Ecdsa, "mx.example.com", Special::Nothing)),
        ("unnamed", of("", &["mx.example.com"])),
        ("wild", of("*.example.com", &["*.example.com"])),
        ("other", of("other.example", &["other.example", "a.b.example.com"])),
        ("rsa", root.issue_for(KeyKind::Rsa, "mx.example.com", &["mx.example.com"])),
        ("below", below.issue_for(KeyKind::Ecdsa, "mx.example.com", &["mx.example.com"])),
        ("stranger", other_root.issue_for(KeyKind::Ecdsa, "mx.example.com", &["mx.example.com"])),
        ("expired", root.issue(KeyKind::Ecdsa, "mx.example.com", Special::Expired)),
        ("self", Identity::self_issued(KeyKind::Ecdsa, "mx.example.com", Special::Nothing)),
        ("client", of("client.example", &["client.example"])),
        ("root", root),
    ]
});

/// The identity of this name.
pub(crate) fn identity(name: &str) -> &'static Identity {
    let found = IDENTITIES.iter().find(|(known, _)| *known == name);
    &found.unwrap_or_else(|| panic!("no identity {name}")).1
}

/// Writes the files of all of them.
pub(crate) fn write(folder: &Path) {
    for (name, identity) in IDENTITIES.iter() {
        identity.write(folder, name);
    }
    fs::write(folder.join("empty.pem"), "").expect("our own folder");
}

/// A server as a script has it: `IDENTITY` and words: `TLSv1.2`, `TLSv1.3`, `asks`, `demands`, `wraps`.
pub(crate) fn server(text: &str) -> (TlsServer, bool) {
    let words: Vec<&str> = text.split(' ').collect();
    let clients = match () {
        () if words.contains(&"asks") => Clients::Asked,
        () if words.contains(&"demands") => Clients::Demanded,
        () => Clients::Unknown,
    };
    let protocol = words.iter().find(|word| word.starts_with("TLSv")).copied().unwrap_or_default();
    (TlsServer::new(identity(words[0]), protocol, clients), words.contains(&"wraps"))
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// Digests, and what stands for them in a case: `FP_good` of the certificate, `PK_good` of the key.
pub(crate) fn digests() -> impl Iterator<Item = (String, String)> {
    IDENTITIES.iter().flat_map(|(name, identity)| {
        let (own, key) = (hex(&sha256(identity.der())), hex(&sha256(&identity.public_key())));
        [
            (own.clone(), format!("FP_{name}")),
            (key.clone(), format!("PK_{name}")),
            (own.replace(':', ""), format!("PLAIN_FP_{name}")),
            (key.replace(':', ""), format!("PLAIN_PK_{name}")),
            (hex(&sha512(identity.der())).replace(':', ""), format!("LONG_FP_{name}")),
            (hex(&sha512(&identity.public_key())).replace(':', ""), format!("LONG_PK_{name}")),
        ]
    })
}

/// A zone with the data of TLSA records filled in.
pub(crate) fn zone(text: &str) -> String {
    let plain = |bytes: &[u8]| hex(bytes).replace(':', "");
    let all = IDENTITIES.iter().flat_map(|(name, identity)| {
        [("C", identity.der().to_vec()), ("K", identity.public_key())].into_iter().flat_map(
            move |(what, bytes)| {
                [(0, bytes.clone()), (1, sha256(&bytes)), (2, sha512(&bytes))]
                    .map(|(digest, bytes)| (format!("{what}{digest}_{name}"), bytes))
            },
        )
    });
    all.fold(text.to_owned(), |text, (name, bytes)| text.replace(&name, &plain(&bytes)))
}

/// A socketmap with one answer to every key that is a destination.
pub(crate) struct Policies {
    pub(crate) port: u16,
    policy: Arc<Mutex<Option<String>>>,
}

impl Policies {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let policy = Arc::new(Mutex::new(None));
        let of_thread = Arc::clone(&policy);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let policy = Arc::clone(&of_thread);
                thread::spawn(move || while answer(&socket, &policy).is_some() {});
            }
        });
        Self { port, policy }
    }

    /// From now on it is this; nothing is no entry, and `TEMP` an answer that there is none for now.
    pub(crate) fn set(&self, policy: Option<String>) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy;
    }
}

fn answer(mut socket: &TcpStream, policy: &Mutex<Option<String>>) -> Option<()> {
    let mut length = 0;
    let mut byte = [0];
    loop {
        socket.read_exact(&mut byte).ok()?;
        match byte[0] {
            b':' => break,
            digit => length = length * 10 + usize::from(digit.wrapping_sub(b'0')),
        }
    }
    let mut rest = vec![0; length + 1];
    socket.read_exact(&mut rest).ok()?;
    let reply = match &*policy.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(policy) if policy == "TEMP" => "TEMP out of order".to_owned(),
        Some(policy) => format!("OK {policy}"),
        None => "NOTFOUND ".to_owned(),
    };
    socket.write_all(format!("{}:{reply},", reply.len()).as_bytes()).ok()
}

/// Writes the identities into the instance's folder of parameters.
pub(crate) fn furnish(instance: &Instance) {
    write(&instance.home().join("etc"));
}
