//! The client of a message as Milters hear of it, and the values of macros.

use milter::{Family, Macros};
use queue::{QueueId, attr};

use crate::envelope::Envelope;
use crate::params::CleanupParams;
use crate::params::milters::MilterParams;

/// Numbers of address families in the attribute.
const INET: &[u8] = b"2";
const INET6: &[u8] = b"10";
const UNIX: &[u8] = b"1";

/// Who sent the message: the client that the front end told, or this host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'m> {
    pub(super) name: &'m [u8],
    pub(super) reverse_name: &'m [u8],
    pub(super) address: &'m [u8],
    pub(super) port: &'m [u8],
    pub(super) family: Family,
    pub(super) helo: &'m [u8],
    is_local: bool,
}

impl<'m> Client<'m> {
    pub(super) fn of(envelope: &'m Envelope<'_>, params: &MilterParams) -> Self {
        let get = |name| envelope.attribute(name);
        let told = get(attr::CLIENT_NAME).zip(get(attr::CLIENT_ADDRESS)).zip(get(attr::CLIENT_ADDRESS_TYPE));
        let is_local = told.is_none();
        let local = if params.prefers_ipv6 { (&b"::1"[..], INET6) } else { (&b"127.0.0.1"[..], INET) };
        let ((name, address), kind) = told.unwrap_or(((b"localhost", local.0), local.1));
        let family = match kind {
            INET => Family::Inet,
            INET6 => Family::Inet6,
            UNIX => Family::Unix,
            _ => Family::Unknown,
        };
        Client {
            name,
            reverse_name: get(attr::REVERSE_CLIENT_NAME).unwrap_or(name),
            address,
            port: get(attr::CLIENT_PORT).unwrap_or(b"0"),
            family,
            helo: get(attr::HELO_NAME).unwrap_or(name),
            is_local,
        }
    }
}

impl Client<'_> {
    /// The name, or the address in brackets when there is none.
    pub(super) fn shown_name(&self) -> Vec<u8> {
        if self.name == b"unknown" { [b"[", self.address, b"]"].concat() } else { self.name.to_vec() }
    }
}

/// An address in external form; the null sender is no text.
pub(super) fn external(internal: &[u8]) -> Vec<u8> {
    if internal.is_empty() { Vec::new() } else { address::external(internal) }
}

/// What macros are made of.
pub(super) struct Values<'m> {
    pub(super) params: &'m CleanupParams,
    pub(super) id: &'m QueueId,
    pub(super) envelope: &'m Envelope<'m>,
    pub(super) client: Client<'m>,
    /// The mail's front end had no Milters.
    pub(super) is_own: bool,
    pub(super) recipient: Option<&'m [u8]>,
}

impl Macros for Values<'_> {
    fn value(&self, name: &[u8]) -> Option<Vec<u8>> {
        let get = |name| self.envelope.attribute(name);
        let Client { name: client, reverse_name, address, port, is_local, .. } = self.client;
        let local = |value| Some(value).filter(|_| is_local);
        let value = match name {
            b"j" => self.params.myhostname.as_bytes(),
            b"v" => &self.params.milters.milter_macro_v,
            b"daemon_name" => &self.params.milters.milter_macro_daemon_name,
            b"_" => {
                let is_same = client.eq_ignore_ascii_case(reverse_name);
                let forged: &[u8] = if is_same { b"" } else { b" (may be forged)" };
                return Some([reverse_name, b" [", address, b"]", forged].concat());
            }
            b"client_addr" => address,
            b"client_name" => client,
            b"client_ptr" => reverse_name,
            b"client_port" => port,
            b"daemon_addr" => get(attr::SERVER_ADDRESS).or(local(address))?,
            // Whatever is known of it (observed, 3.7.11).
            b"daemon_port" if self.is_own => b"0",
            b"daemon_port" => get(attr::SERVER_PORT)?,
            b"i" => self.id.as_str().as_bytes(),
            b"auth_type" => get(attr::SASL_METHOD)?,
            b"auth_authen" => get(attr::SASL_USERNAME)?,
            b"auth_author" => get(attr::SASL_SENDER)?,
            b"mail_addr" => return self.envelope.sender().filter(|_| self.is_own).map(external),
            b"rcpt_addr" => return self.recipient.filter(|_| self.is_own).map(external),
            _ => return None,
        };
        Some(value.to_vec())
    }
}
