//! Where a message comes from: the client, or what XFORWARD told about the original one (spec smtpd 3.1).
//!
//! The data serve the log and the queue file, never a decision. Once one of the five client attributes was given, all
//! five count, the missing ones as unknown; IDENT and SOURCE stand for themselves. What a refused command has told before
//! its mistake is kept: IDENT counts at once, the others as soon as a command with one of them, or with SOURCE, is not
//! refused (observed, 3.7.11).

use access::client::{UNKNOWN, namaddr};
use access::local_header_rewrite::RewriteContext;

/// The client as log and queue file shall name it: the real one, or the one that XFORWARD told about.
///
/// Unknown values are the text `unknown`, or absent where the type is optional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Name.
    pub name: Vec<u8>,
    /// Address as text, IPv6 without prefix.
    pub address: Vec<u8>,
    /// Address with the `IPv6:` prefix of RFC 5321.
    pub rfc_address: Vec<u8>,
    /// Port.
    pub port: Vec<u8>,
    /// `name[address]`, with the port if so configured; only the name when the address is unknown.
    pub namaddr: Vec<u8>,
    /// HELO argument.
    pub helo: Option<Vec<u8>>,
    /// `SMTP` or `ESMTP`, or whatever XFORWARD said.
    pub protocol: Vec<u8>,
    /// Queue ID at the upstream server, from XFORWARD IDENT.
    pub ident: Option<Vec<u8>>,
    /// Whether headers are completed with local domains (`rewrite_context`, XFORWARD SOURCE).
    pub rewrite_context: RewriteContext,
    /// XFORWARD data were received in this transaction: a filter gets no Received: header of ours.
    pub forwarded: bool,
}

/// The attributes of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// NAME, ADDR, PORT, PROTO or HELO was given.
    pub client: bool,
    /// NAME.
    pub name: Vec<u8>,
    /// ADDR, without prefix.
    pub address: Vec<u8>,
    /// The last ADDR that was an address, with its prefix.
    pub rfc_address: Vec<u8>,
    /// `name[address]`; only the name when the address is unknown. Of the last command that was not refused and told
    /// name, address or port.
    pub namaddr: Vec<u8>,
    /// PORT.
    pub port: Vec<u8>,
    /// PROTO.
    pub protocol: Vec<u8>,
    /// HELO.
    pub helo: Option<Vec<u8>>,
    /// IDENT.
    pub ident: Option<Vec<u8>>,
    /// SOURCE.
    pub source: Option<RewriteContext>,
    /// A command that was not refused gave SOURCE.
    pub(crate) source_counts: bool,
}

impl Default for Forwarded {
    fn default() -> Self {
        Self {
            client: false,
            name: UNKNOWN.to_vec(),
            address: UNKNOWN.to_vec(),
            rfc_address: UNKNOWN.to_vec(),
            namaddr: UNKNOWN.to_vec(),
            port: UNKNOWN.to_vec(),
            protocol: UNKNOWN.to_vec(),
            helo: None,
            ident: None,
            source: None,
            source_counts: false,
        }
    }
}

impl Forwarded {
    /// Rebuilds `namaddr`.
    pub fn rename(&mut self, port_logging: bool) {
        self.namaddr = if self.address == UNKNOWN {
            self.name.clone()
        } else {
            namaddr(&self.name, &self.address, &self.port, port_logging)
        };
    }
}
