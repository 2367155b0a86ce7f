//! The protocol announcement: since 3.6 a server speaks first and names its protocol.
//!
//! One list with one attribute `protocol`, in the service's own encoding; cleanup and postdrop put
//! `queue_id` into the same list, so they use [`Protocol::begin`] and [`Protocol::expect_first`] and read
//! or write the rest themselves. Source: spec ipc 3.

use std::io::{self, BufRead, Write};

use crate::attr::{Decoder, Encoder, Encoding, Error, Flags};

/// Name of the attribute that names the protocol.
const PROTOCOL: &str = "protocol";

/// A service's protocol, as announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The announced value.
    pub name: &'static str,
    /// The encoding of the announcement and of what follows.
    pub encoding: Encoding,
}

impl Protocol {
    /// anvil.
    pub const ANVIL: Protocol = Protocol { name: "anvil_protocol", encoding: Encoding::Plain };
    /// bounce, defer, trace.
    pub const DELIVERY_STATUS: Protocol = null("delivery_status_protocol");
    /// scache.
    pub const CONNECTION_CACHE: Protocol = null("connection_cache_protocol");
    /// cleanup.
    pub(crate) const CLEANUP: Protocol = null("cleanup_protocol");
    /// Every delivery agent.
    pub const DELIVERY_REQUEST: Protocol = null("delivery_request_protocol");
    /// flush.
    pub const FLUSH: Protocol = null("queue_flush_protocol");
    /// proxymap, proxywrite.
    pub const PROXYMAP: Protocol = null("proxymap_protocol");
    /// nbdb_reindexd, of 3.11.
    pub const REINDEX: Protocol = null("nbdb_reindex");
    /// showq.
    pub(crate) const MAIL_QUEUE_LIST: Protocol = null("mail_queue_list_protocol");
    /// tlsmgr.
    pub const TLSMGR: Protocol = null("tlsmgr_protocol");
    /// trivial-rewrite.
    pub const TRIVIAL_REWRITE: Protocol = null("trivial_rewrite_protocol");
    /// verify; the doubled letter is what goes over the wire.
    pub const ADDRESS_VERIFICATION: Protocol = null("address_verification_prrotocol");
    /// postdrop, over a pipe.
    pub const POSTDROP: Protocol = null("postdrop_protocol");

    /// The start of an announcement that has further attributes.
    #[must_use]
    pub fn begin(self) -> Encoder {
        Encoder::new(self.encoding).string(PROTOCOL, self.name)
    }

    /// Sends the whole announcement.
    pub fn announce(self, output: &mut (impl Write + ?Sized)) -> io::Result<()> {
        self.begin().send(output)
    }

    /// Whether a list is the whole announcement; nothing is said of one that is not.
    #[must_use]
    pub fn is_announced(self, list: &[u8]) -> bool {
        list == self.begin().finish()
    }

    /// Reads the `protocol` attribute of an announcement that has further attributes.
    pub(crate) fn expect_first<R: BufRead + ?Sized>(self, list: &mut Decoder<'_, R>) -> Result<(), Error> {
        list.constant(PROTOCOL, self.name)
    }

    /// Reads a whole announcement; `from` is the stream's name, such as `private/rewrite socket`.
    pub fn expect<R: BufRead + ?Sized>(self, input: &mut R, from: &str) -> Result<(), Error> {
        let mut list = Decoder::new(self.encoding, input, from, Flags::STRICT);
        self.expect_first(&mut list)?;
        list.end()
    }
}

const fn null(name: &'static str) -> Protocol {
    Protocol { name, encoding: Encoding::Null }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_mismatch() {
        let mut wire = Vec::new();
        Protocol::TRIVIAL_REWRITE.announce(&mut wire).unwrap();
        assert_eq!(wire, b"protocol\0trivial_rewrite_protocol\0\0");
        Protocol::TRIVIAL_REWRITE.expect(&mut wire.as_slice(), "private/rewrite socket").unwrap();
        let mut flush = Vec::new();
        Protocol::FLUSH.announce(&mut flush).unwrap();
        assert_eq!(
            Protocol::MAIL_QUEUE_LIST
                .expect(&mut flush.as_slice(), "public/flush socket")
                .unwrap_err()
                .to_string(),
            "unexpected protocol queue_flush_protocol from public/flush socket (expected: mail_queue_list_protocol)"
        );
    }
}
