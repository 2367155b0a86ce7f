//! The lines of the protocol: those a server sends, parsed, and those it is sent, written (spec tls-sasl 19.2 to
//! 19.4). No I/O.

/// A line of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting<'l> {
    /// `VERSION`, with the major number when both numbers are ones.
    Version(Option<u32>),
    /// `MECH`, with the fields that follow.
    Mechanism(&'l [u8]),
    /// `SPID`: whatever follows, this is a server's process.
    Spid,
    /// `DONE`
    Done,
    /// What needs no attention.
    Other,
}

impl<'l> Greeting<'l> {
    /// Parses a line without its end.
    #[must_use]
    pub fn parse(line: &'l [u8]) -> Self {
        let (word, rest) = split(line);
        match word {
            b"VERSION" => Self::Version(version(rest.unwrap_or_default())),
            b"MECH" => Self::Mechanism(rest.unwrap_or_default()),
            b"SPID" => Self::Spid,
            b"DONE" => Self::Done,
            _ => Self::Other,
        }
    }
}

/// The major number of `MAJOR TAB MINOR`.
fn version(fields: &[u8]) -> Option<u32> {
    let (major, rest) = split(fields);
    let (minor, _) = split(rest?);
    number(minor)?;
    number(major)
}

/// What a server says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'l> {
    /// `OK`, with the user when it is named.
    Ok {
        /// `user=`
        user: Option<&'l [u8]>,
    },
    /// `CONT`, with the challenge when there is a field for it.
    Continue(Option<&'l [u8]>),
    /// `FAIL`
    Fail {
        /// `user=`
        user: Option<&'l [u8]>,
        /// `reason=`
        reason: Option<&'l [u8]>,
    },
    /// An answer to nothing that can be told.
    NoId,
    /// An answer to another request, or no answer at all.
    Other,
}

impl<'l> Reply<'l> {
    /// Parses a line without its end, as an answer to request `id`. Words and names are told apart by case; of a
    /// parameter that is repeated the last one holds.
    #[must_use]
    pub fn parse(line: &'l [u8], id: u32) -> Self {
        let (word, rest) = split(line);
        if !matches!(word, b"OK" | b"CONT" | b"FAIL") {
            return Self::Other;
        }
        let Some(rest) = rest else {
            return Self::NoId;
        };
        let (told, fields) = split(rest);
        if number(told) != Some(id) {
            return Self::Other;
        }
        match word {
            b"OK" => Self::Ok { user: parameter(fields, b"user=") },
            // Not only the next field: Postfix passes on all that follows (observed, 3.7.11).
            b"CONT" => Self::Continue(fields),
            _ => Self::Fail { user: parameter(fields, b"user="), reason: parameter(fields, b"reason=") },
        }
    }
}

fn split(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match line.iter().position(|&byte| byte == b'\t') {
        Some(tab) => (&line[..tab], Some(&line[tab + 1..])),
        None => (line, None),
    }
}

fn number(field: &[u8]) -> Option<u32> {
    if field.is_empty() || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The value of the last field that starts with `name`.
fn parameter<'l>(fields: Option<&'l [u8]>, name: &[u8]) -> Option<&'l [u8]> {
    fields?.split(|&byte| byte == b'\t').filter_map(|field| field.strip_prefix(name)).next_back()
}

/// What the client sends first, without waiting.
#[must_use]
pub fn hello(cpid: u32) -> String {
    format!("VERSION\t1\t0\nCPID\t{cpid}\n")
}

/// Who wants to log in, and how.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// As the client wrote it.
    pub mechanism: &'r [u8],
    /// Of the service.
    pub service: &'r str,
    /// Address of the server; nothing when unknown.
    pub server_address: &'r [u8],
    /// Address of the client.
    pub client_address: &'r [u8],
    /// The connection is protected by TLS.
    pub secured: bool,
    /// In base64.
    pub initial_response: Option<&'r [u8]>,
}

impl Request<'_> {
    /// The line, with its end. The response is always the last field.
    #[must_use]
    pub fn line(&self, id: u32) -> Vec<u8> {
        let mut line = format!("AUTH\t{id}\t").into_bytes();
        push(&mut line, self.mechanism);
        line.extend_from_slice(b"\tservice=");
        push(&mut line, self.service.as_bytes());
        line.extend_from_slice(b"\tnologin\tlip=");
        push(&mut line, self.server_address);
        line.extend_from_slice(b"\trip=");
        push(&mut line, self.client_address);
        if self.secured {
            line.extend_from_slice(b"\tsecured");
        }
        if let Some(response) = self.initial_response {
            line.extend_from_slice(b"\tresp=");
            push(&mut line, response);
        }
        line.push(b'\n');
        line
    }
}

/// The line that carries a response, in base64, with its end.
#[must_use]
pub fn continuation(id: u32, response: &[u8]) -> Vec<u8> {
    let mut line = format!("CONT\t{id}\t").into_bytes();
    push(&mut line, response);
    line.push(b'\n');
    line
}

/// A field that starts neither another one nor another line, whatever is in it.
fn push(line: &mut Vec<u8>, field: &[u8]) {
    line.extend(
        field.iter().map(|&byte| if matches!(byte, b'\t' | b'\n' | b'\r' | 0) { b'?' } else { byte }),
    );
}

/// Whether all is of the alphabet of base64; what it means is the server's business.
#[must_use]
pub(crate) fn is_base64(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
}

#[cfg(test)]
mod tests {
    use super::{Greeting, Reply, Request, continuation, is_base64};

    #[test]
    fn greetings() {
        for (line, expected) in [
            (&b"VERSION\t1\t2"[..], Greeting::Version(Some(1))),
            (b"VERSION\t2\t0\tmore", Greeting::Version(Some(2))),
            (b"VERSION\t1", Greeting::Version(None)),
            (b"VERSION\tx\t0", Greeting::Version(None)),
            (b"VERSION\t99999999999\t0", Greeting::Version(None)),
            (b"MECH\tPLAIN\tplaintext", Greeting::Mechanism(b"PLAIN\tplaintext")),
            (b"MECH", Greeting::Mechanism(b"")),
            (b"SPID\t12", Greeting::Spid),
            (b"DONE\textra", Greeting::Done),
            (b"done", Greeting::Other),
            (b"", Greeting::Other),
            (b"COOKIE\tdeadbeef", Greeting::Other),
        ] {
            assert_eq!(Greeting::parse(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn replies() {
        let user = |user| Reply::Ok { user };
        for (line, expected) in [
            (&b"OK\t7\tuser=alice\textra"[..], user(Some(&b"alice"[..]))),
            (b"OK\t7\tUSER=alice\tuser=a\tuser=b", user(Some(b"b"))),
            (b"OK\t7\tuser=", user(Some(b""))),
            (b"OK\t7", user(None)),
            (b"CONT\t7", Reply::Continue(None)),
            (b"CONT\t7\t", Reply::Continue(Some(b""))),
            (b"CONT\t7\tYWJj\textra", Reply::Continue(Some(b"YWJj\textra"))),
            (b"FAIL\t7", Reply::Fail { user: None, reason: None }),
            (
                b"FAIL\t7\tuser=a\ttemp\treason=no way",
                Reply::Fail { user: Some(b"a"), reason: Some(b"no way") },
            ),
            (b"OK\t8\tuser=alice", Reply::Other),
            (b"OK\t7x\tuser=alice", Reply::Other),
            (b"OK\t-7", Reply::Other),
            (b"OK\t", Reply::Other),
            (b"OK", Reply::NoId),
            (b"FAIL", Reply::NoId),
            (b"ok\t7\tuser=alice", Reply::Other),
            (b"NOTFOUND\t7", Reply::Other),
            (b"", Reply::Other),
        ] {
            assert_eq!(Reply::parse(line, 7), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn requests() {
        let request = Request {
            mechanism: b"PLAIN",
            service: "smtp",
            server_address: b"127.0.0.1",
            client_address: b"127.0.0.2",
            secured: true,
            initial_response: Some(b"AGFsaWNlAHB3"),
        };
        assert_eq!(
            request.line(1),
            b"AUTH\t1\tPLAIN\tservice=smtp\tnologin\tlip=127.0.0.1\trip=127.0.0.2\tsecured\tresp=AGFsaWNlAHB3\n"
        );
        let bare = Request { secured: false, initial_response: None, mechanism: b"P\tL\nX", ..request };
        assert_eq!(
            bare.line(4_000_000_000),
            b"AUTH\t4000000000\tP?L?X\tservice=smtp\tnologin\tlip=127.0.0.1\trip=127.0.0.2\n"
        );
        assert_eq!(continuation(2, b"Ym9i"), b"CONT\t2\tYm9i\n");
    }

    #[test]
    fn base64() {
        for (text, expected) in [
            ("", true),
            ("=", true),
            ("==a=", true),
            ("abc+/1", true),
            ("a b", false),
            ("a-b", false),
            ("a\tb", false),
            ("\u{e9}", false),
        ] {
            assert_eq!(is_base64(text.as_bytes()), expected, "{text}");
        }
    }
}
