//! The Received: header of this server (smtpd chapter, section 5.4).

use crate::client::Client;
use crate::session::{Protocol, Session};
use crate::transaction::Transaction;

/// The lines of the header, without line ends. `queue_id` is absent with a filter.
pub fn lines(session: &Session<'_>, transaction: &Transaction, queue_id: Option<&str>) -> Vec<Vec<u8>> {
    let params = session.params;
    let mut lines = vec![from_line(&session.client, session.helo.as_deref())];
    let mut by = format!(
        "\tby {} ({}) with {}",
        params.myhostname,
        params.mail_name,
        with_protocol(session.protocol, transaction.smtputf8)
    )
    .into_bytes();
    if let Some(queue_id) = queue_id {
        by.extend_from_slice(format!(" id {queue_id}").as_bytes());
    }
    let date = sys::time::local(transaction.time).mail_date();
    // With one recipient the header names it; with more that would tell one about the other.
    match (transaction.recipients, &transaction.first_recipient) {
        (1, Some(rcpt)) => {
            lines.push(by);
            let rcpt = address::external(rcpt);
            lines.push([b"\tfor <", &rcpt[..], b">; ", date.as_bytes()].concat());
        }
        _ => {
            by.push(b';');
            lines.push(by);
            lines.push(format!("\t{date}").into_bytes());
        }
    }
    lines
}

fn from_line(client: &Client, helo: Option<&[u8]>) -> Vec<u8> {
    let helo = helo.unwrap_or(&client.name);
    [b"Received: from ", helo, b" (", &client.name, b" [", &client.rfc_address, b"])"].concat()
}

/// The protocol of RFC 3848 and RFC 6531, as far as there is neither TLS nor SASL.
fn with_protocol(protocol: Protocol, smtputf8: bool) -> &'static str {
    match protocol {
        _ if smtputf8 => "UTF8SMTP",
        Protocol::Smtp => "SMTP",
        Protocol::Esmtp => "ESMTP",
    }
}
