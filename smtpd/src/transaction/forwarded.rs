//! What XFORWARD told about the original client (spec smtpd 3.1).
//!
//! The data serve the log and the queue file, never a decision. Once one of the five client attributes was given, all
//! five count, the missing ones as unknown; IDENT and SOURCE stand for themselves.

use crate::access::local_header_rewrite::RewriteContext;
use crate::client::{UNKNOWN, namaddr, rfc_address};
use crate::session::Session;
use crate::transaction::destination::Origin;

/// The attributes of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// NAME, ADDR, PORT, PROTO or HELO was given.
    pub client: bool,
    /// NAME.
    pub name: Vec<u8>,
    /// ADDR, without prefix.
    pub address: Vec<u8>,
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
}

impl Default for Forwarded {
    fn default() -> Self {
        Self {
            client: false,
            name: UNKNOWN.to_vec(),
            address: UNKNOWN.to_vec(),
            port: UNKNOWN.to_vec(),
            protocol: UNKNOWN.to_vec(),
            helo: None,
            ident: None,
            source: None,
        }
    }
}

impl Forwarded {
    /// `name[address]`; only the name when the address is unknown.
    fn namaddr(&self, port_logging: bool) -> Vec<u8> {
        if self.address == UNKNOWN {
            self.name.clone()
        } else {
            namaddr(&self.name, &self.address, &self.port, port_logging)
        }
    }
}

impl Session<'_> {
    /// The client for log and queue file: the forwarded one, else the real one.
    pub fn origin(&self, own: RewriteContext) -> Origin {
        let rewrite_context = self.rewrite_context(own);
        let ident = self.forwarded.as_ref().and_then(|forwarded| forwarded.ident.clone());
        match self.forwarded.as_ref().filter(|forwarded| forwarded.client) {
            Some(forwarded) => Origin {
                name: forwarded.name.clone(),
                rfc_address: rfc_address(&forwarded.address),
                address: forwarded.address.clone(),
                port: forwarded.port.clone(),
                namaddr: forwarded.namaddr(self.params.client_port_logging),
                helo: forwarded.helo.clone(),
                protocol: forwarded.protocol.clone(),
                ident,
                rewrite_context,
                forwarded: true,
            },
            None => Origin {
                name: self.client.name.clone(),
                rfc_address: self.client.rfc_address.clone(),
                address: self.client.address.clone(),
                port: self.client.port.clone(),
                namaddr: self.client.namaddr.clone(),
                helo: self.helo.clone(),
                protocol: self.protocol.name().into(),
                ident,
                rewrite_context,
                forwarded: self.forwarded.is_some(),
            },
        }
    }
}
