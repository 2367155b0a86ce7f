//! What restrictions look at.

use tls::Established;

use crate::client::login::Login;
use crate::client::protocol::Protocol;
use crate::client::{Client, UNKNOWN};
use crate::log::Request;
use crate::observer::Observer;
use crate::services::Services;
use crate::settings::AccessParams;
use crate::subject::Of;
use crate::tables::Tables;
use crate::verdict::Scope;

/// What a restriction may look at. Nothing here can be changed.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'f> {
    /// The settings.
    pub params: &'f AccessParams,
    /// Lookup tables and match lists.
    pub tables: &'f Tables,
    /// The other daemons.
    pub services: &'f Services,
    /// Who watches; nobody in the server.
    pub observer: Option<&'f dyn Observer>,
    /// Who the client is.
    pub client: &'f Client,
    /// How it greeted.
    pub protocol: Protocol,
    /// The TLS session; absent in clear text.
    pub tls: Option<&'f Established>,
    /// Who has logged in.
    pub login: Option<&'f Login>,
    /// The same, when logins are possible: before Postfix 3.10 most restrictions know no other.
    pub user: Option<&'f Login>,
    /// The client sent before it was asked to.
    pub improper_pipelining: bool,
    /// The HELO name under test or given.
    pub helo: Option<&'f [u8]>,
    /// The sender under test or given; `Some(b"")` is the null sender.
    pub sender: Option<&'f [u8]>,
    /// The recipient under test.
    pub recipient: Option<&'f [u8]>,
    /// The ETRN argument.
    pub etrn: Option<&'f [u8]>,
    /// Recipients accepted so far.
    pub recipients: usize,
    /// Bytes of the message: announced, at the end received.
    pub size: u64,
    /// The queue ID, or `NOQUEUE`.
    pub queue_id: &'f str,
    /// What tells one transaction from another.
    pub instance: &'f str,
    /// AUTH= of MAIL.
    pub sasl_sender: Option<&'f [u8]>,
    /// The command that asks: the stage in log lines.
    pub stage: &'static str,
    /// A policy server failed, and what is under way is its default action.
    pub in_default_action: bool,
}

impl<'f> Facts<'f> {
    /// The request, for a line of the log.
    pub fn request(&self) -> Request<'f> {
        Request {
            params: self.params,
            queue_id: self.queue_id,
            client: self.client,
            protocol: self.protocol,
            helo: self.helo,
            sender: self.sender,
            rcpt: self.recipient,
            login: self.login,
            sasl_sender: self.sasl_sender,
        }
    }

    /// The name or address, when there is one to look at.
    pub fn name(&self, of: Of) -> Option<&'f [u8]> {
        let client = self.client;
        match of {
            Of::Client => Some(&client.name[..]).filter(|name| *name != UNKNOWN),
            Of::ReverseClient => Some(&client.reverse_name[..]).filter(|name| *name != UNKNOWN),
            Of::Helo => self.helo,
            Of::Sender => self.sender.filter(|sender| !sender.is_empty()),
            Of::Recipient => self.recipient.filter(|recipient| !recipient.is_empty()),
        }
    }

    /// What access table results are about: a client by name and address.
    pub fn scope(&self, of: Of) -> Option<Scope<'f>> {
        let name = self.name(of)?;
        let name = if of == Of::Client { &self.client.namaddr } else { name };
        Some(Scope { name, class: of.class() })
    }
}
