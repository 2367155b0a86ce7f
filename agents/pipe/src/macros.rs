//! The command's arguments, made of the request (spec local-delivery 18.3).
//!
//! `$name`, `${name}` and `$(name)` are macros, `$$` is a `$`. An argument with one that differs from recipient to recipient is
//! there once for each. What a macro stands for is not looked at again.

use delivery::Delivery;
use ipc::delivery::Recipient;
use lookup::{Delimiter, fold};

use crate::attributes::{Attributes, Fold};

/// All but `envid`, which is newer.
const NAMES: &[&str] = &[
    "recipient",
    "original_recipient",
    "user",
    "extension",
    "mailbox",
    "domain",
    "sender",
    "nexthop",
    "size",
    "queue_id",
    "client_address",
    "client_helo",
    "client_hostname",
    "client_port",
    "client_protocol",
    "sasl_method",
    "sasl_sender",
    "sasl_username",
];

/// What is needed beside the request.
#[derive(Debug)]
pub(crate) struct Macros {
    pub(crate) delimiter: Delimiter,
    /// `smtputf8_enable`
    pub(crate) utf8: bool,
    /// Of Postfix, behind `3.`
    pub(crate) minor: u32,
    /// `file FILE: service NAME`, for complaints.
    pub(crate) place: String,
}

/// An argument, taken apart.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a [u8]),
    Name(&'a [u8]),
}

/// The argument cannot be made; that has been told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unmakable;

impl Macros {
    /// The first version that has `${envid}`.
    const HAS_ENVID: u32 = 9;

    /// All arguments.
    pub(crate) fn expand(
        &self,
        attributes: &Attributes,
        delivery: &Delivery<'_>,
    ) -> Result<Vec<Vec<u8>>, Unmakable> {
        let mut arguments = Vec::new();
        for argument in &attributes.argv {
            let (pieces, complaint) = parse(argument);
            self.check(argument, &pieces, complaint)?;
            let is_of = |names: &[&[u8]]| {
                pieces.iter().any(|piece| matches!(piece, Piece::Name(name) if names.contains(name)))
            };
            let is_plural =
                is_of(&[b"recipient", b"original_recipient", b"user", b"extension", b"mailbox", b"domain"]);
            let count = if is_plural { delivery.request().recipients.len() } else { 1 };
            for recipient in delivery.request().recipients.iter().take(count) {
                let expanded = self.one(attributes, delivery, recipient, &pieces);
                let is_nobody = is_of(&[b"user"]) && self.user(attributes, recipient).is_empty();
                if !is_nobody || self.minor >= 11 {
                    arguments.push(expanded);
                }
            }
        }
        Ok(arguments)
    }

    /// Before anything is made of an argument, its macros are looked at.
    fn check(&self, argument: &[u8], pieces: &[Piece<'_>], complaint: Option<&str>) -> Result<(), Unmakable> {
        let mut is_known = true;
        for piece in pieces {
            if let Piece::Name(name) = piece
                && !self.knows(name)
            {
                log::warn!("{}: unknown macro name: \"{}\"", self.place, maillog::shown(name));
                is_known = false;
            }
        }
        if let Some(complaint) = complaint {
            log::warn!("{complaint}: \"{}\"", maillog::shown(argument));
        }
        if is_known && complaint.is_none() { Ok(()) } else { Err(Unmakable) }
    }

    fn knows(&self, name: &[u8]) -> bool {
        NAMES.iter().any(|known| known.as_bytes() == name)
            || name == b"envid" && self.minor >= Self::HAS_ENVID
    }

    fn one(
        &self,
        attributes: &Attributes,
        delivery: &Delivery<'_>,
        recipient: &Recipient,
        pieces: &[Piece<'_>],
    ) -> Vec<u8> {
        let mut text = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(piece) => text.extend_from_slice(piece),
                Piece::Name(name) => {
                    text.extend(self.value(attributes, delivery, recipient, name).unwrap_or_default());
                }
            }
        }
        text
    }

    fn value(
        &self,
        attributes: &Attributes,
        delivery: &Delivery<'_>,
        recipient: &Recipient,
        name: &[u8],
    ) -> Option<Vec<u8>> {
        let request = delivery.request();
        let origin = &request.origin;
        Some(match name {
            b"recipient" => self.address(attributes, &recipient.address),
            b"original_recipient" => self.address(attributes, &recipient.original),
            b"user" => {
                self.local_part(attributes, recipient);
                self.user(attributes, recipient)
            }
            b"extension" => {
                let local_part = self.local_part(attributes, recipient);
                self.delimiter
                    .split(&local_part)
                    .map(|(_, extension)| extension[1..].to_vec())
                    .unwrap_or_default()
            }
            b"mailbox" => self.local_part(attributes, recipient),
            b"domain" => {
                let domain = at(&recipient.address).map(|at| &recipient.address[at + 1..]);
                if domain.is_none() {
                    warn_of_no_domain(recipient);
                }
                self.folded(attributes, Fold::HOST, domain.unwrap_or_default())
            }
            b"sender" => self.sender(attributes, &request.sender),
            b"nexthop" => self.folded(attributes, Fold::HOST, &request.nexthop),
            b"size" => request.content_size.to_string().into_bytes(),
            b"queue_id" => request.queue_id.clone(),
            b"client_address" => origin.client_address.clone(),
            b"client_helo" => origin.helo_name.clone(),
            b"client_hostname" => origin.client_name.clone(),
            b"client_port" => origin.client_port.clone(),
            b"client_protocol" => origin.protocol_name.clone(),
            b"sasl_method" => origin.sasl_method.clone(),
            b"sasl_sender" => origin.sasl_sender.clone(),
            b"sasl_username" => origin.sasl_username.clone(),
            b"envid" => request.envelope_id.clone(),
            _ => return None,
        })
    }

    fn sender(&self, attributes: &Attributes, sender: &[u8]) -> Vec<u8> {
        let sender = if sender.is_empty() { &attributes.null_sender } else { sender };
        if attributes.fold.contains(Fold::QUOTE) && !sender.is_empty() {
            address::external(sender)
        } else {
            sender.to_vec()
        }
    }

    fn address(&self, attributes: &Attributes, address: &[u8]) -> Vec<u8> {
        let (local_part, domain) = address.split_at(at(address).unwrap_or(address.len()));
        let local_part = self.folded(attributes, Fold::USER, local_part);
        let address = [local_part, self.folded(attributes, Fold::HOST, domain)].concat();
        if attributes.fold.contains(Fold::QUOTE) { address::external(&address) } else { address }
    }

    fn folded(&self, attributes: &Attributes, when: Fold, text: &[u8]) -> Vec<u8> {
        if attributes.fold.contains(when) { fold(text, self.utf8) } else { text.to_vec() }
    }

    /// The local part; an address without a domain is told of.
    fn local_part(&self, attributes: &Attributes, recipient: &Recipient) -> Vec<u8> {
        let at = at(&recipient.address);
        if at.is_none() {
            warn_of_no_domain(recipient);
        }
        let local_part = &recipient.address[..at.unwrap_or(recipient.address.len())];
        self.folded(attributes, Fold::USER, local_part)
    }

    fn user(&self, attributes: &Attributes, recipient: &Recipient) -> Vec<u8> {
        let local_part = &recipient.address[..at(&recipient.address).unwrap_or(recipient.address.len())];
        let local_part = self.folded(attributes, Fold::USER, local_part);
        match self.delimiter.split(&local_part) {
            Some((user, _)) => user.to_vec(),
            None => local_part,
        }
    }
}

fn at(address: &[u8]) -> Option<usize> {
    address.iter().rposition(|byte| *byte == b'@')
}

fn warn_of_no_domain(recipient: &Recipient) {
    log::warn!("no @ in recipient address: {}", maillog::shown(&recipient.address));
}

/// The pieces of an argument; with a complaint where they end.
fn parse(argument: &[u8]) -> (Vec<Piece<'_>>, Option<&'static str>) {
    let mut pieces = Vec::new();
    let mut rest = argument;
    while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
        pieces.push(Piece::Text(&rest[..dollar]));
        rest = &rest[dollar + 1..];
        let (name, length) = match rest.first() {
            Some(b'$') => {
                pieces.push(Piece::Text(b"$"));
                rest = &rest[1..];
                continue;
            }
            Some(b'{') => match closing(rest, b'{', b'}') {
                Some(end) => (&rest[1..end], end + 1),
                None => return (pieces, Some("truncated macro reference")),
            },
            Some(b'(') => match closing(rest, b'(', b')') {
                Some(end) => (&rest[1..end], end + 1),
                None => return (pieces, Some("truncated macro reference")),
            },
            _ => {
                let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                let end = rest.iter().position(|byte| !is_of_name(byte)).unwrap_or(rest.len());
                (&rest[..end], end)
            }
        };
        if name.is_empty() {
            return (pieces, Some("empty macro name"));
        }
        pieces.push(Piece::Name(name));
        rest = &rest[length..];
    }
    pieces.push(Piece::Text(rest));
    (pieces, None)
}

/// Where the bracket at the beginning is closed.
fn closing(text: &[u8], open: u8, close: u8) -> Option<usize> {
    let mut depth = 0_usize;
    text.iter().position(|byte| {
        depth = depth + usize::from(*byte == open) - usize::from(*byte == close);
        depth == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces() {
        let show = |text: &str| {
            let (pieces, complaint) = parse(text.as_bytes());
            let shown = |piece: &Piece<'_>| match piece {
                Piece::Text(text) => String::from_utf8_lossy(text).into_owned(),
                Piece::Name(name) => format!("<{}>", String::from_utf8_lossy(name)),
            };
            pieces.iter().map(shown).collect::<String>() + complaint.unwrap_or_default()
        };
        for (text, expected) in [
            ("plain", "plain"),
            ("a$x-b", "a<x>-b"),
            ("${x}$(y)$z_1", "<x><y><z_1>"),
            ("$$x$$", "$x$"),
            ("${a?{b}:{c}}d", "<a?{b}:{c}>d"),
            ("a${b", "atruncated macro reference"),
            ("$(b}", "truncated macro reference"),
            ("$", "empty macro name"),
            ("${}", "empty macro name"),
            ("a$-", "aempty macro name"),
        ] {
            assert_eq!(show(text), expected, "{text}");
        }
    }
}
