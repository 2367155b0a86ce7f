//! DNS messages on the wire: queries out, answers in (RFC 1035, section 4; RFC 6891 for EDNS).
//!
//! A reader of bytes from anywhere: every length is checked, a compressed name may only point backwards, so that it
//! ends, and no more records are kept than [`RECORD_LIMIT`]. Anything else is [`Malformed`]. Records of types that are
//! not ours are skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::record::{Data, Record, RecordType};

/// Records of one answer that are kept.
pub const RECORD_LIMIT: usize = 1000;

const HEADER: usize = 12;
const LABEL_LIMIT: usize = 63;
/// Longest name on the wire.
const NAME_LIMIT: usize = 255;
const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;
/// The UDP answers that EDNS asks for: what crosses any network in one piece.
const EDNS_SIZE: u16 = 1232;

/// The bytes are no DNS message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed DNS message")]
pub struct Malformed;

/// How a question is put.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// EDNS: larger answers.
    pub(crate) edns: bool,
    /// Ask whether the answer was validated (the AD bit).
    pub(crate) authentic: bool,
    /// Ask for validation (EDNS with the DO bit).
    pub dnssec: bool,
}

/// The code of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseCode {
    /// NOERROR
    NoError,
    /// NXDOMAIN
    NoSuchName,
    /// SERVFAIL
    ServerFailure,
    /// NOTIMP
    NotImplemented,
    /// REFUSED
    Refused,
    /// FORMERR and all that are not known.
    Other(u8),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What ties it to its question.
    pub id: u16,
    /// The response code.
    pub code: ResponseCode,
    /// The answer did not fit: ask again over TCP.
    pub truncated: bool,
    /// The server says that the answer was validated.
    pub(crate) authentic: bool,
    /// The name in the question.
    pub name: Vec<u8>,
    /// The type in the question.
    pub kind: u16,
    /// The records of the answer section.
    pub answers: Vec<Record>,
}

/// A question about a name, recursion desired. `None` for a name that cannot be put on the wire.
pub fn query(id: u16, name: &[u8], kind: RecordType, flags: Flags) -> Option<Vec<u8>> {
    let edns = flags.edns || flags.dnssec;
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, if flags.authentic || flags.dnssec { 0x20 } else { 0 }]);
    message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
    for label in name.strip_suffix(b".").unwrap_or(name).split(|byte| *byte == b'.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..=LABEL_LIMIT).contains(&usize::from(*length)))?;
        message.push(length);
        message.extend(label);
    }
    message.push(0);
    if message.len() - HEADER > NAME_LIMIT {
        return None;
    }
    message.extend(kind.number().to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    if edns {
        message.push(0);
        message.extend(TYPE_OPT.to_be_bytes());
        message.extend(EDNS_SIZE.to_be_bytes());
        message.extend([0, 0, if flags.dnssec { 0x80 } else { 0 }, 0, 0, 0]);
    }
    Some(message)
}

/// Reads an answer.
///
/// # Errors
/// It is not one.
pub fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
    let mut reader = Reader { bytes, at: 0 };
    let id = reader.u16()?;
    let [high, low] = reader.u16()?.to_be_bytes();
    let questions = reader.u16()?;
    let answers = reader.u16()?;
    reader.u32()?;
    if high & 0x80 == 0 || questions != 1 {
        return Err(Malformed);
    }
    let name = reader.name()?;
    let kind = reader.u16()?;
    reader.u16()?;
    let mut message = Message {
        id,
        code: match low & 15 {
            0 => ResponseCode::NoError,
            2 => ResponseCode::ServerFailure,
            3 => ResponseCode::NoSuchName,
            4 => ResponseCode::NotImplemented,
            5 => ResponseCode::Refused,
            other => ResponseCode::Other(other),
        },
        truncated: high & 2 != 0,
        authentic: low & 0x20 != 0,
        name,
        kind,
        answers: Vec::new(),
    };
    for _ in 0..answers {
        match reader.record() {
            Ok(Some(record)) if message.answers.len() < RECORD_LIMIT => message.answers.push(record),
            Ok(_) => {}
            // What was cut off is asked for again, so what is there does not matter.
            Err(Malformed) if message.truncated => break,
            Err(Malformed) => return Err(Malformed),
        }
    }
    Ok(message)
}

struct Reader<'m> {
    bytes: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn take(&mut self, length: usize) -> Result<&'m [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// A name, followed through its pointers.
    fn name(&mut self) -> Result<Vec<u8>, Malformed> {
        let mut name = Vec::new();
        let mut wire_length = 1;
        let mut at = self.at;
        // A pointer must lead to before the place where the piece it ends began: so every step goes down.
        let mut piece = at;
        let mut end = None;
        loop {
            let length = usize::from(*self.bytes.get(at).ok_or(Malformed)?);
            match length {
                0 => break,
                1..=LABEL_LIMIT => {
                    wire_length += 1 + length;
                    if wire_length > NAME_LIMIT {
                        return Err(Malformed);
                    }
                    let label = self.bytes.get(at + 1..at + 1 + length).ok_or(Malformed)?;
                    if !name.is_empty() {
                        name.push(b'.');
                    }
                    present(label, &mut name);
                    at += 1 + length;
                }
                0xc0.. => {
                    let low = usize::from(*self.bytes.get(at + 1).ok_or(Malformed)?);
                    end.get_or_insert(at + 2);
                    let target = (length & 0x3f) << 8 | low;
                    if target >= piece {
                        return Err(Malformed);
                    }
                    (at, piece) = (target, target);
                }
                _ => return Err(Malformed),
            }
        }
        self.at = end.unwrap_or(at + 1);
        Ok(name)
    }

    /// A record; `None` for one that is not ours.
    fn record(&mut self) -> Result<Option<Record>, Malformed> {
        let owner = self.name()?;
        let kind = self.u16()?;
        let class = self.u16()?;
        let ttl = self.u32()?;
        let length = usize::from(self.u16()?);
        let end = self.at + length;
        let whole = self.bytes.get(..end).ok_or(Malformed)?;
        if class != CLASS_IN {
            log::warn!("dns_get_fixed: bad class: {class}");
            return Err(Malformed);
        }
        let record = match RecordType::from_number(kind) {
            Some(kind) => {
                let mut data = Reader { bytes: whole, at: self.at };
                let read = data.data(kind)?;
                if data.at != end {
                    return Err(Malformed);
                }
                // RFC 2181, section 8: the sign bit is an error for zero.
                let ttl = if ttl > i32::MAX.unsigned_abs() { 0 } else { ttl };
                Some(Record { owner, kind, ttl, data: read })
            }
            None => None,
        };
        self.at = end;
        Ok(record)
    }

    fn data(&mut self, kind: RecordType) -> Result<Data, Malformed> {
        Ok(match kind {
            RecordType::A => Data::Address(IpAddr::V4(Ipv4Addr::from(self.array::<4>()?))),
            RecordType::Aaaa => Data::Address(IpAddr::V6(Ipv6Addr::from(self.array::<16>()?))),
            RecordType::Mx => Data::Mx { preference: self.u16()?, host: self.name()? },
            RecordType::Ns | RecordType::Cname | RecordType::Ptr => Data::Name(self.name()?),
            RecordType::Soa => {
                let primary = self.name()?;
                self.name()?;
                self.take(20)?;
                Data::Name(primary)
            }
            RecordType::Txt => {
                let mut strings = Vec::new();
                while self.at < self.bytes.len() {
                    let [length] = self.array()?;
                    strings.push(self.take(usize::from(length))?.to_vec());
                }
                Data::Text(strings)
            }
            RecordType::Srv => Data::Srv {
                priority: self.u16()?,
                weight: self.u16()?,
                port: self.u16()?,
                host: self.name()?,
            },
            RecordType::Tlsa => {
                let [usage, selector, matching] = self.array()?;
                let data = self.take(self.bytes.len() - self.at)?.to_vec();
                Data::Tlsa { usage, selector, matching, data }
            }
        })
    }
}

/// A label with what is special in it escaped, as in zone files: a dot within a label is no separator.
fn present(label: &[u8], name: &mut Vec<u8>) {
    for &byte in label {
        match byte {
            b'.' | b'\\' | b'"' | b';' | b'@' | b'$' | b'(' | b')' => name.extend([b'\\', byte]),
            0x21..=0x7e => name.push(byte),
            _ => name.extend(format!("\\{byte:03}").into_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(records: &[u8], count: u8) -> Vec<u8> {
        let mut message = query(7, b"a.example", RecordType::Mx, Flags::default()).expect("a name");
        message[2] |= 0x80;
        message[7] = count;
        message.extend_from_slice(records);
        message
    }

    #[test]
    fn compressed_names() {
        let record = [0xc0, 12, 0, 15, 0, 1, 0, 0, 1, 0, 0, 6, 0, 10, 1, b'm', 0xc0, 12];
        let message = parse(&answer(&record, 1)).expect("well formed");
        assert_eq!((message.id, &message.name[..], message.kind), (7, &b"a.example"[..], 15));
        assert_eq!(message.answers[0].to_string(), "a.example. 256 IN MX 10 m.a.example.");
    }

    #[test]
    fn services_and_certificates() {
        for (record, shown) in [
            (
                &[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 9, 0, 10, 0, 1, 0, 2, 0, 25, 1, b'm', 0xc0, 12][..],
                "a.example. 9 IN SRV 1 2 25 m.a.example.",
            ),
            (
                &[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 9, 0, 7, 0, 1, 0, 2, 0, 25, 0],
                "a.example. 9 IN SRV 1 2 25 .",
            ),
            (
                &[0xc0, 12, 0, 52, 0, 1, 0, 0, 0, 9, 0, 5, 3, 1, 255, 0x0a, 0xfe],
                "a.example. 9 IN TLSA 3 1 255 0AFE",
            ),
            // Whether it can be used is for others to say.
            (&[0xc0, 12, 0, 52, 0, 1, 0, 0, 0, 9, 0, 3, 9, 8, 7], "a.example. 9 IN TLSA 9 8 7 "),
        ] {
            let message = parse(&answer(record, 1)).expect("well formed");
            assert_eq!(message.answers[0].to_string(), shown);
        }
    }

    #[test]
    fn hostile_messages() {
        let own = u8::try_from(answer(&[], 0).len()).expect("short");
        for (record, why) in [
            (&[0xc0, own, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0][..], "a name that points at itself"),
            (&[0xc0, own + 2, 0, 1][..], "a name that points ahead"),
            (&[0x40, 0][..], "a label of a type that does not exist"),
            (&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 3, 1, 2, 3][..], "an address of three bytes"),
            (&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4, 5][..], "an address of five bytes"),
            (
                &[0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, 2, 9, b'x'][..],
                "a string that is longer than its record",
            ),
            (
                &[0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 0, 0, 200, 0, 1][..],
                "a record that is longer than the message",
            ),
            (&[0xc0, 12, 0, 52, 0, 1, 0, 0, 0, 0, 0, 2, 3, 1][..], "a TLSA record of two bytes"),
            (
                &[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 0, 0, 6, 0, 1, 0, 2, 0, 25][..],
                "an SRV record without a host",
            ),
            (
                &[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 0, 0, 8, 0, 1, 0, 2, 0, 25, 0, 0][..],
                "an SRV record with something behind its host",
            ),
            (&[][..], "no record at all"),
        ] {
            assert_eq!(parse(&answer(record, 1)), Err(Malformed), "{why}");
        }
        let whole = answer(&[0xc0, 12, 0, 15, 0, 1, 0, 0, 1, 0, 0, 6, 0, 10, 1, b'm', 0xc0, 12], 1);
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), Err(Malformed), "cut after {end} bytes");
        }
    }

    #[test]
    fn names_that_cannot_be_asked_for() {
        let long = [b'a'; 64];
        let longer = [&[b'a'; 60][..]; 5].join(&b'.');
        for name in [&b""[..], b".", b"a..b", &long, &longer] {
            assert_eq!(query(1, name, RecordType::A, Flags::default()), None);
        }
        assert!(query(1, b"a.example.", RecordType::A, Flags { dnssec: true, ..Flags::default() }).is_some());
    }

    #[test]
    fn dots_within_labels() {
        let mut name = Vec::new();
        present(b"a.b\x01", &mut name);
        assert_eq!(name, b"a\\.b\\001");
    }
}
