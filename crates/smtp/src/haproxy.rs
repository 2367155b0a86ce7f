//! The HAProxy protocol: what a load balancer says about the client before the client's own bytes (versions 1 and 2 of
//! the PROXY protocol; spec smtpd 7.3).
//!
//! | version | shape |
//! | --- | --- |
//! | 1 | `PROXY TCP4 192.0.2.1 192.0.2.2 1234 25`, ended by LF; spaces and CRs separate |
//! | 2 | twelve bytes of signature, version and command, family, length, addresses, ports, further values |
//!
//! [`parse`] looks at the bytes that have come, at most [`LONGEST`], and tells the length of the header, so that what
//! the client itself sent stays where it is. A header must be there as a whole. The errors are Postfix's words.
//!
//! Stricter than Postfix 3.7.11: an IPv4 octet with a leading zero is refused; there it is octal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::client::Families;

/// The longest header, in bytes.
pub const LONGEST: usize = 536;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2_FIXED: usize = 16;

/// Who is connected to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The load balancer itself: the connection is what it seems to be.
    Local,
    /// A client of the load balancer.
    Client {
        /// The client's end.
        client: SocketAddr,
        /// The load balancer's end.
        server: SocketAddr,
    },
}

/// Why a header is none. Displays as Postfix logs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it is")]
pub enum Error {
    #[error("short protocol header")]
    Short,
    #[error("unrecognized protocol header")]
    UnrecognizedHeader,
    #[error("unrecognized protocol version")]
    UnrecognizedVersion,
    #[error("short version 2 protocol header")]
    ShortVersion2,
    #[error("short address field")]
    ShortAddress,
    #[error("unsupported network protocol")]
    UnsupportedProtocol,
    #[error("bad command in proxy header")]
    BadCommand,
    #[error("missing protocol header terminator")]
    MissingTerminator,
    #[error("bad or missing protocol type")]
    BadType,
    #[error("bad or missing client address")]
    BadClientAddress,
    #[error("bad or missing server address")]
    BadServerAddress,
    #[error("bad or missing client port")]
    BadClientPort,
    #[error("bad or missing server port")]
    BadServerPort,
    #[error("Postfix IPv4 support is disabled")]
    Ipv4Disabled,
    #[error("Postfix IPv6 support is disabled")]
    Ipv6Disabled,
}

/// Reads the header at the start of `input`; also tells its length. The order of the tests is that of 3.7.11
/// (observed).
///
/// # Errors
/// There is no valid header, or not all of it, or its address family is not one of `families`.
pub fn parse(input: &[u8], families: Families) -> Result<(Source, usize), Error> {
    let input = &input[..input.len().min(LONGEST)];
    if input.starts_with(b"PROXY ") { version_1(input, families) } else { version_2(input, families) }
}

fn version_1(input: &[u8], families: Families) -> Result<(Source, usize), Error> {
    // What is behind a NUL does not exist, for Postfix.
    let text = input.split(|&byte| byte == 0).next().unwrap_or_default();
    let end = text.iter().position(|&byte| byte == b'\n').ok_or(Error::MissingTerminator)?;
    let mut words = text[..end].split(|byte| b" \r".contains(byte)).filter(|word| !word.is_empty()).skip(1);
    let mut next = || words.next().unwrap_or_default();
    let family = match next() {
        word if word.eq_ignore_ascii_case(b"TCP4") && families.has_ipv4() => Family::Ipv4,
        word if word.eq_ignore_ascii_case(b"TCP6") && families.has_ipv6() => Family::Ipv6,
        _ => return Err(Error::BadType),
    };
    let client = family.address(next()).ok_or(Error::BadClientAddress)?;
    let server = family.address(next()).ok_or(Error::BadServerAddress)?;
    let client_port = port(next()).ok_or(Error::BadClientPort)?;
    let server_port = port(next()).ok_or(Error::BadServerPort)?;
    Ok((source((client, client_port), (server, server_port), families), end + 1))
}

#[derive(Clone, Copy)]
enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    fn address(self, word: &[u8]) -> Option<IpAddr> {
        let text = std::str::from_utf8(word).ok()?;
        match self {
            Self::Ipv4 => text.parse().ok().filter(is_host).map(IpAddr::V4),
            Self::Ipv6 => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        }
    }
}

/// Network zero has no hosts; the address of nobody is let through.
fn is_host(address: &Ipv4Addr) -> bool {
    address.is_unspecified() || address.octets()[0] != 0
}

/// One to five digits without a leading zero.
fn port(word: &[u8]) -> Option<u16> {
    let canonical = word == b"0" || word.first().is_some_and(|first| (b'1'..=b'9').contains(first));
    std::str::from_utf8(word).ok().filter(|_| canonical)?.parse().ok()
}

fn version_2(input: &[u8], families: Families) -> Result<(Source, usize), Error> {
    let Some((fixed, rest)) = input.split_first_chunk::<VERSION_2_FIXED>() else {
        return Err(Error::Short);
    };
    if !fixed.starts_with(SIGNATURE) {
        return Err(Error::UnrecognizedHeader);
    }
    let [version_command, protocol, high, low] = [fixed[12], fixed[13], fixed[14], fixed[15]];
    if version_command >> 4 != 2 {
        return Err(Error::UnrecognizedVersion);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    let values = rest.get(..length).ok_or(Error::ShortVersion2)?;
    let source = match version_command & 0x0f {
        0 => Source::Local,
        1 => proxied(protocol, values, families)?,
        _ => return Err(Error::BadCommand),
    };
    Ok((source, VERSION_2_FIXED + length))
}

/// The addresses of a version 2 header; what follows them in `values` is of no interest.
fn proxied(protocol: u8, values: &[u8], families: Families) -> Result<Source, Error> {
    let (client, server, ports) = match protocol {
        0x11 if !families.has_ipv4() => return Err(Error::Ipv4Disabled),
        0x21 if !families.has_ipv6() => return Err(Error::Ipv6Disabled),
        0x11 => {
            let (client, rest) = values.split_first_chunk::<4>().ok_or(Error::ShortAddress)?;
            let (server, rest) = rest.split_first_chunk::<4>().ok_or(Error::ShortAddress)?;
            (IpAddr::from(*client), IpAddr::from(*server), rest)
        }
        0x21 => {
            let (client, rest) = values.split_first_chunk::<16>().ok_or(Error::ShortAddress)?;
            let (server, rest) = rest.split_first_chunk::<16>().ok_or(Error::ShortAddress)?;
            (IpAddr::from(*client), IpAddr::from(*server), rest)
        }
        _ => return Err(Error::UnsupportedProtocol),
    };
    let &[c0, c1, s0, s1] = ports.first_chunk::<4>().ok_or(Error::ShortAddress)?;
    Ok(source((client, u16::from_be_bytes([c0, c1])), (server, u16::from_be_bytes([s0, s1])), families))
}

/// A mapped address is an IPv4 client that came in through an IPv6 socket.
fn source(client: (IpAddr, u16), server: (IpAddr, u16), families: Families) -> Source {
    let plain = |address: IpAddr| if families.has_ipv4() { address.to_canonical() } else { address };
    Source::Client {
        client: SocketAddr::new(plain(client.0), client.1),
        server: SocketAddr::new(plain(server.0), server.1),
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, LONGEST, Source, parse};
    use crate::client::Families;

    fn client(text: &[u8], families: Families) -> Result<String, Error> {
        parse(text, families).map(|(source, _)| match source {
            Source::Local => "local".to_string(),
            Source::Client { client, server } => format!("{client} {server}"),
        })
    }

    #[test]
    fn version_1() {
        let long = |blanks: usize| {
            let mut text = b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 25".to_vec();
            text.resize(text.len() + blanks, b' ');
            text.push(b'\n');
            text
        };
        let ipv4 = "192.0.2.1:1234 192.0.2.2:25".to_string();
        // Each as 3.7.11 has it (observed).
        let table: &[(&[u8], Result<&str, Error>)] = &[
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 25\r\n", Ok(&ipv4)),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 25\nEHLO x\r\n", Ok(&ipv4)),
            (b"PROXY  tcp4\r192.0.2.1  192.0.2.2 1234 25 more\r\r\n", Ok(&ipv4)),
            (&long(LONGEST - 39), Ok(&ipv4)),
            (&long(LONGEST - 38), Err(Error::MissingTerminator)),
            (b"PROXY TCP6 2001:DB8:0::1 2001:db8::2 65535 0\r\n", Ok("[2001:db8::1]:65535 [2001:db8::2]:0")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.8 1 2\r\n", Ok("192.0.2.7:1 192.0.2.8:2")),
            (b"PROXY TCP4 0.0.0.0 255.255.255.255 1 2\r\n", Ok("0.0.0.0:1 255.255.255.255:2")),
            (b"", Err(Error::Short)),
            (b"PROXY\r\nxxxxxxxx", Err(Error::Short)),
            (b"proxy TCP4 192.0.2.1 192.0.2.2 1234 25\r\n", Err(Error::UnrecognizedHeader)),
            (b"EHLO client.example.net\r\n", Err(Error::UnrecognizedHeader)),
            (b"PROXY T\n", Err(Error::BadType)),
            (b"PROXY UNKNOWN\r\n", Err(Error::BadType)),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 25", Err(Error::MissingTerminator)),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 25\0\r\n", Err(Error::MissingTerminator)),
            (b"PROXY TCP4\r\n", Err(Error::BadClientAddress)),
            (b"PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n", Err(Error::BadClientAddress)),
            (b"PROXY TCP6 192.0.2.1 2001:db8::2 1 2\r\n", Err(Error::BadClientAddress)),
            (b"PROXY TCP6 fe80::1%lo ::1 1 2\r\n", Err(Error::BadClientAddress)),
            (b"PROXY TCP4 0.1.2.3 192.0.2.2 1 2\r\n", Err(Error::BadClientAddress)),
            (b"PROXY TCP4 192.0.2.\xe9 192.0.2.2 1 2\r\n", Err(Error::BadClientAddress)),
            (b"PROXY TCP4 192.0.2.1 host 1 2\r\n", Err(Error::BadServerAddress)),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2\r\n", Err(Error::BadClientPort)),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 +12 25\r\n", Err(Error::BadClientPort)),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 00025 25\r\n", Err(Error::BadClientPort)),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n", Err(Error::BadClientPort)),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 25\t\r\n", Err(Error::BadServerPort)),
        ];
        for (input, expected) in table {
            let found = client(input, Families::All);
            assert_eq!(found, expected.map(str::to_string), "{}", input.escape_ascii());
        }
        assert_eq!(client(b"PROXY TCP6 ::1 ::1 1 2\n", Families::Ipv4), Err(Error::BadType));
    }

    #[test]
    fn version_2() {
        let ipv4 = b"\xc0\0\x02\x01\xc0\0\x02\x02\x04\xd2\0\x19";
        let header = |command: u8, protocol: u8, length: usize, values: &[u8]| {
            let length = u16::try_from(length).unwrap();
            [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, protocol], &length.to_be_bytes(), values].concat()
        };
        let mut mapped = [0; 36];
        mapped[10..16].copy_from_slice(b"\xff\xff\xc0\0\x02\x07");
        mapped[31] = 2;
        let table: &[(Vec<u8>, Result<&str, Error>)] = &[
            (header(0x21, 0x11, 12, ipv4), Ok("192.0.2.1:1234 192.0.2.2:25")),
            (
                header(0x21, 0x11, 15, b"\xc0\0\x02\x01\xc0\0\x02\x02\x04\xd2\0\x19tlv"),
                Ok("192.0.2.1:1234 192.0.2.2:25"),
            ),
            (header(0x21, 0x21, 36, &mapped), Ok("192.0.2.7:0 [::2]:0")),
            (header(0x20, 0, 0, b""), Ok("local")),
            (header(0x20, 0x11, 12, ipv4), Ok("local")),
            (header(0x20, 0, 9, b""), Err(Error::ShortVersion2)),
            (header(0x22, 0x11, 90, ipv4), Err(Error::ShortVersion2)),
            (header(0x30, 0x11, 12, ipv4), Err(Error::UnrecognizedVersion)),
            (header(0x22, 0x11, 12, ipv4), Err(Error::BadCommand)),
            (header(0x21, 0, 0, b""), Err(Error::UnsupportedProtocol)),
            (header(0x21, 0x12, 12, ipv4), Err(Error::UnsupportedProtocol)),
            (header(0x21, 0x11, 8, ipv4), Err(Error::ShortAddress)),
            (header(0x21, 0x21, 12, ipv4), Err(Error::ShortAddress)),
            (header(0x21, 0x11, 521, &[0; 600]), Err(Error::ShortVersion2)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0".to_vec(), Err(Error::Short)),
            (b"\r\n\r\n\0\r\nQUITX\x21\x11\0\0".to_vec(), Err(Error::UnrecognizedHeader)),
        ];
        for (input, expected) in table {
            let found = client(input, Families::All);
            assert_eq!(found, expected.map(str::to_string), "{}", input.escape_ascii());
        }
        assert_eq!(client(&header(0x21, 0x11, 12, ipv4), Families::Ipv6), Err(Error::Ipv4Disabled));
        assert_eq!(client(&header(0x21, 0x21, 12, ipv4), Families::Ipv4), Err(Error::Ipv6Disabled));
        let behind = [header(0x21, 0x11, 12, ipv4), b"EHLO x\r\n".to_vec()].concat();
        assert_eq!(parse(&behind, Families::All).map(|(_, length)| length), Ok(28));
    }
}
