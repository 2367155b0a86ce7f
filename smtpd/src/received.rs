//! The Received: header of this server (smtpd chapter, section 5.4).

use crate::client::Client;
use crate::session::{Protocol, Session};
use crate::tls;
use crate::transaction::Transaction;

/// The lines of the header, without line ends. `queue_id` is absent with a filter.
pub fn lines(session: &Session<'_>, transaction: &Transaction, queue_id: Option<&str>) -> Vec<Vec<u8>> {
    let params = session.params;
    let mut lines = vec![from_line(&session.client, session.helo.as_deref())];
    lines.extend(tls::comment(session));
    let mut by = format!(
        "\tby {} ({}) with {}",
        params.myhostname,
        params.mail_name,
        with_protocol(session, transaction.smtputf8)
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

/// The protocol of RFC 3848 and RFC 6531: `S` with TLS.
fn with_protocol(session: &Session<'_>, smtputf8: bool) -> String {
    let protocol = match session.protocol {
        _ if smtputf8 => "UTF8SMTP",
        // The suffixes belong to the extended protocol.
        Protocol::Smtp => return "SMTP".into(),
        Protocol::Esmtp => "ESMTP",
    };
    let secure = if session.tls.is_some() { "S" } else { "" };
    format!("{protocol}{secure}")
}
