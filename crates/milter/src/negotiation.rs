//! The agreement at the start of a conversation: version, actions, steps, and lists of macros (spec milter 4).

use crate::macros::MacroLists;
use crate::packet::{Items, Malformed, write};

use crate::event::{self, Stage};
use crate::fault::Fault;

bitflags::bitflags! {
    /// What a filter may do to a message. It is not looked at later on: as in Postfix any edit is obeyed.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Actions: u32 {
        /// Add and insert headers.
        const ADD_HEADERS = 0x01;
        /// Replace the body.
        const CHANGE_BODY = 0x02;
        /// Add recipients.
        const ADD_RCPT = 0x04;
        /// Delete recipients.
        const DELETE_RCPT = 0x08;
        /// Change and delete headers.
        const CHANGE_HEADERS = 0x10;
        /// Hold the message.
        const QUARANTINE = 0x20;
        /// Change the sender.
        const CHANGE_FROM = 0x40;
        /// Add recipients with parameters.
        const ADD_RCPT_PARAMETERS = 0x80;
        /// Ask for macros.
        const MACRO_LISTS = 0x100;
    }
}

bitflags::bitflags! {
    /// What of the protocol a filter does without, or asks for.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Steps: u32 {
        /// No [`crate::Event::Connect`].
        const NO_CONNECT = 0x01;
        /// No [`crate::Event::Helo`].
        const NO_HELO = 0x02;
        /// No [`crate::Event::Mail`].
        const NO_MAIL = 0x04;
        /// No [`crate::Event::Rcpt`].
        const NO_RCPT = 0x08;
        /// No [`crate::Event::Body`].
        const NO_BODY = 0x10;
        /// No [`crate::Event::Header`].
        const NO_HEADERS = 0x20;
        /// No [`crate::Event::EndOfHeaders`].
        const NO_END_OF_HEADERS = 0x40;
        /// No answer to headers.
        const NR_HEADER = 0x80;
        /// No [`crate::Event::Unknown`].
        const NO_UNKNOWN = 0x100;
        /// No [`crate::Event::Data`].
        const NO_DATA = 0x200;
        /// The answer `skip` is understood.
        const SKIP = 0x400;
        /// Recipients that were refused are told, too.
        const RCPT_REJECTED = 0x800;
        /// No answer to connect.
        const NR_CONNECT = 0x1000;
        /// No answer to HELO.
        const NR_HELO = 0x2000;
        /// No answer to MAIL.
        const NR_MAIL = 0x4000;
        /// No answer to RCPT.
        const NR_RCPT = 0x8000;
        /// No answer to DATA.
        const NR_DATA = 0x1_0000;
        /// No answer to unknown commands.
        const NR_UNKNOWN = 0x2_0000;
        /// No answer to the end of headers.
        const NR_END_OF_HEADERS = 0x4_0000;
        /// No answer to the body.
        const NR_BODY = 0x8_0000;
        /// Header values with the blank behind the colon, both ways.
        const HEADER_LEADING_SPACE = 0x10_0000;
    }
}

/// What the mail system offers: from `milter_protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The version.
    pub version: u32,
    /// The steps.
    pub steps: Steps,
}

const ACTIONS: Actions = Actions::all();

impl Offer {
    /// Reads `milter_protocol`: one of 2, 3, 4, 6, and perhaps `no_header_reply`.
    ///
    /// # Errors
    /// The text for the log.
    pub fn parse(protocol: &str) -> Result<Self, String> {
        let mut version = None;
        let mut more = Steps::empty();
        for word in config::list::words(protocol.as_bytes()) {
            let bits = match word {
                b"2" => (2, 0x7f),
                b"3" => (3, 0x17f),
                b"4" => (4, 0x37f),
                b"6" => (6, 0x1f_ffff),
                word if word.eq_ignore_ascii_case(b"no_header_reply") => {
                    more |= Steps::NR_HEADER;
                    continue;
                }
                word => return Err(format!("bad protocol information: {}", maillog::shown(word))),
            };
            if version.replace(bits).is_some() {
                return Err(format!("bad protocol information: {}", maillog::shown(word)));
            }
        }
        let (version, steps) = version.ok_or("no protocol version information")?;
        Ok(Self { version, steps: Steps::from_bits_retain(steps) | more })
    }

    /// The packet.
    #[must_use]
    pub fn packet(self) -> Vec<u8> {
        let data = [self.version, ACTIONS.bits(), self.steps.bits()].map(u32::to_be_bytes).concat();
        let mut out = Vec::with_capacity(17);
        write(&mut out, event::OPTNEG, &data);
        out
    }
}

/// What both sides agree on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agreement {
    /// The lower version.
    pub version: u32,
    /// What the filter may do.
    pub actions: Actions,
    /// What it does without.
    pub steps: Steps,
    /// Events that its version does not have.
    pub missing: Steps,
    /// The lists of macros that it asks for; `None` when it asks for none. An empty one is as configured.
    pub lists: Option<MacroLists>,
}

impl Agreement {
    /// Reads the filter's answer.
    ///
    /// # Errors
    /// It does not agree, or cannot be understood.
    pub fn read(data: &[u8], offer: Offer, milter: &str) -> Result<Self, Fault> {
        let mut items = Items::new(data);
        let mut numbers = || Ok((items.number()?, items.number()?, items.number()?));
        let (version, actions, steps) = numbers().map_err(|malformed: Malformed| {
            Fault::communication(malformed.text(milter)).and(handshake(milter, "read"))
        })?;
        if version > offer.version {
            return Err(Fault::communication(format!(
                "milter {milter}: protocol version {} conflict with MTA protocol version {}",
                version.cast_signed(),
                offer.version
            )));
        }
        if actions & !ACTIONS.bits() != 0 {
            return Err(Fault::communication(format!(
                "milter {milter}: request mask 0x{actions:x} conflict with MTA request mask 0x{:x}",
                ACTIONS.bits()
            )));
        }
        let missing = match version {
            2 => Steps::NO_UNKNOWN | Steps::NO_DATA,
            3 => Steps::NO_DATA,
            4.. => Steps::empty(),
            _ => {
                log::warn!("milter {milter}: unexpected protocol version {version}");
                Steps::empty()
            }
        };
        let mut agreement = Self {
            version,
            actions: Actions::from_bits_retain(actions),
            steps: Steps::from_bits_retain(steps),
            missing,
            lists: None,
        };
        while !items.is_empty() {
            let mut item = || -> Result<_, Malformed> { Ok((items.number()?, items.string()?)) };
            let (number, text) = item().map_err(|malformed| Fault::communication(malformed.text(milter)))?;
            agreement.ask(number, text, milter);
        }
        Ok(agreement)
    }

    fn ask(&mut self, number: u32, text: &[u8], milter: &str) {
        let stage = match number {
            0 => Stage::Connect,
            1 => Stage::Helo,
            2 => Stage::Mail,
            3 => Stage::Rcpt,
            4 => Stage::Data,
            5 => Stage::EndOfData,
            6 => Stage::EndOfHeaders,
            other => {
                log::warn!("milter {milter}: ignoring unknown macro type {}", other.cast_signed());
                return;
            }
        };
        *self.lists.get_or_insert_with(MacroLists::default).list_mut(stage) = text.to_vec();
    }
}

/// The line that goes with trouble in the handshake.
pub(crate) fn handshake(milter: &str, what: &str) -> String {
    format!("milter {milter}: {what} error in initial handshake")
}

#[cfg(test)]
mod tests {
    use super::{Agreement, Offer, Steps};

    fn answer(version: u32, actions: u32, steps: u32, more: &[u8]) -> Vec<u8> {
        [&[version, actions, steps].map(u32::to_be_bytes).concat()[..], more].concat()
    }

    #[test]
    fn offers() {
        for (protocol, version, steps) in [
            ("6", 6, 0x1f_ffff),
            ("2", 2, 0x7f),
            ("3", 3, 0x17f),
            ("4", 4, 0x37f),
            ("3,no_header_reply", 3, 0x1ff),
            ("no_header_reply 2", 2, 0xff),
        ] {
            let offer = Offer::parse(protocol).unwrap();
            assert_eq!((offer.version, offer.steps.bits()), (version, steps), "{protocol}");
        }
        for (protocol, text) in [
            ("5", "bad protocol information: 5"),
            ("6 x", "bad protocol information: x"),
            ("", "no protocol version information"),
        ] {
            assert_eq!(Offer::parse(protocol).unwrap_err(), text);
        }
        assert_eq!(
            Offer::parse("6").unwrap().packet(),
            b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff",
            "observed"
        );
    }

    #[test]
    fn answers() {
        let offer = Offer::parse("6").unwrap();
        let read = |data: &[u8]| Agreement::read(data, offer, "NAME");
        let agreed = read(&answer(6, 0x1ff, 0x37f, b"")).unwrap();
        assert_eq!(
            (agreed.version, agreed.steps, agreed.missing),
            (6, Steps::from_bits_retain(0x37f), Steps::empty())
        );
        assert_eq!(read(&answer(2, 0, 0, b"")).unwrap().missing.bits(), 0x300);
        assert_eq!(read(&answer(3, 0, 0, b"")).unwrap().missing.bits(), 0x200);
        for (data, lines) in [
            (
                answer(7, 0, 0, b""),
                &["milter NAME: protocol version 7 conflict with MTA protocol version 6"][..],
            ),
            (
                answer(u32::MAX, 0, 0, b""),
                &["milter NAME: protocol version -1 conflict with MTA protocol version 6"],
            ),
            (
                answer(6, 0x3ff, 0, b""),
                &["milter NAME: request mask 0x3ff conflict with MTA request mask 0x1ff"],
            ),
            (
                b"\0\0\0\x06".to_vec(),
                &[
                    "milter NAME: input packet too short for network long",
                    "milter NAME: read error in initial handshake",
                ],
            ),
            (answer(6, 0, 0, b"\0"), &["milter NAME: input packet too short for network long"]),
            (answer(6, 0, 0, b"\0\0\0\x01"), &["milter NAME: packet too short for string"]),
            (
                answer(6, 0, 0, b"\0\0\0\x01x"),
                &["milter8_read_data: milter NAME: missing string null termimator"],
            ),
        ] {
            assert_eq!(read(&data).unwrap_err().lines, lines);
        }
    }

    #[test]
    fn lists_that_a_filter_asks_for() {
        let offer = Offer::parse("6").unwrap();
        let more = b"\0\0\0\0{client_addr} client_port\0\0\0\0\x05i,{tls_version}\0\0\0\0\x06\0\0\0\0\x09x\0";
        let agreed = Agreement::read(&answer(6, 0x1ff, 0, more), offer, "NAME").unwrap();
        let own = agreed.lists.unwrap();
        assert_eq!(own.connect, b"{client_addr} client_port");
        assert_eq!(own.end_of_data, b"i,{tls_version}");
        assert_eq!((own.end_of_headers, own.mail), (Vec::new(), Vec::new()), "as configured");
    }
}
