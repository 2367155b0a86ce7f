//! What rustls does not show of a ClientHello, or will not see: whether it offers TLS 1.3, and a server name that is no
//! name of a host (RFC 8446, 4.1.2 and 4.2.1; RFC 6066, section 3).
//!
//! [`Hellos`] stands between the client and rustls until the last ClientHello has come: a second one follows where the
//! first had no usable key share. Records go through as they are, but for the two bytes that hide a server name; what
//! is not as expected is left to rustls as well. Suites do not tell whether TLS 1.3 is offered: some clients list those
//! of TLS 1.3 without offering it.

use std::io;

use crate::server_name;

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER: usize = 5;
const SERVER_NAME: u16 = 0;
const HOST_NAME: usize = 0;
const SUPPORTED_VERSIONS: u16 = 43;
const TLS13: u16 = 0x0304;
/// More than rustls takes for a ClientHello.
const HELLO_LIMIT: usize = 0x1_0000;
/// Bytes read at a time.
const PIECE: usize = 4096;

/// Bytes in order.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes.
    fn number(&mut self, size: usize) -> Option<usize> {
        Some(self.take(size)?.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)))
    }

    /// A vector whose length has so many bytes.
    fn vector(&mut self, size: usize) -> Option<&'b [u8]> {
        let length = self.number(size)?;
        self.take(length)
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Extension<'h> {
    kind: u16,
    body: &'h [u8],
    /// Where it begins in the message.
    pub(crate) at: usize,
}

impl<'h> Extension<'h> {
    /// The host name in a list of server names that has nothing else.
    pub(crate) fn host_name(&self) -> Option<&'h [u8]> {
        let mut body = Reader(self.body);
        let mut list = Reader(body.vector(2)?);
        let kind = list.number(1)?;
        let name = list.vector(2)?;
        (body.0.is_empty() && list.0.is_empty() && kind == HOST_NAME).then_some(name)
    }
}

/// A ClientHello, as far as it matters here.
#[derive(Debug)]
pub(crate) struct Hello<'h> {
    extensions: Vec<Extension<'h>>,
}

impl<'h> Hello<'h> {
    /// Reads a whole handshake message.
    pub(crate) fn parse(message: &'h [u8]) -> Option<Self> {
        let mut reader = Reader(message);
        if reader.number(1)? != usize::from(CLIENT_HELLO) {
            return None;
        }
        let mut hello = Reader(reader.vector(3)?);
        // Version and random, session id, suites, compression.
        hello.take(2 + 32)?;
        hello.vector(1)?;
        hello.vector(2)?;
        hello.vector(1)?;
        let mut list = Reader(hello.vector(2)?);
        let behind = reader.0.len() + hello.0.len();
        let mut extensions = Vec::new();
        while !list.0.is_empty() {
            let at = message.len() - behind - list.0.len();
            let kind = u16::try_from(list.number(2)?).ok()?;
            extensions.push(Extension { kind, body: list.vector(2)?, at });
        }
        Some(Self { extensions })
    }

    fn extension(&self, kind: u16) -> Option<Extension<'h>> {
        self.extensions.iter().find(|extension| extension.kind == kind).copied()
    }

    pub(crate) fn has_extension(&self, kind: u16) -> bool {
        self.extension(kind).is_some()
    }

    /// The extension with server names.
    pub(crate) fn server_names(&self) -> Option<Extension<'h>> {
        self.extension(SERVER_NAME)
    }

    fn offers_tls13(&self) -> bool {
        let list = self.extension(SUPPORTED_VERSIONS).and_then(|versions| Reader(versions.body).vector(1));
        list.is_some_and(|list| list.chunks_exact(2).any(|version| version == TLS13.to_be_bytes()))
    }
}

/// What the first ClientHello says.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// It offers TLS 1.3.
    pub(crate) offers_tls13: bool,
    /// The server name that it asks for, whatever it is.
    pub(crate) server_name: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    First,
    Second,
    Nothing,
}

/// What comes from the client, with ClientHellos that rustls takes.
#[derive(Debug)]
pub(crate) struct Hellos {
    awaited: Awaited,
    said: Said,
    /// As it came, records that have been looked at first.
    raw: Vec<u8>,
    /// How much of `raw` has been looked at.
    looked_at: usize,
    /// The message so far, and where in `raw` each part of it is.
    message: Vec<u8>,
    parts: Vec<(usize, usize)>,
    /// What rustls may have.
    ready: Vec<u8>,
}

impl Hellos {
    pub(crate) fn new() -> Self {
        Self {
            awaited: Awaited::First,
            said: Said::default(),
            raw: Vec::new(),
            looked_at: 0,
            message: Vec::new(),
            parts: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// What the first one said.
    pub(crate) fn said(&self) -> &Said {
        &self.said
    }

    /// Gives what there is, or what `receive` gets.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        while self.ready.is_empty() {
            if self.awaited == Awaited::Nothing {
                return receive(buffer);
            }
            let mut piece = [0; PIECE];
            let count = receive(&mut piece)?;
            self.raw.extend_from_slice(&piece[..count]);
            if count == 0 {
                self.let_go(Awaited::Nothing);
                if self.ready.is_empty() {
                    return Ok(0);
                }
            } else {
                self.look();
            }
        }
        let count = self.ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.ready[..count]);
        self.ready.drain(..count);
        Ok(count)
    }

    /// Looks at the records that are complete.
    fn look(&mut self) {
        while self.awaited != Awaited::Nothing {
            let Some(&[kind, _, _, high, low]) = self.raw.get(self.looked_at..self.looked_at + RECORD_HEADER)
            else {
                return;
            };
            let begin = self.looked_at + RECORD_HEADER;
            let end = begin + usize::from(u16::from_be_bytes([high, low]));
            let expected = match kind {
                HANDSHAKE => true,
                CHANGE_CIPHER_SPEC => self.awaited == Awaited::Second && self.message.is_empty(),
                _ => false,
            };
            if !expected || end > HELLO_LIMIT {
                self.let_go(Awaited::Nothing);
                return;
            }
            let Some(fragment) = self.raw.get(begin..end) else { return };
            if kind == HANDSHAKE {
                self.message.extend_from_slice(fragment);
                self.parts.push((begin, fragment.len()));
            }
            self.looked_at = end;
            if self.message.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
                self.let_go(Awaited::Nothing);
            } else if self.is_whole() {
                self.hello();
            }
        }
    }

    fn is_whole(&self) -> bool {
        let mut reader = Reader(&self.message);
        reader.take(1).is_some() && reader.vector(3).is_some()
    }

    /// A ClientHello has come.
    fn hello(&mut self) {
        if self.awaited == Awaited::First
            && let Some(hello) = Hello::parse(&self.message)
        {
            let server_name = server_name::asked_for(&hello).map(<[u8]>::to_vec);
            self.said = Said { offers_tls13: hello.offers_tls13(), server_name };
        }
        let hidden = server_name::hide(&self.message);
        if let Some((at, bytes)) = hidden {
            for (place, byte) in (at..).zip(bytes) {
                if let Some(raw) = self.place_in_raw(place) {
                    self.raw[raw] = byte;
                }
            }
        }
        let again = self.awaited == Awaited::First && hidden.is_some() && self.said.offers_tls13;
        self.let_go(if again { Awaited::Second } else { Awaited::Nothing });
    }

    fn place_in_raw(&self, mut place: usize) -> Option<usize> {
        for (begin, length) in &self.parts {
            if place < *length {
                return Some(begin + place);
            }
            place -= length;
        }
        None
    }

    fn let_go(&mut self, awaited: Awaited) {
        self.awaited = awaited;
        self.ready.append(&mut self.raw);
        self.looked_at = 0;
        self.message.clear();
        self.parts.clear();
    }
}

/// Reads hostile bytes, for fuzzing.
pub(crate) fn look_at(bytes: &[u8]) {
    let mut left = bytes;
    let mut hellos = Hellos::new();
    let mut buffer = [0; 64];
    let mut seen = 0;
    while let Ok(count @ 1..) = hellos.read(&mut buffer, |buffer| io::Read::read(&mut left, buffer)) {
        seen += count;
    }
    assert_eq!(seen, bytes.len());
}

#[cfg(test)]
mod tests {
    use super::Hellos;

    fn length(bytes: &[u8]) -> u8 {
        u8::try_from(bytes.len()).expect("short")
    }

    /// A ClientHello with this list of versions and this server name, in records of at most `size` bytes.
    fn records(versions: &[u8], name: &[u8], size: usize) -> Vec<u8> {
        let list = [&[length(versions)][..], versions].concat();
        let name = [&[0, 0, length(name)][..], name].concat();
        let names = [&[0, length(&name)][..], &name].concat();
        let extension = [
            &[0, 10, 0, 1, 9, 0, 43, 0, length(&list)][..],
            &list,
            &[0, 0, 0, length(&names)],
            &names,
            &[0xff, 0, 0, 0],
        ]
        .concat();
        let mut hello = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0, 0, length(&extension)]].concat();
        hello.extend_from_slice(&extension);
        let message = [&[1, 0, 0, length(&hello)][..], &hello].concat();
        message.chunks(size).flat_map(|part| [&[22, 3, 1, 0, length(part)][..], part].concat()).collect()
    }

    /// What comes out of it, and what was learnt.
    fn read(mut bytes: &[u8]) -> (Vec<u8>, Hellos) {
        let mut hellos = Hellos::new();
        let mut out = Vec::new();
        let mut buffer = [0; 9];
        while let Ok(count @ 1..) = hellos.read(&mut buffer, |buffer| std::io::Read::read(&mut bytes, buffer))
        {
            out.extend_from_slice(&buffer[..count]);
        }
        (out, hellos)
    }

    #[test]
    fn offers() {
        for size in [1, 7, 200] {
            for (versions, expected) in
                [(&[3, 4, 3, 3][..], true), (&[0xa, 0xa, 3, 4], true), (&[3, 3], false)]
            {
                let records = records(versions, b"a.example", size);
                let (out, hellos) = read(&records);
                assert_eq!(out, records);
                assert_eq!(hellos.said().offers_tls13, expected, "{versions:?} {size}");
                assert_eq!(hellos.said().server_name.as_deref(), Some(&b"a.example"[..]));
            }
        }
        let whole = records(&[3, 3, 3, 4], b"a.example", 200);
        for length in 0..whole.len() {
            let (out, hellos) = read(&whole[..length]);
            assert_eq!(out, &whole[..length]);
            assert!(!hellos.said().offers_tls13, "{length}");
        }
    }

    #[test]
    fn names_that_are_none() {
        crate::server_name::Hiding::default().during(|| {
            for size in [1, 7, 200] {
                for name in [&b"a..b"[..], b"", b"-x.example", b"\xc3\xa9.example", b"[127.0.0.1]"] {
                    let sent = records(&[3, 4], name, size);
                    let (out, hellos) = read(&sent);
                    assert_eq!(hellos.said().server_name.as_deref(), Some(name));
                    assert_eq!(out.len(), sent.len());
                    let changed: Vec<_> = out.iter().zip(&sent).filter(|(one, other)| one != other).collect();
                    // 0xff00 is taken.
                    assert_eq!(changed, [(&0xff, &0), (&1, &0)], "{name:?} {size}");
                    let message = |records: &[u8]| -> Vec<u8> {
                        records.chunks(size + 5).flat_map(|record| record[5..].to_vec()).collect()
                    };
                    assert_eq!(*crate::server_name::restored(&message(&out)), message(&sent));
                }
            }
        });
    }
}
