//! The values of macros for mail filters (spec milter 8.3).

use std::cell::OnceCell;
use std::sync::Arc;

use milter::Macros;
use tls::{Established, Trust};

use crate::client::login::Login;
use crate::client::{Client, NameStatus, UNKNOWN};
use crate::resolver::{Resolved, Resolver};
use crate::settings::AccessParams;
use crate::settings::milters::MilterParams;

/// The recipient under test.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'v> {
    /// An address in internal form.
    Rcpt(&'v [u8]),
    /// The reply to one that was refused.
    Refused(&'v [u8]),
}

/// What the session knows at this moment.
pub struct Values<'v> {
    /// The settings.
    pub params: &'v AccessParams,
    /// Those of mail filters.
    pub milters: &'v MilterParams,
    /// The client.
    pub client: &'v Client,
    /// Its connections at once.
    pub connections: i32,
    /// The TLS session.
    pub tls: Option<&'v Established>,
    /// Who has logged in.
    pub login: Option<&'v Login>,
    /// AUTH= of MAIL.
    pub auth_author: Option<&'v [u8]>,
    /// The queue ID, once there is one.
    pub queue_id: Option<&'v str>,
    /// The sender, internal form.
    pub sender: Option<&'v [u8]>,
    /// The recipient.
    pub rcpt: Option<Subject<'v>>,
    /// trivial-rewrite.
    pub resolver: &'v Resolver,
    /// What it said of the sender and of the recipient, when it was asked.
    pub resolved: (OnceCell<Arc<Resolved>>, OnceCell<Arc<Resolved>>),
}

impl Values<'_> {
    fn sender(&self) -> Option<&Resolved> {
        let sender = self.sender?;
        Some(self.resolved.0.get_or_init(|| self.resolver.resolve(b"", sender)))
    }

    fn rcpt(&self, address: &[u8]) -> &Resolved {
        self.resolved.1.get_or_init(|| self.resolver.resolve(self.sender.unwrap_or_default(), address))
    }

    /// `REVERSE_NAME [ADDR]`, and whether that may be wrong.
    fn who(&self) -> Vec<u8> {
        let client = self.client;
        let forged = !client.name.eq_ignore_ascii_case(&client.reverse_name);
        let end: &[u8] = if forged { b"] (may be forged)" } else { b"]" };
        [&client.reverse_name[..], b" [", &client.address, end].concat()
    }

    /// About a recipient; `part` is for one who was refused.
    fn of_rcpt(&self, part: Part) -> Option<Vec<u8>> {
        match self.rcpt? {
            Subject::Rcpt(address) => {
                let resolved = self.rcpt(address);
                Some(match part {
                    Part::Mailer => resolved.transport.clone(),
                    Part::Host => resolved.nexthop.clone(),
                    Part::Address => address::external(&resolved.recipient),
                })
            }
            Subject::Refused(reply) => {
                let mut words = reply.splitn(4, |&byte| byte == b' ');
                Some(match part {
                    Part::Mailer => b"error".to_vec(),
                    Part::Host => words.nth(1).unwrap_or_default().to_vec(),
                    Part::Address => words.nth(3).unwrap_or_default().to_vec(),
                })
            }
        }
    }
}

enum Part {
    Mailer,
    Host,
    Address,
}

impl Macros for Values<'_> {
    fn value(&self, name: &[u8]) -> Option<Vec<u8>> {
        let client = self.client;
        let milters = self.milters;
        let certificate = || {
            let trusted = self.tls.filter(|tls| tls.trust == Trust::Trusted);
            trusted.and_then(|tls| tls.client_certificate.as_ref())
        };
        match name {
            b"j" => Some(self.params.myhostname.clone().into_bytes()),
            b"v" => Some(milters.v.clone().into_bytes()),
            b"daemon_name" => Some(milters.daemon_name.clone().into_bytes()),
            b"_" => Some(self.who()),
            b"i" => self.queue_id.map(|id| id.as_bytes().to_vec()),
            b"client_addr" => Some(client.rfc_address.clone()),
            b"client_name" => Some(client.name.clone()),
            b"client_ptr" => Some(client.reverse_name.clone()),
            b"client_port" => Some(if client.port == UNKNOWN { b"0".to_vec() } else { client.port.clone() }),
            b"client_resolve" => Some(
                match client.name_status {
                    NameStatus::Ok => "OK",
                    NameStatus::Forged => "FORGED",
                    NameStatus::Temporary => "TEMP",
                    NameStatus::Permanent => "FAIL",
                }
                .into(),
            ),
            b"client_connections" => Some(self.connections.to_string().into_bytes()),
            b"daemon_addr" => Some(client.server_address.clone()),
            b"daemon_port" => Some(client.server_port.clone()),
            b"tls_version" => self.tls.map(|tls| tls.protocol.into()),
            b"cipher" => self.tls.map(|tls| tls.cipher.into()),
            b"cipher_bits" => self.tls.map(|tls| tls.strength.used.to_string().into_bytes()),
            b"cert_subject" => certificate().map(|certificate| certificate.subject.clone()),
            b"cert_issuer" => certificate().map(|certificate| certificate.issuer.clone()),
            b"auth_type" => self.login.map(|login| login.method.clone()),
            b"auth_authen" => self.login.map(|login| login.username.clone()),
            b"auth_author" => self.auth_author.map(<[u8]>::to_vec),
            b"mail_mailer" => self.sender().map(|resolved| resolved.transport.clone()),
            b"mail_host" => self.sender().map(|resolved| resolved.nexthop.clone()),
            b"mail_addr" => match self.sender? {
                b"" => Some(Vec::new()),
                _ => self.sender().map(|resolved| address::external(&resolved.recipient)),
            },
            b"rcpt_mailer" => self.of_rcpt(Part::Mailer),
            b"rcpt_host" => self.of_rcpt(Part::Host),
            b"rcpt_addr" => self.of_rcpt(Part::Address),
            _ => None,
        }
    }
}
