//! `$name` in texts for clients: what is known of the session. `default_rbl_reply` and reject footers share these
//! names (spec access 7.5; spec smtpd 9).

use std::time::SystemTime;

use crate::client::Client;

/// The addresses and the name that the text is about, each as far as known.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    /// HELO name.
    pub helo: Option<&'a [u8]>,
    /// Sender, internal form.
    pub sender: Option<&'a [u8]>,
    /// Recipient, internal form.
    pub recipient: Option<&'a [u8]>,
}

/// The names.
pub const NAMES: [&str; 14] = [
    "client",
    "client_name",
    "client_address",
    "client_port",
    "reverse_client_name",
    "helo_name",
    "sender",
    "recipient",
    "sender_name",
    "recipient_name",
    "sender_domain",
    "recipient_domain",
    "localtime",
    "server_name",
];

/// Their values, in the same order.
pub fn values(client: &Client, myhostname: &str, about: &About<'_>) -> [Vec<u8>; NAMES.len()] {
    let (sender_name, sender_domain) = parts(about.sender);
    let (rcpt_name, rcpt_domain) = parts(about.recipient);
    [
        client.namaddr.clone(),
        client.name.clone(),
        client.address.clone(),
        client.port.clone(),
        client.reverse_name.clone(),
        about.helo.unwrap_or_default().to_vec(),
        whole(about.sender).to_vec(),
        whole(about.recipient).to_vec(),
        sender_name.to_vec(),
        rcpt_name.to_vec(),
        sender_domain.to_vec(),
        rcpt_domain.to_vec(),
        sys::time::local(SystemTime::now()).log_stamp().into_bytes(),
        myhostname.as_bytes().to_vec(),
    ]
}

/// The null address shows.
fn whole(address: Option<&[u8]>) -> &[u8] {
    match address {
        Some(b"") => b"<>",
        Some(address) => address,
        None => b"",
    }
}

fn parts(address: Option<&[u8]>) -> (&[u8], &[u8]) {
    let address = whole(address);
    match address.iter().rposition(|byte| *byte == b'@') {
        Some(at) => (&address[..at], &address[at + 1..]),
        None => (address, b""),
    }
}
