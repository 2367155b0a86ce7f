//! Extensions that are offered only as far as the content filter goes along (`smtpd_proxy_ehlo_learning`).
//!
//! What the filters announce is looked at when the client says EHLO, and holds for as long as that EHLO does: nothing
//! that was announced is refused later.

use crate::proxy::Learnt;
use crate::session::standing::Standing;

impl Standing<'_> {
    /// Looks at what the filters announce, for the EHLO reply that is being made.
    pub(crate) fn look_at_filters(&mut self) {
        self.learnt = self.services.proxy.as_ref().and_then(|proxy| proxy.learnt());
    }

    /// Whether an EHLO keyword (upper case) is kept from this client: it is configured so, or the filters lack it.
    pub(crate) fn hides(&self, keyword: &str) -> bool {
        self.discard.has(keyword) || self.learnt.is_some_and(|learnt: Learnt| learnt.hides(keyword))
    }

    /// Whether the client may ask for nothing but TLS all the way.
    pub(crate) fn offers_requiretls(&self) -> bool {
        self.params.requiretls_enable && self.tls.is_some() && !self.hides("REQUIRETLS")
    }

    /// The largest message, as told to the client; 0 is no limit.
    pub(crate) fn size_limit(&self) -> u64 {
        let own = self.params.message_size_limit;
        match self.learnt.and_then(Learnt::size_limit) {
            Some(filter) if own == 0 || filter < own => filter,
            _ => own,
        }
    }
}
