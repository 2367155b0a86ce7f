//! A stand-in for clamd: its protocol for files on disk and for streams, with a few signatures instead of a data base of hundreds of
//! megabytes that only its makers' servers give out.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the stand-in finds in a file: the text, and the name it gives it.
const SIGNATURES: &[(&str, &str)] = &[
    ("XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X", "StandIn.GTUBE"),
    ("A stand-in for a virus.", "StandIn.Virus"),
    ("$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*", "Eicar-Test-Signature"),
];

/// A listening stand-in, for as long as the test program runs.
#[derive(Debug, Clone)]
pub struct ClamdStandIn {
    port: u16,
    commands: Arc<Mutex<Vec<String>>>,
}

impl ClamdStandIn {
    /// Listens on a loopback port of its own.
    ///
    /// # Panics
    /// When no port can be had.
    pub fn start() -> ClamdStandIn {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let port = listener.local_addr().expect("bound").port();
        let stand_in = ClamdStandIn { port, commands: Arc::default() };
        let commands = Arc::clone(&stand_in.commands);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let commands = Arc::clone(&commands);
                thread::spawn(move || serve(stream, &commands));
            }
        });
        stand_in
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The commands it got so far, each without its argument.
    ///
    /// # Panics
    /// When a session ended in a panic.
    pub fn commands(&self) -> Vec<String> {
        self.commands.lock().expect("no session panics").clone()
    }
}

/// One connection: a single command, or after `SESSION` any number up to `END`. A command may have the prefix `n` (ends
/// with a line end, as without) or `z` (ends with a zero byte).
fn serve(stream: TcpStream, commands: &Mutex<Vec<String>>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    let mut in_session = false;
    loop {
        let first = *reader.fill_buf().ok()?.first()?;
        let (end, prefixed) = match first {
            b'z' => (0, true),
            b'n' => (b'\n', true),
            _ => (b'\n', false),
        };
        let mut line = Vec::new();
        reader.read_until(end, &mut line).ok()?;
        let text = String::from_utf8_lossy(&line[usize::from(prefixed)..])
            .trim_end_matches(['\0', '\r', '\n'])
            .to_owned();
        let (command, argument) = text.split_once(' ').unwrap_or((&text, ""));
        commands.lock().ok()?.push(command.to_owned());
        let answer = match command {
            "PING" => "PONG".to_owned(),
            "VERSION" => "ClamAV 1.0.0/stand-in".to_owned(),
            "SESSION" | "IDSESSION" => {
                in_session = true;
                continue;
            }
            "END" => return None,
            "SCAN" | "CONTSCAN" => scan(argument),
            "INSTREAM" => format!("stream: {}", verdict(&streamed(&mut reader)?)),
            _ => "UNKNOWN COMMAND".to_owned(),
        };
        writer.write_all(answer.as_bytes()).ok()?;
        writer.write_all(&[end]).ok()?;
        if !in_session {
            return None;
        }
    }
}

fn scan(path: &str) -> String {
    match fs::read(path) {
        Ok(content) => format!("{path}: {}", verdict(&content)),
        Err(_) => format!("{path}: lstat() failed. ERROR"),
    }
}

fn verdict(content: &[u8]) -> String {
    let found =
        SIGNATURES.iter().find(|(text, _)| content.windows(text.len()).any(|part| part == text.as_bytes()));
    found.map_or_else(|| "OK".to_owned(), |(_, name)| format!("{name} FOUND"))
}

/// Chunks, each behind its length in four bytes; the last one is empty.
fn streamed(reader: &mut impl Read) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let mut length = [0; 4];
        reader.read_exact(&mut length).ok()?;
        let length = u64::from(u32::from_be_bytes(length));
        if length == 0 {
            return Some(content);
        }
        let before = content.len() as u64;
        reader.take(length).read_to_end(&mut content).ok()?;
        if content.len() as u64 != before + length {
            return None;
        }
    }
}
