//! The client of a message, for log and queue file.

use access::local_header_rewrite::RewriteContext;

use crate::mail::origin::Origin;
use crate::session::Session;
use crate::transaction::phase::Upcoming;

impl Session<'_, '_, Upcoming> {
    /// The client for log and queue file, when a transaction begins: the forwarded one, else the real one.
    pub(crate) fn origin(&self, own: RewriteContext) -> Origin {
        let forwarded = self.phase.forwarded.as_ref();
        let rewrite_context = forwarded
            .filter(|forwarded| forwarded.source_counts)
            .and_then(|forwarded| forwarded.source)
            .unwrap_or(own);
        let ident = forwarded.and_then(|forwarded| forwarded.ident.clone());
        match forwarded.filter(|forwarded| forwarded.client) {
            Some(forwarded) => Origin {
                name: forwarded.name.clone(),
                rfc_address: forwarded.rfc_address.clone(),
                address: forwarded.address.clone(),
                port: forwarded.port.clone(),
                namaddr: forwarded.namaddr.clone(),
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
                forwarded: forwarded.is_some(),
            },
        }
    }
}
