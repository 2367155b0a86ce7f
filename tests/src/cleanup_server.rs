//! A cleanup service that plays a script: it takes messages, keeps what it is told, and answers what it is to answer.
//!
//! It stands at a `public` socket of the instance; an smtpd with that `cleanup_service_name` hands its mail to it. Spec
//! ipc.md section 6, queue-file.md section 15.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;

use crate::instance::Instance;
use crate::shared::Shared;

/// The queue ID of every message.
const QUEUE_ID: &str = "4Ab1234567";

/// A message as it was told to cleanup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanupMessage {
    /// The flags of its first list.
    pub flags: String,
    /// The sender.
    pub sender: String,
    /// Its recipients.
    pub recipients: Vec<String>,
    /// The lines of its content.
    pub content: Vec<String>,
    /// Its records came to their end: the client waits for the status.
    pub complete: bool,
}

/// What a message from somebody else than the mail system itself is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CleanupAnswer {
    /// These bits, and this reason.
    Status(u32, String),
    /// Nothing: the connection closes when the message has come.
    Close,
}

impl Default for CleanupAnswer {
    fn default() -> Self {
        Self::Status(0, String::new())
    }
}

#[derive(Debug, Default)]
struct State {
    answer: CleanupAnswer,
    messages: Vec<CleanupMessage>,
    open: usize,
}

/// A running service; it ends with the test's process.
#[derive(Debug)]
pub struct ScriptedCleanup {
    shared: Arc<Shared<State>>,
}

impl ScriptedCleanup {
    /// Listens at `public/NAME` of an instance that is laid out.
    ///
    /// # Panics
    /// When the socket cannot be made.
    pub fn start(instance: &Instance, name: &str) -> ScriptedCleanup {
        let path = instance.queue_directory().join("public").join(name);
        let listener = UnixListener::bind(&path).expect("the instance has no such service");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("our own socket");
        let shared = Arc::new(Shared::<State>::default());
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                of_thread.state().open += 1;
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || {
                    let mut message = CleanupMessage::default();
                    let answered = serve(&socket, &shared, &mut message);
                    let mut state = shared.state();
                    state.messages.push(message);
                    state.open -= 1;
                    drop(state);
                    shared.changed();
                    drop(answered.map(|answer| (&socket).write_all(answer.as_bytes())));
                });
            }
        });
        ScriptedCleanup { shared }
    }

    /// What to answer from now on to mail that the system has not made itself.
    pub fn answer(&self, answer: CleanupAnswer) {
        self.shared.state().answer = answer;
    }

    /// The messages since the last call, once no connection is open.
    ///
    /// # Panics
    /// When one stays open.
    pub fn take(&self) -> Vec<CleanupMessage> {
        let mut state =
            self.shared.once(|state| state.open == 0, |_| "a connection to cleanup stays open".to_owned());
        std::mem::take(&mut state.messages)
    }
}

/// Takes one message; the answer, when the client waits for one.
fn serve(mut socket: &UnixStream, shared: &Shared<State>, message: &mut CleanupMessage) -> Option<String> {
    let greeting = format!("protocol\0cleanup_protocol\0queue_id\0{QUEUE_ID}\0\0");
    socket.write_all(greeting.as_bytes()).ok()?;
    let mut reader = BufReader::new(socket);
    message.flags = loop {
        let (name, value) = (word(&mut reader)?, word(&mut reader)?);
        if name == "flags" {
            break value;
        }
    };
    word(&mut reader)?;
    let mut line_is_open = false;
    while let Some((kind, data)) = record(&mut reader) {
        let text = String::from_utf8_lossy(&data).into_owned();
        match kind {
            b'S' => message.sender = text,
            b'R' => message.recipients.push(text),
            b'N' | b'L' => {
                match message.content.last_mut().filter(|_| line_is_open) {
                    Some(line) => line.push_str(&text),
                    None => message.content.push(text),
                }
                line_is_open = kind == b'L';
            }
            b'E' => {
                message.complete = true;
                break;
            }
            _ => {}
        }
    }
    if !message.complete {
        return None;
    }
    let answer =
        if message.is_of_the_system() { CleanupAnswer::default() } else { shared.state().answer.clone() };
    match answer {
        CleanupAnswer::Status(status, reason) => Some(format!("status\0{status}\0reason\0{reason}\0\0")),
        CleanupAnswer::Close => None,
    }
}

impl CleanupMessage {
    /// A notice to the postmaster.
    pub fn is_of_the_system(&self) -> bool {
        self.content
            .iter()
            .take_while(|line| !line.is_empty())
            .any(|line| line.contains(" SMTP server: errors from "))
    }
}

fn word(reader: &mut impl BufRead) -> Option<String> {
    let mut bytes = Vec::new();
    reader.read_until(0, &mut bytes).ok()?;
    (bytes.pop() == Some(0)).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// A record: its type, its length in groups of seven bits, its data.
fn record(reader: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    reader.read_exact(&mut byte).ok()?;
    let kind = byte[0];
    let mut length = 0_usize;
    for shift in [0, 7, 14, 21] {
        reader.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut data = vec![0; length];
    reader.read_exact(&mut data).ok()?;
    Some((kind, data))
}
