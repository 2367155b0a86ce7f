//! Mail that goes to the queue although no content filter can be reached (`smtpd_proxy_outage_policy`).
//!
//! It is handed to cleanup as a server without a filter does it, with a header line on top that says so, and with a
//! warning in the log. With `hold` it then waits for the postmaster.

use crate::log;
use crate::mail::content::{Content, Dots, Piece};
use crate::mail::envelope::Envelope;
use crate::mail::refusal::Refusal;
use crate::proxy::{Failure, Outage, ProxyParams, Spooled};
use crate::session::standing::Standing;
use crate::transaction::Transaction;
use crate::transaction::destination::{Destination, Outcome};
use crate::transaction::handover::Handover;

impl Standing<'_> {
    /// What is left to do when a filter could not be called for the first recipient.
    ///
    /// # Errors
    /// The reply for the client, when mail has to wait for the filter.
    pub(crate) fn without_filter(
        &self,
        proxy: &ProxyParams,
        failure: Failure,
        envelope: &mut Envelope,
    ) -> Result<Destination, Refusal> {
        if !proxy.goes_without(&failure) {
            return Err(failure.refusal);
        }
        Ok(Destination::Cleanup(self.hand_over_unfiltered(envelope)))
    }

    fn hand_over_unfiltered(&self, envelope: &mut Envelope) -> Handover {
        let held = match self.services.proxy.as_ref().map(|proxy| &proxy.options) {
            Some(options) => {
                envelope.actions.prepend.insert(0, options.outage_header.clone());
                options.outage == Outage::Hold
            }
            None => false,
        };
        envelope.actions.hold |= held;
        let mut handover = Handover::open(&self.source(), envelope);
        handover.begin();
        log::unfiltered(handover.queue_id().unwrap_or_default(), &envelope.sender, held);
        handover
    }

    /// Hands a message from the spool to cleanup.
    pub(crate) fn queue_unfiltered(&self, transaction: &mut Transaction, mut message: Spooled) -> Outcome {
        let mut handover = self.hand_over_unfiltered(&mut transaction.envelope);
        for rcpt in &message.recipients {
            handover.recipient(rcpt);
        }
        let envelope = &transaction.envelope;
        handover.start_content(envelope);
        if let Some(header) = envelope.actions.prepend.first() {
            handover.content(header, Dots::Plain, Piece::Last);
        }
        let whole = message.content(self.params.line_length_limit, &mut |bytes, piece| {
            handover.content(bytes, Dots::Stuffed, piece);
        });
        self.log_client(transaction, handover.queue_id());
        if !whole {
            // The spool cannot be read.
            handover.abort();
            return Outcome::Refused(Refusal::generic());
        }
        handover.finish(envelope, Content::Good).into()
    }
}
