//! The conversation with a MySQL server: packets, login, queries and their answers as text.
//!
//! A packet is a length of three bytes, a number, and that many bytes; one of the greatest length goes on in the next.
//! Whatever is not as the protocol has it ends the connection. A server's wish for a file of the client is such.

use std::io;
use std::time::Instant;

use config::printable;

use super::login::{self, Method};
use super::{Host, Mysql, Wire};
use crate::database::servers::{Connection, Failure, own_name};

/// Bounds what one packet takes: a row of an answer.
const PACKET_LIMIT: usize = 64 << 20;
const GREATEST: usize = 0x00ff_ffff;

/// What the client can do: long passwords and flags, a database at once, protocol 4.1, transactions, challenges, several
/// results of a procedure, methods of logging in by name. No compression, no files, not several statements.
const CAPABILITIES: u32 = 0x1 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x2_0000 | 0x8_0000;
const PROTOCOL_41: u32 = 0x200;
/// TLS begins before the login.
const TLS: u32 = 0x800;

/// utf8mb4_general_ci
const CHARACTER_SET: u8 = 45;

const STATUS_MORE_RESULTS: u16 = 0x8;
/// The backslash is a character like another in SQL texts.
const STATUS_NO_BACKSLASH_ESCAPES: u16 = 0x200;

const MALFORMED: &str = "Malformed packet";

/// A connection that is logged in.
#[derive(Debug)]
pub(crate) struct Session {
    wire: Wire,
    /// The number of the next packet.
    number: u8,
    status: u16,
    requires_result_set: bool,
}

/// What is wrong with what came.
enum Trouble {
    Io(io::Error),
    Malformed,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Io(error)
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure::Lost(match trouble {
            Trouble::Io(error) => match error.kind() {
                io::ErrorKind::BrokenPipe => "Server has gone away".to_owned(),
                _ => "Lost connection to server during query".to_owned(),
            },
            Trouble::Malformed => MALFORMED.to_owned(),
        })
    }
}

/// Fields of a packet, from its start on.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Trouble> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Trouble::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Trouble> {
        Ok(self.take(1)?[0])
    }

    /// A number, the lowest byte first.
    fn number(&mut self, bytes: usize) -> Result<u64, Trouble> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn short(&mut self) -> Result<u16, Trouble> {
        u16::try_from(self.number(2)?).map_err(|_| Trouble::Malformed)
    }

    /// A text up to a NUL, or to the end.
    fn text(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        let (text, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest.get(1..).unwrap_or_default();
        text
    }

    /// A number of as many bytes as it needs.
    fn packed(&mut self) -> Result<u64, Trouble> {
        match self.byte()? {
            0xfc => self.number(2),
            0xfd => self.number(3),
            0xfe => self.number(8),
            small @ 0..=0xfa => Ok(u64::from(small)),
            _ => Err(Trouble::Malformed),
        }
    }

    /// A value of a row; `None` for NULL.
    fn value(&mut self) -> Result<Option<&'a [u8]>, Trouble> {
        if self.0.first() == Some(&0xfb) {
            self.0 = &self.0[1..];
            return Ok(None);
        }
        let length = usize::try_from(self.packed()?).map_err(|_| Trouble::Malformed)?;
        self.take(length).map(Some)
    }
}

/// A complaint of the server: its number and its text.
fn complaint(packet: &[u8]) -> (u64, String) {
    let mut fields = Fields(packet.get(1..).unwrap_or_default());
    let number = fields.number(2).unwrap_or(0);
    let text = fields.0;
    // Before the text may stand # and five characters of SQL's own codes.
    let text = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
    (number, printable(text))
}

/// What the client says before its name; with TLS, all that it says in clear text.
fn introduction(capabilities: u32) -> Vec<u8> {
    let mut packet = capabilities.to_le_bytes().to_vec();
    packet.extend_from_slice(&0x0100_0000_u32.to_le_bytes());
    packet.push(CHARACTER_SET);
    packet.extend_from_slice(&[0; 23]);
    packet
}

impl Session {
    /// Logs in; the error is what the client library says.
    pub(super) fn log_in(wire: Wire, login: &Mysql, host: &Host) -> Result<Session, String> {
        let mut session =
            Session { wire, number: 0, status: 0, requires_result_set: login.requires_result_set };
        let at = |place: &'static str| move |trouble: Trouble| why_no_login(&trouble, place);
        let greeting = session.receive().map_err(at("handshake: reading initial communication packet"))?;
        if greeting.first() == Some(&0xff) {
            return Err(complaint(&greeting).1);
        }
        let (challenge, method, has_tls) =
            session.greeted(&greeting).map_err(at("handshake: reading initial communication packet"))?;
        let reading = "handshake: reading authorization packet";
        let sending = "sending authentication information";
        let mut capabilities = CAPABILITIES;
        if let Some(security) = &login.security {
            if has_tls {
                capabilities |= TLS;
                session.send(&introduction(capabilities)).map_err(at(sending))?;
                security.protect(&mut session.wire, host).map_err(|why| format!("TLS/SSL error: {why}"))?;
            } else if security.verify_cert {
                return Err("TLS/SSL error: SSL is required, but the server does not support it".to_owned());
            }
        }
        session.introduce(capabilities, login, method, &challenge).map_err(at(sending))?;
        let (mut method, mut challenge) = (method, challenge);
        // A server asks once or twice, not for ever.
        for _ in 0..8 {
            let packet = session.receive().map_err(at(reading))?;
            match packet.first() {
                Some(0x00) => {
                    session.status = status_of_ok(&packet).map_err(at(reading))?;
                    return Ok(session);
                }
                Some(0xff) => return Err(complaint(&packet).1),
                Some(0xfe) => {
                    let mut fields = Fields(&packet[1..]);
                    let name = fields.text();
                    challenge = fields.text().to_vec();
                    method = Method::named(name).ok_or_else(|| {
                        format!("Authentication plugin '{}' is not supported", printable(name))
                    })?;
                    let answer = method.answer(&login.password, &challenge);
                    session.send(&answer).map_err(at(sending))?;
                }
                Some(0x01) if method == Method::CachingSha2 => {
                    session.show_password(&packet[1..], &login.password, &challenge).map_err(at(reading))?;
                }
                _ => return Err(MALFORMED.to_owned()),
            }
        }
        Err(MALFORMED.to_owned())
    }

    /// Reads the server's first packet: its challenge, how it wants to see the password, and whether it has TLS.
    fn greeted(&mut self, greeting: &[u8]) -> Result<(Vec<u8>, Method, bool), Trouble> {
        let mut fields = Fields(greeting);
        if fields.byte()? != 10 {
            return Err(Trouble::Malformed);
        }
        fields.text();
        fields.take(4)?;
        let mut challenge = fields.take(8)?.to_vec();
        fields.take(1)?;
        let capabilities = fields.number(2)?;
        if capabilities & u64::from(PROTOCOL_41) == 0 {
            return Err(Trouble::Malformed);
        }
        fields.take(1)?;
        self.status = fields.short()?;
        fields.take(2 + 1 + 10)?;
        challenge.extend_from_slice(fields.take(12)?);
        fields.take(1)?;
        // One that is not known here may be what the server has others for: it says so later.
        let method = Method::named(fields.text()).unwrap_or(Method::Native);
        Ok((challenge, method, capabilities & u64::from(TLS) != 0))
    }

    fn introduce(
        &mut self,
        capabilities: u32,
        login: &Mysql,
        method: Method,
        challenge: &[u8],
    ) -> Result<(), Trouble> {
        let answer = method.answer(&login.password, challenge);
        let mut packet = introduction(capabilities);
        let own = || own_name().into_bytes();
        packet.extend(if login.user.is_empty() { own() } else { login.user.clone() });
        packet.push(0);
        packet.push(u8::try_from(answer.len()).map_err(|_| Trouble::Malformed)?);
        packet.extend_from_slice(&answer);
        packet.extend_from_slice(&login.database);
        packet.push(0);
        packet.extend_from_slice(method.name());
        packet.push(0);
        self.send(&packet)
    }

    /// What a server says that may remember a digest of the password: that it does, or that it needs the password itself,
    /// or the key to send it with.
    fn show_password(&mut self, said: &[u8], password: &[u8], challenge: &[u8]) -> Result<(), Trouble> {
        match said {
            [3] => Ok(()),
            [4] if self.wire.is_local() || self.wire.is_protected() => self.send(&[password, b"\0"].concat()),
            [4] => self.send(&[2]),
            key => {
                let challenge = challenge.get(..20).ok_or(Trouble::Malformed)?;
                let sent = login::encrypted(password, challenge, key).ok_or(Trouble::Malformed)?;
                self.send(&sent)
            }
        }
    }

    /// Chooses another character set.
    pub(super) fn set_names(&mut self, charset: &str, deadline: Instant) -> Result<(), String> {
        let requires_result_set = std::mem::replace(&mut self.requires_result_set, false);
        let done = self.ask(format!("SET NAMES {charset}").as_bytes(), deadline, &mut |_| true);
        self.requires_result_set = requires_result_set;
        match done {
            Err(Failure::Refused(why) | Failure::Lost(why)) => Err(why),
            Ok(()) | Err(Failure::Unwanted) => Ok(()),
        }
    }

    fn send(&mut self, payload: &[u8]) -> Result<(), Trouble> {
        let mut packets = Vec::with_capacity(payload.len() + 4);
        let mut rest = payload;
        loop {
            let (part, after) = rest.split_at(rest.len().min(GREATEST));
            let length = u32::try_from(part.len()).map_err(|_| Trouble::Malformed)?;
            packets.extend_from_slice(&length.to_le_bytes()[..3]);
            packets.push(self.number);
            packets.extend_from_slice(part);
            self.number = self.number.wrapping_add(1);
            if part.len() < GREATEST {
                break;
            }
            rest = after;
        }
        Ok(self.wire.send(&packets)?)
    }

    fn receive(&mut self) -> Result<Vec<u8>, Trouble> {
        let mut payload = Vec::new();
        loop {
            let mut head = [0; 4];
            self.wire.read_exact(&mut head)?;
            let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
            if head[3] != self.number || payload.len() + length > PACKET_LIMIT {
                return Err(Trouble::Malformed);
            }
            self.number = self.number.wrapping_add(1);
            let start = payload.len();
            payload.resize(start + length, 0);
            self.wire.read_exact(&mut payload[start..])?;
            if length < GREATEST {
                return Ok(payload);
            }
        }
    }

    /// Reads one result: whether it was one with columns.
    fn result(&mut self, each: &mut dyn FnMut(&[u8]) -> bool, expected: bool) -> Result<bool, Failure> {
        let packet = self.receive()?;
        match packet.first() {
            Some(0xff) => return Err(self.refused(&packet)),
            Some(0x00) => {
                self.status = status_of_ok(&packet)?;
                return Ok(false);
            }
            _ => {}
        }
        let columns = Fields(&packet).packed()?;
        for _ in 0..columns {
            self.receive()?;
        }
        let end = self.receive()?;
        self.end_of(&end)?;
        loop {
            let row = self.receive()?;
            match row.first() {
                Some(0xff) => return Err(self.refused(&row)),
                Some(0xfe) if row.len() < 9 => {
                    self.end_of(&row)?;
                    return Ok(true);
                }
                _ => {}
            }
            let mut fields = Fields(&row);
            for _ in 0..columns {
                if let Some(value) = fields.value()?
                    && expected
                    && !each(value)
                {
                    return Err(Failure::Unwanted);
                }
            }
        }
    }

    fn end_of(&mut self, packet: &[u8]) -> Result<(), Trouble> {
        let mut fields = Fields(packet);
        if fields.byte()? != 0xfe || packet.len() >= 9 {
            return Err(Trouble::Malformed);
        }
        fields.take(2)?;
        self.status = fields.short()?;
        Ok(())
    }

    fn refused(&self, packet: &[u8]) -> Failure {
        match complaint(packet) {
            // The server ends, or has ended this connection.
            (1053 | 1079 | 1080 | 1152..=1161 | 1927 | 4031, why) => Failure::Lost(why),
            (_, why) => Failure::Refused(why),
        }
    }
}

/// The status in a packet that says that all is well.
fn status_of_ok(packet: &[u8]) -> Result<u16, Trouble> {
    let mut fields = Fields(packet.get(1..).unwrap_or_default());
    fields.packed()?;
    fields.packed()?;
    fields.short()
}

fn why_no_login(trouble: &Trouble, place: &str) -> String {
    match trouble {
        Trouble::Malformed => MALFORMED.to_owned(),
        Trouble::Io(error) => {
            let code = match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => 110,
                _ => error.raw_os_error().unwrap_or(0),
            };
            format!("Lost connection to server at '{place}', system error: {code}")
        }
    }
}

impl Connection for Session {
    fn quote(&self, text: &[u8], out: &mut Vec<u8>) {
        if self.status & STATUS_NO_BACKSLASH_ESCAPES == 0 { escape(text, out) } else { double(text, out) }
    }

    fn ask(
        &mut self,
        query: &[u8],
        deadline: Instant,
        each: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), Failure> {
        self.wire.until(deadline);
        self.number = 0;
        self.send(&[b"\x03", query].concat())?;
        let mut answers = 0;
        loop {
            // Of several results with columns none is to be had; the first is read before that is known.
            if self.result(each, answers == 0)? {
                answers += 1;
            }
            if self.status & STATUS_MORE_RESULTS == 0 {
                break;
            }
        }
        match answers {
            0 if self.requires_result_set => {
                Err(Failure::Refused("query returned no result set(require_result_set = yes)".to_owned()))
            }
            0 | 1 => Ok(()),
            _ => Err(Failure::Refused("multiple result sets returning data are not supported".to_owned())),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.wire.leave(&[1, 0, 0, 0, 1]);
    }
}

/// A text between single quotes, where the backslash makes characters harmless. All bytes above ASCII stand for
/// themselves: no character of the connection's set ends in a byte of ASCII.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        let letter = match byte {
            0 => b'0',
            b'\n' => b'n',
            b'\r' => b'r',
            0x1a => b'Z',
            b'\\' | b'\'' | b'"' => *byte,
            _ => {
                out.push(*byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

/// A text between single quotes, where the backslash is a character like another.
fn double(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if *byte == b'\'' {
            out.push(b'\'');
        }
        out.push(*byte);
    }
}
