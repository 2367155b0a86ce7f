//! Attributes of XCLIENT and XFORWARD: `NAME=value` with the value in xtext (spec smtpd 3).

use std::net::{IpAddr, Ipv4Addr};

use access::client::list::Untold;
use access::client::text;
use access::replies;
use access::settings::Protocols;
use address::DomainName;
use smtp::command::Token;
use smtp::parameter::split;
use smtp::xtext;

use crate::session::{Session, Step};
use crate::transaction::phase::Upcoming;

/// Longest value, as sent.
const VALUE_LIMIT: usize = 255;

/// Sees to it that the command may come now, from this client, and has attributes: the session, without a transaction.
///
/// # Errors
/// The client has been refused, or cannot be judged.
pub(super) fn expect<'s, 'a>(
    session: &'s mut Session<'_, 'a>,
    command: &str,
    allowed: Result<bool, Untold>,
    tokens: &[Token],
) -> Result<Session<'s, 'a, Upcoming>, Step> {
    let mut session = session.without_transaction().map_err(|mut within| {
        within.reply(replies::IN_TRANSACTION);
        Step::Next
    })?;
    if tokens.len() < 2 {
        session.reply(format!("501 5.5.4 Syntax: {command} attribute=value..."));
        return Err(Step::Next);
    }
    if !session.told(allowed, format_args!("command {command} should be allowed from"))? {
        session.reply(replies::NOT_AUTHORIZED);
        return Err(Step::Next);
    }
    Ok(session)
}

/// One attribute, its value decoded and harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    /// Upper-case name.
    pub name: String,
    /// The name as sent.
    pub(crate) typed: String,
    /// Value.
    pub value: Vec<u8>,
}

impl Attribute {
    /// Splits and decodes one token; with `utf8` (`smtputf8_enable`) the value may hold UTF-8.
    ///
    /// # Errors
    /// The reply.
    pub(super) fn parse(token: &Token, utf8: bool) -> Result<Self, &'static str> {
        let (name, Some(value)) = split(token.text) else {
            return Err(replies::ATTRIBUTE_EXPECTED);
        };
        if value.is_empty() {
            return Err(replies::ATTRIBUTE_EXPECTED);
        }
        if value.len() > VALUE_LIMIT {
            return Err(replies::ATTRIBUTE_TOO_LONG);
        }
        let mut value = xtext::decode(value).unwrap_or_else(|| value.to_vec());
        // As everywhere, a NUL ends the text (observed, 3.7.11).
        let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
        value.truncate(end);
        Ok(Self {
            name: String::from_utf8_lossy(name).to_ascii_uppercase(),
            typed: String::from_utf8_lossy(name).into_owned(),
            value: text::printable(&value, b'?', utf8),
        })
    }

    /// The value stands for "not known".
    pub(super) fn is_unavailable(&self) -> bool {
        self.value.eq_ignore_ascii_case(b"[UNAVAILABLE]")
    }

    /// The value stands for "not known for now"; XCLIENT only.
    pub(super) fn is_temporarily_unavailable(&self) -> bool {
        self.value.eq_ignore_ascii_case(b"[TEMPUNAVAIL]")
    }

    /// The same with a value that can stand in a header.
    #[must_use]
    pub(super) fn censored(self) -> Self {
        Self { value: text::censored(&self.value, true), ..self }
    }

    /// The reply to a bad value.
    pub(super) fn bad_value(&self) -> Vec<u8> {
        [b"501 5.5.4 Bad ", self.name.as_bytes(), b" syntax: ", &self.value].concat()
    }

    /// The value as an address: `1.2.3.4` or `IPv6:...`, of a protocol in use.
    pub(super) fn address(&self, protocols: Protocols) -> Option<IpAddr> {
        let ip = match self.value.get(..5) {
            Some(prefix) if prefix.eq_ignore_ascii_case(b"IPv6:") => {
                IpAddr::V6(address::ipv6_address(&self.value[5..]).ok()?)
            }
            _ => IpAddr::V4(octal(address::ipv4_address(&self.value).ok()?, &self.value)?),
        };
        let ip = ip.to_canonical();
        let enabled = if ip.is_ipv4() { protocols.ipv4 } else { protocols.ipv6 };
        enabled.then_some(ip)
    }

    /// The value as a host name.
    pub(super) fn host_name(&self) -> Option<Vec<u8>> {
        DomainName::check(&self.value).is_ok().then(|| self.value.clone())
    }

    /// The value as a port: one to five digits.
    pub(super) fn port(&self) -> Option<Vec<u8>> {
        let digits = self.value.iter().all(u8::is_ascii_digit);
        (digits && (1..=5).contains(&self.value.len())).then(|| self.value.clone())
    }
}

/// The address with octets that begin with a zero read as octal numbers, as the C library has them: what is looked up
/// must be what Postfix looks up (observed, 3.7.11).
fn octal(address: Ipv4Addr, text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = address.octets();
    for (octet, digits) in octets.iter_mut().zip(text.split(|&byte| byte == b'.')) {
        if digits.len() > 1 && digits.starts_with(b"0") {
            *octet = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?;
        }
    }
    Some(Ipv4Addr::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_with_a_zero_in_front_are_octal() {
        let value = |text: &str| Attribute {
            name: "ADDR".into(),
            typed: "ADDR".into(),
            value: text.as_bytes().to_vec(),
        };
        let protocols = Protocols { ipv4: true, ipv6: true };
        for (text, expected) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("010.0.0.1", Some("8.0.0.1")),
            ("1.2.3.00", Some("1.2.3.0")),
            ("00000000010.0.0.010", Some("8.0.0.8")),
            ("08.0.0.1", None),
            ("1.1.1.099", None),
            ("0377.0.0.1", None),
            ("IPv6:2001:db8::1", Some("2001:db8::1")),
        ] {
            let expected = expected.map(|text| text.parse().expect("an address"));
            assert_eq!(value(text).address(protocols), expected, "{text}");
        }
    }
}
