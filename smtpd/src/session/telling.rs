//! What log lines and reply texts tell of a session.

use std::borrow::Cow;

use access::replies::macros::{self, About};

use crate::log::{self, At, Begun, Request};
use crate::mail::envelope::Envelope;
use crate::mail::source::Source;
use crate::session::Session;
use crate::session::standing::Standing;
use crate::transaction::Transaction;
use crate::transaction::phase::InPhase;

impl<P: InPhase> Session<'_, '_, P> {
    /// A request about these addresses, for the log.
    pub(crate) fn request<'s>(&'s self, sender: Option<&'s [u8]>, rcpt: Option<&'s [u8]>) -> Request<'s> {
        Request {
            params: &self.params.access,
            queue_id: self.queue_id(),
            client: &self.client,
            protocol: self.protocol,
            helo: self.helo.as_deref(),
            sender,
            rcpt,
            login: self.sasl.login.as_ref(),
            sasl_sender: self.phase.view().sasl_sender(),
        }
    }

    /// Where the session is, for the line about its end; `bytes` is how much content came.
    pub(crate) fn place(&self, bytes: Option<u64>) -> At<'_> {
        let queue_id = self.params.access.dialect.ends_tell_queue_ids().then(|| self.queue_id());
        At { queue_id, stage: self.stage, bytes, client: &self.client }
    }

    /// The sender of the transaction.
    pub(crate) fn sender(&self) -> Option<&[u8]> {
        self.transaction().map(|transaction| &transaction.envelope.sender[..])
    }

    /// The first recipient that was accepted.
    pub(crate) fn first_recipient(&self) -> Option<&[u8]> {
        self.transaction().and_then(|transaction| transaction.envelope.first_recipient.as_deref())
    }

    /// The reply as it goes out: another one in its place, and its footer.
    pub(crate) fn worded<'r>(&self, reply: &'r [u8]) -> Cow<'r, [u8]> {
        let values = || {
            let about = About {
                helo: self.helo.as_deref(),
                sender: self.sender(),
                recipient: self.first_recipient(),
            };
            macros::values(&self.client, &self.params.access.myhostname, &about)
        };
        self.tables.wording.worded(&self.params.access, reply, self.queue_id(), values)
    }
}

impl Standing<'_> {
    /// The session, for the queue file and the Received: line.
    pub(crate) fn source(&self) -> Source<'_> {
        Source {
            params: self.params,
            milters: !self.milters.filters.is_empty(),
            client: &self.client,
            helo: self.helo.as_deref(),
            protocol: self.protocol,
            tls: self.tls.as_deref(),
            login: self.sasl.login.as_ref(),
        }
    }

    /// The first line about a transaction.
    pub(crate) fn log_client(&self, transaction: &Transaction, queue_id: Option<&str>) {
        let Envelope { sasl_sender, origin, .. } = &transaction.envelope;
        log::client(&Begun {
            queue_id: queue_id.unwrap_or(log::NO_QUEUE_ID),
            client: &self.client,
            login: self.sasl.login.as_ref(),
            sasl_sender: sasl_sender.as_deref(),
            orig_queue_id: origin.ident.as_deref(),
            orig_client: transaction.client_is_forwarded.then_some(&origin.namaddr),
        });
    }
}
