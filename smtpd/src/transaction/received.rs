//! The Received: header of a message.

use access::received::Received;

use crate::mail::envelope::Envelope;
use crate::mail::source::Source;
use crate::tls;

/// The lines of the header, each with a line feed. `queue_id` is absent with a filter.
pub(crate) fn lines(source: &Source<'_>, envelope: &Envelope, queue_id: Option<&str>) -> Vec<u8> {
    let received = Received {
        params: &source.params.access,
        client: source.client,
        helo: source.helo,
        protocol: source.protocol,
        tls: source.tls.map(|tls| tls::comment(tls, &source.params.tls)),
        login: source.login,
        smtputf8: envelope.smtputf8,
        queue_id,
        recipient: envelope.first_recipient.as_deref().filter(|_| envelope.recipients == 1),
        time: envelope.time,
    };
    received.lines()
}
