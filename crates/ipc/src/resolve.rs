//! The resolve half of trivial-rewrite: which transport, next hop and recipient an address has.
//!
//! Request (null encoding, strict): `request` = `resolve` or `verify`, `sender`, `address`, both addresses
//! in internal form. Reply: `flags` (server state, 0), `transport`, `nexthop`, `recipient`, `flags`.
//! [`Resolved`] is the reply; the client is [`crate::rewrite::Client`], because both requests share one
//! connection. Source: spec ipc 7.

use std::io::{self, BufRead, Write};

use crate::attr::{Decoder, Encoder, Error};

bitflags::bitflags! {
    /// What is known about a resolved address.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Flags: i32 {
        /// The local part still has routing in it: `user%a@b`.
        const ROUTED = 2;
        /// The address is malformed; transport and next hop mean nothing.
        const ERROR = 4;
        /// A lookup failed; try later.
        const FAIL = 8;
        /// `mydestination`, `inet_interfaces`, `proxy_interfaces`.
        const CLASS_LOCAL = 256;
        /// `virtual_alias_domains`.
        const CLASS_ALIAS = 512;
        /// `virtual_mailbox_domains`.
        const CLASS_VIRTUAL = 1024;
        /// `relay_domains`.
        const CLASS_RELAY = 2048;
        /// None of the other classes.
        const CLASS_DEFAULT = 4096;
        /// The classes whose mail is delivered here: local, virtual alias, virtual mailbox.
        const CLASS_FINAL = 256 | 512 | 1024;
    }
}

/// Which settings are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Delivery: the ordinary settings.
    Resolve,
    /// Address verification probes: the `address_verify_*` settings.
    Verify,
}

impl Purpose {
    /// The value of `request`.
    #[must_use]
    pub fn request(self) -> &'static str {
        match self {
            Purpose::Resolve => "resolve",
            Purpose::Verify => "verify",
        }
    }
}

/// The answer to a resolve request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The delivery transport; never empty.
    pub transport: Vec<u8>,
    /// The next hop, in the transport's own terms.
    pub nexthop: Vec<u8>,
    /// The recipient in internal form, without routing through local domains.
    pub recipient: Vec<u8>,
    /// Class and faults.
    pub flags: Flags,
}

impl Resolved {
    pub(crate) fn read<R: BufRead + ?Sized>(list: &mut Decoder<'_, R>) -> Result<(i32, Resolved), Error> {
        let server_flags = list.int("flags")?;
        let resolved = Resolved {
            transport: list.string("transport")?,
            nexthop: list.string("nexthop")?,
            recipient: list.string("recipient")?,
            flags: Flags::from_bits_retain(list.int("flags")?),
        };
        list.end()?;
        Ok((server_flags, resolved))
    }

    /// Sends the reply; the server's state is always 0.
    pub fn send(&self, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
        Encoder::null()
            .int("flags", 0)
            .string("transport", &self.transport)
            .string("nexthop", &self.nexthop)
            .string("recipient", &self.recipient)
            .int("flags", self.flags.bits())
            .send(output)
    }
}

/// A resolve request, without its `request` attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The sender in internal form; empty when not known.
    pub sender: Vec<u8>,
    /// The address in internal form.
    pub address: Vec<u8>,
}

impl Request {
    /// Reads what follows `request`.
    pub fn read<R: BufRead + ?Sized>(list: &mut Decoder<'_, R>) -> Result<Request, Error> {
        let request = Request { sender: list.string("sender")?, address: list.string("address")? };
        list.end()?;
        Ok(request)
    }
}

pub(crate) fn encode(purpose: Purpose, sender: &[u8], address: &[u8]) -> Encoder {
    Encoder::null().string("request", purpose.request()).string("sender", sender).string("address", address)
}
