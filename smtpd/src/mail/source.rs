//! The session that a message comes from, as the queue file and the Received: line tell of it.

use access::client::Client;
use access::client::login::Login;
use access::client::protocol::Protocol;
use tls::Established;

use crate::settings::params::SmtpdParams;

/// What is told of the session.
#[derive(Debug, Clone, Copy)]
pub struct Source<'s> {
    /// The settings.
    pub params: &'s SmtpdParams,
    /// Mail filters are in use.
    pub milters: bool,
    /// The client as it really is.
    pub client: &'s Client,
    /// HELO name.
    pub helo: Option<&'s [u8]>,
    /// How it greeted.
    pub protocol: Protocol,
    /// The TLS session; absent in clear text.
    pub tls: Option<&'s Established>,
    /// Who has logged in.
    pub login: Option<&'s Login>,
}
