//! The Received: header of this server (smtpd chapter, section 5.4).

use crate::client::Client;
use crate::session::{Protocol, Session};
use crate::text;
use crate::tls;
use crate::transaction::Transaction;

/// The lines of the header, without line ends. `queue_id` is absent with a filter.
pub fn lines(session: &Session<'_>, transaction: &Transaction, queue_id: Option<&str>) -> Vec<Vec<u8>> {
    let params = session.params;
    let by_whom = format!("by {} ({})", params.myhostname, params.mail_name);
    // With smtpd_hide_client_session (of 3.10) nothing tells where the message came from.
    let (mut lines, mut by) = if params.hide_client_session {
        (Vec::new(), format!("Received: {by_whom}").into_bytes())
    } else {
        let with = with_protocol(session, transaction.smtputf8);
        (origin(session), format!("\t{by_whom} with {with}").into_bytes())
    };
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

/// Where the message came from, and how.
fn origin(session: &Session<'_>) -> Vec<Vec<u8>> {
    let mut lines = vec![from_line(&session.client, session.helo.as_deref())];
    lines.extend(tls::comment(session));
    if session.params.sasl_authenticated_header
        && let Some(login) = &session.sasl.login
    {
        let user = text::in_comment(&login.username);
        lines.push([b"\t(Authenticated sender: ", &user[..], b")"].concat());
    }
    lines
}

fn from_line(client: &Client, helo: Option<&[u8]>) -> Vec<u8> {
    let helo = helo.unwrap_or(&client.name);
    [b"Received: from ", helo, b" (", &client.name, b" [", &client.rfc_address, b"])"].concat()
}

/// The protocol of RFC 3848 and RFC 6531: with S when there is TLS, with A when there is a login; plain SMTP has neither.
fn with_protocol(session: &Session<'_>, smtputf8: bool) -> String {
    let name = match session.protocol {
        Protocol::Smtp if !smtputf8 => return "SMTP".to_string(),
        Protocol::Esmtp if !smtputf8 => "ESMTP",
        _ => "UTF8SMTP",
    };
    let tls = if session.tls.is_some() { "S" } else { "" };
    let login = if session.sasl.login.is_some() { "A" } else { "" };
    format!("{name}{tls}{login}")
}
