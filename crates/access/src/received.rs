//! The Received: header of this server (spec smtpd 5.4).

use std::fmt;
use std::io::Write;
use std::time::SystemTime;

use crate::client::Client;
use crate::client::login::Login;
use crate::client::protocol::Protocol;
use crate::client::text::in_comment;
use crate::settings::AccessParams;

/// Room for the usual header.
const HEADER: usize = 256;

/// What the header tells.
#[derive(Debug)]
pub struct Received<'r> {
    /// The settings.
    pub params: &'r AccessParams,
    /// Who sends.
    pub client: &'r Client,
    /// HELO name.
    pub helo: Option<&'r [u8]>,
    /// How it greeted.
    pub protocol: Protocol,
    /// In a TLS session, the lines about it.
    pub tls: Option<Vec<Vec<u8>>>,
    /// Who has logged in.
    pub login: Option<&'r Login>,
    /// SMTPUTF8 was given.
    pub smtputf8: bool,
    /// Absent with a filter.
    pub queue_id: Option<&'r str>,
    /// The one recipient: with more, the header would tell one about the other.
    pub recipient: Option<&'r [u8]>,
    /// When MAIL came.
    pub time: SystemTime,
}

impl Received<'_> {
    /// The lines of the header, each with a line feed.
    pub fn lines(&self) -> Vec<u8> {
        let params = self.params;
        let mut text = Vec::with_capacity(HEADER);
        // With smtpd_hide_client_session (of 3.10) nothing tells where the message came from.
        if params.hide_client_session {
            add(&mut text, format_args!("Received: by {} ({})", params.myhostname, params.mail_name));
        } else {
            self.origin(&mut text);
            let with = self.with_protocol();
            add(&mut text, format_args!("\tby {} ({}) with {with}", params.myhostname, params.mail_name));
        }
        if let Some(queue_id) = self.queue_id {
            add(&mut text, format_args!(" id {queue_id}"));
        }
        let date = sys::time::local(self.time).mail_date();
        match self.recipient {
            Some(rcpt) => {
                text.extend_from_slice(b"\n\tfor <");
                text.extend_from_slice(&address::external(rcpt));
                add(&mut text, format_args!(">; {date}\n"));
            }
            None => add(&mut text, format_args!(";\n\t{date}\n")),
        }
        text
    }

    /// Where the message came from, and how.
    fn origin(&self, text: &mut Vec<u8>) {
        let client = self.client;
        let helo = self.helo.unwrap_or(&client.name);
        for part in [b"Received: from ", helo, b" (", &client.name, b" [", &client.rfc_address, b"])\n"] {
            text.extend_from_slice(part);
        }
        for line in self.tls.iter().flatten() {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        if self.params.sasl_authenticated_header
            && let Some(login) = self.login
        {
            let user = in_comment(&login.username);
            for part in [b"\t(Authenticated sender: ", &user[..], b")\n"] {
                text.extend_from_slice(part);
            }
        }
    }

    /// The protocol of RFC 3848 and RFC 6531: with S when there is TLS, with A when there is a login; plain SMTP has
    /// neither.
    fn with_protocol(&self) -> String {
        let name = match self.protocol {
            Protocol::Smtp if !self.smtputf8 => return "SMTP".to_string(),
            Protocol::Esmtp if !self.smtputf8 => "ESMTP",
            _ => "UTF8SMTP",
        };
        let tls = if self.tls.is_some() { "S" } else { "" };
        let login = if self.login.is_some() { "A" } else { "" };
        format!("{name}{tls}{login}")
    }
}

/// Writing to memory does not fail.
fn add(text: &mut Vec<u8>, part: fmt::Arguments<'_>) {
    let _ = text.write_fmt(part);
}
