//! The Received: header of this server (spec smtpd 5.4).

use std::fmt;
use std::io::Write;

use access::client::protocol::Protocol;
use access::client::text::in_comment;

use crate::mail::envelope::Envelope;
use crate::mail::source::Source;
use crate::tls;

/// Room for the usual header.
const HEADER: usize = 256;

/// The lines of the header, each with a line feed. `queue_id` is absent with a filter.
pub fn lines(source: &Source<'_>, envelope: &Envelope, queue_id: Option<&str>) -> Vec<u8> {
    let params = source.params;
    let mut text = Vec::with_capacity(HEADER);
    // With smtpd_hide_client_session (of 3.10) nothing tells where the message came from.
    if params.hide_client_session {
        add(&mut text, format_args!("Received: by {} ({})", params.myhostname, params.mail_name));
    } else {
        origin(source, &mut text);
        let with = with_protocol(source, envelope.smtputf8);
        add(&mut text, format_args!("\tby {} ({}) with {with}", params.myhostname, params.mail_name));
    }
    if let Some(queue_id) = queue_id {
        add(&mut text, format_args!(" id {queue_id}"));
    }
    let date = sys::time::local(envelope.time).mail_date();
    // With one recipient the header names it; with more that would tell one about the other.
    match (envelope.recipients, &envelope.first_recipient) {
        (1, Some(rcpt)) => {
            text.extend_from_slice(b"\n\tfor <");
            text.extend_from_slice(&address::external(rcpt));
            add(&mut text, format_args!(">; {date}\n"));
        }
        _ => add(&mut text, format_args!(";\n\t{date}\n")),
    }
    text
}

/// Writing to memory does not fail.
fn add(text: &mut Vec<u8>, part: fmt::Arguments<'_>) {
    let _ = text.write_fmt(part);
}

/// Where the message came from, and how.
fn origin(source: &Source<'_>, text: &mut Vec<u8>) {
    let client = source.client;
    let helo = source.helo.unwrap_or(&client.name);
    for part in [b"Received: from ", helo, b" (", &client.name, b" [", &client.rfc_address, b"])\n"] {
        text.extend_from_slice(part);
    }
    for line in tls::comment(source.tls, &source.params.tls) {
        text.extend_from_slice(&line);
        text.push(b'\n');
    }
    if source.params.sasl_authenticated_header
        && let Some(login) = source.login
    {
        let user = in_comment(&login.username);
        for part in [b"\t(Authenticated sender: ", &user[..], b")\n"] {
            text.extend_from_slice(part);
        }
    }
}

/// The protocol of RFC 3848 and RFC 6531: with S when there is TLS, with A when there is a login; plain SMTP has neither.
fn with_protocol(source: &Source<'_>, smtputf8: bool) -> String {
    let name = match source.protocol {
        Protocol::Smtp if !smtputf8 => return "SMTP".to_string(),
        Protocol::Esmtp if !smtputf8 => "ESMTP",
        _ => "UTF8SMTP",
    };
    let tls = if source.tls.is_some() { "S" } else { "" };
    let login = if source.login.is_some() { "A" } else { "" };
    format!("{name}{tls}{login}")
}
