//! What the mail system tells a filter (spec milter 5).

use crate::negotiation::Steps;
use crate::packet::push_string;

pub(crate) const ABORT: u8 = b'A';
pub(crate) const BODY: u8 = b'B';
pub(crate) const CONNECT: u8 = b'C';
pub(crate) const MACRO: u8 = b'D';
pub(crate) const END_OF_BODY: u8 = b'E';
pub(crate) const HELO: u8 = b'H';
pub(crate) const HEADER: u8 = b'L';
pub(crate) const MAIL: u8 = b'M';
pub(crate) const END_OF_HEADERS: u8 = b'N';
pub(crate) const OPTNEG: u8 = b'O';
pub(crate) const QUIT: u8 = b'Q';
pub(crate) const RCPT: u8 = b'R';
pub(crate) const DATA: u8 = b'T';
pub(crate) const UNKNOWN: u8 = b'U';

/// The most that a piece of the body has.
pub const CHUNK: usize = 65535;

/// The kind of a client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
    /// A UNIX socket.
    Unix,
    /// None is known.
    Unknown,
}

/// Which of the lists of macros belongs to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `milter_connect_macros`
    Connect,
    /// `milter_helo_macros`
    Helo,
    /// `milter_mail_macros`
    Mail,
    /// `milter_rcpt_macros`
    Rcpt,
    /// `milter_data_macros`
    Data,
    /// `milter_end_of_header_macros`: before each header, too.
    EndOfHeaders,
    /// `milter_end_of_data_macros`: before each piece of the body, too.
    EndOfData,
    /// `milter_unknown_command_macros`
    Unknown,
}

/// Something that happens to a session or to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A client.
    Connect {
        /// Its verified name, or its address in brackets.
        name: &'a [u8],
        /// The kind of its address.
        family: Family,
        /// Its port as text; `0` when it is not known.
        port: &'a [u8],
        /// Its address, without `IPv6:` and without brackets.
        address: &'a [u8],
    },
    /// HELO or EHLO, and its argument.
    Helo(&'a [u8]),
    /// MAIL: the address as it was given, and the parameters.
    Mail(&'a [&'a [u8]]),
    /// RCPT: the same.
    Rcpt(&'a [&'a [u8]]),
    /// DATA, or the first BDAT.
    Data,
    /// A command that is not known.
    Unknown(&'a [u8]),
    /// A header: its name, and its value as it is after the colon. Lines are joined by LF.
    Header {
        /// Without white space before the colon.
        name: &'a [u8],
        /// With the blank behind the colon.
        value: &'a [u8],
    },
    /// The end of the headers.
    EndOfHeaders,
    /// A piece of the body, at most [`CHUNK`] bytes; lines end in CR LF.
    Body(&'a [u8]),
    /// The end of the message: the time for edits.
    EndOfMessage,
}

impl Event<'_> {
    /// The code of its packet.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Event::Connect { .. } => CONNECT,
            Event::Helo(_) => HELO,
            Event::Mail(_) => MAIL,
            Event::Rcpt(_) => RCPT,
            Event::Data => DATA,
            Event::Unknown(_) => UNKNOWN,
            Event::Header { .. } => HEADER,
            Event::EndOfHeaders => END_OF_HEADERS,
            Event::Body(_) => BODY,
            Event::EndOfMessage => END_OF_BODY,
        }
    }

    /// Its list of macros.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Event::Connect { .. } => Stage::Connect,
            Event::Helo(_) => Stage::Helo,
            Event::Mail(_) => Stage::Mail,
            Event::Rcpt(_) => Stage::Rcpt,
            Event::Data => Stage::Data,
            Event::Unknown(_) => Stage::Unknown,
            Event::Header { .. } | Event::EndOfHeaders => Stage::EndOfHeaders,
            Event::Body(_) | Event::EndOfMessage => Stage::EndOfData,
        }
    }

    /// Part of the content: what cleanup tells.
    #[must_use]
    pub fn is_content(&self) -> bool {
        matches!(self, Event::Header { .. } | Event::EndOfHeaders | Event::Body(_) | Event::EndOfMessage)
    }

    /// The bit by which a filter declines it, and the one by which it says that it will not answer.
    pub(crate) fn bits(&self) -> (Steps, Steps) {
        match self {
            Event::Connect { .. } => (Steps::NO_CONNECT, Steps::NR_CONNECT),
            Event::Helo(_) => (Steps::NO_HELO, Steps::NR_HELO),
            Event::Mail(_) => (Steps::NO_MAIL, Steps::NR_MAIL),
            Event::Rcpt(_) => (Steps::NO_RCPT, Steps::NR_RCPT),
            Event::Data => (Steps::NO_DATA, Steps::NR_DATA),
            Event::Unknown(_) => (Steps::NO_UNKNOWN, Steps::NR_UNKNOWN),
            Event::Header { .. } => (Steps::NO_HEADERS, Steps::NR_HEADER),
            Event::EndOfHeaders => (Steps::NO_END_OF_HEADERS, Steps::NR_END_OF_HEADERS),
            Event::Body(_) => (Steps::NO_BODY, Steps::NR_BODY),
            Event::EndOfMessage => (Steps::empty(), Steps::empty()),
        }
    }

    /// The data of its packet. A port that is none is told in the log.
    pub(crate) fn data(&self, milter: &str, steps: Steps) -> Vec<u8> {
        let mut out = Vec::new();
        match *self {
            Event::Connect { name, family, port, address } => {
                push_string(&mut out, name);
                let (letter, port) = match family {
                    Family::Inet => (b'4', port),
                    Family::Inet6 => (b'6', port),
                    Family::Unix => (b'L', &b"0"[..]),
                    Family::Unknown => {
                        out.push(b'U');
                        return out;
                    }
                };
                out.push(letter);
                out.extend_from_slice(&port_number(milter, port).to_be_bytes());
                push_string(&mut out, address);
            }
            Event::Helo(text) | Event::Unknown(text) => push_string(&mut out, text),
            Event::Mail(words) | Event::Rcpt(words) => {
                words.iter().for_each(|word| push_string(&mut out, word));
            }
            Event::Header { name, value } => {
                push_string(&mut out, name);
                let blank = !steps.contains(Steps::HEADER_LEADING_SPACE);
                push_string(&mut out, if blank { value.strip_prefix(b" ").unwrap_or(value) } else { value });
            }
            Event::Body(bytes) => out.extend_from_slice(bytes),
            Event::Data | Event::EndOfHeaders | Event::EndOfMessage => {}
        }
        out
    }
}

fn port_number(milter: &str, port: &[u8]) -> u16 {
    let number = std::str::from_utf8(port).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        log::warn!("milter {milter}: bad client port number {}", maillog::shown(port));
        0
    })
}

/// The name of a packet to a filter, as the log has it.
#[must_use]
pub fn name(code: u8) -> &'static str {
    match code {
        ABORT => "SMFIC_ABORT",
        BODY => "SMFIC_BODY",
        CONNECT => "SMFIC_CONNECT",
        MACRO => "SMFIC_MACRO",
        END_OF_BODY => "SMFIC_BODYEOB",
        HELO => "SMFIC_HELO",
        HEADER => "SMFIC_HEADER",
        MAIL => "SMFIC_MAIL",
        END_OF_HEADERS => "SMFIC_EOH",
        OPTNEG => "SMFIC_OPTNEG",
        QUIT => "SMFIC_QUIT",
        RCPT => "SMFIC_RCPT",
        DATA => "SMFIC_DATA",
        UNKNOWN => "SMFIC_UNKNOWN",
        _ => "(unknown MTA request)",
    }
}
