//! XFORWARD commands: which attributes, in which order, split over how many lines (spec smtpd 4.3).

use crate::xtext;

/// An attribute of XFORWARD, in the order Postfix sends them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Attribute {
    /// Client name.
    Name,
    /// Client address.
    Addr,
    /// Client port.
    Port,
    /// HELO argument.
    Helo,
    /// Queue ID at the sending MTA.
    Ident,
    /// SMTP or ESMTP.
    Proto,
    /// LOCAL or REMOTE.
    Source,
}

impl Attribute {
    /// All, in sending order.
    pub const ALL: [Self; 7] =
        [Self::Name, Self::Addr, Self::Port, Self::Helo, Self::Ident, Self::Proto, Self::Source];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Addr => "ADDR",
            Self::Port => "PORT",
            Self::Helo => "HELO",
            Self::Ident => "IDENT",
            Self::Proto => "PROTO",
            Self::Source => "SOURCE",
        }
    }

    /// The attribute of a name in any case.
    #[must_use]
    pub(crate) fn of_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|attribute| name.eq_ignore_ascii_case(attribute.name().as_bytes()))
    }
}

/// A set of attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attributes(u8);

impl Attributes {
    /// Whether `attribute` is in the set.
    #[must_use]
    pub const fn has(self, attribute: Attribute) -> bool {
        self.0 & (1 << attribute as u8) != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Attribute> for Attributes {
    fn from_iter<I: IntoIterator<Item = Attribute>>(attributes: I) -> Self {
        Self(attributes.into_iter().fold(0, |set, attribute| set | 1 << attribute as u8))
    }
}

/// Bytes of attributes in one command: with the verb and CRLF this stays within RFC 5321's 512.
const PAYLOAD_LIMIT: usize = 498;

/// Collects attributes into XFORWARD command lines.
#[derive(Debug, Default)]
pub struct XforwardLines {
    lines: Vec<Vec<u8>>,
    payload: Vec<u8>,
}

impl XforwardLines {
    /// Adds an attribute; an unknown value is sent as `[UNAVAILABLE]`. `true` when the attribute alone exceeds
    /// the limit: it is sent all the same, but the caller should warn.
    pub fn add(&mut self, attribute: Attribute, value: Option<&[u8]>) -> bool {
        let mut text = format!(" {}=", attribute.name()).into_bytes();
        match value {
            Some(value) => xtext::encode_attribute(value, &mut text),
            None => text.extend_from_slice(b"[UNAVAILABLE]"),
        }
        if !self.payload.is_empty() && self.payload.len() + text.len() > PAYLOAD_LIMIT {
            self.end_line();
        }
        self.payload.extend_from_slice(&text);
        text.len() > PAYLOAD_LIMIT
    }

    /// The command lines.
    #[must_use]
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.payload.is_empty() {
            self.end_line();
        }
        self.lines
    }

    fn end_line(&mut self) {
        self.lines.push([b"XFORWARD", self.payload.as_slice()].concat());
        self.payload.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line() {
        let mut lines = XforwardLines::default();
        lines.add(Attribute::Name, Some(b"localhost"));
        lines.add(Attribute::Helo, Some("q\u{e9} +=".as_bytes()));
        lines.add(Attribute::Ident, None);
        assert_eq!(
            lines.finish(),
            [b"XFORWARD NAME=localhost HELO=q+C3+A9+20+2B= IDENT=[UNAVAILABLE]".to_vec()]
        );
        assert!(XforwardLines::default().finish().is_empty());
    }

    #[test]
    fn splits_before_the_limit() {
        let mut lines = XforwardLines::default();
        assert!(!lines.add(Attribute::Name, Some(&[b'a'; 243])));
        assert!(!lines.add(Attribute::Helo, Some(&[b'h'; 243])));
        assert!(!lines.add(Attribute::Port, Some(b"1")));
        let lines = lines.finish();
        assert_eq!(lines.len(), 2, "249 and 249 fit into 498, then PORT starts a new line");
        assert_eq!(lines[0].len(), "XFORWARD".len() + 498);
        assert_eq!(lines[1], b"XFORWARD PORT=1");
        assert!(XforwardLines::default().add(Attribute::Name, Some(&[b'a'; 600])));
    }
}
