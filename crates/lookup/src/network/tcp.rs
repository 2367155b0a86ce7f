//! `tcp:HOST:PORT`: a line protocol with one connection a table (spec tables 12).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use config::printable;

use super::{Socket, shown, text};
use crate::{Flags, Kind, LookupError, OpenError, Table};

const REPLY_LIMIT: usize = 4096;
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// The table.
#[derive(Debug)]
pub(crate) struct Tcp {
    name: String,
    server: String,
    connection: Mutex<Option<BufReader<Socket>>>,
    reason: Mutex<Option<String>>,
}

/// What one try gave.
enum Try {
    Answer(Result<Option<Vec<u8>>, LookupError>),
    /// Trouble that may go away; it has been logged.
    Again,
}

impl Tcp {
    pub(crate) fn open(reference: String, server: &[u8], flags: Flags) -> Result<Tcp, OpenError> {
        if flags.has(Flags::NO_UNAUTH) {
            return Err(OpenError::new(format!(
                "{reference} map is not allowed for security sensitive data"
            )));
        }
        let server = printable(server);
        super::check_form(&server)?;
        super::examine(&reference, &server);
        Ok(Tcp { name: reference, server, connection: Mutex::default(), reason: Mutex::default() })
    }

    fn failed(&self, error: &io::Error) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(text(error));
    }

    fn ask(&self, connection: &mut Option<BufReader<Socket>>, request: &[u8]) -> Try {
        let server = &self.server;
        if connection.is_none() {
            match Socket::connect_inet(server) {
                Ok(socket) => *connection = Some(BufReader::new(socket)),
                Err(error) => {
                    log::warn!("connect to TCP map {server}: {}", text(&error));
                    self.failed(&error);
                    return Try::Again;
                }
            }
        }
        let Some(stream) = connection.as_mut() else { return Try::Again };
        let mut line = Vec::new();
        let read = stream
            .get_mut()
            .write_all(request)
            .and_then(|()| stream.by_ref().take(REPLY_LIMIT as u64 + 2).read_until(b'\n', &mut line));
        let place = format!("read TCP map reply from {server}");
        match read {
            Err(error) => {
                log::warn!("{place}: unexpected EOF ({})", text(&error));
                self.failed(&error);
                *connection = None;
                return Try::Again;
            }
            Ok(_) if line.last() != Some(&b'\n') => {
                if line.len() > REPLY_LIMIT {
                    log::warn!("{place}: text longer than {REPLY_LIMIT}");
                } else {
                    log::warn!("{place}: unexpected EOF (Success)");
                }
                *connection = None;
                return Try::Again;
            }
            Ok(_) => {
                line.pop();
            }
        }
        let (answer, keep) = understand(&line, &place);
        if !keep {
            *connection = None;
        }
        Try::Answer(answer)
    }
}

/// The meaning of a reply, and whether the connection stays.
fn understand(line: &[u8], place: &str) -> (Result<Option<Vec<u8>>, LookupError>, bool) {
    // As everywhere, a NUL ends the text, be it encoded or not (observed, 3.7.11).
    let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut text = line.get(4..).and_then(decode);
    if let Some(text) = &mut text {
        text.truncate(text.iter().position(|&byte| byte == 0).unwrap_or(text.len()));
    }
    let well_formed = line.len() >= 4
        && line[..3].iter().all(u8::is_ascii_digit)
        && config::logical_lines::is_space(line[3]);
    let Some(text) = text.filter(|_| well_formed) else {
        log::warn!("{place}: malformed reply: {}", shown(line, 200));
        return (Err(LookupError::Retry), false);
    };
    match line[0] {
        b'2' => (Ok(Some(text)), true),
        b'4' => (Err(LookupError::Retry), false),
        b'5' => (Ok(None), true),
        _ => {
            log::warn!("{place}: bad status code: {}", shown(line, 200));
            (Err(LookupError::Retry), false)
        }
    }
}

fn encode(key: &[u8], out: &mut Vec<u8>) {
    for byte in key {
        if byte.is_ascii_graphic() && *byte != b'%' {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            out.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

impl Table for Tcp {
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let mut request = b"get ".to_vec();
        encode(key, &mut request);
        request.push(b'\n');
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        for attempt in 0..TRIES {
            if attempt > 0 {
                sleep(PAUSE);
            }
            if let Try::Answer(answer) = self.ask(&mut connection, &request) {
                return answer;
            }
        }
        Err(LookupError::Retry)
    }

    fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn kind(&self) -> Kind {
        Kind::Pattern
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_observed() {
        let mut out = Vec::new();
        encode("Key %é".as_bytes(), &mut out);
        assert_eq!(out, b"Key%20%25%C3%A9");
        assert_eq!(decode(b"va%201").unwrap(), b"va 1");
        for bad in [&b"%"[..], b"%4", b"%zz", b"%+1"] {
            assert!(decode(bad).is_none());
        }
        assert_eq!(understand(b"200 va%201", "x"), (Ok(Some(b"va 1".to_vec())), true));
        assert_eq!(understand(b"200 ", "x"), (Ok(Some(Vec::new())), true));
        assert_eq!(understand(b"200", "x"), (Err(LookupError::Retry), false));
        assert_eq!(understand(b"500 no", "x"), (Ok(None), true));
        assert_eq!(understand(b"400 no", "x"), (Err(LookupError::Retry), false));
    }
}
