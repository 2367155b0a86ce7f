//! Making index files on demand: nbdb_reindexd of Postfix 3.11 (spec ipc 21).
//!
//! A program that finds no index file where `hash:t` is redirected to asks the service, which runs postmap or postalias,
//! with the rights of who owns the old file. One list each way, null encoding: the type and the file, then a status and a
//! reason. The service is of a kind that takes one client at a time, so each try is a connection of its own.

use std::io::BufRead;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::announce::Protocol;
use crate::attr::{Decoder, Encoder, Error, Flags};
use crate::client::Stream;

/// How long one answer may take (observed with 3.11.7: half a minute, whatever `ipc_timeout` says).
const LIMIT: Duration = Duration::from_secs(30);
/// Tries, and the pause between them.
const TRIES: u32 = 2;
const PAUSE: Duration = Duration::from_secs(1);

/// Why there is no index file, as it is logged and as it stands in the error: the two differ in one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The text of the warning.
    pub warning: String,
    /// The text of the error.
    pub error: String,
}

impl Refusal {
    fn new(text: impl Into<String>) -> Refusal {
        let error = text.into();
        Refusal { warning: error.clone(), error }
    }
}

/// A request, as the service gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The type of the table of Berkeley DB's.
    pub kind: Vec<u8>,
    /// The name of the table: the source, without suffix.
    pub file: Vec<u8>,
}

impl Request {
    /// Reads a request. What follows it is told, and no harm (observed, 3.11.7).
    ///
    /// # Errors
    /// It is malformed; the service does not answer then.
    pub fn read<R: BufRead + ?Sized>(input: &mut R, from: &str) -> Result<Request, Error> {
        let mut list = Decoder::null(input, from, Flags::STRICT);
        let request = Request { kind: list.string("nbdb_type")?, file: list.string("nbdb_path")? };
        if let Err(error) = list.end() {
            error.warn();
        }
        Ok(request)
    }
}

/// The service's answer: there is an index file, or why there is none.
#[must_use]
pub fn answer(made: &Result<(), Vec<u8>>) -> Encoder {
    let reason = made.as_ref().err().map_or(&b""[..], Vec::as_slice);
    Encoder::null().int("status", i32::from(made.is_err())).string("reason", reason)
}

/// Has the index file of what `kind:file` is redirected to made. `path` is the service's, such as `private/nbdb_reindex`.
///
/// # Errors
/// Why not, after two tries.
pub fn make_index(path: &Path, kind: &[u8], file: &[u8]) -> Result<(), Refusal> {
    let mut tries = 0;
    loop {
        tries += 1;
        match ask(path, kind, file) {
            Err(_) if tries < TRIES => sleep(PAUSE),
            answer => return answer,
        }
    }
}

fn ask(path: &Path, kind: &[u8], file: &[u8]) -> Result<(), Refusal> {
    // Postfix's own name for the stream in warnings of its attributes.
    const FROM: &str = "unknown_stream";
    let shown = path.to_string_lossy();
    let failed = |what: &str, text: &str| Refusal::new(format!("{what} {shown} service: {text}"));
    let mut stream =
        Stream::connect(path, LIMIT).map_err(|error| failed("connection to", &sys::error_text(&error)))?;
    Protocol::REINDEX.expect(&mut stream, FROM).map_err(|error| match error {
        // Postfix's client sends its request all the same.
        Error::Timeout { .. } => failed("error sending request to", &error.os_text()),
        Error::Closed { .. } => {
            failed("error sending request to", &sys::errno_text(nix::errno::Errno::EPIPE as i32))
        }
        _ => {
            error.warn();
            Refusal::new(format!("error receiving {shown} service initial response"))
        }
    })?;
    Encoder::null()
        .string("nbdb_type", kind)
        .string("nbdb_path", file)
        .send(&mut stream)
        .map_err(|error| failed("error sending request to", &sys::error_text(&error)))?;
    let mut list = Decoder::null(&mut stream, FROM, Flags::STRICT);
    let answer = list.int("status").and_then(|status| Ok((status, list.string("reason")?)));
    let (status, reason) = answer.map_err(|error| {
        error.warn();
        failed("error receiving response from", &error.os_text())
    })?;
    if let Err(error) = list.end() {
        // What follows the reason is told, and no harm (observed, 3.11.7).
        error.warn();
    }
    match status {
        0 => Ok(()),
        1 => Err(Refusal::new(String::from_utf8_lossy(&reason))),
        _ => Err(Refusal {
            warning: format!("malformed bad reindexing status: {status}"),
            error: format!("bad reindexing server status: {status}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    const REQUEST: &[u8; 33] = b"nbdb_type\0hash\0nbdb_path\0/tmp/t\0\0";

    /// What smtpd of 3.11.7 sent, and what it said of each answer.
    #[test]
    fn answers_observed() {
        let path = std::env::temp_dir().join(format!("ipc-reindex-{}", std::process::id()));
        let listener = UnixListener::bind(&path).expect("our own socket");
        let cases: [(&[u8], Result<(), &str>); 5] = [
            (b"status\x000\0reason\0\0\0", Ok(())),
            (b"status\x000\0reason\0\0foo\0bar\0\0", Ok(())),
            (b"status\x001\0reason\0no luck\0\0", Err("no luck")),
            (b"status\x002\0reason\0no luck\0\0", Err("bad reindexing server status: 2")),
            (b"foo\x001\0\0", Err("error receiving response from PATH service: ")),
        ];
        for (answer, expected) in cases {
            let result = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut client, _) = listener.accept().expect("a client");
                    client.write_all(b"protocol\0nbdb_reindex\0\0").expect("it reads");
                    let mut request = [0; REQUEST.len()];
                    client.read_exact(&mut request).expect("it asks");
                    assert_eq!(&request, REQUEST);
                    client.write_all(answer).expect("it reads");
                });
                ask(&path, b"hash", b"/tmp/t")
            });
            let told = result.map_err(|refusal| refusal.error.replace(&*path.to_string_lossy(), "PATH"));
            match expected {
                Ok(()) => assert_eq!(told, Ok(())),
                Err(text) => assert!(told.as_ref().is_err_and(|told| told.starts_with(text)), "{told:?}"),
            }
        }
        drop(listener);
        std::fs::remove_file(&path).expect("our own socket");
        let missing = ask(&path, b"hash", b"/tmp/t").expect_err("nobody is there");
        assert!(missing.error.ends_with("service: No such file or directory"), "{}", missing.error);
    }
}
