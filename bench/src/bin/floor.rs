//! The floor: the smallest program that holds the dialogue of a mail server and does the durable work of one.
//!
//! A thread for each session; the file of a message is created, written, synced and renamed before the client is
//! answered. Nothing is parsed, checked, logged or handed to another process. What a mail suite needs above this is
//! its own doing; what it needs below this it has not done.
//!
//! `bench-floor PORT DIRECTORY`; ends when it is killed.

#![forbid(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// The name of the next file.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some(port), Some(directory)) = (words.next(), words.next()) else {
        eprintln!("usage: bench-floor PORT DIRECTORY");
        return ExitCode::FAILURE;
    };
    let directory = Arc::new(PathBuf::from(directory));
    let port: u16 = port.parse().unwrap_or(0);
    // With room for two hundred clients that come at once: std has 128.
    let listener = match sys::socket::listen_inet(([127, 0, 0, 1], port).into(), 4096, 0) {
        Ok(listener) => TcpListener::from(listener),
        Err(error) => {
            eprintln!("bench-floor: port {port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = listener.set_nonblocking(false) {
        eprintln!("bench-floor: {error}");
        return ExitCode::FAILURE;
    }
    for client in listener.incoming().flatten() {
        let directory = Arc::clone(&directory);
        let session = thread::Builder::new().stack_size(64 * 1024);
        // A client that goes away, or gets no thread, is no concern of the floor.
        let _ = session.spawn(move || session_of(&client, &directory));
    }
    ExitCode::SUCCESS
}

fn session_of(client: &TcpStream, directory: &Path) -> io::Result<()> {
    let mut input = BufReader::with_capacity(4096, client);
    let mut output = client;
    output.write_all(b"220 floor ESMTP\r\n")?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match line.first().map(u8::to_ascii_uppercase) {
            Some(b'D') => {
                output.write_all(b"354 End data with <CR><LF>.<CR><LF>\r\n")?;
                message(&mut input, directory)?;
                output.write_all(b"250 2.0.0 Ok: queued\r\n")?;
            }
            Some(b'Q') => return output.write_all(b"221 2.0.0 Bye\r\n"),
            _ => output.write_all(b"250 2.1.0 Ok\r\n")?,
        }
    }
}

/// Takes content up to the dot into a file that is safe when this returns.
fn message(input: &mut impl BufRead, directory: &Path) -> io::Result<()> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = directory.join(format!("tmp.{number}"));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
    let mut content = Vec::with_capacity(64 * 1024);
    loop {
        let start = content.len();
        if input.read_until(b'\n', &mut content)? == 0 {
            return fs::remove_file(&temporary);
        }
        if &content[start..] == b".\r\n" {
            content.truncate(start);
            break;
        }
        if content.len() > 48 * 1024 {
            file.write_all(&content)?;
            content.clear();
        }
    }
    file.write_all(&content)?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(format!("{number:x}")))
}
